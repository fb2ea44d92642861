"""Segment Anything, frozen: pip's ``segment-anything``, and a decode step that gives tokens too."""

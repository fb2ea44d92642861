"""Segment Anything, frozen: pip's ``segment-anything`` untouched, and a decode step that also gives attended tokens."""

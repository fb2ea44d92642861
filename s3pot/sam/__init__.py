"""Segment Anything, frozen: pip's ``segment-anything``, and a decode step that gives tokens too."""

from s3pot.sam.deferred import defer_init

# Its predictors, which s3pot does not use, would load torchvision and PyTorch's compiler: every
# command would start two seconds later.
defer_init("segment_anything")

"""Frozen Segment Anything: pip's ``segment-anything``, and decoding that also returns tokens."""

from s3pot.sam.deferred import defer_init

# Its predictors, which s3pot does not use, would load torchvision and PyTorch's compiler, and every
# command would start two seconds later.
defer_init("segment_anything")

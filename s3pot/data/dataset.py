"""Faces of a data folder as SAM takes them."""

from __future__ import annotations

import torch
from PIL import Image

from s3pot.data.image import resized, to_tensor
from s3pot.labels import region_of
from s3pot.types import Pair, Reference


def make_pair(name: str, reference: Reference, size: int) -> Pair:
    """Bring a face to SAM's square of side ``size``; the aspect is not kept.

    Each of the three arrays may have a size of its own. Pictures go by Pillow's antialiased
    bilinear filter, the region by the nearest pixel centre.
    """
    square = (size, size)
    region = resized(region_of(reference.labels), square, Image.Resampling.NEAREST)
    pictures = (reference.raw, reference.reference)
    raw, ref = (to_tensor(resized(pixels, square)) for pixels in pictures)
    return Pair(name, raw, ref, torch.from_numpy(region))

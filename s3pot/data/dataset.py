"""Faces of a data folder as SAM takes them."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from s3pot.data.image import to_tensor
from s3pot.labels import region_of
from s3pot.types import Pair, Reference


def make_pair(name: str, reference: Reference, size: int) -> Pair:
    """Bring a face to SAM's square of side ``size``; the aspect is not kept.

    Each of the three arrays may have a size of its own. Pictures go by Pillow's antialiased
    bilinear filter, the region by the nearest pixel centre.
    """
    region = Image.fromarray(region_of(reference.labels).astype(np.uint8) * 255)
    region_sam = np.asarray(region.resize((size, size), Image.Resampling.NEAREST)) > 0
    raw, ref = (
        to_tensor(
            np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))
        )
        for pixels in (reference.raw, reference.reference)
    )
    return Pair(name, raw, ref, torch.from_numpy(region_sam))

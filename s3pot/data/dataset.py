"""Faces of a data folder as SAM takes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from s3pot.data.image import to_tensor
from s3pot.data.layout import FaceFiles, load_reference
from s3pot.labels import region_of
from s3pot.types import Pair, Reference


def make_pair(name: str, reference: Reference, size: int) -> Pair:
    """Bring a face to SAM's square of side ``size``; the aspect is not kept.

    Each of the three arrays may have a size of its own. Pictures go by Pillow's antialiased
    bilinear filter, the region by the nearest pixel centre.
    """
    region = Image.fromarray(region_of(reference.labels).astype(np.uint8) * 255)
    region_sam = np.asarray(region.resize((size, size), Image.Resampling.NEAREST)) > 0
    raw, ref = (_square(pixels, size) for pixels in (reference.raw, reference.reference))
    return Pair(name, raw, ref, torch.from_numpy(region_sam))


def _square(pixels: np.ndarray, size: int) -> Tensor:
    resized = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR)
    return to_tensor(np.asarray(resized))


class PairDataset(Dataset[Pair]):
    """Pairs of a list of faces; ``oracle`` takes the true clean face as the reference."""

    def __init__(self, faces: Sequence[FaceFiles], size: int, oracle: bool = False) -> None:
        self.faces, self.size, self.oracle = faces, size, oracle

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> Pair:
        """Read one face; S3potError when a file is missing, damaged or does not fit the others."""
        face = self.faces[index]
        return make_pair(face.name, load_reference(face, self.oracle), self.size)

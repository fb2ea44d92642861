"""RG, reference generation: parser and inverter make a clean face (paper section 3.1)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.data.image import to_tensor, to_uint8
from s3pot.rg.inverter import Inverter
from s3pot.rg.parser import Parser
from s3pot.types import Photo, Reference


@torch.no_grad()
def make_reference(parser: Parser, inverter: Inverter, photo: Photo) -> Reference:
    """Parse a face and draw it anew, region by region; what covers it is averaged away.

    Args:
        parser: Finds the 12 classes; its device is used.
        inverter: Regional GAN inversion, on the same device.
        photo: Aligned frame.

    Returns:
        Photo, reference and class map, all at the working image's size.
    """
    image = to_tensor(photo.pixels)[None].to(next(parser.parameters()).device)
    labels = parser.parse(image)
    drawn = _to_size(inverter.invert(image, labels), photo.pixels.shape[:2])
    mask = resize_labels(labels[0].cpu().numpy(), photo.pixels.shape[:2])
    return Reference(photo.pixels, to_uint8(drawn[0]), mask)


def resize_labels(labels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Sample a class map at pixel centres, as torch's "nearest-exact" does.

    Args:
        labels: uint8 (h, w).
        size: Height and width wanted.
    """
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new) for old, new in zip(labels.shape, size)
    )
    return np.ascontiguousarray(labels[rows[:, None], columns])


def _to_size(image: Tensor, size: tuple[int, ...]) -> Tensor:
    if image.shape[-2:] == size:
        return image
    return F.interpolate(image.float(), size=size, mode="bilinear", antialias=True)

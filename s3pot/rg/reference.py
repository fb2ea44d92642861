"""RG, reference generation: parser and inverter make a clean face (paper section 3.1)."""

from __future__ import annotations

import numpy as np
import torch
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
    size, drawn = photo.pixels.shape[:2], inverter.invert(image, labels).float()
    drawn = F.interpolate(drawn, size=size, mode="bilinear", antialias=True)
    return Reference(photo.pixels, to_uint8(drawn[0]), resize_labels(labels[0].cpu().numpy(), size))


def resize_labels(labels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Sample a map (h, w) at the pixel centres of height and width ``size``, as "nearest-exact"."""
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new) for old, new in zip(labels.shape, size)
    )
    return np.ascontiguousarray(labels[rows[:, None], columns])

"""The two ways in which E4S brings a picture to its networks' size."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.data.image import resized

REACH = 2  # half width of the cubic kernel, in target pixels


def pil_bilinear(image: Tensor, size: int) -> Tensor:
    """Resize to a square by Pillow's bilinear filter, which antialiases and works on 8 bits.

    Args:
        image: (B, 3, H, W) in [0, 1]; rounded to 8 bits.
        size: wanted side.

    Returns:
        (B, 3, size, size) in [0, 1]; `image` itself if it has that size.
    """
    if image.shape[-2:] == (size, size):
        return image
    pixels = image.detach().float().clamp(0, 1).mul(255).round().byte()
    squares = [resized(one, (size, size)) for one in pixels.permute(0, 2, 3, 1).cpu().numpy()]
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).to(image) / 255


def bicubic_reduce(image: Tensor, size: int) -> Tensor:
    """Resize to a square by an antialiased cubic filter, without rounding.

    For a reduction by 2 this is E4S's own filter for BiSeNet: 8 taps per axis, cubic with a = -0.5,
    weights normalised to sum 1, reflected borders. Borders are reflected for whole factors only.

    Args:
        image: (B, 3, H, W), W at least `size`.
        size: wanted side.

    Returns:
        (B, 3, size, size); may leave the range of `image` a little.
    """
    height, width = image.shape[-2:]
    edge = 0 if height % size or width % size else REACH
    rows, columns = edge * height // size, edge * width // size
    image = F.pad(image, (columns, columns, rows, rows), mode="reflect")
    wide = F.interpolate(image, [size + 2 * edge] * 2, mode="bicubic", antialias=True)
    return wide[..., edge : edge + size, edge : edge + size]

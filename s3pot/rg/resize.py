"""The two ways in which E4S brings a picture to its networks' size."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from s3pot.data.image import resized

CUBIC_A = -0.5
REACH = 2.0  # half width of the cubic kernel, in target pixels


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
    """Resize to a square by a separable cubic filter, stretched by the factor of the reduction.

    For a reduction by 2 this is E4S's own filter for BiSeNet: 8 taps per axis, cubic with a = -0.5,
    weights normalised to sum 1, reflected borders, no rounding.

    Args:
        image: (B, 3, H, W), sides at least `size` / 2.
        size: wanted side.

    Returns:
        (B, 3, size, size); may leave the range of `image` a little.
    """
    down = cubic_weights(image.shape[-2], size).to(image)
    across = cubic_weights(image.shape[-1], size).to(image)
    return down @ image @ across.T


def cubic_weights(source: int, target: int) -> Tensor:
    """Filter matrix (target, source) of one axis; rows sum to 1."""
    factor = source / target
    stretch = max(factor, 1.0)
    centre = (torch.arange(target, dtype=torch.float64) + 0.5) * factor - 0.5
    offsets = torch.arange(int(2 * REACH * stretch) + 2)
    taps = torch.ceil(centre - REACH * stretch).long()[:, None] + offsets
    weights = _cubic((taps - centre[:, None]).abs() / stretch)
    weights = weights / weights.sum(dim=1, keepdim=True)
    matrix = torch.zeros(target, source, dtype=torch.float64)
    return matrix.scatter_add_(1, _reflect(taps, source), weights)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic convolution kernel at distances >= 0."""
    a, d = CUBIC_A, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, near, torch.where(d < REACH, far, torch.zeros_like(d)))


def _reflect(index: Tensor, size: int) -> Tensor:
    """Mirror indices at the border pixels' centres into 0..size-1."""
    if size == 1:
        return torch.zeros_like(index)
    period = 2 * (size - 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index)

"""Images in memory: conversion between arrays, PIL images and tensors, and resizing."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

_CUBIC_REACH = 2  # half width of the cubic kernel, in target pixels


def to_pil(array: np.ndarray) -> Image.Image:
    """Convert uint8 (H, W) or (H, W, 3), or a bool mask (H, W) as 0 / 255, to a PIL image."""
    pixels = array.astype(np.uint8) * 255 if array.dtype == np.bool_ else array
    return Image.fromarray(np.ascontiguousarray(pixels))


def as_array(image: Image.Image, like: np.ndarray) -> np.ndarray:
    """Return the pixels in the type of ``like``; mask pixels are set from half coverage on.

    Args:
        image: Made by ``to_pil``, possibly resized or warped since.
        like: Its dtype decides between mask and image.
    """
    pixels = np.array(image)
    return pixels >= 128 if like.dtype == np.bool_ else pixels


def resized(array: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Resize an input of ``to_pil`` to height and width ``size`` by Pillow's bilinear filter."""
    image = to_pil(array).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return as_array(image, array)


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Convert uint8 (H, W, 3) to a float tensor (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), np.float32, order="C")).div_(255)


def to_uint8(image: Tensor) -> np.ndarray:
    """Convert a float tensor (3, H, W) in [0, 1] to uint8 (H, W, 3), clamped and rounded."""
    scaled = image.detach().float().clamp(0, 1).mul(255).round()
    return np.ascontiguousarray(scaled.byte().permute(1, 2, 0).cpu().numpy())


def pil_bilinear(image: Tensor, size: int) -> Tensor:
    """Resize to a square with Pillow's bilinear filter, which antialiases and works on 8 bits.

    Args:
        image: (B, 3, H, W) in [0, 1]; rounded to 8 bits.
        size: Wanted side.

    Returns:
        (B, 3, size, size) in [0, 1]; ``image`` itself if it has that size.
    """
    if image.shape[-2:] == (size, size):
        return image
    pixels = image.detach().float().clamp(0, 1).mul(255).round().byte()
    batch = pixels.permute(0, 2, 3, 1).cpu().numpy()
    squares = np.stack([resized(single, (size, size)) for single in batch])
    return torch.from_numpy(squares).permute(0, 3, 1, 2).to(image) / 255


def bicubic_reduce(image: Tensor, size: int) -> Tensor:
    """Resize to a square with an antialiased cubic filter, without rounding.

    For a reduction by 2 this is E4S's own filter for BiSeNet: 8 taps per axis, cubic with a = -0.5,
    weights normalized to sum 1, reflected borders. Borders are reflected for integer factors only.

    Args:
        image: (B, 3, H, W), W at least ``size``.
        size: Wanted side.

    Returns:
        (B, 3, size, size); may slightly exceed the range of ``image``.
    """
    height, width = image.shape[-2:]
    edge = 0 if height % size or width % size else _CUBIC_REACH
    rows = edge * height // size
    columns = edge * width // size
    padded = F.pad(image, (columns, columns, rows, rows), mode="reflect")
    target = (size + 2 * edge, size + 2 * edge)
    reduced = F.interpolate(padded, target, mode="bicubic", antialias=True)
    return reduced[..., edge : edge + size, edge : edge + size]

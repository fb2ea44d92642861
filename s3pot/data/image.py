"""Reading and resizing pictures, writing files that are whole or absent, pixels to tensors."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Union

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from s3pot.io import atomic_path
from s3pot.types import S3potError

ImageSource = Union[str, Path, Image.Image, np.ndarray]

EXIF_ORIENTATION = 0x0112
REACH = 2  # half width of the cubic kernel, in target pixels


class BadImage(S3potError):
    """A picture that cannot be read; the message names the file and the reason."""


def read_rgb(source: ImageSource) -> np.ndarray:
    """Read any picture Pillow can open as upright 8-bit RGB, the first frame of an animation.

    EXIF orientation is applied; transparency is laid over white; 16-bit samples keep their high
    byte; float samples count as [0, 1] when none is above 1, else as [0, 255].

    Args:
        source: path, PIL image, or uint8 array (H, W), (H, W, 3) or (H, W, 4).

    Returns:
        uint8 (H, W, 3), contiguous, owned by the caller.

    Raises:
        BadImage: if the file is missing, truncated or no picture, or the array is of another kind.
    """
    name = str(source) if isinstance(source, (str, Path)) else f"the given {type(source).__name__}"
    if isinstance(source, np.ndarray):
        channels_ok = source.ndim == 2 or source.shape[2:] in ((3,), (4,))
        if source.dtype != np.uint8 or not channels_ok or 0 in source.shape:
            raise BadImage(f"{name} is {source.dtype} {source.shape}; expected uint8 (H, W, 3)")
        source = to_pil(source)
    try:
        opened = nullcontext(source) if isinstance(source, Image.Image) else Image.open(source)
        with opened as image:
            return _upright_rgb(image)
    except Exception as error:  # Pillow's decoders raise almost any type on damaged data
        reason = str(error) or type(error).__name__
        raise BadImage(f"{name}: not a readable picture ({reason})") from error


def _upright_rgb(image: Image.Image) -> np.ndarray:
    image.load()  # before EXIF is read: for TIFF Pillow turns the picture itself, here
    orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    if image.mode == "F" or image.mode.startswith("I"):
        image = Image.fromarray(_grey_uint8(np.asarray(image)))
    elif "transparency" in image.info or image.mode in ("RGBA", "RGBa", "LA", "La", "PA"):
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba)
    pixels = np.asarray(image.convert("RGB"))
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.array(pixels, order="C")


def _grey_uint8(samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind in "iu":
        return np.asarray(samples.clip(0, 65535) // 256, dtype=np.uint8)
    finite = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    scale = 255.0 if finite.max() <= 1.0 else 1.0
    return np.asarray((finite * scale).clip(0, 255).round(), dtype=np.uint8)


def to_pil(array: np.ndarray) -> Image.Image:
    """Turn uint8 (H, W) or (H, W, 3), or a bool mask (H, W) as 0 / 255, into a PIL image."""
    pixels = array.astype(np.uint8) * 255 if array.dtype == np.bool_ else array
    return Image.fromarray(np.ascontiguousarray(pixels))


def as_array(image: Image.Image, like: np.ndarray) -> np.ndarray:
    """The pixels as the kind of ``like``; a mixed mask holds where it is at least half full."""
    pixels = np.array(image)
    return pixels >= 128 if like.dtype == np.bool_ else pixels


def resized(
    array: np.ndarray, size: tuple[int, ...], how: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray:
    """Bring what `to_pil` takes to height and width ``size`` by a filter of Pillow's."""
    return as_array(to_pil(array).resize((size[1], size[0]), how), array)


def write_png(path: str | Path, array: np.ndarray) -> None:
    """Write what `to_pil` takes as PNG."""
    image = to_pil(array)
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG", compress_level=3)


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Turn uint8 (H, W, 3) into a float tensor (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), np.float32, order="C")).div_(255)


def to_uint8(image: Tensor) -> np.ndarray:
    """Turn a float tensor (3, H, W) in [0, 1] into uint8 (H, W, 3), clamped and rounded."""
    scaled = image.detach().float().clamp(0, 1).mul(255).round()
    return np.ascontiguousarray(scaled.byte().permute(1, 2, 0).cpu().numpy())


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

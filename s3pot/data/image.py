"""Reading pictures of any kind, writing files that are whole or absent, and pixels to tensors.

On disk and in numpy a picture is upright uint8 RGB (H, W, 3); between stages it is a float tensor
(3, H, W) in [0, 1].
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Union

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from s3pot.types import S3potError

ImageSource = Union[str, Path, Image.Image, np.ndarray]

EXIF_ORIENTATION = 0x0112
# EXIF orientation -> what turns the stored pixels upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BadImage(S3potError):
    """A picture that cannot be read; the message names the file and the reason."""


def read_rgb(source: ImageSource) -> np.ndarray:
    """Read any picture Pillow can open as upright 8-bit RGB.

    EXIF orientation is applied; transparency is laid over white; 16-bit samples keep their high
    byte; float samples count as [0, 1] when none is above 1, else as [0, 255]; an animation gives
    its first frame.

    Args:
        source: path, PIL image, or uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

    Returns:
        uint8 (H, W, 3), contiguous, owned by the caller.

    Raises:
        BadImage: if the file is missing, truncated or no picture, or the array is of another kind.
    """
    if isinstance(source, np.ndarray):
        return _upright_rgb(_from_array(source))
    name = "the given PIL image" if isinstance(source, Image.Image) else str(source)
    try:
        if isinstance(source, Image.Image):
            return _upright_rgb(source)
        with Image.open(source) as image:
            return _upright_rgb(image)
    except FileNotFoundError:
        raise BadImage(f"{name}: no such file; expected a picture") from None
    except MemoryError:
        raise BadImage(f"{name}: not enough memory to decode it") from None
    except Exception as error:  # Pillow's decoders raise almost any type on damaged data
        reason = str(error) or type(error).__name__
        raise BadImage(f"{name}: not a readable picture ({reason})") from error


def _from_array(array: np.ndarray) -> Image.Image:
    shape_ok = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if array.dtype != np.uint8 or not shape_ok or 0 in array.shape:
        raise BadImage(
            f"an array of {array.dtype} {array.shape} is no picture; expected uint8 (H, W, 3), RGB"
        )
    squeezed = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
    return Image.fromarray(np.ascontiguousarray(squeezed))


def _upright_rgb(image: Image.Image) -> np.ndarray:
    image.load()  # before EXIF is read: for TIFF Pillow turns the picture itself, here
    turn = UPRIGHT.get(image.getexif().get(EXIF_ORIENTATION, 1))
    upright = image if turn is None else image.transpose(turn)
    if upright.mode == "F" or upright.mode.startswith("I"):
        grey = _grey_uint8(np.asarray(upright))
        return np.repeat(grey[:, :, None], 3, axis=2)
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        upright = Image.alpha_composite(white, rgba)
    return np.array(upright.convert("RGB"))


def _grey_uint8(samples: np.ndarray) -> np.ndarray:
    """Bring integer (16-bit range) or float grey samples (H, W) to uint8."""
    if samples.dtype.kind in "iu":
        return np.asarray(samples.clip(0, 65535) // 256, dtype=np.uint8)
    finite = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    scale = 255.0 if finite.max() <= 1.0 else 1.0
    return np.asarray((finite * scale).clip(0, 255).round(), dtype=np.uint8)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a name to write to: it becomes `path` when the block ends well, else it vanishes.

    Missing parent folders are made. The name ends in `.tmp`, so writers must be told the format.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_png(path: str | Path, array: np.ndarray) -> None:
    """Write uint8 (H, W) or (H, W, 3), or a bool mask (H, W) as 0 / 255, as PNG."""
    pixels = array.astype(np.uint8) * 255 if array.dtype == np.bool_ else array
    if pixels.dtype != np.uint8:
        raise ValueError(f"write_png takes uint8 or bool, got {array.dtype}")
    image = Image.fromarray(np.ascontiguousarray(pixels))
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG", compress_level=3)


def write_npy(path: str | Path, array: np.ndarray) -> None:
    """Write one array as `.npy` (never a pickle)."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def write_json(path: str | Path, value: Any) -> None:
    """Write plain Python data as JSON; NaN and infinity are refused, for they are no JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Turn uint8 (H, W, 3) into a float tensor (3, H, W) in [0, 1]."""
    channels_first = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)
    return torch.from_numpy(channels_first).div_(255)


def to_uint8(image: Tensor) -> np.ndarray:
    """Turn a float tensor (3, H, W) in [0, 1] into uint8 (H, W, 3), clamped and rounded."""
    scaled = image.detach().float().clamp(0, 1).mul(255).round()
    return np.ascontiguousarray(scaled.byte().permute(1, 2, 0).cpu().numpy())

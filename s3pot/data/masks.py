"""Reading masks, true or predicted, in the many forms in which people save them.

A mask has two values, but which two differs between tools: 0 and 255, 0 and 1, 0 and 65535, black
and a color, a palette with two entries, or shapes drawn on a transparent canvas. The rules, in this
order:

1. If alpha varies, it decides: the opaque part is the mask, unless that part is itself black and
   white; then its white part is. Nearly opaque everywhere counts as opaque.
2. A palette of colors is read by its indices, one of grays by its gray values.
3. Of two values the higher one belongs to the mask, but never 0; of two colors the one that is
   not black.
4. Noise around two values, caused by JPEG and soft edges, is tolerated.

Anything else is an error that lists the values: it may be a class map, a trimap or a probability.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from s3pot.data.image import (
    MAX_PIXELS,
    ImageSource,
    has_alpha,
    limit_of_size,
    opened_image,
    orientation_of,
    rotated_upright,
)
from s3pot.data.image_formats import IMAGE_SUFFIXES
from s3pot.data.two_values import (
    GRAY_SPREAD,
    NEAR,
    BadMask,
    Samples,
    looks_like_faint_jpeg,
    refuse_faint,
    split_values,
)
from s3pot.io import read_npy_map

logger = logging.getLogger(__name__)

# The polarity of a mask: what it marks.
MARKS_OCCLUSION = "occlusion"
MARKS_FACE = "visible_face"
POLARITIES = (MARKS_OCCLUSION, MARKS_FACE)

ARRAY_SUFFIX = ".npy"
FOREIGN_SUFFIXES = (".npz", ".mat", ".h5", ".pkl", ".pt")  # array files not read as masks
# Extensions of masks in the order of the search; foreign ones are found so that errors name them.
MASK_SUFFIXES = (".png", *sorted(IMAGE_SUFFIXES - {".png"}), ARRAY_SUFFIX, *FOREIGN_SUFFIXES)
CLEAR_BELOW = 250  # alpha; an image with none below this counts as opaque
LOSSY_FORMATS = ("JPEG", "MPO", "WEBP", "JPEG2000", "AVIF", "HEIF")


def read_mask(
    source: ImageSource, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Read a mask from an image file, upright after EXIF, or from an array in a ``.npy`` file.

    Args:
        source: Path, open file or PIL image.
        name: Its name in messages; None for the source itself.
        max_pixels: Larger images are refused.

    Returns:
        bool (H, W).

    Raises:
        BadImage, BadFile: It is not a readable image or array.
        BadMask: It holds more than two values.
    """
    name = name or str(source)
    if isinstance(source, (str, Path)) and Path(source).suffix.lower() in FOREIGN_SUFFIXES:
        raise BadMask(
            f"{name} is not an image; save the mask as PNG, or its array as {ARRAY_SUFFIX}."
        )
    if isinstance(source, (str, Path)) and Path(source).suffix.lower() == ARRAY_SUFFIX:
        return as_mask(read_npy_map(Path(source)), name)
    with opened_image(source, max_pixels) as image:
        orientation = orientation_of(image, name)
        samples = replace(_samples_of(image), lossy=image.format in LOSSY_FORMATS)
    mask = split_values(samples, name)
    if samples.lossy:
        refuse_faint(samples.values, mask, name)
    elif looks_like_faint_jpeg(samples.values, mask):
        logger.warning(
            "%s: its outline looks like that of a mask of 0 and 1 damaged by JPEG, so it is not "
            "what was drawn. Save the mask again as PNG.",
            name,
        )
    if orientation == 1:
        return mask
    turned = rotated_upright(Image.fromarray(mask.astype(np.uint8)), orientation)
    return np.asarray(turned).astype(bool)


def read_mask_of_size(path: Path, size: Sequence[int], max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a mask that belongs to an image of height ``size[0]`` and width ``size[1]``.

    Returns:
        bool (H, W).

    Raises:
        BadImage, BadFile: It is not a readable image or array.
        BadMask: It is not a mask, or has another size.
    """
    mask = read_mask(path, max_pixels=limit_of_size(size, max_pixels))
    if mask.shape != tuple(size[:2]):
        raise BadMask(
            f"{path} is {mask.shape[1]} x {mask.shape[0]}, but its image is {size[1]} x {size[0]}; "
            "a mask must have the size of its image."
        )
    return mask


def mask_names(stem: str) -> Iterator[str]:
    """Yield the names that a mask may have, the likeliest first; extensions in either case."""
    for suffix in MASK_SUFFIXES:
        yield stem + suffix
        yield stem + suffix.upper()


def find_mask(stem: Path) -> Path | None:
    """Find the mask file of a path without extension; None if there is none.

    Of several files the first in the order of MASK_SUFFIXES is used; a warning names the others.
    """
    paths = [path for path in map(stem.with_name, mask_names(stem.name)) if path.is_file()]
    others = [path.name for path in paths[1:] if path.suffix.lower() not in FOREIGN_SUFFIXES]
    # Where case does not matter, one file is found under two names.
    others = [name for name in others if name.lower() != paths[0].name.lower()]
    if others:
        _warn_of_others(paths[0], ", ".join(others))
    return paths[0] if paths else None


@functools.cache  # several stages look for the same mask: one warning is enough
def _warn_of_others(used: Path, others: str) -> None:
    logger.warning("%s is used as the mask, not %s beside it", used, others)


def as_mask(values: Any, name: str) -> np.ndarray:
    """Convert an array to a mask, checking its values.

    Args:
        values: (H, W), bool or numbers with at most two different values.
        name: Its name in messages.

    Returns:
        bool (H, W); of two numbers the higher one is True.

    Raises:
        BadMask: It holds more than two values, such as probabilities or classes, or is not (H, W).
    """
    array = np.asarray(values)
    if array.ndim != 2:
        raise BadMask(f"{name} has shape {array.shape}; expected a mask (H, W).")
    if array.dtype == np.bool_:
        return array
    if array.dtype.kind not in "iuf":
        raise BadMask(f"{name} is of type {array.dtype}; expected bool or two numbers.")
    return split_values(Samples(array, exact=True), name)


def _samples_of(image: Image.Image) -> Samples:
    """Choose which part of a decoded image is the mask: alpha, palette indices or color."""
    alpha = _varying_alpha(image)
    if alpha is not None:
        return Samples(_drawn_on_clear(image, alpha))
    if image.mode == "P":
        return _palette_samples(image)
    if image.mode in ("1", "L", "F") or image.mode.startswith("I"):
        return Samples(np.asarray(image))
    colors = np.asarray(image.convert("RGB"))
    if np.ptp(colors, axis=2).max() <= GRAY_SPREAD:
        return Samples(np.asarray(image.convert("L")))
    return Samples(colors)


def _varying_alpha(image: Image.Image) -> np.ndarray | None:
    """Return alpha as uint8 (H, W) if it varies, or if it is clear everywhere (an empty mask)."""
    if not has_alpha(image) or image.mode.startswith("I"):
        return None
    alpha = np.asarray(image.convert("RGBA"))[:, :, 3]
    if alpha.min() == alpha.max() > 0 or alpha.min() >= CLEAR_BELOW:
        return None
    return alpha


def _drawn_on_clear(image: Image.Image, alpha: np.ndarray) -> np.ndarray:
    """Find what an image with varying alpha (H, W) marks: uint8 (H, W).

    A black and white mask keeps its meaning if its border is transparent, as after a rotation.
    """
    gray = np.asarray(image.convert("RGBA").convert("L"))
    opaque = gray[alpha >= CLEAR_BELOW]
    is_white = opaque >= 255 - NEAR
    if is_white.any() and not is_white.all() and (is_white | (opaque <= NEAR)).all():
        return np.where(alpha >= CLEAR_BELOW, gray, 0).astype(np.uint8)
    return alpha


def _palette_samples(image: Image.Image) -> Samples:
    """Return the indices of a palette image, or its grays if it uses only different grays.

    Programs that reduce a black and white image to a palette may put either color first, so the
    gray values count; a palette of colors belongs to numbered classes.
    """
    indices = np.asarray(image)
    palette = np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    used = np.unique(indices)
    if used.max() >= len(palette):
        return Samples(indices, exact=True)
    colors = palette[used]
    is_gray = (colors == colors[:, :1]).all()
    if is_gray and len(np.unique(colors[:, 0])) == len(used):
        return Samples(palette[indices][:, :, 0])
    black = [index for index, color in zip(used, colors) if not color.any()]
    if len(used) == 2 and len(black) == 1:
        return Samples(indices != black[0], exact=True)
    return Samples(indices, exact=True)

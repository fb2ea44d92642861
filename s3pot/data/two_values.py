"""Telling the two values of a mask apart: which pixels belong to it, and what is only noise.

``masks.py`` chooses the values of a file; its rules 3 and 4 are applied here.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from s3pot.types import S3potError

LISTED_VALUES = 8  # number of values that an error lists
BLACK_BELOW = 32  # a color whose channels are all below this counts as black
GRAY_SPREAD = 24  # channels of a gray differ by at most this
# Values that are noise around two values. The two are at least this far apart (in [0, 255]) ...
LEAST_CONTRAST = 24
# ... no other value fills a patch of 3 x 3: that would be a third class ...
PATCH = 3
# ... except values this close to one of the two, if that is black or white, where noise is clipped,
# or if the file's format adds noise or there are too many values for classes this close ...
NEAR = 8
MOST_CLASSES = 32
# ... a pixel farther from both than this share of their distance counts as in between ...
IN_BETWEEN = 0.25
# ... and such pixels are few and form lines, not patches of 3 x 3.
MOST_IN_BETWEEN = 0.05
JPEG_QUALITIES = (74, 75, 80, 85, 88, 90)  # qualities at which a mask of 0 and 1 changes
_LUMA = np.array([0.299, 0.587, 0.114])  # the channel that JPEG keeps at full resolution


class BadMask(S3potError, ValueError):
    """Values that do not form a mask; the message lists them."""


@dataclass(frozen=True, eq=False)
class Samples:
    """The values of a mask file.

    Attributes:
        values: (H, W), or (H, W, 3) if they are colors.
        exact: Whether they are indices or otherwise free of noise, so that every further value is a
            class.
        lossy: Whether they come from a format that adds noise.
    """

    values: np.ndarray
    exact: bool = False
    lossy: bool = False


def split_values(samples: Samples, name: str) -> np.ndarray:
    """Separate the two values of a mask; bool (H, W)."""
    values = samples.values
    if values.dtype == np.bool_:
        return np.asarray(values)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise BadMask(f"{name} holds values that are not finite numbers.")
    if values.size == 0:
        raise BadMask(f"{name} is empty: its shape is {values.shape}.")
    distinct = _distinct(values)
    if len(distinct) == 1:
        return _single(values, distinct[0], name)
    if len(distinct) == 2:
        low, high = _ordered(distinct[0], distinct[1], name)
        return _equals(values, high)
    if samples.exact:
        raise _too_many(distinct, name)
    return _split_noisy(values, distinct, samples.lossy, name)


def _distinct(values: np.ndarray) -> np.ndarray:
    """Return the distinct values, sorted: (N,), or (N, 3) for colors."""
    if values.ndim == 2:
        return np.unique(values)
    packed = values.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    codes = np.unique(packed)
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.uint8)


def _equals(values: np.ndarray, value: np.ndarray) -> np.ndarray:
    same = values == value
    return np.asarray(same if same.ndim == 2 else same.all(axis=2))


def _single(values: np.ndarray, value: np.ndarray, name: str) -> np.ndarray:
    """Interpret a mask with one value: empty for 0, full for 1 or white, otherwise undecidable."""
    level = int(value.min()) if value.ndim else value
    if level == 0 and not value.any():
        return np.zeros(values.shape[:2], dtype=bool)
    white = {1, 255, 65535}
    if (value == level).all() and level in white:
        return np.ones(values.shape[:2], dtype=bool)
    raise BadMask(
        f"{name} holds the one value {_shown(value)} everywhere, which may be full or empty. "
        "Write 0 for an empty mask, 1 or 255 for a full one."
    )


def _ordered(first: np.ndarray, second: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Order two values: outside the mask, then inside; of two colors, black is outside."""
    if first.ndim == 0:
        lower, higher = sorted((first, second))
        return (higher, lower) if higher == 0 else (lower, higher)
    for outside, inside in ((first, second), (second, first)):
        if outside.max() < BLACK_BELOW <= inside.max():
            return outside, inside
    if max(np.ptp(first.astype(int)), np.ptp(second.astype(int))) <= GRAY_SPREAD:
        darker = first.astype(int).sum() < second.astype(int).sum()
        return (first, second) if darker else (second, first)
    raise BadMask(
        f"{name} holds the colors {_shown(first)} and {_shown(second)}, and neither is black, so "
        "it is unclear which of them is the mask. Save it as black and white."
    )


def _split_noisy(values: np.ndarray, distinct: np.ndarray, lossy: bool, name: str) -> np.ndarray:
    """Split values that scatter around two; BadMask if they scatter around more."""
    if values.dtype.kind == "f" and 0 <= values.min() and values.max() <= 1:
        values = values * 255  # the unit of the limits
    levels = values.astype(np.float64)
    if values.ndim == 3:
        levels = levels @ _LUMA
    low, high = _two_levels(levels)
    to_low = np.abs(levels - low)
    to_high = np.abs(levels - high)
    in_between = np.minimum(to_low, to_high) > IN_BETWEEN * (high - low)
    is_noise = (
        high - low >= _least_contrast(values)
        and not _has_third_class(values, count=len(distinct), lossy=lossy)
        and not (len(distinct) == 3 and in_between.any())
        and in_between.mean() <= MOST_IN_BETWEEN
        and not _holds_patch(in_between)
    )
    if not is_noise:
        raise _too_many(distinct, name)
    is_high = np.asarray(to_high < to_low)
    if values.ndim == 2:
        return is_high
    low_color = values[~is_high].mean(axis=0).round().astype(np.uint8)
    high_color = values[is_high].mean(axis=0).round().astype(np.uint8)
    _, inside = _ordered(low_color, high_color, name)
    return is_high if inside is high_color else ~is_high


def _two_levels(levels: np.ndarray) -> tuple[float, float]:
    """Find the two levels near most values, the lower one first: 2-means from the modes."""
    distinct, counts = np.unique(levels, return_counts=True)
    first = distinct[counts.argmax()]
    distance = np.abs(distinct - first)
    is_far = distance > distance.max() / 2
    second = distinct[is_far][counts[is_far].argmax()]
    for _ in range(3):
        nearer = np.abs(distinct - first) <= np.abs(distinct - second)
        first = np.average(distinct[nearer], weights=counts[nearer])
        second = np.average(distinct[~nearer], weights=counts[~nearer])
    return min(float(first), float(second)), max(float(first), float(second))


def _has_third_class(values: np.ndarray, count: int, lossy: bool) -> bool:
    """Whether patches are filled by a value other than the two that fill most patches.

    Args:
        values: (H, W) or (H, W, 3).
        count: The number of different values.
        lossy: Whether they come from a format that adds noise.
    """
    kernel = np.ones((PATCH, PATCH), np.uint8)
    channels = values.reshape(*values.shape[:2], -1).astype(np.float64)
    flat = np.ones(values.shape[:2], dtype=bool)
    for channel in np.moveaxis(channels, 2, 0):
        flat &= cv2.erode(channel, kernel) == cv2.dilate(channel, kernel)
    if not flat.any():
        return False
    distinct, counts = np.unique(channels[flat], axis=0, return_counts=True)
    by_size = distinct[counts.argsort()[::-1]]
    is_far = np.abs(by_size - by_size[0]).max(axis=1) > NEAR
    main = np.concatenate([by_size[:1], by_size[is_far][:1]])
    for value in by_size:
        distance = np.abs(main - value).max(axis=1).min()
        is_cut_off = count > 3 and bool(np.isin(value, (0, 255)).all())
        is_noise = lossy or count > MOST_CLASSES or is_cut_off
        if distance > NEAR or (distance > 0 and not is_noise):
            return True
    return False


def _holds_patch(mask: np.ndarray) -> bool:
    """Whether a mask is set everywhere in some patch."""
    kernel = np.ones((PATCH, PATCH), np.uint8)
    return bool(cv2.erode(mask.astype(np.uint8), kernel, borderValue=0).any())


def _least_contrast(values: np.ndarray) -> float:
    """Minimum distance of two values for others to count as noise: class numbers are closer."""
    highest = float(values.max())
    if values.dtype.kind in "iu" and highest <= 255:
        return LEAST_CONTRAST
    return highest * LEAST_CONTRAST / 255


def refuse_faint(values: np.ndarray, mask: np.ndarray, name: str) -> None:
    """Refuse a JPEG of 0 and 1 or the like: JPEG does not preserve such low contrast."""
    if values.ndim != 2 or not mask.any() or mask.all():
        return
    if float(values[mask].mean()) - float(values[~mask].mean()) < LEAST_CONTRAST:
        raise BadMask(
            f"{name} is a JPEG with values from {values.min()} to {values.max()}; JPEG does not "
            "preserve such low contrast. Save the mask as PNG, or with the values 0 and 255."
        )


def looks_like_faint_jpeg(values: np.ndarray, mask: np.ndarray) -> bool:
    """Whether a mask with low values was damaged by JPEG before it was saved again.

    Compressing it once more then changes nothing, while it changes an undamaged outline.
    """
    if values.ndim != 2 or values.dtype.kind not in "iu" or int(values.max()) >= NEAR:
        return False
    if mask.all() or not mask.any():
        return False
    pixels = values.astype(np.uint8)
    for quality in JPEG_QUALITIES:
        encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        again = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
        if again is not None and np.array_equal(again, pixels):
            return True
    return False


def _too_many(distinct: np.ndarray, name: str) -> BadMask:
    listed = ", ".join(_shown(value) for value in distinct[:LISTED_VALUES])
    more = ", ..." if len(distinct) > LISTED_VALUES else ""
    return BadMask(
        f"{name} is not a mask: it holds {len(distinct)} values ({listed}{more}); expected two. "
        "Save a comparison instead: (classes == wanted) or (values > 0.5)."
    )


def _shown(value: np.ndarray) -> str:
    if value.ndim == 0:
        return f"{value.item():g}" if value.dtype.kind == "f" else str(value.item())
    return f"({', '.join(str(int(channel)) for channel in value)})"

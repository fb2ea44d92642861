"""The warp between a photo and its working image: the crop, and the way back.

Points in the photo frame name pixel centres by integers, as landmark detectors do. A working image
of S pixels spans the quad: the centre of its pixel i lies at (i + 0.5) / S of the quad's side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from s3pot.types import S3potError

BORDERS = ("reflect", "black")

Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]


@dataclass(frozen=True)
class Alignment:
    """Where a working image lies in its photo (upright, after EXIF).

    Attributes:
        quad: Corners in the photo frame, x, y: top left, bottom left, bottom right, top right.
        size: Height and width of the working image.
        photo_size: Height and width of the photo.
        shrink: The photo is reduced by this integer before it is cropped.
        borders: What lies outside the photo: ``reflect`` or ``black``.
        score: Detector confidence; None without a detected face.
    """

    quad: Quad
    size: tuple[int, int]
    photo_size: tuple[int, int]
    shrink: int = 1
    borders: str = "reflect"
    score: float | None = None

    def __post_init__(self) -> None:
        """Check what a file or a caller may get wrong."""
        if self.borders not in BORDERS:
            raise S3potError(f"borders is {self.borders!r}; expected one of {', '.join(BORDERS)}")
        if min(*self.size, *self.photo_size, self.shrink) < 1:
            raise S3potError(f"sizes and shrink must be at least 1, found {self}")
        if not np.isfinite(self.corners).all() or self.side == 0:
            raise S3potError(f"the quad of an alignment must span a square, found {self.quad}")

    @property
    def corners(self) -> np.ndarray:
        """The quad as float64 (4, 2)."""
        return np.array(self.quad, dtype=np.float64)

    @property
    def side(self) -> float:
        """Length of the quad's upper edge in photo pixels."""
        return float(np.linalg.norm(self.corners[3] - self.corners[0]))

    @property
    def is_whole(self) -> bool:
        """Whether the working image is the whole photo."""
        return np.array_equal(self.corners, picture_corners(self.photo_size))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "quad": [list(corner) for corner in self.quad]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Alignment:
        """Read what `to_dict` gave; other keys are ignored.

        Raises:
            S3potError: if a value is missing or of another kind.
        """
        try:
            corners = np.array(values["quad"], dtype=np.float64).reshape(4, 2)
            score = values["score"]
            return cls(
                quad=as_quad(corners),
                size=_as_size(values["size"]),
                photo_size=_as_size(values["photo_size"]),
                shrink=int(values["shrink"]),
                borders=str(values["borders"]),
                score=None if score is None else float(score),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise S3potError(
                f"damaged alignment ({type(error).__name__}: {error}); expected quad, size, "
                "photo_size, shrink, borders, score; run generate_reference.py again"
            ) from error


def as_quad(corners: np.ndarray) -> Quad:
    """Plain numbers from corners (4, 2)."""
    first, second, third, fourth = ((float(x), float(y)) for x, y in corners)
    return first, second, third, fourth


def _as_size(values: Any) -> tuple[int, int]:
    height, width = (int(value) for value in values)
    return height, width


def picture_corners(size: tuple[int, int]) -> np.ndarray:
    """The quad (4, 2) that spans a whole picture of this height and width."""
    right, bottom = size[1] - 0.5, size[0] - 0.5
    return np.array([[-0.5, -0.5], [-0.5, bottom], [right, bottom], [right, -0.5]])


def crop(photo: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Cut the working image out of a photo, or a mask or class map out of one that belongs to it.

    Args:
        photo: Picture uint8 (H, W, 3); mask bool (H, W); or class map uint8 (H, W), sampled without
            mixing. Outside the photo masks and maps are 0, whatever the borders.
        alignment: From this photo's size.

    Returns:
        Same kind, (size, size, 3) or (size, size).
    """
    _check_size(photo, alignment)
    size, resample = alignment.size[::-1], _resampling(photo)
    if alignment.is_whole:
        return _resized(photo, alignment.size)
    part, quad = _cut(photo, alignment)
    image = _as_image(part)
    if alignment.shrink > 1 and not _is_map(photo):
        # Release: divides the quad by the integer, half pixel included, which shifts the crop.
        reduced = _as_size(max(1, round(side / alignment.shrink)) for side in image.size)
        quad *= np.array(reduced) / image.size
        image = image.resize(reduced, Image.Resampling.LANCZOS)
    if photo.ndim == 3 and alignment.borders == "reflect":
        image, quad = _reflected(image, quad)
    data = quad.ravel().tolist()
    return _as_array(image.transform(size, Image.Transform.QUAD, data, resample), photo)


def _cut(photo: np.ndarray, alignment: Alignment) -> tuple[np.ndarray, np.ndarray]:
    """Keep what the crop needs of a photo; the quad in it, counted from the corner of a pixel."""
    border = max(round(0.1 * alignment.side), 3)
    step = alignment.shrink  # whole cells of the reduced photo
    limit = np.array(alignment.photo_size[::-1])
    low = np.floor((alignment.corners.min(axis=0) - border) / step).astype(int) * step
    high = np.ceil((alignment.corners.max(axis=0) + border) / step).astype(int) * step
    start = np.clip(low, 0, limit - 1)
    stop = np.clip(high, start + 1, limit)
    part = photo[start[1] : stop[1], start[0] : stop[0]]
    return part, alignment.corners + 0.5 - start


def _reflected(image: Image.Image, quad: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """Mirror a picture where the quad leaves it, fading to a blur and then to the median colour.

    As in FFHQ, but the picture's own pixels stay as they are. Returns it with the quad in it.
    """
    before = np.maximum(3 - np.floor(quad.min(axis=0)), 0).astype(int)
    after = np.maximum(np.ceil(quad.max(axis=0)) + 3 - image.size, 0).astype(int)
    if not before.any() and not after.any():
        return image, quad
    inside = np.asarray(image)
    side = float(np.hypot(*(quad[3] - quad[0])))
    padding = [(before[1], after[1]), (before[0], after[0]), (0, 0)]
    mirrored = np.pad(inside, padding, mode="reflect")
    rows = _outside(inside.shape[0], before[1], after[1])
    columns = _outside(inside.shape[1], before[0], after[0])
    reach = max(before.max(), after.max(), 0.3 * side)
    share = np.maximum(rows[:, None], columns[None, :])[..., None] / np.float32(reach)
    blurred = np.asarray(Image.fromarray(mirrored).filter(ImageFilter.GaussianBlur(0.02 * side)))
    mixed = mirrored + (blurred - mirrored.astype(np.float32)) * np.minimum(3 * share, 1)
    mixed += (np.median(inside, axis=(0, 1)).astype(np.float32) - mixed) * share
    return Image.fromarray(mixed.round().astype(np.uint8)), quad + before


def _outside(length: int, before: int, after: int) -> np.ndarray:
    """Distance of each of before + length + after cells to the inner run, float32."""
    index = np.arange(-before, length + after)
    return np.maximum(np.maximum(-index, index - length + 1), 0).astype(np.float32)


def inverse_coefficients(quad: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    """Solve for the perspective map from the photo to a working image.

    Args:
        quad: (4, 2), photo frame.
        size: Height and width of the working image.

    Returns:
        The 8 coefficients that PIL's ``PERSPECTIVE`` takes, float64.
    """
    height, width = size
    targets = np.array([[0, 0], [0, height], [width, height], [width, 0]], dtype=np.float64)
    rows = []
    for (x, y), (u, v) in zip(quad + 0.5, targets):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    return np.asarray(np.linalg.lstsq(np.array(rows), targets.ravel(), rcond=None)[0])


def to_photo(
    working: np.ndarray,
    alignment: Alignment,
    photo: np.ndarray | None = None,
    feather: float = 0.05,
    antialias: bool = True,
) -> np.ndarray:
    """Bring a working image, mask or class map back to the photo frame.

    Args:
        working: Picture uint8 (h, w, 3); mask bool (h, w); or class map uint8 (h, w). It spans the
            quad at whatever size it has.
        alignment: Where it came from.
        photo: A picture is laid over this uint8 (H, W, 3); None means over black.
        feather: A picture fades in over this share of its side; 0 gives a hard edge.
        antialias: Average pixels that fall together in the photo. Release: does not.

    Returns:
        Same kind in the photo's size; masks and maps are 0 outside the crop.
    """
    result = _canvas(working, alignment, photo)
    if alignment.is_whole:
        return _resized(working, alignment.photo_size)
    image = _as_image(working)
    if working.ndim == 3:
        image.putalpha(_alpha(image.size, feather))
    limit = np.array(image.size, dtype=np.float64)
    factor = int(limit.min() / alignment.side) if antialias else 1
    if factor > 1 and not _is_map(working):
        image, limit = image.reduce(factor), limit / factor
    photo_limit = alignment.photo_size[::-1]
    low = np.clip(np.floor(alignment.corners.min(axis=0)).astype(int) - 1, 0, photo_limit)
    high = np.clip(np.ceil(alignment.corners.max(axis=0)).astype(int) + 2, 0, photo_limit)
    if (high <= low).any():
        return result
    data = inverse_coefficients(alignment.corners - low, (limit[1], limit[0])).tolist()
    box = (int(high[0] - low[0]), int(high[1] - low[1]))
    moved = image.transform(box, Image.Transform.PERSPECTIVE, data, _resampling(working))
    target = result[low[1] : high[1], low[0] : high[0]]
    if working.ndim == 3:
        under = Image.fromarray(target)
        under.paste(moved, (0, 0), mask=moved)
        target[:] = np.asarray(under)
    else:
        target[:] = _as_array(moved, working)
    return result


def _canvas(working: np.ndarray, alignment: Alignment, photo: np.ndarray | None) -> np.ndarray:
    """What the working image is laid on: a copy of the photo under a picture, else zeros."""
    if photo is not None:
        _check_size(photo, alignment)
        if working.ndim == 3:
            return photo.copy()
    return np.zeros((*alignment.photo_size, *working.shape[2:]), working.dtype)


def _check_size(photo: np.ndarray, alignment: Alignment) -> None:
    if photo.shape[:2] != alignment.photo_size:
        raise S3potError(
            f"the photo is {photo.shape[:2]} (height, width), the alignment was made for "
            f"{alignment.photo_size}; expected the same upright photo"
        )


def _alpha(size: tuple[int, int], feather: float) -> Image.Image:
    """Opacity that rises from the border to full over `feather` of the shorter side."""
    width, height = size
    columns = np.minimum(np.arange(width), np.arange(width)[::-1]) + 0.5
    rows = np.minimum(np.arange(height), np.arange(height)[::-1]) + 0.5
    distance = np.minimum(rows[:, None], columns[None, :])
    share = distance / max(feather * min(size), 0.5)
    return Image.fromarray((share.clip(0, 1) * 255).round().astype(np.uint8))


def _resized(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A copy of a picture, mask or class map at this height and width."""
    if array.shape[:2] == size:
        return array.copy()
    return _as_array(_as_image(array).resize(size[::-1], _resampling(array)), array)


def _is_map(array: np.ndarray) -> bool:
    """Whether pixels are class numbers, not to be mixed."""
    return array.ndim == 2 and array.dtype != np.bool_


def _resampling(array: np.ndarray) -> Image.Resampling:
    return Image.Resampling.NEAREST if _is_map(array) else Image.Resampling.BILINEAR


def _as_image(array: np.ndarray) -> Image.Image:
    pixels = array.astype(np.uint8) * 255 if array.dtype == np.bool_ else array
    return Image.fromarray(np.ascontiguousarray(pixels))


def _as_array(image: Image.Image, like: np.ndarray) -> np.ndarray:
    """The pixels as the kind of `like`; a mixed mask holds where it is at least half full."""
    pixels = np.array(image)
    return pixels >= 128 if like.dtype == np.bool_ else pixels

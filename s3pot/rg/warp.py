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
    """Where a working image lies in its photo (upright, after EXIF); ``S3potError`` if nowhere.

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
        positive = min(*self.size, *self.photo_size, self.shrink) >= 1
        if not positive or not np.isfinite(self.corners).all() or self.side == 0:
            raise S3potError(f"expected a quad that spans a square and sizes of 1 up, found {self}")

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
        """Read what `to_dict` gave; other keys are ignored; ``S3potError`` if it is damaged."""
        try:
            (height, width), photo_size, score = values["size"], values["photo_size"], values["score"]
            return cls(
                as_quad(np.array(values["quad"], dtype=np.float64).reshape(4, 2)),
                (int(height), int(width)),
                (int(photo_size[0]), int(photo_size[1])),
                int(values["shrink"]),
                str(values["borders"]),
                None if score is None else float(score),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise S3potError(
                f"damaged alignment ({type(error).__name__}: {error}); expected quad, size, "
                "photo_size, shrink, borders, score; run generate_reference.py again"
            ) from error


def as_quad(corners: np.ndarray) -> Quad:
    """Plain numbers from corners (4, 2)."""
    first, second, third, fourth = ((float(x), float(y)) for x, y in corners)
    return first, second, third, fourth


def picture_corners(size: tuple[int, int]) -> np.ndarray:
    """The quad (4, 2) that spans a whole picture of this height and width."""
    right, bottom = size[1] - 0.5, size[0] - 0.5
    return np.array([[-0.5, -0.5], [-0.5, bottom], [right, bottom], [right, -0.5]])


def crop(photo: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Cut the working image out of a photo, or a mask out of one that belongs to it.

    Args:
        photo: Picture uint8 (H, W, 3) or mask bool (H, W); outside the photo masks are empty.
        alignment: From this photo's size.

    Returns:
        Same kind, (size, size, 3) or (size, size).
    """
    _check_size(photo, alignment)
    if alignment.is_whole:
        return _resized(photo, alignment.size)
    # Keep what the crop needs of the photo, in whole cells of the reduced one.
    border, step = max(round(0.1 * alignment.side), 3), alignment.shrink
    limit, corners = np.array(alignment.photo_size[::-1]), alignment.corners
    low = np.floor((corners.min(axis=0) - border) / step).astype(int) * step
    high = np.ceil((corners.max(axis=0) + border) / step).astype(int) * step
    start = np.clip(low, 0, limit - 1)
    stop = np.clip(high, start + 1, limit)
    image = _as_image(photo[start[1] : stop[1], start[0] : stop[0]])
    quad = corners + 0.5 - start  # counted from the corner of a pixel
    if step > 1:
        # Release: divides the quad by the integer, half pixel included, which shifts the crop.
        width, height = (max(1, round(side / step)) for side in image.size)
        quad *= np.array([width, height]) / image.size
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    if photo.ndim == 3 and alignment.borders == "reflect":
        image, quad = _reflected(image, quad)
    return _as_array(_moved(image, alignment.size, Image.Transform.QUAD, quad), photo)


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
    rows, columns = (
        np.maximum(np.arange(-first, 0)...)
    )

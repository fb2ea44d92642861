"""Where a working image lies in its photo."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from s3pot.types import S3potError

BORDERS = ("reflect", "black")


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

    quad: tuple[tuple[float, float], ...]
    size: tuple[int, int]
    photo_size: tuple[int, int]
    shrink: int = 1
    borders: str = "reflect"
    score: float | None = None

    def __post_init__(self) -> None:
        """Check what a file or a caller may get wrong."""
        known = self.borders in BORDERS and min(*self.size, *self.photo_size, self.shrink) >= 1
        if not (known and np.isfinite(self.corners).all() and self.side):
            wanted = f"a quad that spans a square, sizes of 1 up, borders one of {BORDERS}"
            raise S3potError(f"expected {wanted}, found {self}")

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

    @classmethod
    def read(cls, path: Path) -> Alignment:
        """Read the fields from a JSON file that may hold more; ``S3potError`` if it is damaged."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            own = {entry.name: values[entry.name] for entry in fields(cls)}
            own["quad"] = as_quad(np.reshape(values["quad"], (4, 2)))
            own.update({key: tuple(map(int, values[key])) for key in ("size", "photo_size")})
            own["score"] = None if own["score"] is None else float(own["score"])
            return cls(**own)
        except (OSError, KeyError, TypeError, ValueError) as error:
            found = f"{path} is no alignment ({error!r})"
            raise S3potError(f"{found}; run generate_reference.py again") from error


def as_quad(corners: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Plain numbers from corners (4, 2)."""
    return tuple((float(x), float(y)) for x, y in corners)


def picture_corners(size: tuple[int, int]) -> np.ndarray:
    """The quad (4, 2) that spans a whole picture of this height and width."""
    right, bottom = size[1] - 0.5, size[0] - 0.5
    return np.array([[-0.5, -0.5], [-0.5, bottom], [right, bottom], [right, -0.5]])

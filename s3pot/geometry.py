"""The position of a working image in its photo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3pot.io import BadFile, read_json
from s3pot.types import S3potError
from s3pot.wording import reason_of

BORDERS = ("reflect", "black")
TURNS = (0, 90, 180, 270)
MOST_PIXELS = 1_000_000_000  # of the largest photo or working image that a file may declare


@dataclass(frozen=True)
class Alignment:
    """The position of a working image in its photo, after EXIF orientation.

    Attributes:
        quad: Corners of the working image in the photo frame, x, y: top left, bottom left, bottom
            right, top right.
        size: Height and width of the working image.
        photo_size: Height and width of the photo.
        shrink: Integer factor by which the photo is reduced before it is cropped.
        borders: What fills the crop outside the photo: ``reflect`` or ``black``.
        score: Detector confidence in [0, 1]; None if no face was detected.
        turn: Counterclockwise rotation of the photo, in degrees, that makes the face in it upright:
            0, 90, 180 or 270. The quad includes it.

    Raises:
        S3potError: The values describe no crop.
    """

    quad: tuple[tuple[float, float], ...]
    size: tuple[int, int]
    photo_size: tuple[int, int]
    shrink: int = 1
    borders: str = "reflect"
    score: float | None = None
    turn: int = 0

    def __post_init__(self) -> None:
        """Check the values, which a file or a caller may have wrong."""
        if self.borders not in BORDERS:
            raise S3potError(
                f"The borders of an alignment are {self.borders!r}; "
                f"they must be one of {', '.join(BORDERS)}."
            )
        if self.turn not in TURNS:
            raise S3potError(f"The turn of an alignment is {self.turn}; it must be one of {TURNS}.")
        if min(*self.size, *self.photo_size, self.shrink) < 1:
            raise S3potError(f"The sizes and the shrink of an alignment start at 1; found {self}.")
        if not np.isfinite(self.corners).all() or self.side == 0:
            raise S3potError(f"The quad of an alignment must span a square; found {self}.")

    @property
    def corners(self) -> np.ndarray:
        """The quad as float64 (4, 2), x, y."""
        return np.array(self.quad, dtype=np.float64)

    @property
    def side(self) -> float:
        """Length of the quad's upper edge in photo pixels."""
        return float(np.linalg.norm(self.corners[3] - self.corners[0]))

    @property
    def is_whole(self) -> bool:
        """Whether the working image is the whole photo, unchanged."""
        return np.array_equal(self.corners, image_corners(self.photo_size))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as ``<stem>_align.json`` holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Alignment:
        """Read what ``to_dict`` returned; additional keys are ignored.

        Raises:
            S3potError: The values do not describe a crop.
            LookupError, TypeError, ValueError, ArithmeticError: A value is missing or has the wrong
                type.
        """
        height, width = values["size"]
        photo_height, photo_width = values["photo_size"]
        score = values["score"]
        if max(height * width, photo_height * photo_width) > MOST_PIXELS:
            raise ValueError(f"more than {MOST_PIXELS:,} pixels")
        return cls(
            quad=as_quad(np.reshape(values["quad"], (4, 2))),
            size=(int(height), int(width)),
            photo_size=(int(photo_height), int(photo_width)),
            shrink=int(values["shrink"]),
            borders=values["borders"],
            score=None if score is None else float(score),
            turn=int(values.get("turn", 0)),  # files of version 0.1 do not have it
        )

    @classmethod
    def read(cls, path: Path) -> Alignment:
        """Read ``<stem>_align.json``, which may contain more than the alignment.

        Raises:
            BadFile: The file is missing or does not contain an alignment.
        """
        values = read_json(path)
        try:
            return cls.from_dict(values)
        except (LookupError, TypeError, ValueError, ArithmeticError, S3potError) as error:
            raise BadFile(
                f"{path} is not an alignment ({reason_of(error)}). "
                "Run generate_reference.py again to write it."
            ) from error


def as_quad(corners: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Convert corners, (4, 2), to plain numbers."""
    return tuple((float(x), float(y)) for x, y in corners)


def image_corners(size: tuple[int, int]) -> np.ndarray:
    """Return the quad, float64 (4, 2), that spans a whole image of this height and width."""
    height, width = size
    top, left = -0.5, -0.5
    bottom, right = height - 0.5, width - 0.5
    return np.array([[left, top], [left, bottom], [right, bottom], [right, top]])


def rotated_points(points: np.ndarray, turn: int, size: tuple[int, int]) -> np.ndarray:
    """Map points of an image to the image rotated by a multiple of 90 degrees.

    Args:
        points: x, y of pixel centers, (N, 2), before the rotation.
        turn: Degrees, counterclockwise: one of TURNS.
        size: Height and width of the image before the rotation.

    Returns:
        The same positions in ``np.rot90(image, turn // 90)``, (N, 2).
    """
    height, width = size
    x, y = points[:, 0], points[:, 1]
    if turn == 90:
        x, y = y, width - 1 - x
    elif turn == 180:
        x, y = width - 1 - x, height - 1 - y
    elif turn == 270:
        x, y = height - 1 - y, x
    return np.stack([x, y], axis=1)

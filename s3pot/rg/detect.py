"""Detection of faces and landmarks in a photo (YuNet)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from s3pot.geometry import rotated_points
from s3pot.types import S3potError
from s3pot.weights.registry import command_text

# Longest side in pixels at which the photo is searched, in this order, until a face is found. YuNet
# detects faces of roughly 10 to 300 px, so 320 is for faces that fill the photo, 1280 for small
# ones.
SEARCH_SIDES = (640, 320, 1280)


class NoFace(S3potError):
    """No face was found in a photo that does not look aligned."""


@dataclass(frozen=True, eq=False)
class Face:
    """One detected face, photo frame.

    Attributes:
        box: x, y, width, height in pixels; it may extend beyond the photo.
        score: Detector confidence in [0, 1].
        landmarks: (5, 2) float64, x, y: eye, eye, nose tip, mouth corner, mouth corner; of each
            pair, the subject's right one comes first, which is on the left in the image.
        is_confirmed: Whether the parser confirmed the detection and refined its landmarks.
    """

    box: tuple[float, ...]
    score: float
    landmarks: np.ndarray
    is_confirmed: bool = False

    def rotated(self, turn: int, size: tuple[int, int]) -> Face:
        """Return the face in the frame of its photo rotated by a multiple of 90 degrees.

        Args:
            turn: Degrees, counterclockwise, as in ``s3pot.geometry.rotated_points``.
            size: Height and width of the photo before the rotation.
        """
        x, y, width, height = self.box
        corners = rotated_points(np.array([[x, y], [x + width, y + height]]), turn, size)
        low, high = corners.min(axis=0), corners.max(axis=0)
        landmarks = rotated_points(self.landmarks, turn, size)
        return replace(self, box=(*low, *(high - low)), landmarks=landmarks)


class Detector(Protocol):
    """The interface that alignment expects of a face detector.

    Attributes:
        sure_score: Score of a face in its own aligned crop from which on it is certainly upright;
            below it, rotated copies of the photo are searched as well. 0 for a detector that finds
            the landmarks of a face in any orientation.
        likely_score: Minimum score in the aligned crop for a rotated photo to be accepted.
    """

    sure_score: float
    likely_score: float

    def detect(self, image: np.ndarray) -> list[Face]:
        """Detect the faces of a photo, uint8 RGB (H, W, 3), largest first."""


@contextmanager
def _without_opencv_warnings() -> Iterator[None]:
    """Silence OpenCV 5's warning that its new engine takes no target, which is not set here."""
    if not hasattr(cv2.utils, "logging"):  # an early OpenCV 4
        yield
        return
    level_before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level_before)


class FaceDetector:
    """YuNet, run by OpenCV.

    Args:
        model_path: Its ONNX file.
        min_score: Faces with a lower score are dropped.

    Raises:
        S3potError: The file is missing or is not a YuNet model.
    """

    sure_score: float = 0.92
    likely_score: float = 0.85

    def __init__(self, model_path: str | Path, min_score: float = 0.6) -> None:
        try:
            with _without_opencv_warnings():
                network = cv2.FaceDetectorYN.create(str(model_path), "", (320, 320), min_score)
        except cv2.error as error:
            command = command_text("download yunet", Path(model_path).parent)
            raise S3potError(
                f"{model_path} is missing, or not a YuNet model that OpenCV {cv2.__version__} can "
                f"read. Move it away, then run: {command}. Or set align.mode=never to use photos "
                "as they are."
            ) from error
        self._network: Any = network

    def detect(self, image: np.ndarray) -> list[Face]:
        """Detect the faces of a photo of any size, uint8 RGB (H, W, 3).

        Returns:
            Faces in the photo frame, largest first; empty if there is none.
        """
        longest = max(image.shape[:2])
        for side in SEARCH_SIDES:
            if side != SEARCH_SIDES[0] and side > longest:
                continue  # enlarging it a second time finds nothing new
            faces = self._search(image, side / longest)
            if faces:
                return sorted(faces, key=lambda face: -face.box[2] * face.box[3])
        return []

    def _search(self, image: np.ndarray, scale: float) -> list[Face]:
        """Detect the faces of a photo resized by ``scale``; in the photo frame, in any order."""
        height, width = image.shape[:2]
        new_width = max(1, round(width * scale))
        new_height = max(1, round(height * scale))
        filtering = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(image, (new_width, new_height), interpolation=filtering)
        self._network.setInputSize((new_width, new_height))
        _, detections = self._network.detect(cv2.cvtColor(resized, cv2.COLOR_RGB2BGR))
        if detections is None:
            return []
        # A row holds x, y, width, height, five landmarks x, y, and the score.
        rows = np.asarray(detections, dtype=np.float64)
        rows = rows[np.isfinite(rows).all(axis=1)]
        rows[:, :14] *= np.tile([width / new_width, height / new_height], 7)
        return [
            Face(box=tuple(row[:4]), score=float(row[14]), landmarks=row[4:14].reshape(5, 2))
            for row in rows
        ]

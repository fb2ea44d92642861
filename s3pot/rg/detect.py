"""Faces and landmarks of a photo (YuNet)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3pot.types import S3potError

# Longest side in pixels at which the photo is searched, in this order, until a face is found: YuNet
# sees faces of roughly 10 to 300 px, so 320 is for faces that fill the photo, 1280 for far ones.
SEARCH_SIDES = (640, 320, 1280)


class NoFace(S3potError):
    """No face was found in a photo that does not look aligned either."""


@dataclass(frozen=True)
class Face:
    """One detected face, photo frame.

    Attributes:
        box: x, y, width, height in pixels; may reach beyond the photo.
        score: Detector confidence in [0, 1].
        landmarks: (5, 2) float64, x, y: eye, eye, nose tip, mouth corner, mouth corner; of each
            pair the subject's right one first, which is the left one in the picture.
    """

    box: tuple[float, ...]
    score: float
    landmarks: np.ndarray


class FaceDetector:
    """YuNet from an ONNX file; faces below ``min_score`` are dropped; S3potError if it is none."""

    def __init__(self, model_path: str | Path, min_score: float = 0.6) -> None:
        try:
            network = cv2.FaceDetectorYN.create(str(model_path), "", (320, 320), min_score)
        except cv2.error as error:
            found = f"{model_path} is missing or no YuNet model OpenCV {cv2.__version__} can read"
            cure = "move it away, then: python -m s3pot.weights download yunet"
            raise S3potError(f"{found}; {cure}, or set align.mode=never") from error
        self._network: Any = network

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find the faces of a photo of any size, uint8 RGB (H, W, 3).

        Returns:
            Faces in the photo frame, largest first; empty if there is none.
        """
        for side in SEARCH_SIDES:
            scale = side / max(image.shape[:2])
            # Enlarging a second time finds nothing new.
            faces = self._search(image, scale) if side == SEARCH_SIDES[0] or scale <= 1 else []
            if faces:
                return sorted(faces, key=lambda face: -face.box[2] * face.box[3])
        return []

    def _search(self, image: np.ndarray, scale: float) -> list[Face]:
        height, width = image.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        filtering = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(image, size, interpolation=filtering)
        self._network.setInputSize(size)
        _, found = self._network.detect(cv2.cvtColor(resized, cv2.COLOR_RGB2BGR))
        # A row: x, y, width, height, five landmarks x, y, score.
        rows = np.zeros((0, 15)) if found is None else np.asarray(found, dtype=np.float64)
        rows = rows[np.isfinite(rows).all(axis=1)]
        rows[:, :14] *= np.tile([width / size[0], height / size[1]], 7)
        return [Face(tuple(row[:4]), float(row[14]), row[4:14].reshape(5, 2)) for row in rows]

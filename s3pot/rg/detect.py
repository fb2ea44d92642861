"""Finding faces and five landmarks in a photo with YuNet (OpenCV's ``FaceDetectorYN``)."""

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


@dataclass(frozen=True)
class Face:
    """One detected face, photo frame.

    Attributes:
        box: x, y, width, height in pixels; may reach beyond the photo.
        score: Detector confidence in [0, 1].
        landmarks: (5, 2) float64, x, y: eye, eye, nose tip, mouth corner, mouth corner; of each
            pair the subject's right one first, which is the left one in the picture.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: np.ndarray

    @property
    def area(self) -> float:
        """Box area in square pixels."""
        return self.box[2] * self.box[3]


class FaceDetector:
    """YuNet on photos of any size; the network is built at the first photo."""

    def __init__(self, model_path: str | Path, min_score: float = 0.6) -> None:
        """Remember the model.

        Args:
            model_path: The YuNet ONNX file.
            min_score: Faces below this confidence are dropped; occluded faces score lower.
        """
        self.model_path = Path(model_path)
        self.min_score = min_score
        self._network: Any = None

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find the faces of a photo.

        Args:
            image: uint8 RGB (H, W, 3); large photos are shrunk for the search.

        Returns:
            Faces in the photo frame, largest first; empty if there is none.

        Raises:
            S3potError: if the model file is missing or no YuNet.
        """
        height, width = image.shape[:2]
        for side in SEARCH_SIDES:
            scale = side / max(height, width)
            if side != SEARCH_SIDES[0] and scale > 1:
                continue  # enlarging further finds nothing new
            faces = self._search(image, scale)
            if faces:
                return sorted(faces, key=lambda face: -face.area)
        return []

    def _search(self, image: np.ndarray, scale: float) -> list[Face]:
        """Detect at one scale; the answer is in the photo frame."""
        height, width = image.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        filtering = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(image, size, interpolation=filtering)
        network = self._build()
        network.setInputSize(size)
        _, rows = network.detect(cv2.cvtColor(resized, cv2.COLOR_RGB2BGR))
        # A row: x, y, width, height, five landmarks x, y, score.
        ratio = np.array([width / size[0], height / size[1]])
        faces = []
        for row in [] if rows is None else np.asarray(rows, dtype=np.float64):
            if np.isfinite(row).all():
                corner, extent = row[0:2] * ratio, row[2:4] * ratio
                box = (float(corner[0]), float(corner[1]), float(extent[0]), float(extent[1]))
                faces.append(Face(box, float(row[14]), row[4:14].reshape(5, 2) * ratio))
        return faces

    def _build(self) -> Any:
        if self._network is None:
            if not self.model_path.is_file():
                raise S3potError(
                    f"{self.model_path}: no such file; expected the YuNet face detector "
                    "(python -m s3pot.weights download yunet), or set align.mode=never"
                )
            try:
                self._network = cv2.FaceDetectorYN.create(
                    str(self.model_path), "", (320, 320), self.min_score
                )
            except cv2.error as error:
                raise S3potError(
                    f"{self.model_path}: not a YuNet model OpenCV {cv2.__version__} can read "
                    "(python -m s3pot.weights verify); expected face_detection_yunet_2023mar.onnx"
                ) from error
        return self._network

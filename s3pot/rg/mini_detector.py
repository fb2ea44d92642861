"""The bundled face detector: the same interface as YuNet's, for photos of any size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from s3pot.rg.detect import Face
from s3pot.rg.nets.face_detector import (
    MULTIPLE,
    CellFaces,
    FaceDetectorNet,
    FaceDetectorSize,
)
from s3pot.weights.load import load_strict
from s3pot.weights.locate import mini_path
from s3pot.weights.mini_set import read_mini

# Longest sides in pixels at which a photo is searched. The network knows faces from 10 to 200 px:
# those that fill the photo are found at the first. A photo without a sure face is searched once
# more at FAR_SIDE.
SEARCH_SIDES = (160, 320, 640)
FAR_SIDE = 1280
LARGEST_ENLARGEMENT = 2.0  # enlarging a small photo further shows nothing new
MIN_SCORE = 0.5  # finds below it are no more than hints at a face
HINT_SCORE = 0.2  # and those below this are dropped
MAX_OVERLAP = 0.4  # IoU of two finds above which the less sure one is the same face again


class MiniFaceDetector:
    """Finds faces with the bundled network.

    Args:
        net: In evaluation mode.
        min_score: Faces that it is less sure of are given only as hints, if there are no others.
    """

    sure_score: float = 0.0  # until it is measured for this network, photos are taken as upright
    likely_score: float = 1.0

    def __init__(self, net: FaceDetectorNet, min_score: float = MIN_SCORE) -> None:
        self.net = net
        self.min_score = min_score

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find the faces of a photo of any size, uint8 RGB (H, W, 3).

        Returns:
            Faces in the photo frame, largest first; if none is sure, hints with a score from
            HINT_SCORE to ``min_score``; empty if there is no hint of a face either.
        """
        longest = max(image.shape[:2])
        faces: list[Face] = []
        for side in SEARCH_SIDES:
            if side == SEARCH_SIDES[0] or side / longest <= LARGEST_ENLARGEMENT:
                faces += self.search(image, side / longest)
        best = max((face.score for face in faces), default=0.0)
        if best < self.min_score and longest > SEARCH_SIDES[-1]:
            faces += self.search(image, min(1.0, FAR_SIDE / longest))
        faces = without_repeats(faces)
        sure = [face for face in faces if face.score >= self.min_score]
        return sorted(sure or faces, key=lambda face: -face.box[2] * face.box[3])

    def search(self, image: np.ndarray, scale: float) -> list[Face]:
        """Find faces and hints at faces at one scale, surest first; the image as for `detect`."""
        height, width = image.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        filtering = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(image, size, interpolation=filtering)
        right, below = -size[0] % MULTIPLE, -size[1] % MULTIPLE
        padded = cv2.copyMakeBorder(resized, 0, below, 0, right, cv2.BORDER_REPLICATE)
        faces = self._run(padded)
        ratio = np.array([width / size[0], height / size[1]])
        return without_repeats(
            [
                Face(tuple(box * np.tile(ratio, 2)), float(score), _to_photo(landmarks, ratio))
                for box, score, landmarks in faces
            ]
        )

    @torch.inference_mode()
    def _run(self, image: np.ndarray) -> list[tuple[np.ndarray, float, np.ndarray]]:
        """Look at one picture: boxes, scores and landmarks of the cells that are sure enough."""
        weight = next(self.net.parameters())
        pixels = torch.from_numpy(image).to(weight.device).permute(2, 0, 1)[None]
        cells: CellFaces = self.net(pixels.to(weight.dtype).div(255))
        scores = cells.logits[0].sigmoid()
        sure = torch.nonzero(scores >= min(HINT_SCORE, self.min_score))[:, 0]
        boxes = cells.boxes[0, sure].double().cpu().numpy()
        landmarks = cells.landmarks[0, sure].double().cpu().numpy()
        values = scores[sure].double().cpu().numpy()
        finite = np.isfinite(boxes).all(axis=1) & np.isfinite(landmarks).all(axis=(1, 2))
        return list(zip(boxes[finite], values[finite].tolist(), landmarks[finite]))


def _to_photo(points: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Scale pixel centers from the searched picture to the photo."""
    return (points + 0.5) * ratio - 0.5


def without_repeats(faces: list[Face]) -> list[Face]:
    """Keep the surest of several finds of one face, surest first (non-maximum suppression)."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda found: -found.score):
        if all(_overlap(face, other) <= MAX_OVERLAP for other in kept):
            kept.append(face)
    return kept


def _overlap(face: Face, other: Face) -> float:
    """IoU of two boxes."""
    low = np.maximum(face.box[:2], other.box[:2])
    high = np.minimum(np.add(face.box[:2], face.box[2:]), np.add(other.box[:2], other.box[2:]))
    shared = float(np.clip(high - low, 0, None).prod())
    return shared / (face.box[2] * face.box[3] + other.box[2] * other.box[3] - shared)


def load_mini_detector(
    folder: Path | None = None, min_score: float = MIN_SCORE, device: str = "cpu"
) -> MiniFaceDetector:
    """Load the bundled detector, or the one in ``folder``; S3potError if it is missing."""
    content = read_mini("detector", folder)
    net = FaceDetectorNet(FaceDetectorSize(**content["size"]))
    load_strict(net, content, str(mini_path("detector", folder)))
    net.eval().requires_grad_(False)
    return MiniFaceDetector(net.to(device).to(memory_format=torch.channels_last), min_score)

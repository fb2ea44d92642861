"""The bundled face detector: the same interface as YuNet's, for photos of any size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from s3pot.rg.align import quad_from_landmarks
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
HINT_SCORE = 0.4  # and those below this are dropped
LOOKED_AT_AGAIN = 4  # so many of the largest faces
LOOKS = 2
LOOK_SIDE, LOOK_CROP = 192, 128  # of the view of such a face, and of its FFHQ crop in it, pixels
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
        faces = sorted(without_repeats(faces), key=lambda face: -face.box[2] * face.box[3])
        likely = [face for face in faces if face.score >= self.min_score]
        for number, face in enumerate(likely[:LOOKED_AT_AGAIN]):
            likely[number] = self.look_again(image, face)
        sure = [face for face in likely if face.score >= self.min_score]
        return sure or likely or faces

    def search(self, image: np.ndarray, scale: float) -> list[Face]:
        """Find faces and hints at faces at one scale, surest first; the image as for `detect`."""
        height, width = image.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        filtering = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(image, size, interpolation=filtering)
        right, below = -size[0] % MULTIPLE, -size[1] % MULTIPLE
        padded = cv2.copyMakeBorder(resized, 0, below, 0, right, cv2.BORDER_REPLICATE)
        (faces,) = self._run([padded])
        ratio = np.array([width / size[0], height / size[1]])
        return [
            Face(
                box=tuple(np.array(face.box) * np.tile(ratio, 2)),
                score=face.score,
                landmarks=_to_photo(face.landmarks, ratio),
            )
            for face in faces
        ]

    def look_again(self, image: np.ndarray, face: Face) -> Face:
        """Look at a face alone, upright, at the size the network knows best, and in a mirror.

        Landmarks of turned faces become far better by it; what is no face is seldom seen again.

        Args:
            image: The photo, as for `detect`.
            face: A find in it.

        Returns:
            The face with better landmarks, and the mean of both scores; a face that is not seen
            again has half its score.
        """
        landmarks, score = face.landmarks, 0.0
        for _ in range(LOOKS):
            motion = _upright(landmarks)
            if motion is None:
                return replace(face, score=face.score / 2)
            view = _warped(image, motion)
            seen = self._run([view, np.ascontiguousarray(view[:, ::-1])])
            plain, mirrored = (_in_the_middle(faces) for faces in seen)
            if plain is None or mirrored is None:
                return replace(face, score=face.score / 2)
            unmirrored = mirrored.landmarks[[1, 0, 2, 4, 3]] * (-1, 1) + (LOOK_SIDE - 1, 0)
            points = (plain.landmarks + unmirrored) / 2
            landmarks = (points - motion[:, 2]) @ np.linalg.inv(motion[:, :2]).T
            score = (plain.score + mirrored.score) / 2
        return replace(face, landmarks=landmarks, score=(face.score + score) / 2)

    @torch.inference_mode()
    def _run(self, images: list[np.ndarray]) -> list[list[Face]]:
        """Look at images of one size, uint8 (H, W, 3): the faces in each, surest first."""
        weight = next(self.net.parameters())
        pixels = torch.from_numpy(np.stack(images)).to(weight.device).permute(0, 3, 1, 2)
        cells: CellFaces = self.net(pixels.to(weight.dtype).div(255))
        return [
            _faces_of(cells, number, min(HINT_SCORE, self.min_score))
            for number in range(len(images))
        ]


def _faces_of(cells: CellFaces, number: int, min_score: float) -> list[Face]:
    """Faces that the cells of one image of a batch are sure enough of, surest first."""
    scores = cells.logits[number].sigmoid()
    sure = torch.nonzero(scores >= min_score)[:, 0]
    boxes = cells.boxes[number, sure].double().cpu().numpy()
    landmarks = cells.landmarks[number, sure].double().cpu().numpy()
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(landmarks).all(axis=(1, 2))
    return without_repeats(
        [
            Face(tuple(box), float(score), points)
            for box, score, points in zip(
                boxes[finite], scores[sure].double().cpu().numpy()[finite], landmarks[finite]
            )
        ]
    )


def _upright(landmarks: np.ndarray) -> np.ndarray | None:
    """Build the map from a photo to the view of `look_again`, (2, 3); None without a crop."""
    try:
        quad = quad_from_landmarks(landmarks)
    except ValueError:
        return None
    across = quad[3] - quad[0]
    linear = (
        LOOK_CROP / (across @ across) * np.array([[across[0], across[1]], [-across[1], across[0]]])
    )
    shift = np.full(2, (LOOK_SIDE - 1) / 2) - linear @ quad.mean(axis=0)
    return np.concatenate([linear, shift[:, None]], axis=1)


def _warped(image: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Warp a photo into the view of `look_again`, uint8 (LOOK_SIDE, LOOK_SIDE, 3)."""
    scale = float(np.sqrt(np.linalg.det(motion[:, :2])))
    if scale < 0.6:
        # Warping reads single pixels: first make them about as large as they will be.
        height, width = image.shape[:2]
        size = (max(1, round(width * scale * 1.2)), max(1, round(height * scale * 1.2)))
        ratio = np.array([width / size[0], height / size[1]])
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        linear = motion[:, :2] * ratio
        shift = motion[:, 2] + motion[:, :2] @ (ratio / 2 - 0.5)
        motion = np.concatenate([linear, shift[:, None]], axis=1)
    side = (LOOK_SIDE, LOOK_SIDE)
    return cv2.warpAffine(
        image, motion, side, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _in_the_middle(faces: list[Face]) -> Face | None:
    """Take the surest face near the middle of the view of `look_again`."""
    for face in faces:
        offset = face.landmarks.mean(axis=0) - (LOOK_SIDE - 1) / 2
        if np.abs(offset).max() < LOOK_CROP / 4:
            return face
    return None


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

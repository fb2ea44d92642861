"""The bundled face detector, with the same interface as YuNet's, for photos of any size.

A small network sees faces in occluders and clothes, and takes a face on its side for an upright
one. Wherever it is not sure, the parser is asked, which sees eyes and mouth almost always in a
correct crop and rarely in a wrong one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Optional

import cv2
import numpy as np
import torch

from s3pot.geometry import TURNS, rotated_points
from s3pot.rg.align import quad_from_landmarks
from s3pot.rg.detect import Face
from s3pot.rg.nets.face_detector import (
    MULTIPLE,
    CellFaces,
    FaceDetectorNet,
    FaceDetectorSize,
)
from s3pot.rg.repeated_faces import without_coinciding, without_overlapping
from s3pot.rg.upright_view import VIEW_SIDE, UprightView, face_in_middle, mirrored_landmarks
from s3pot.weights.load import load_strict
from s3pot.weights.locate import mini_path
from s3pot.weights.mini_set import read_mini

# Longest sides in pixels at which a photo is searched. The network was trained on faces from 10 to
# 200 px: those that fill the photo are detected at the first side. If no face is confident, the
# photo is searched again at FAR_SIDE.
SEARCH_SIDES = (160, 320, 640)
FAR_SIDE = 1280
LARGEST_ENLARGEMENT = 2.0  # enlarging a small photo further shows nothing new
MIN_SCORE = 0.5  # detections below it are only hints at a face
HINT_SCORE = 0.3  # hints below it are dropped
LOOKED_AT_AGAIN = 4  # number of the largest faces that are verified
LOOKS = 2
# Zooms of the final detection of such a face: on 50 drawn faces, averaging the landmarks over them
# reduces the error of the crop's corners from 0.118 of its side to 0.112.
FINEST_ZOOMS = (1.0, 1.2, 1.4)
# A face that scores below SURE_LOOK in its aligned view may be elsewhere, on its side or upside
# down. Unless it scores LIKELY_LOOK and the parser confirms it, it is also detected in rotated
# views, and the first of all these detections that the parser confirms is used, by descending
# score, of which TURN_MARGIN is subtracted if the face is tilted by more than MOST_TILT in the
# photo. If no face reaches TURNED_SCORE after that, rotated copies of the photo are searched by the
# same rule. Of 1,260 detections on 80 drawn training images in all orientations, the parser
# confirmed all 386 with the right crop, and 27 % of those in a wrong orientation.
SURE_LOOK = 0.8
LIKELY_LOOK = 0.7
TURN_MARGIN = 0.1
TURNED_SCORE = 0.7
MOST_TILT = 60.0  # degrees; the network was trained on heads that are tilted by up to 45
# The FFHQ crop of an upright face is 1.2 to 1.6 times as large as its box, and their centers differ
# by at most 0.11 of the box's side: a detection elsewhere is not a rotated version of this face.
CROP_BY_BOX = (0.7, 1.7)
FARTHEST_MIDDLE = 0.25
MOST_CANDIDATES = 2000  # of a searched picture; with a low ``min_score``, every cell is one

# Maps a photo, uint8 (H, W, 3), and five landmarks of a detection in it, (5, 2), to better ones;
# None if there is no face.
Confirm = Callable[[np.ndarray, np.ndarray], Optional[np.ndarray]]


class MiniFaceDetector:
    """Detects faces with the bundled network.

    Args:
        net: The network in evaluation mode.
        min_score: Faces with a lower score are returned only as hints, if there are no others.
        confirm: Confirms uncertain detections. Without it, they are not confirmed, and faces on
            their side or upside down are not found.
    """

    sure_score: float = 0.0  # ``look_again`` handles rotated faces, so no photo has to be rotated
    likely_score: float = 1.0

    def __init__(
        self, net: FaceDetectorNet, min_score: float = MIN_SCORE, confirm: Confirm | None = None
    ) -> None:
        self.net = net
        self.min_score = min_score
        self.confirm = confirm

    def detect(self, image: np.ndarray) -> list[Face]:
        """Detect the faces of a photo of any size, uint8 RGB (H, W, 3).

        Returns:
            Faces in the photo frame, largest first; if none is confident, hints with a score of at
            least half of ``min_score``, which were detected only once or not clearly; empty if
            there are no hints either.
        """
        faces = self._looked_at(image, self._scan(image))
        if self.confirm is None or _best_score(faces) >= TURNED_SCORE:
            return faces
        small = _resized(image, min(1.0, FAR_SIDE / max(image.shape[:2])))
        ratio = np.array([image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]])
        for turn in TURNS[1:]:
            view = np.ascontiguousarray(np.rot90(small, turn // 90))
            size = (view.shape[0], view.shape[1])
            seen = [_scaled(face.rotated(360 - turn, size), ratio) for face in self._scan(view)]
            turned = [face for face in self._looked_at(image, seen) if face.is_confirmed]
            if _likeliness(turned) > _likeliness(faces):
                faces = turned
        return faces

    def hints(self, image: np.ndarray) -> list[Face]:
        """Return all detections in a photo, uint8 RGB (H, W, 3), highest score first.

        They are not verified, and most of those with a low score are not faces.
        """
        return sorted(self._scan(image), key=lambda face: -face.score)

    def _scan(self, image: np.ndarray) -> list[Face]:
        """Detect faces and hints at several scales, largest first, in the photo's orientation."""
        longest = max(image.shape[:2])
        faces: list[Face] = []
        for side in SEARCH_SIDES:
            if side == SEARCH_SIDES[0] or side / longest <= LARGEST_ENLARGEMENT:
                faces += self.search(image, side / longest)
        if _best_score(faces) < self.min_score and longest > SEARCH_SIDES[-1]:
            faces += self.search(image, min(1.0, FAR_SIDE / longest))
        return sorted(without_overlapping(faces), key=lambda face: -face.box[2] * face.box[3])

    def _looked_at(self, image: np.ndarray, faces: list[Face]) -> list[Face]:
        """Verify the confident faces, or else the hints, by detecting them again.

        Returns:
            The faces that are still confident; if there are none, the remaining hints.
        """
        likely = [face for face in faces if face.score >= self.min_score] or faces
        looked_at = [self.look_again(image, face) for face in likely[:LOOKED_AT_AGAIN]]
        looked_at = without_coinciding([*looked_at, *likely[LOOKED_AT_AGAIN:]])
        sure = [face for face in looked_at if face.score >= self.min_score]
        return sure or [face for face in looked_at if face.score >= self.min_score / 2]

    def search(self, image: np.ndarray, scale: float) -> list[Face]:
        """Detect faces and hints at one scale, highest score first; the image as for ``detect``."""
        resized = _resized(image, scale)
        height, width = resized.shape[:2]
        right = -width % MULTIPLE
        below = -height % MULTIPLE
        padded = cv2.copyMakeBorder(resized, 0, below, 0, right, cv2.BORDER_REPLICATE)
        (faces,) = self._run([padded])
        ratio = np.array([image.shape[1] / width, image.shape[0] / height])
        return [_scaled(face, ratio) for face in faces]

    def look_again(self, image: np.ndarray, face: Face) -> Face:
        """Detect a single face again in an upright view, at the size that suits the network best.

        This greatly improves the landmarks of tilted faces, and false detections are seldom
        detected again. The network was trained on tilted heads, but not on faces on their side or
        upside down: such a face is detected with landmarks as if it were upright, and scores far
        higher in the correct orientation.

        Args:
            image: The photo, as for ``detect``.
            face: A detection in it.

        Returns:
            The face with better landmarks, and the mean of both scores; a face that is not detected
            again gets half its score, as does one that is on its side but not confirmed.
        """
        looks = self._look_closely(image, face)
        seen = looks[-1] if len(looks) == LOOKS and not _is_turned(looks[-1]) else None
        if seen is None or seen.score < SURE_LOOK:
            confirmed = self._confirmed(image, face, looks)
            if confirmed is not None:
                return confirmed
        if seen is None:
            return replace(face, score=face.score / 2)
        finest = self._look(image, seen, FINEST_ZOOMS) or seen
        return replace(finest, score=(face.score + seen.score) / 2)

    def _confirmed(self, image: np.ndarray, face: Face, looks: list[Face]) -> Face | None:
        """Examine an uncertain detection in all orientations.

        Args:
            image: The photo, as for ``detect``.
            face: The detection.
            looks: What was seen when it was detected again, as returned by ``_look_closely``.

        Returns:
            The face with the landmarks of the likeliest detection that is confirmed, and the mean
            of both scores; None if there is none, or nothing to confirm it.
        """
        if self.confirm is None:
            return None
        for option in self._options(image, face, looks):
            landmarks = self.confirm(image, option.landmarks)
            if landmarks is not None:
                score = (face.score + option.score) / 2
                return replace(face, landmarks=landmarks, score=score, is_confirmed=True)
        return None

    def _options(self, image: np.ndarray, face: Face, looks: list[Face]) -> Iterator[Face]:
        """Yield what may be confirmed, likeliest first; arguments as for ``_confirmed``."""
        first = replace(face, score=looks[0].score if looks else 0.0)
        options = [*reversed(looks), first]  # later looks drift away if the face is hardly visible
        if _likeliness(options[:1]) >= LIKELY_LOOK:
            yield options.pop(0)
        for way in self._other_ways_up(image, face):
            others = self._look_closely(image, way)
            if len(others) == LOOKS and _fills(face, others[-1].landmarks):
                options.append(others[-1])
        yield from sorted(options, key=lambda option: -_likeliness([option]))

    def _look_closely(self, image: np.ndarray, face: Face) -> list[Face]:
        """Detect a face in the upright view given by its landmarks, and again by the better ones.

        Returns:
            The face with the landmarks and score of each of LOOKS detections; fewer if it is not
            detected again.
        """
        looks: list[Face] = []
        seen: Face | None = face
        while seen is not None and len(looks) < LOOKS:
            seen = self._look(image, seen, (1.0,))
            if seen is not None:
                looks.append(seen)
        return looks

    def _look(self, image: np.ndarray, face: Face, zooms: tuple[float, ...]) -> Face | None:
        """Detect a face in upright views given by its landmarks, at several zooms, also mirrored.

        Returns:
            The face with the mean of all landmarks and the score at the first zoom; None if it is
            not detected at that zoom.
        """
        view = UprightView.of_face(face.landmarks)
        if view is None:
            return None
        views = [view.zoomed(zoom) for zoom in zooms]
        pictures = [zoomed.render(image) for zoomed in views]
        pictures += [np.ascontiguousarray(picture[:, ::-1]) for picture in pictures]
        seen = [face_in_middle(faces) for faces in self._run(pictures)]
        plain, mirrored = seen[: len(zooms)], seen[len(zooms) :]
        if plain[0] is None or mirrored[0] is None:
            return None
        landmarks = []
        for zoomed, face_seen, reflection in zip(views, plain, mirrored):
            if face_seen is not None:
                landmarks.append(zoomed.to_photo(face_seen.landmarks))
            if reflection is not None:
                landmarks.append(zoomed.to_photo(mirrored_landmarks(reflection.landmarks)))
        score = (plain[0].score + mirrored[0].score) / 2
        return replace(face, landmarks=np.mean(landmarks, axis=0), score=score)

    def _other_ways_up(self, image: np.ndarray, face: Face) -> list[Face]:
        """Detect a face in views rotated by multiples of 90 degrees, in case it is not upright."""
        view = UprightView.of_face(face.landmarks)
        if view is None:
            return []
        picture = view.render(image)
        turned = [np.ascontiguousarray(np.rot90(picture, turn // 90)) for turn in TURNS[1:]]
        ways = []
        for turn, faces in zip(TURNS[1:], self._run(turned)):
            seen = face_in_middle(faces)
            if seen is not None:
                points = rotated_points(seen.landmarks, 360 - turn, (VIEW_SIDE, VIEW_SIDE))
                ways.append(replace(face, landmarks=view.to_photo(points)))
        return ways

    @torch.inference_mode()
    def _run(self, images: list[np.ndarray]) -> list[list[Face]]:
        """Run the network on images of one size, uint8 (H, W, 3): faces by descending score."""
        weight = next(self.net.parameters())
        pixels = torch.from_numpy(np.stack(images)).to(weight.device).permute(0, 3, 1, 2)
        cells: CellFaces = self.net(pixels.to(weight.dtype).div(255))
        return [
            _faces_of(cells, number, min(HINT_SCORE, self.min_score))
            for number in range(len(images))
        ]


def _is_turned(face: Face) -> bool:
    """Whether a face is on its side or upside down in its photo."""
    down = face.landmarks[3:].mean(axis=0) - face.landmarks[:2].mean(axis=0)
    return abs(math.degrees(math.atan2(down[0], down[1]))) > MOST_TILT


def _likeliness(faces: list[Face]) -> float:
    """Highest score of the faces, of which turned ones must be better; 0 if there are none."""
    return max((face.score - TURN_MARGIN * _is_turned(face) for face in faces), default=0.0)


def _best_score(faces: list[Face]) -> float:
    """Highest score of the faces; 0 if there are none."""
    return max((face.score for face in faces), default=0.0)


def _faces_of(cells: CellFaces, number: int, min_score: float) -> list[Face]:
    """Return the faces of one image of a batch with a sufficient score, by descending score.

    Only the MOST_CANDIDATES highest scores are considered.
    """
    scores = cells.logits[number].sigmoid()
    sure = torch.nonzero(scores >= min_score)[:, 0]
    sure = sure[scores[sure].sort(descending=True, stable=True).indices[:MOST_CANDIDATES]]
    boxes = cells.boxes[number, sure].double().cpu().numpy()
    landmarks = cells.landmarks[number, sure].double().cpu().numpy()
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(landmarks).all(axis=(1, 2))
    return without_overlapping(
        [
            Face(tuple(box), float(score), points)
            for box, score, points in zip(
                boxes[finite], scores[sure].double().cpu().numpy()[finite], landmarks[finite]
            )
        ]
    )


def _fills(face: Face, landmarks: np.ndarray) -> bool:
    """Whether landmarks belong to a face with this box, and not to a part of it."""
    quad = quad_from_landmarks(landmarks)
    side = max(face.box[2:])
    ratio = float(np.linalg.norm(quad[3] - quad[0])) / side
    middle = np.array(face.box[:2]) + np.array(face.box[2:]) / 2
    away = float(np.linalg.norm(quad.mean(axis=0) - middle)) / side
    return CROP_BY_BOX[0] < ratio < CROP_BY_BOX[1] and away < FARTHEST_MIDDLE


def _resized(image: np.ndarray, scale: float) -> np.ndarray:
    """Resize an image, uint8 (H, W, 3)."""
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    filtering = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=filtering))


def _scaled(face: Face, ratio: np.ndarray) -> Face:
    """Scale a face from the searched picture to the photo, by ratios of widths and heights."""
    return replace(
        face,
        box=tuple(np.array(face.box) * np.tile(ratio, 2)),
        landmarks=(face.landmarks + 0.5) * ratio - 0.5,
    )


def load_mini_detector(
    folder: Path | None = None,
    min_score: float = MIN_SCORE,
    confirm: Confirm | None = None,
) -> MiniFaceDetector:
    """Load the bundled detector, or the one in ``folder``; S3potError if it is missing."""
    content = read_mini("detector", folder)
    net = FaceDetectorNet(FaceDetectorSize(**content["size"]))
    load_strict(net, content, str(mini_path("detector", folder)))
    net.eval().requires_grad_(False)
    net = net.to(memory_format=torch.channels_last)
    return MiniFaceDetector(net, min_score, confirm)

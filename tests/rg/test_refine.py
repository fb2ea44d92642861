"""Landmarks refined by a parsing: eyes and mouth, or the part that stands for an eye."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from s3pot.labels import CLASSES
from s3pot.rg import refine
from s3pot.rg.align import quad_from_landmarks
from s3pot.rg.detect import Face
from s3pot.rg.refine import LandmarkRefiner, find_places, likeliest_face

# Landmarks of a face, as shares of its crop.
PLACES = np.array([[0.377, 0.471], [0.623, 0.471], [0.5, 0.613], [0.4, 0.725], [0.6, 0.725]])
SIDE = 200


class ColorParser(nn.Module):
    """Labels red as eyes, green as nose and blue as mouth; everything else is skin."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[Tensor] = []

    def parse(self, image: Tensor) -> Tensor:
        self.seen.append(image)
        labels = torch.full(image.shape[:1] + image.shape[2:], CLASSES.index("skin"))
        for channel, name in enumerate(("eyes", "nose", "mouth")):
            labels[image[:, channel] > 0.5] = CLASSES.index(name)
        return labels.to(torch.uint8)


def painted(landmarks: np.ndarray, colors: str = "rrgb") -> np.ndarray:
    """A photo with dots at eyes, nose and mouth, at the offsets of the parts."""
    photo = np.zeros((300, 400, 3), np.uint8)
    mouth = landmarks[3:].mean(axis=0)
    quad = quad_from_landmarks(landmarks)
    down = quad[1] - quad[0]
    dots = [
        landmarks[0] - refine.FROM_EYE[1] * down,
        landmarks[1] - refine.FROM_EYE[1] * down,
        landmarks[2],
        mouth - refine.FROM_MOUTH[1] * down,
    ]
    for place, color in zip(dots, colors):
        if color in "rgb":
            paint = [0, 0, 0]
            paint["rgb".index(color)] = 255
            cv2.circle(photo, (round(place[0] * 16), round(place[1] * 16)), 64, paint, -1, shift=4)
    return photo


def placed(degrees: float = 0.0, side: float = SIDE, shift: float = 0.0) -> np.ndarray:
    """Landmarks of a face on the photo."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return side * (PLACES - 0.5) @ turn.T + (200 + shift * SIDE, 150)


def refiner() -> LandmarkRefiner:
    return LandmarkRefiner(ColorParser(), 256)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("degrees", "side", "shift"), [(0, 1, 0), (8, 1, 0), (0, 1.15, 0), (-5, 0.85, 0.06)]
)
def test_landmarks_go_where_the_parser_sees_them(degrees: float, side: float, shift: float) -> None:
    truth = placed()
    wrong = placed(degrees, side * SIDE, shift)
    better = refiner().refine(painted(truth), wrong)
    offset = quad_from_landmarks(better) - quad_from_landmarks(truth)
    assert np.linalg.norm(offset, axis=1).max() < 0.02 * SIDE
    before = quad_from_landmarks(wrong) - quad_from_landmarks(truth)
    if degrees or shift or side != 1:
        assert np.linalg.norm(offset, axis=1).max() < 0.3 * np.linalg.norm(before, axis=1).max()


def test_the_parser_is_shown_one_crop_of_its_size() -> None:
    parser = ColorParser()
    LandmarkRefiner(parser, 128).refine(painted(placed()), placed())  # type: ignore[arg-type]
    (image,) = parser.seen
    assert image.shape == (1, 3, 128, 128)


@pytest.mark.parametrize("colors", ["....", "r.gb", ".rgb", "rrg.", "..gb"])
def test_landmarks_stay_if_an_eye_or_the_mouth_is_not_seen(colors: str) -> None:
    wrong = placed(6)
    np.testing.assert_array_equal(refiner().refine(painted(placed(), colors), wrong), wrong)


def test_landmarks_stay_if_the_parser_sees_no_face() -> None:
    truth = placed()
    scattered = truth.copy()
    scattered[1] = truth[0] + (14, 0)  # two adjacent eyes, so the crop is half as large
    scattered[3:] = truth[0] + ((0, 20), (14, 20))
    scattered[2] = scattered[3:].mean(axis=0) - (0, 5)
    np.testing.assert_array_equal(refiner().refine(painted(scattered), truth), truth)


def test_a_face_that_the_parser_sees_twice_is_confirmed() -> None:
    truth = placed()
    parser = ColorParser()
    confirmed = LandmarkRefiner(parser, 256).confirm(painted(truth), placed(8))  # type: ignore[arg-type]
    assert confirmed is not None
    assert len(parser.seen) == 2
    offset = quad_from_landmarks(confirmed) - quad_from_landmarks(truth)
    assert np.linalg.norm(offset, axis=1).max() < 0.02 * SIDE


def test_a_detection_whose_crop_does_not_settle_is_not_confirmed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert refiner().confirm(painted(placed(), "r.gb"), placed()) is None
    both = iter([placed(), placed(side=1.25 * SIDE)])
    unsteady = refiner()
    monkeypatch.setattr(unsteady, "_refined", lambda photo, landmarks: next(both))
    assert unsteady.confirm(painted(placed()), placed()) is None


@pytest.mark.parametrize(
    "landmarks", [np.full((5, 2), 50.0), np.full((5, 2), np.nan), placed() + 1_000]
)
def test_points_that_are_no_face_are_not_confirmed(landmarks: np.ndarray) -> None:
    assert refiner().confirm(painted(placed()), landmarks) is None


class Hints:
    """A detector with weak detections of which only the second is a face."""

    def hints(self, image: np.ndarray) -> list[Face]:
        elsewhere = placed(side=0.3 * SIDE, shift=0.6)
        faces = [(0.45, elsewhere), (0.35, placed(6)), (0.31, placed(-6))]
        return [Face((0.0, 0.0, 1.0, 1.0), score, landmarks) for score, landmarks in faces]


def test_the_likeliest_face_is_the_first_that_the_parser_confirms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (face,) = likeliest_face(Hints(), refiner(), painted(placed()))
    assert face.score == 0.35 and face.is_confirmed
    offset = quad_from_landmarks(face.landmarks) - quad_from_landmarks(placed())
    assert np.linalg.norm(offset, axis=1).max() < 0.02 * SIDE
    assert likeliest_face(Hints(), refiner(), np.zeros((300, 400, 3), np.uint8)) == []
    monkeypatch.setattr(refine, "HINTS", 1)
    assert likeliest_face(Hints(), refiner(), painted(placed())) == []


def dot(parsing: np.ndarray, name: str, x: float, y: float) -> None:
    center = (round(x * len(parsing)), round(y * len(parsing)))
    cv2.circle(parsing, center, 6, CLASSES.index(name), -1)


def test_a_glass_and_a_brow_stand_for_an_eye() -> None:
    parsing = np.zeros((200, 200), np.uint8)
    dot(parsing, "lip", 0.5, 0.73)
    dot(parsing, "nose", 0.5, 0.6)
    dot(parsing, "eyes", 0.38, 0.47)
    assert find_places(parsing) is None
    dot(parsing, "eyebrows", 0.62, 0.42)
    places = find_places(parsing)
    assert places is not None
    half_pixel = 0.5 / 200
    eye = np.array([0.38, 0.47]) + refine.FROM_EYE + half_pixel
    brow = np.array([0.62, 0.42]) + refine.FROM_BROW + half_pixel
    np.testing.assert_allclose(places[:2], [eye, brow], atol=1e-6)
    np.testing.assert_allclose(places[2], [0.5 + half_pixel, 0.73 + half_pixel - 0.0085], atol=1e-6)
    dot(parsing, "eye_glass", 0.64, 0.48)
    places = find_places(parsing)
    assert places is not None
    glass = np.array([0.64, 0.48]) + refine.FROM_GLASS + half_pixel
    np.testing.assert_allclose(places[1], (brow + glass) / 2, atol=1e-6)


def test_specks_are_no_parts() -> None:
    parsing = np.zeros((200, 200), np.uint8)
    for name, x, y in (("lip", 0.5, 0.73), ("eyes", 0.38, 0.47), ("eyes", 0.62, 0.47)):
        dot(parsing, name, x, y)
    assert find_places(parsing) is not None
    parsing[parsing == CLASSES.index("lip")] = 0
    parsing[146, 98:102] = CLASSES.index("lip")
    assert find_places(parsing) is None

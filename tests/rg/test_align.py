"""From landmarks to the quad, and which faces of a photo are used."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from s3pot.geometry import Alignment
from s3pot.rg.align import (
    MINI_FRAMING,
    FaceAligner,
    from_landmarks,
    identity,
    looks_aligned,
    looks_like_portrait,
    quad_from_landmarks,
)
from s3pot.rg.detect import Face, FaceDetector, NoFace
from s3pot.rg.warp import crop

# Mean positions of the five landmarks in FFHQ, as shares of the side.
FFHQ = np.array([[0.377, 0.469], [0.623, 0.469], [0.5, 0.613], [0.393, 0.725], [0.611, 0.725]])


class DrawnDetector(FaceDetector):
    """Returns given faces."""

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)

    def detect(self, image: np.ndarray) -> list[Face]:
        return self.faces


def face_at(landmarks: np.ndarray, score: float = 0.9) -> Face:
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    return Face((low[0], low[1], high[0] - low[0], high[1] - low[1]), score, landmarks)


def turned(points: np.ndarray, degrees: float, scale: float, to: tuple[float, float]) -> np.ndarray:
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return scale * (points - 0.5) @ turn.T + to


def test_quad_of_an_upright_face_by_hand() -> None:
    points = np.array([[40, 50], [60, 50], [50, 60], [42, 75], [58, 75]])
    # Eyes 20 apart, mouth 25 below them: half side max(40, 45) = 45, center (50, 52.5).
    want = [[5, 7.5], [5, 97.5], [95, 97.5], [95, 7.5]]
    np.testing.assert_allclose(quad_from_landmarks(points), want)


def test_five_and_68_points_agree() -> None:
    rng = np.random.default_rng(3)
    many = rng.uniform(0, 500, (68, 2))
    five = np.stack(
        [many[36:42].mean(axis=0), many[42:48].mean(axis=0), many[30], many[48], many[54]]
    )
    np.testing.assert_allclose(quad_from_landmarks(many), quad_from_landmarks(five))


@pytest.mark.parametrize("degrees", [-170, -35, 0, 20, 90])
def test_quad_follows_the_face(degrees: float) -> None:
    upright = quad_from_landmarks(FFHQ)
    points = turned(FFHQ, degrees, 300, (410, 222))
    want = turned(upright, degrees, 300, (410, 222))
    np.testing.assert_allclose(quad_from_landmarks(points), want, atol=1e-9)


def test_ffhq_mean_face_asks_for_its_own_picture() -> None:
    corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0]])
    assert np.abs(quad_from_landmarks(FFHQ) - corners).max() < 0.02


def test_impossible_landmarks() -> None:
    with pytest.raises(ValueError, match=r"\(67, 2\)"):
        quad_from_landmarks(np.zeros((67, 2)))
    with pytest.raises(ValueError, match="no face"):
        quad_from_landmarks(np.ones((5, 2)))
    with pytest.raises(ValueError, match="no face"):
        quad_from_landmarks(np.full((5, 2), np.nan))


@pytest.mark.parametrize(("side", "shrink"), [(100, 1), (390, 1), (420, 2), (900, 4)])
def test_large_faces_are_shrunk_first(side: int, shrink: int) -> None:
    assert from_landmarks(FFHQ * side, (1000, 1000), size=100).shrink == shrink


def test_looks_aligned() -> None:
    assert looks_aligned((256, 256), FFHQ * 256)
    assert not looks_aligned((256, 255), FFHQ * 256)
    assert not looks_aligned((256, 256), turned(FFHQ, 0, 180, (128, 128)))
    assert not looks_aligned((256, 256), turned(FFHQ, 30, 256, (128, 128)))
    assert not looks_aligned((256, 256), FFHQ * 256 + 60)


def test_identity_takes_any_shape() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    way = identity(photo)
    assert way.is_whole and way.size == (30, 50)
    np.testing.assert_array_equal(crop(photo, way), photo)


def test_largest_face_or_all() -> None:
    photo = np.zeros((400, 700, 3), np.uint8)
    large = face_at(turned(FFHQ, 5, 300, (500, 200)), 0.8)
    small = face_at(turned(FFHQ, 0, 90, (100, 100)), 0.95)
    detector = DrawnDetector(large, small)
    (only,) = FaceAligner(detector, 64, "reflect").align(photo)
    assert only.score == 0.8 and only.size == (64, 64) and only.photo_size == (400, 700)
    np.testing.assert_allclose(only.corners, quad_from_landmarks(large.landmarks))
    both = FaceAligner(detector, 64, "black").align(photo, all_faces=True)
    assert [way.score for way in both] == [0.8, 0.95]
    assert {way.borders for way in both} == {"black"}


def test_aligned_picture_is_left_alone() -> None:
    photo = np.zeros((300, 300, 3), np.uint8)
    (way,) = FaceAligner(DrawnDetector(face_at(FFHQ * 300, 0.7)), 64, "reflect").align(photo)
    assert way == dataclasses.replace(identity(photo), score=0.7)
    assert FaceAligner(DrawnDetector(), 64, "reflect").align(photo) == [identity(photo)]


def test_no_face() -> None:
    with pytest.raises(NoFace, match="400 x 300.*align.mode=never"):
        FaceAligner(DrawnDetector(), 64, "reflect").align(np.zeros((300, 400, 3), np.uint8))


@pytest.mark.parametrize(
    ("degrees", "scale", "place", "expected"),
    [
        (0, 1.0, (0.5, 0.5), True),
        (15, 0.8, (0.55, 0.5), True),
        (0, 1.4, (0.5, 0.5), True),
        (40, 1.0, (0.5, 0.5), False),  # rotated too far
        (180, 1.0, (0.5, 0.5), False),
        (0, 0.5, (0.5, 0.5), False),  # too small
        (0, 1.0, (0.9, 0.5), False),  # at the edge
    ],
)
def test_looks_like_portrait(
    degrees: float, scale: float, place: tuple[float, float], expected: bool
) -> None:
    points = turned(FFHQ, degrees, 200 * scale, (200 * place[0], 200 * place[1]))
    assert looks_like_portrait((200, 200), points) == expected
    assert not looks_like_portrait((200, 201), points)


def test_mini_models_need_a_hint_of_a_face_in_a_square_picture(
    caplog: pytest.LogCaptureFixture,
) -> None:
    square = np.zeros((200, 200, 3), np.uint8)
    unsure = face_at(turned(FFHQ, 0, 60, (50, 50)), 0.3)
    (way,) = FaceAligner(DrawnDetector(unsure), 64, "reflect", framing=MINI_FRAMING).align(square)
    assert way.is_whole and way.score == 0.3 and "no face found for sure" in caplog.text
    with pytest.raises(NoFace, match="200 x 200; align.mode=never uses any photo"):
        FaceAligner(DrawnDetector(), 64, "reflect", framing=MINI_FRAMING).align(square)
    with pytest.raises(NoFace, match="300 x 200"):
        oblong = np.zeros((200, 300, 3), np.uint8)
        FaceAligner(DrawnDetector(unsure), 64, "reflect", framing=MINI_FRAMING).align(oblong)


def test_a_likely_face_saves_a_photo_from_being_rejected(caplog: pytest.LogCaptureFixture) -> None:
    oblong = np.zeros((200, 300, 3), np.uint8)
    likely = face_at(turned(FFHQ, 0, 80, (150, 100)), 0.35)
    searched = []

    def rescue(photo: np.ndarray) -> list[Face]:
        searched.append(photo)
        return [likely]

    def ways_of(photo: np.ndarray, *faces: Face) -> list[Alignment]:
        detector = DrawnDetector(*faces)
        return FaceAligner(detector, 64, "reflect", framing=MINI_FRAMING, rescue=rescue).align(
            photo
        )

    (way,) = ways_of(oblong)
    assert (way.score, len(searched)) == (0.35, 1)
    want = quad_from_landmarks(likely.landmarks)
    np.testing.assert_allclose(way.corners, want, atol=1e-4)
    assert "the likeliest one is used" in caplog.text
    ways_of(oblong, face_at(likely.landmarks, 0.9))  # a sure face
    ways_of(np.zeros((200, 200, 3), np.uint8), likely)  # a square photo that may be a portrait
    assert len(searched) == 1
    with pytest.raises(NoFace, match="300 x 200"):
        FaceAligner(
            DrawnDetector(), 64, "reflect", framing=MINI_FRAMING, rescue=lambda photo: []
        ).align(oblong)


def test_an_unsure_face_is_no_crop_beside_a_sure_one() -> None:
    photo = np.zeros((200, 300, 3), np.uint8)
    sure = face_at(turned(FFHQ, 0, 60, (50, 50)), 0.9)
    unsure = face_at(turned(FFHQ, 0, 100, (200, 100)), 0.3)
    ways = FaceAligner(DrawnDetector(unsure, sure), 64, "reflect", framing=MINI_FRAMING).align(
        photo, all_faces=True
    )
    assert [way.score for way in ways] == [0.9]


class TurningDetector(FaceDetector):
    """Returns given scores of an aligned face, photo by photo; the first look finds it anywhere.

    Attributes:
        scores: Scores of the second look, by the number of quarter turns.
    """

    sure_score = 0.8
    likely_score = 0.5
    is_first_photo = False

    def __init__(self, *scores: float) -> None:
        self.scores = iter(scores)
        self.is_second_look = False

    def detect(self, image: np.ndarray) -> list[Face]:
        score = next(self.scores) if self.is_second_look else 0.6
        self.is_second_look = not self.is_second_look
        side = min(image.shape[:2])
        middle = (image.shape[1] / 2, image.shape[0] / 2)
        return [face_at(turned(FFHQ, 0, side / 3, middle), score)]


@pytest.mark.parametrize(
    ("scores", "turn"),
    [
        ((0.8,), 0),  # already confident: nothing else is examined
        ((0.6, 0.5, 0.7, 0.5), 180),
        ((0.6, 0.64, 0.5, 0.5), 90),
        ((0.6, 0.62, 0.5, 0.5), 0),  # not by the margin
        ((0.1, 0.5, 0.4, 0.3), 0),  # none is likely
        ((0.1, 0.3, 0.4, 0.51), 270),
    ],
)
def test_a_photo_is_turned_if_that_makes_the_detector_surer(
    scores: tuple[float, ...], turn: int, caplog: pytest.LogCaptureFixture
) -> None:
    photo = np.zeros((300, 400, 3), dtype=np.uint8)
    with caplog.at_level("INFO"):
        (alignment,) = FaceAligner(TurningDetector(*scores), 64, "reflect").align(photo)
    assert alignment.turn == turn
    assert alignment.photo_size == (300, 400)
    np.testing.assert_allclose(alignment.corners.mean(axis=0), (199.5, 149.5), atol=8)
    said = f"rotated by {turn} degrees" in caplog.text
    assert said == (turn != 0) == ("rotated" in caplog.text)


def test_the_second_look_shows_the_aligned_crop_in_a_gray_margin() -> None:
    seen: list[np.ndarray] = []

    class Recorder(TurningDetector):
        def detect(self, image: np.ndarray) -> list[Face]:
            seen.append(image.copy())
            return super().detect(image)

    photo = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    FaceAligner(Recorder(0.9), 64, "reflect").align(photo)
    (given, again) = seen
    np.testing.assert_array_equal(given, photo)
    landmarks = turned(FFHQ, 0, 100, (200, 150))
    inner = crop(photo, from_landmarks(landmarks, (300, 400), 256))
    np.testing.assert_array_equal(
        again, np.pad(inner, ((72, 72), (72, 72), (0, 0)), constant_values=128)
    )


def test_landmarks_in_one_point_are_no_sure_face() -> None:
    """Such a face is not examined a second time, so a rotated photo with a likely one wins."""

    class OnePointFirst(TurningDetector):
        def detect(self, image: np.ndarray) -> list[Face]:
            found = super().detect(image)
            if self.is_first_photo:
                self.is_first_photo = self.is_second_look = False
                return [face_at(np.full((5, 2), 50.0), 0.99)]
            return found

    detector = OnePointFirst(0.6, 0.55, 0.55)
    detector.is_first_photo = True
    photo = np.zeros((300, 400, 3), dtype=np.uint8)
    (alignment,) = FaceAligner(detector, 64, "reflect").align(photo)
    assert alignment.turn == 90


def test_several_faces_are_said_where_one_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    photo = np.zeros((400, 700, 3), dtype=np.uint8)
    faces = [face_at(turned(FFHQ, 0, 90, (x, 100)), 0.9) for x in (100, 300)]
    FaceAligner(DrawnDetector(*faces), 64, "reflect").align(photo, all_faces=True)
    FaceAligner(DrawnDetector(faces[0]), 64, "reflect").align(photo)
    assert not caplog.text
    FaceAligner(DrawnDetector(*faces), 64, "reflect").align(photo, name="x.png")
    assert "x.png: 2 faces; the largest is used" in caplog.text


@pytest.mark.parametrize(("degrees", "is_portrait"), [(24.9, True), (25.1, False)])
def test_how_far_a_portrait_may_be_turned(degrees: float, is_portrait: bool) -> None:
    upright = np.array([[0.38, 0.47], [0.62, 0.47], [0.5, 0.61], [0.39, 0.73], [0.61, 0.73]])
    points = turned(upright, degrees, 200, (100, 100))
    assert looks_like_portrait((200, 200), points) == is_portrait


def test_a_crop_has_1024_pixels_and_reflected_borders_unless_told_otherwise() -> None:
    alignment = from_landmarks(turned(FFHQ, 0, 300, (1500, 200)), (400, 2000))
    assert (alignment.size, alignment.borders) == ((1024, 1024), "reflect")


def test_the_shrink_goes_by_the_side_wherever_the_face_lies() -> None:
    for place in ((300, 300), (3000, 100)):
        points = turned(FFHQ, 0, 500, place)
        assert from_landmarks(points, (4000, 4000), size=100).shrink == 2


def test_an_aligner_takes_the_largest_face_unless_all_are_asked_for() -> None:
    photo = np.zeros((400, 700, 3), dtype=np.uint8)
    faces = [face_at(turned(FFHQ, 0, 90, (x, 100)), 0.9) for x in (100, 300)]
    aligner = FaceAligner(DrawnDetector(*faces), 64, "reflect", may_be_aligned=True)
    assert len(aligner.align(photo)) == 1
    assert len(aligner.align(photo, all_faces=True)) == 2


def test_a_crop_is_laid_by_refined_landmarks_and_a_portrait_stays() -> None:
    first = turned(FFHQ, 0, 90, (100, 100))
    better = turned(FFHQ, 5, 80, (110, 105))
    asked: list[np.ndarray] = []

    def refine(photo: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        asked.append(landmarks)
        return better

    photo = np.zeros((400, 700, 3), dtype=np.uint8)
    aligner = FaceAligner(
        DrawnDetector(face_at(first)), 64, "reflect", may_be_aligned=True, refine=refine
    )
    (way,) = aligner.align(photo)
    np.testing.assert_allclose(way.corners, quad_from_landmarks(better))
    np.testing.assert_array_equal(asked, [first])
    confirmed = dataclasses.replace(face_at(first), is_confirmed=True)  # refined already
    (way,) = dataclasses.replace(aligner, detector=DrawnDetector(confirmed)).align(photo)
    np.testing.assert_allclose(way.corners, quad_from_landmarks(first))
    portrait = np.zeros((300, 300, 3), np.uint8)
    portraits = dataclasses.replace(aligner, detector=DrawnDetector(face_at(FFHQ * 300)))
    assert portraits.align(portrait)[0].is_whole
    assert len(asked) == 1

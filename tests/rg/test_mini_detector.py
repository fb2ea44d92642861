"""The bundled face detector: its arithmetic on a fake network; its weights on drawn scenes."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from s3pot.geometry import TURNS, rotated_points
from s3pot.rg import mini_detector
from s3pot.rg.detect import Face
from s3pot.rg.mini_detector import (
    FAR_SIDE,
    MOST_CANDIDATES,
    SEARCH_SIDES,
    TURN_MARGIN,
    TURNED_SCORE,
    Confirm,
    MiniFaceDetector,
)
from s3pot.rg.nets.face_detector import CellFaces, FaceDetectorNet, FaceDetectorSize
from s3pot.rg.repeated_faces import without_coinciding
from s3pot.rg.upright_view import VIEW_SIDE


class SpotNetwork(nn.Module):
    """Detects one face around the brightest pixel if it is between 10 and 200 px wide.

    In the view of a single face it always detects it, half as wide as the view.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share, self.sizes = share, []
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> CellFaces:
        """Look at one picture, (1, 3, H, W)."""
        self.sizes.append((images.shape[-1], images.shape[-2]))
        assert images.shape[-1] % 32 == images.shape[-2] % 32 == 0
        alone = len(images) > 1
        width = 0.5 * VIEW_SIDE if alone else self.share * images.shape[-1]
        logit = 2.0 if 10 <= width <= 200 else -9.0
        corners = torch.tensor([[-1.0, -1], [1, -1], [0, 0], [-1, 1], [1, 1]])
        rows = []
        for image in images:
            light = image.sum(dim=0)
            spot = _centroid((light >= 0.5 * light.max()).float())
            box = torch.cat((spot - width / 2, torch.tensor([width, width])))
            points = spot + width * corners / 4
            rows.append((box.expand(2, 4), points.expand(2, 5, 2)))
        boxes, landmarks = (torch.stack(values) for values in zip(*rows))
        return CellFaces(torch.tensor([[logit, -9.0]]).expand(len(images), 2), boxes, landmarks)


def detector_with(network: nn.Module, confirm: Confirm | None = None) -> MiniFaceDetector:
    return MiniFaceDetector(network, 0.5, confirm)  # type: ignore[arg-type]


def nothing(photo: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
    """Confirms no detection."""
    return None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("share", "found"), [(0.05, True), (0.2, True), (1.0, True), (0.009, True), (0.001, False)]
)
def test_finds_come_back_in_the_photo_frame(share: float, found: bool) -> None:
    photo = np.zeros((1536, 2048, 3), np.uint8)
    photo[690:711, 490:511] = 255
    network = SpotNetwork(share)
    faces = detector_with(network, nothing).detect(photo)
    sides = [width for width, _ in network.sizes if width != VIEW_SIDE]
    once = [*SEARCH_SIDES, FAR_SIDE] if share < 0.01 else list(SEARCH_SIDES)
    if not found:
        assert len(sides) == len(TURNS) * len(once)  # it is also searched in all rotations
        assert faces == []
        return
    (face,) = faces
    assert sides == once
    assert abs(face.score - 0.881) < 1e-3 and face.landmarks.shape == (5, 2)
    # If a pixel of the view is large, the spot is one pixel.
    assert (np.abs(face.landmarks[2] - [500, 700]) <= max(4, 0.01 * share * 2048)).all()
    assert abs(face.box[2] / 2048 - share) < 1e-3


def test_odd_sizes_are_padded_below_and_right() -> None:
    photo = np.zeros((45, 33, 3), np.uint8)
    photo[20, 10] = 255
    network = SpotNetwork(0.4)
    (face,) = detector_with(network).search(photo, 1.0)
    assert network.sizes == [(64, 64)]
    np.testing.assert_allclose(face.landmarks[2], [10, 20])


def test_small_photos_are_not_enlarged_much() -> None:
    network = SpotNetwork(0.0)
    assert detector_with(network, nothing).detect(np.zeros((1, 3, 3), np.uint8)) == []
    lying, standing = (160, 64), (64, 160)  # 53 rows, padded
    assert network.sizes == [lying, standing, lying, standing]
    network.sizes.clear()
    assert detector_with(network, nothing).detect(np.zeros((200, 200, 3), np.uint8)) == []
    assert network.sizes == [(160, 160), (320, 320)] * len(TURNS)
    network.sizes.clear()
    assert detector_with(network).detect(np.zeros((200, 200, 3), np.uint8)) == []
    assert network.sizes == [(160, 160), (320, 320)]  # turned faces cannot be confirmed


def test_a_detector_without_a_threshold_takes_seconds_and_not_minutes() -> None:
    class Everywhere(SpotNetwork):
        def forward(self, images: Tensor) -> CellFaces:
            if len(images) > 1:
                return super().forward(images)
            number = torch.arange(9000.0)
            corner = torch.stack((number % 100, number // 100), dim=1) * 10
            boxes = torch.cat((corner, torch.full((9000, 2), 8.0)), dim=1)
            points = corner[:, None] + torch.tensor([[2.0, 2], [6, 2], [4, 4], [2, 6], [6, 6]])
            return CellFaces(number[None] / 9000 - 3, boxes[None], points[None])

    detector = MiniFaceDetector(Everywhere(0.5), 0.0, None)  # type: ignore[arg-type]
    start = time.process_time()
    faces = detector.hints(np.zeros((64, 64, 3), np.uint8))
    assert without_coinciding(faces) == faces
    assert time.process_time() - start < 20  # comparing all pairs one by one takes minutes
    assert len(faces) == MOST_CANDIDATES
    lowest = 1 / (1 + math.exp(3 - (9000 - MOST_CANDIDATES) / 9000))
    assert faces[-1].score == pytest.approx(lowest)  # the highest scores are kept


def test_finds_that_are_no_numbers_are_dropped() -> None:
    class Broken(SpotNetwork):
        def forward(self, images: Tensor) -> CellFaces:
            cells = super().forward(images)
            return CellFaces(cells.logits, cells.boxes * float("nan"), cells.landmarks)

    assert detector_with(Broken(0.5)).detect(np.zeros((100, 100, 3), np.uint8)) == []


def test_a_larger_network_has_the_sizes_asked_for() -> None:
    size = FaceDetectorSize(stem=(4, 8), widths=(8, 12, 16), depths=(1, 2, 1), neck=12)
    cells = FaceDetectorNet(size)(torch.rand(2, 3, 64, 96))
    count = 8 * 12 + 4 * 6 + 2 * 3
    assert cells.logits.shape == (2, count)
    assert cells.boxes.shape == (2, count, 4) and cells.landmarks.shape == (2, count, 5, 2)
    assert (cells.logits.sigmoid() < 0.2).all()  # untrained, it detects nothing


class Pattern(nn.Module):
    """Detects a face wherever there are red, green and blue spots: its eyes and the mouth's center.

    It reports them too far to the left or right; the better the face is centered, the smaller the
    error.
    """

    def __init__(self, score: float = 0.8) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.logit = math.log(score / (1 - score))

    def forward(self, images: Tensor) -> CellFaces:
        """Look at images, (B, 3, H, W)."""
        faces = []
        for image in images:
            middle = (image.shape[2] - 1) / 2
            spots = torch.stack([_centroid(plane) for plane in image])
            left = int(spots[1, 0] < spots[0, 0])
            eyes = spots[[left, 1 - left]]
            half = (eyes[1] - eyes[0]) / 3
            points = torch.stack([*eyes, spots.mean(dim=0), spots[2] - half, spots[2] + half])
            points[:, 0] += 0.2 * (points[:, 0].mean() - middle)
            faces.append(points)
        landmarks = torch.stack(faces)[:, None]
        boxes = torch.cat((landmarks.amin(2), landmarks.amax(2) - landmarks.amin(2)), dim=-1)
        return CellFaces(torch.full((len(images), 1), self.logit), boxes, landmarks)


def _centroid(plane: Tensor) -> Tensor:
    rows, columns = torch.meshgrid(
        torch.arange(plane.shape[0]), torch.arange(plane.shape[1]), indexing="ij"
    )
    weight = plane / plane.sum()
    return torch.stack([(columns * weight).sum(), (rows * weight).sum()])


@pytest.mark.parametrize("degrees", [0, 35])
@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_a_second_look_at_a_face_alone_betters_its_landmarks(degrees: int, scale: float) -> None:
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    spots = scale * (np.array([[-15, -12], [15, -12], [0, 22]]) @ turn.T + [60, 80])
    photo = np.zeros((round(150 * scale), round(200 * scale), 3), np.uint8)
    for channel, spot in enumerate(spots):
        plane = np.zeros(photo.shape[:2], np.uint8)
        center = (round(spot[0] * 16), round(spot[1] * 16))
        cv2.circle(plane, center, round(3 * scale * 16), 255, -1, cv2.LINE_AA, 4)
        photo[..., channel] = plane
    half = (spots[1] - spots[0]) / 3
    truth = np.stack([*spots[:2], spots.mean(axis=0), spots[2] - half, spots[2] + half])
    detector = detector_with(Pattern())
    first = detector.search(photo, 160 / photo.shape[1])[0]
    second = detector.look_again(photo, first)
    errors = [np.linalg.norm(face.landmarks - truth, axis=1).max() for face in (first, second)]
    assert errors[0] > 5 * scale and errors[1] < 0.75 * scale
    assert abs(second.score - 0.8) < 1e-6


def test_a_face_that_is_not_seen_again_is_doubted() -> None:
    photo = np.zeros((150, 200, 3), np.uint8)
    photo[70:75, 80:85] = 255
    points = np.array([[80, 70], [100, 70], [90, 80], [82, 90], [98, 90]], np.float64)
    face = Face((70.0, 60.0, 40.0, 50.0), 0.8, points)
    unsure = detector_with(Pattern(score=0.1)).look_again(photo, face)
    assert unsure.score == 0.4 and unsure.landmarks is points
    nowhere = Face((70.0, 60.0, 40.0, 50.0), 0.8, np.ones((5, 2)))
    assert detector_with(Pattern()).look_again(photo, nowhere).score == 0.4


class UprightOnly(nn.Module):
    """Gives a high score only to an upright face, and takes any other for an upright one.

    A face is a red, a green and a blue spot: its eyes, and the middle of its mouth.
    """

    def __init__(self, doubt: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.scores = {True: 0.9, False: doubt}
        self.looks: list[int] = []

    def forward(self, images: Tensor) -> CellFaces:
        """Look at images, (B, 3, H, W)."""
        self.looks.append(len(images))
        faces, logits = [], []
        for image in images:
            spots = torch.stack([_centroid(plane) for plane in image])
            middle, down = spots.mean(dim=0), spots[2] - spots[:2].mean(dim=0)
            is_upright = bool(down[1] > down[0].abs())
            if not is_upright:
                down = torch.tensor([0.0, float(down.norm())])
            across = torch.stack([down[1], -down[0]]) * 30 / 34
            eyes = middle - down / 3
            points = [eyes - across / 2, eyes + across / 2, middle]
            points += [middle + 2 * down / 3 - across / 3, middle + 2 * down / 3 + across / 3]
            faces.append(torch.stack(points))
            logits.append(math.log(self.scores[is_upright] / (1 - self.scores[is_upright])))
        landmarks = torch.stack(faces)[:, None]
        side = 2.6 * (landmarks.amax(2) - landmarks.amin(2)).amax(-1, keepdim=True)
        boxes = torch.cat((landmarks.mean(2) - side / 2, side, side), dim=-1)
        return CellFaces(torch.tensor(logits)[:, None], boxes, landmarks)


def spotted_photo(turn: int) -> tuple[np.ndarray, np.ndarray]:
    """A photo rotated by the given number of degrees, and its true landmarks."""
    eyes, mouth = np.array([[75.0, 88], [105, 88]]), np.array([90.0, 122])
    photo = np.zeros((200, 180, 3), np.uint8)
    for channel, spot in enumerate([*eyes, mouth]):
        plane = np.zeros(photo.shape[:2], np.uint8)
        cv2.circle(plane, (int(spot[0]), int(spot[1])), 4, 255, -1, cv2.LINE_AA)
        photo[..., channel] = plane
    points = np.stack([*eyes, (eyes.sum(axis=0) + mouth) / 3, mouth - [10, 0], mouth + [10, 0]])
    turned = np.ascontiguousarray(np.rot90(photo, turn // 90))
    return turned, rotated_points(points, turn, (200, 180))


class Judge:
    """Confirms landmarks that are near the true ones, and moves them there; counts questions."""

    def __init__(self, truth: np.ndarray) -> None:
        self.truth = truth
        self.questions = 0

    def confirm(self, photo: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
        self.questions += 1
        away = np.linalg.norm(landmarks - self.truth, axis=1).max()
        return self.truth if away < 12 else None


@pytest.mark.slow
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("doubt", [0.6, 0.45])
def test_a_face_that_lies_on_its_side_is_righted(turn: int, doubt: float) -> None:
    photo, truth = spotted_photo(turn)
    network, judge = UprightOnly(doubt), Judge(truth)
    (face,) = detector_with(network, judge.confirm).detect(photo)
    assert np.linalg.norm(face.landmarks - truth, axis=1).max() < 2
    # If a second look at an uncertain detection is not enough, it is found in the rotated photo.
    first = 0.9 if turn == 0 or (doubt + 0.9) / 2 < TURNED_SCORE else doubt
    assert face.score == pytest.approx((first + 0.9) / 2, abs=1e-3)
    # An upright face that is detected for sure costs nothing more.
    assert (len(TURNS) - 1 in network.looks) == (turn != 0)
    assert (judge.questions > 0) == (turn != 0) and face.is_confirmed == (first != 0.9 or turn != 0)


@pytest.mark.parametrize("confirm", [None, nothing])
@pytest.mark.parametrize("turn", [90, 180])
def test_a_face_on_its_side_that_is_not_confirmed_is_not_used(
    turn: int, confirm: Confirm | None
) -> None:
    photo, _ = spotted_photo(turn)
    (face,) = detector_with(UprightOnly(doubt=0.6), confirm).detect(photo)
    assert not face.is_confirmed and face.score == pytest.approx(0.6, abs=1e-3)
    across = face.landmarks[1] - face.landmarks[0]
    assert across[0] > abs(across[1])  # as it was detected at first


@pytest.mark.parametrize(("less", "is_righted"), [(0.01, False), (-0.01, True)])
def test_an_upright_face_that_is_confirmed_wins_over_a_slightly_better_turned_one(
    monkeypatch: pytest.MonkeyPatch, less: float, is_righted: bool
) -> None:
    monkeypatch.setattr(mini_detector, "SURE_LOOK", 1.0)
    monkeypatch.setattr(mini_detector, "LIKELY_LOOK", 1.0)
    photo, _ = spotted_photo(180)
    network = UprightOnly(doubt=0.9 - TURN_MARGIN + less)
    (face,) = detector_with(network, lambda photo, landmarks: landmarks).detect(photo)
    assert (face.landmarks[3, 1] < face.landmarks[0, 1]) == is_righted


def rotated_face(degrees: float, score: float) -> Face:
    """A face in the middle of a photo of 200 x 200."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = np.array([[-20.0, -18], [20, -18], [0, 5], [-15, 24], [15, 24]])
    return Face((40.0, 40.0, 120.0, 120.0), score, points @ turn.T + 100)


@pytest.mark.parametrize("is_confirmed", [True, False])
def test_looks_that_drift_away_lose_to_the_first_detection(
    monkeypatch: pytest.MonkeyPatch, is_confirmed: bool
) -> None:
    detector = detector_with(UprightOnly(0.5), Judge(rotated_face(5, 1).landmarks).confirm)
    if not is_confirmed:
        detector.confirm = nothing
    drifting = iter([rotated_face(75, 0.46), rotated_face(91, 0.52)])
    monkeypatch.setattr(detector, "_look", lambda image, face, zooms: next(drifting))
    monkeypatch.setattr(detector, "_other_ways_up", lambda image, face: [])
    first = rotated_face(15, 0.74)
    face = detector.look_again(np.zeros((200, 200, 3), np.uint8), first)
    assert face.is_confirmed == is_confirmed
    if is_confirmed:
        np.testing.assert_allclose(face.landmarks, rotated_face(5, 1).landmarks)
        assert face.score == pytest.approx((0.74 + 0.46) / 2)
    else:
        np.testing.assert_allclose(face.landmarks, first.landmarks)
        assert face.score == pytest.approx(0.74 / 2)


@pytest.mark.parametrize(
    ("degrees", "score", "is_searched"), [(5, 0.72, False), (5, 0.68, True), (91, 0.79, True)]
)
def test_a_likely_upright_face_that_is_confirmed_is_not_searched_in_other_orientations(
    monkeypatch: pytest.MonkeyPatch, degrees: float, score: float, is_searched: bool
) -> None:
    face = rotated_face(degrees, score)
    judge = Judge(face.landmarks)
    detector = detector_with(UprightOnly(0.5), judge.confirm)
    searched = []
    monkeypatch.setattr(detector, "_look", lambda image, face, zooms: face)
    monkeypatch.setattr(detector, "_other_ways_up", lambda image, face: searched.append(1) or [])
    assert detector.look_again(np.zeros((200, 200, 3), np.uint8), face).is_confirmed
    assert bool(searched) == is_searched and judge.questions == 1


@pytest.mark.slow
def test_hints_are_given_only_without_a_sure_face() -> None:
    class TwoSpots(SpotNetwork):
        logits = torch.tensor([[2.0, -0.5]])
        alone = 2.0

        def forward(self, images: Tensor) -> CellFaces:
            if len(images) > 1:
                seen = super().forward(images)
                return replace(seen, logits=torch.full_like(seen.logits, self.alone))
            boxes = torch.tensor([[[10.0, 10, 20, 20], [60, 10, 40, 40]]])
            points = torch.tensor([[77.0, 47], [85, 47], [81, 51], [77, 55], [85, 55]])
            return CellFaces(self.logits, boxes, points.expand(1, 2, 5, 2))

    photo = np.zeros((50, 79, 3), np.uint8)  # searched at one scale only
    photo[25, 40] = 255
    both = detector_with(TwoSpots(0.5))
    assert [round(face.score, 2) for face in both.detect(photo)] == [0.88]
    assert [round(face.score, 2) for face in both.hints(photo)] == [0.88, 0.38]
    TwoSpots.logits = torch.tensor([[-0.35, -0.1]])
    assert [round(face.score, 2) for face in both.detect(photo)] == [0.68]  # seen again
    TwoSpots.alone = -0.3
    assert [round(face.score, 2) for face in both.detect(photo)] == [0.45]  # not clearly
    TwoSpots.logits = torch.tensor([[-2.0, -3.0]])
    assert both.detect(photo) == []

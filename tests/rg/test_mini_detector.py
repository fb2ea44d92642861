"""The bundled face detector: its arithmetic on a fake network; its weights on drawn scenes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from s3pot.rg.detect import Face
from s3pot.rg.mini_detector import (
    FAR_SIDE,
    SEARCH_SIDES,
    MiniFaceDetector,
    without_repeats,
)
from s3pot.rg.nets.face_detector import CellFaces, FaceDetectorNet, FaceDetectorSize


class SpotNetwork(nn.Module):
    """Sees one face around the brightest pixel, as long as it is between 10 and 200 px wide."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share, self.sizes = share, []
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> CellFaces:
        """Look at one picture, (1, 3, H, W)."""
        self.sizes.append((images.shape[-1], images.shape[-2]))
        assert images.shape[-1] % 32 == images.shape[-2] % 32 == 0
        place = int(images[0].sum(dim=0).argmax())
        y, x = divmod(place, images.shape[-1])
        width = self.share * images.shape[-1]
        logit = 2.0 if 10 <= width <= 200 else -9.0
        corners = torch.tensor([[-1.0, -1], [1, -1], [0, 0], [-1, 1], [1, 1]])
        points = torch.tensor([x, y]) + width * corners / 4
        box = torch.tensor([x - width / 2, y - width / 2, width, width])
        return CellFaces(torch.tensor([[logit, -9.0]]), box.expand(1, 2, 4), points[None, None])


def detector_with(network: nn.Module) -> MiniFaceDetector:
    return MiniFaceDetector(network, 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("share", "found"), [(0.05, True), (0.2, True), (1.0, True), (0.009, True), (0.001, False)]
)
def test_finds_come_back_in_the_photo_frame(share: float, found: bool) -> None:
    photo = np.zeros((1536, 2048, 3), np.uint8)
    photo[690:711, 490:511] = 255
    network = SpotNetwork(share)
    faces = detector_with(network).detect(photo)
    sides = [width for width, _ in network.sizes]
    assert sides[:3] == list(SEARCH_SIDES)
    assert (sides[3:] == [FAR_SIDE]) == (share < 0.01)
    if not found:
        assert faces == []
        return
    (face,) = faces
    assert abs(face.score - 0.881) < 1e-3 and face.landmarks.shape == (5, 2)
    # The spot is 21 px wide, a pixel of the smallest search 13.
    assert (np.abs(face.landmarks[2] - [500, 700]) <= 14).all()
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
    assert detector_with(network).detect(np.zeros((1, 3, 3), np.uint8)) == []
    assert network.sizes == [(160, 64)]  # 53 rows, padded
    network.sizes.clear()
    assert detector_with(network).detect(np.zeros((200, 200, 3), np.uint8)) == []
    assert network.sizes == [(160, 160), (320, 320)]


def test_repeats_are_dropped_surest_kept() -> None:
    points = np.zeros((5, 2))
    first = Face((10.0, 10.0, 20.0, 20.0), 0.6, points)
    again = Face((12.0, 10.0, 20.0, 20.0), 0.9, points)
    other = Face((60.0, 10.0, 20.0, 20.0), 0.7, points)
    assert without_repeats([first, again, other]) == [again, other]


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
    assert (cells.logits.sigmoid() < 0.2).all()  # untrained, it sees nothing


def test_hints_are_given_only_without_a_sure_face() -> None:
    class TwoSpots(SpotNetwork):
        logits = torch.tensor([[2.0, -0.5]])

        def forward(self, images: Tensor) -> CellFaces:
            boxes = torch.tensor([[[10.0, 10, 20, 20], [60, 10, 40, 40]]])
            return CellFaces(self.logits, boxes, torch.zeros(1, 2, 5, 2))

    photo = np.zeros((50, 79, 3), np.uint8)  # searched at one size alone
    both = detector_with(TwoSpots(0.5))
    assert [round(face.score, 2) for face in both.detect(photo)] == [0.88]
    TwoSpots.logits = torch.tensor([[-1.0, -0.5]])
    assert [round(face.score, 2) for face in both.detect(photo)] == [0.38, 0.27]  # largest first
    TwoSpots.logits = torch.tensor([[-2.0, -3.0]])
    assert both.detect(photo) == []

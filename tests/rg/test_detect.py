"""The face detector: its arithmetic on a fake network, and YuNet itself if it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from s3pot.rg.detect import FaceDetector
from s3pot.types import S3potError
from s3pot.weights.locate import locate
from s3pot.weights.registry import MissingWeights


def yunet() -> Path | None:
    try:
        return locate("yunet")
    except MissingWeights:
        return None


needs_yunet = pytest.mark.skipif(yunet() is None, reason="python -m s3pot.weights download yunet")


class SpotNetwork:
    """Detects one face around the brightest pixel if it is between 10 and 300 px wide."""

    def __init__(self, share: float) -> None:
        self.share, self.sizes = share, []
        self.seen: tuple[int, int, int] | None = None

    def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802
        self.sizes.append(size)

    def detect(self, image: np.ndarray) -> tuple[int, Any]:
        assert image.shape[1::-1] == self.sizes[-1]
        y, x = np.unravel_index(image.sum(axis=2).argmax(), image.shape[:2])
        self.seen = tuple(int(v) for v in image[y, x])
        width = self.share * image.shape[1]
        if not 10 <= width <= 300:
            return 1, None
        five = np.add([x, y], width * np.array([[-1, -1], [1, -1], [0, 0], [-1, 1], [1, 1]]) / 4)
        box = [x - width / 2, y - width / 2, width, width]
        return 1, np.array([[*box, *five.ravel(), 0.75]], dtype=np.float32)


def detector_with(network: SpotNetwork, monkeypatch: pytest.MonkeyPatch) -> FaceDetector:
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *arguments: network)
    return FaceDetector("unused.onnx")


@pytest.mark.parametrize(
    ("share", "sides"),
    [(0.2, [640]), (0.8, [640, 320]), (0.012, [640, 320, 1280]), (0.001, [640, 320, 1280])],
)
def test_sizes_that_are_searched(
    share: float, sides: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = np.zeros((1500, 2000, 3), np.uint8)
    photo[690:711, 490:511] = (200, 100, 50)
    network = SpotNetwork(share)
    faces = detector_with(network, monkeypatch).detect(photo)
    assert [max(size) for size in network.sizes] == sides
    assert network.seen is not None and network.seen[0] < network.seen[2]  # OpenCV takes BGR
    if share < 0.01:
        assert faces == []
        return
    (face,) = faces
    assert face.score == 0.75 and face.landmarks.shape == (5, 2)
    assert np.abs(face.landmarks[2] - 500 - [0, 200]).max() < 12
    assert abs(face.box[2] / 2000 - share) < 1e-3
    left, right = face.landmarks[0], face.landmarks[1]
    assert left[0] < right[0] and abs(right[0] - left[0] - face.box[2] / 2) < 1


def test_small_photos_are_enlarged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network = SpotNetwork(0.001)
    assert detector_with(network, monkeypatch).detect(np.zeros((1, 3, 3), np.uint8)) == []
    assert network.sizes == [(640, 213)]


def test_missing_and_damaged_model(tmp_path: Path) -> None:
    with pytest.raises(S3potError, match=r"gone\.onnx is missing.*download yunet"):
        FaceDetector(tmp_path / "gone.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    said = f"not a YuNet model that OpenCV {cv2.__version__} .* --weights_dir {tmp_path}"
    with pytest.raises(S3potError, match=said):
        FaceDetector(tmp_path / "bad.onnx")


@pytest.mark.weights
@needs_yunet
def test_yunet_sees_nothing_in_noise_of_any_shape() -> None:
    detector = FaceDetector(locate("yunet"))
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 300), (400, 3), (200, 300)):
        assert detector.detect(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) == []


@pytest.mark.weights
@needs_yunet
def test_yunet_finds_a_drawn_face() -> None:
    photo = np.full((300, 400, 3), (90, 110, 130), np.uint8)
    cv2.ellipse(photo, (200, 150), (62, 84), 0, 0, 360, (222, 178, 150), -1)
    cv2.ellipse(photo, (200, 95), (66, 42), 0, 180, 360, (60, 40, 30), -1)
    for x in (174, 226):
        cv2.ellipse(photo, (x, 134), (13, 6), 0, 0, 360, (250, 250, 250), -1)
        cv2.circle(photo, (x, 134), 6, (40, 30, 25), -1)
        cv2.ellipse(photo, (x, 118), (17, 4), 0, 0, 360, (70, 45, 30), -1)
    cv2.ellipse(photo, (200, 172), (11, 6), 0, 0, 180, (180, 130, 105), -1)
    cv2.ellipse(photo, (200, 200), (24, 8), 0, 0, 360, (190, 80, 85), -1)
    faces = FaceDetector(locate("yunet"), min_score=0.3).detect(cv2.GaussianBlur(photo, (0, 0), 1))
    assert len(faces) == 1
    eyes = faces[0].landmarks[:2]
    assert np.abs(eyes - [[174, 134], [226, 134]]).max() < 8

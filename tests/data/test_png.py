"""The PNG files that s3pot writes, read by Pillow and OpenCV."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from s3pot.data import png

SHAPES = [(1, 1), (1, 1, 3), (1, 300, 3), (300, 1), (37, 53), (64, 48, 3), (257, 255, 3)]


@pytest.fixture(params=["zlib", "isal"], autouse=True)
def _compression(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("isal.isal_zlib") if request.param == "isal" else None
    monkeypatch.setattr(png, "_isal_zlib", lambda: module)


def kinds_of_pixels(shape: tuple[int, ...]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    ramp = np.arange(np.prod(shape)).reshape(shape)
    return [
        generator.integers(0, 256, shape, dtype=np.uint8),
        (ramp // 7 % 256).astype(np.uint8),
        np.where(generator.random(shape) < 0.1, 255, 0).astype(np.uint8),
        np.full(shape, 200, np.uint8),
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_all_readers_find_the_same_pixels(shape: tuple[int, ...]) -> None:
    for pixels in kinds_of_pixels(shape):
        content = png.encode_png(pixels)
        with Image.open(io.BytesIO(content)) as image:
            image.verify()
        with Image.open(io.BytesIO(content)) as image:
            assert image.mode == ("L" if len(shape) == 2 else "RGB")
            np.testing.assert_array_equal(np.asarray(image), pixels)
        by_opencv = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(
            by_opencv if len(shape) == 2 else by_opencv[..., ::-1], pixels
        )


def test_views_of_other_arrays_are_encoded() -> None:
    pixels = kinds_of_pixels((40, 30, 3))[0]
    for view in (pixels[::-1], pixels[:, 3:20], pixels[..., ::-1], pixels[..., 1]):
        assert png.encode_png(view) == png.encode_png(view.copy())


def test_pictures_become_small() -> None:
    y, x = np.mgrid[0:200, 0:200]
    smooth = np.stack([x // 2, y // 2, (x + y) // 4], axis=2).astype(np.uint8)
    assert len(png.encode_png(smooth)) < smooth.size / 5
    mask = np.where((x - 100) ** 2 + (y - 100) ** 2 < 80**2, 255, 0).astype(np.uint8)
    assert len(png.encode_png(mask)) < 2000


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint16),
        np.zeros((4, 4), bool),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W\) or \(H, W, 3\)"):
        png.encode_png(pixels)

"""Measuring the alignment: the measures detect known errors, and the table is printed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from s3pot.data.image import write_png
from s3pot.rg.align import from_landmarks
from s3pot.rg.detect import Face

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "measure_alignment.py"
POINTS = np.array([[80.0, 90], [130, 90], [105, 115], [85, 140], [125, 140]])


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measure_alignment", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texture(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(0).normal(128, 60, (height, width, 3)).astype(np.float32)
    return cv2.GaussianBlur(noise * 4 - 384, (0, 0), 2).clip(0, 255).astype(np.uint8)


def test_shift_is_measured(program: ModuleType) -> None:
    photo = texture(151, 143)
    assert program.shift(photo, photo) < 0.01
    for pixels in (1, 2, 3):
        moved = program.shift(photo[:-pixels], photo[pixels:])
        assert abs(moved - pixels) < 0.2


def test_points_in_the_crop(program: ModuleType) -> None:
    way = from_landmarks(POINTS, (220, 210), 64)
    corners = program.in_crop(way.corners, way)
    np.testing.assert_allclose(corners, [[0, 0], [0, 1], [1, 1], [1, 0]], atol=1e-12)
    assert program.distance(corners, corners + [0.3, 0.4]) == pytest.approx(0.5)


def test_table(
    program: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Known:
        def __init__(self, path: Path) -> None:
            pass

        def detect(self, image: np.ndarray) -> list[Face]:
            found = Face((70, 80, 70, 70), 0.9, POINTS)
            return [] if image.shape[0] == 30 else [found]

    monkeypatch.setattr(program, "FaceDetector", Known)
    write_png(tmp_path / "in" / "a.png", texture(220, 210))
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    options = ["--photos", str(tmp_path / "in"), "--detector", "x", "--size", "256"]
    assert program.main([*options, "--crops", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["photo", "a.png", "mean", "worst"]
    change, shift = (float(value) for value in lines[1].split()[-2:])
    assert change < 5 and shift < 0.3
    assert (tmp_path / "out" / "a.png").is_file()
    write_png(tmp_path / "in" / "b.png", texture(30, 30))
    assert program.main(options) == 1

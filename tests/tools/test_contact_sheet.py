"""The contact sheet shows the documented images in the documented places."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from readme_commands import load_script

from s3pot_synthetic import draw_face

SIZE, COUNT, COLUMNS = 32, 12, 2


@pytest.fixture(scope="module")
def tool():
    return load_script("tools/contact_sheet.py")


@pytest.mark.slow
def test_lines_are_grades(tool, tmp_path) -> None:
    path = tmp_path / "sheet.png"
    options = ["--count", str(COUNT), "--size", str(SIZE), "--columns", str(COLUMNS), "--by_grade"]
    assert tool.main(["--out", str(path), "--split", "bench", *options]) == 0
    picture = cv2.imread(str(path))[..., ::-1]
    assert picture.shape == (6 * SIZE, COLUMNS * SIZE, 3)
    samples = [draw_face(index, SIZE, "bench") for index in range(COUNT)]
    for line, grade in enumerate(tool.GRADES):
        own = [s for s in samples if s.meta["difficulty"] == grade and s.occlusion.any()]
        for column, sample in enumerate(own[:COLUMNS]):
            left, top = column * SIZE, 2 * line * SIZE
            raw = picture[top : top + SIZE, left : left + SIZE]
            red = picture[top + SIZE : top + 2 * SIZE, left : left + SIZE]
            assert np.array_equal(raw, sample.raw)
            assert np.array_equal((raw != red).any(axis=2), sample.occlusion)


def test_samples_in_rows(tool) -> None:
    picture = tool.sheet(3, "train", 0, SIZE, 2, 1)
    assert picture.shape == (2 * SIZE, 8 * SIZE, 3)
    assert np.array_equal(picture[SIZE:, :SIZE], draw_face(3, SIZE).raw)
    assert not picture[SIZE:, 4 * SIZE :].any()

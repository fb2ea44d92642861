"""Crops of drawn faces: the ground truth, the measure, and the whole tool."""

from __future__ import annotations

import numpy as np
import pytest

from tools import drawn_crops
from tools.drawn_crops import crop_error, draw_photo

# Their crop has 90 pixels and the center (50, 52.5).
LANDMARKS = np.array([[40.0, 50], [60, 50], [50, 60], [42, 75], [58, 75]])


def test_every_other_face_is_occluded_and_lies_on_its_canvas() -> None:
    photos = [draw_photo(index) for index in (0, 1)]
    assert [photo.is_occluded for photo in photos] == [False, True]
    for photo in photos:
        assert photo.image.shape == (drawn_crops.CANVAS, drawn_crops.CANVAS, 3)
        assert (photo.landmarks > 0).all() and (photo.landmarks < drawn_crops.CANVAS).all()
        assert photo.landmarks[0, 0] < photo.landmarks[1, 0]
        assert photo.landmarks[:2, 1].max() < photo.landmarks[3:, 1].min()


def test_crop_error_by_hand() -> None:
    assert crop_error(LANDMARKS, LANDMARKS) == 0
    assert crop_error(LANDMARKS + (9, 0), LANDMARKS) == pytest.approx(0.1)
    larger = (50, 52.5) + 1.2 * (LANDMARKS - (50, 52.5))
    assert crop_error(larger, LANDMARKS) == pytest.approx(0.1 * np.sqrt(2))


@pytest.mark.slow
def test_the_whole_tool(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--config", "mini", "--count", "2", "--first", "100"]
    assert drawn_crops.main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 faces")
    kinds = ["occluded, alone", "occluded, refined", "unoccluded, alone", "unoccluded, refined"]
    assert [line[:21].strip() for line in lines[1:5]] == kinds
    assert {line.split()[0] for line in lines[6:]} >= {"mouth", "eyebrows"}
    assert drawn_crops.main([*command, "align.mode=never"]) == 2
    assert "--config configs/mini.yaml" in capsys.readouterr().err

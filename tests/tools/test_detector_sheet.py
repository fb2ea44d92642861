"""The contact sheet of detected faces: its people, and the whole tool."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools import detector_sheet
from tools.detector_photos import TILE
from tools.detector_sheet import draw_portrait


def test_a_portrait_has_its_face_inside() -> None:
    bare, occluded = draw_portrait(0, 21), draw_portrait(1, 21)
    for portrait in (bare, occluded):
        x, y, width, height = portrait.face.box
        assert (portrait.face.landmarks > (x, y)).all()
        assert (portrait.face.landmarks < (x + width, y + height)).all()
        center = np.round(portrait.face.landmarks.mean(axis=0)).astype(int)
        assert portrait.person[center[1], center[0]] > 127


@pytest.mark.slow
def test_the_whole_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector_sheet, "CANVAS", 160)
    monkeypatch.setattr(detector_sheet, "SEVERAL", ())
    monkeypatch.setattr(detector_sheet, "TURNS", (0, 25, 180, 90))
    monkeypatch.setattr(detector_sheet, "COLUMNS", 2)
    assert detector_sheet.main(["--out", str(tmp_path / "sheet.jpg")]) == 0
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.size == (2 * TILE, 2 * TILE)

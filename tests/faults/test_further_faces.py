"""Additional faces of a photo are named after it and never overwrite faces of another photo.

Reported at inselect #155, yolov5 #5248.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import generate_reference
import s3pot.runs.generate_reference as engine
from s3pot.data.image import write_png
from s3pot.rg.align import FaceAligner
from tests.builders import TwoFaces


@pytest.mark.slow
def test_further_faces_never_overwrite_another_photo(
    tmp_path: Path, mini_options: list[str], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    aligner = FaceAligner(TwoFaces(), 64, "reflect", may_be_aligned=False)
    monkeypatch.setattr(engine, "build_aligner", lambda config: aligner)
    folders = ["--input_dir", str(tmp_path / "in"), "--output_dir", str(tmp_path / "out")]

    def run() -> int:
        return generate_reference.main([*folders, "--all_faces", *mini_options])

    def sources() -> dict[str, str]:
        paths = sorted((tmp_path / "out").glob("*_align.json"))
        return {path.name[:-11]: json.loads(path.read_text())["source"] for path in paths}

    write_png(tmp_path / "in" / "g.png", np.zeros((100, 140, 3), np.uint8))
    assert run() == 0
    assert sources() == {"g": "g.png", "g_face2": "g.png"}
    write_png(tmp_path / "in" / "g_face2.png", np.ones((100, 140, 3), np.uint8))
    for _ in range(2):
        caplog.clear()
        assert run() == 1
        assert "face 2 would be called g_face2 and overwrite" in caplog.text
        found = sources()
        assert found["g_face2"] == found["g_face2_face2"] == "g_face2.png"

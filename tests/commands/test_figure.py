"""The figure command on results of inference."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Callable

import pytest

from s3pot.commands import figure, inference


@pytest.fixture
def data(processed_folder: Callable[..., Path]) -> Path:
    folder = processed_folder(3)
    lines = [json.dumps({"stem": f"face_{index:02d}", "kinds": ["hand"]}) for index in range(3)]
    (folder / "meta.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture
def results(tmp_path: Path, data: Path, mini_options: list[str]) -> Path:
    folder = tmp_path / "results"
    folders = ["--datapath", str(data), "--output_dir", str(folder)]
    assert inference.main([*folders, "--save_vis", "--save_logits", *mini_options]) == 0
    return folder


@pytest.mark.slow
def test_all_figures(tmp_path: Path, data: Path, results: Path) -> None:
    out = tmp_path / "figures"
    options = ["--datapath", str(data), "--meta", str(data / "meta.jsonl"), "--each", "1"]
    second = tmp_path / "second"
    shutil.copytree(results, second)
    assert figure.main([str(results), str(second), "--output_dir", str(out), *options]) == 0
    names = ("faces", "iou_histogram", "iou_by_share", "iou_by_kind", "precision_recall")
    expected = {f"{name}.{ending}" for name in names for ending in ("png", "pdf")}
    assert {path.name for path in out.iterdir()} == expected


@pytest.mark.slow
def test_what_cannot_be_drawn_is_named(
    tmp_path: Path, data: Path, results: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = ["--output_dir", str(tmp_path / "figures")]
    for path in results.glob("*_logits.npy"):
        path.unlink()
    assert figure.main([str(results), "--datapath", str(data), *out, "--faces", "face_01"]) == 0
    assert "no figure iou_by_kind: " in caplog.text and "--meta" in caplog.text
    assert "no figure precision_recall: " in caplog.text and "--save_logits" in caplog.text
    assert (tmp_path / "figures" / "faces.pdf").is_file()
    caplog.clear()
    assert figure.main([str(results), *out, "--faces", "nobody"]) == 2
    assert "has no face 'nobody'" in caplog.text
    assert figure.main([str(results), *out, "--columns", "raw", "oops"]) == 2
    assert "no column 'oops'; choose from raw, " in caplog.text
    assert figure.main([str(tmp_path), *out]) == 2
    assert figure.main([str(results), *out, "--each", "0"]) == 2

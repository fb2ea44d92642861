"""The paper's suites on folders in their formats, without the published weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

import evaluate
from s3pot.data.image import read_rgb, write_png
from s3pot.runs.suite_file import read_suite
from s3pot.weights.registry import weight_files

PAPER = Path(__file__).resolve().parents[2] / "configs" / "tables" / "paper"
SUITES = sorted(PAPER.glob("*.yaml"))


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file for every published model, sufficient for a dry run."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for name, entry in list(weight_files().items()):
        monkeypatch.setitem(weight_files(), name, replace(entry, sha256=None, size=None))
        torch.save({}, folder / entry.file)
    return folder


def with_visible_face(folder: Path) -> None:
    """Convert the truths of a folder to those of RealOcc, COFW and CelebAMask-HQ."""
    for path in folder.glob("*_occlusion.png"):
        stem = path.name.replace("_occlusion.png", "")
        occlusion = read_rgb(path)[..., 0] > 0
        region = np.load(folder / f"{stem}_parsing_mask.npy") > 0
        write_png(folder / f"{stem}_visible_face.png", region & ~occlusion)
        path.unlink()
        (folder / f"{stem}_clean.png").unlink()


def as_authors(folder: Path, target: Path) -> None:
    """Write the faces of a folder in the layout of the authors' own data."""
    for number, path in enumerate(sorted(folder.glob("*_ref.png")), 1):
        stem = path.name.replace("_ref.png", "")
        face = target / str(number)
        face.mkdir(parents=True)
        cv2.imwrite(str(face / f"{number}.jpg"), cv2.imread(str(folder / f"{stem}.png")))
        shutil.copy(path, face / f"Reference_{number}.png")
        shutil.copy(folder / f"{stem}_parsing_mask.npy", face / f"{number}_parsing_mask.npy")
        corners = [[10, 20], [50, 20], [50, 35], [10, 35]]
        shape = {"label": "hand", "points": corners, "shape_type": "polygon"}
        labels = {"shapes": [shape], "imageWidth": 64, "imageHeight": 64}
        (face / f"{number}.json").write_text(json.dumps(labels))


@pytest.fixture
def faces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processed_folder: Callable[..., Path]
) -> None:
    """The data folders that the suites name, below the working directory."""
    monkeypatch.chdir(tmp_path)
    source = processed_folder(2)
    for name in ("val", "train"):
        as_authors(source, tmp_path / "dataset" / "authors" / name)
    with_visible_face(source)
    for name in ("realocc", "cofw", "celebamask_hq"):
        shutil.copytree(source, tmp_path / "dataset" / name / "processed_data")


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_dry_run_with_everything_there(
    path: Path, faces: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--suite", str(path), "--dry_run", "--config", "paper"]
    assert evaluate.main([*command, f"model.weights_dir={weights}"]) == 0
    printed = capsys.readouterr().out
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))["rows"]
    lines = [line for line in printed.splitlines() if line.startswith("| ")][2:-1]
    assert [line.split(" | ")[-4] for line in lines] == ["2"] * len(rows)
    assert "2 faces x 50 epochs" in printed and "nothing is missing" in printed


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_dry_run_with_nothing_there(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["--suite", str(path), "--dry_run", "--config", "paper"]
    assert evaluate.main([*command, "model.weights_dir=nowhere"]) == 1
    missing = capsys.readouterr().out.split("missing (")[1]
    for words in ("dataset/", "sam_vit_h ", "bisenet ", "e4s ", "yunet "):
        assert words in missing, words
    assert ("sam_vit_b " in missing) == ("sam_vit_l " in missing) == (path.stem == "sam")


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_no_row_uses_what_nobody_has(path: Path) -> None:
    suite = read_suite(path)
    assert all(row.threshold == 0 for row in suite.rows)  # none is tuned
    assert all(
        row.threshold_rule == "otsu" for row in suite.rows if row.method in ("pixel", "token")
    )
    assert not any(row.is_oracle for row in suite.rows)
    for row in suite.rows:
        assert row.sees_the_truth == ("needs labels" in row.name)


@pytest.mark.slow
def test_a_paper_suite_runs_with_tiny_models(
    faces: Path, mini_options: list[str], tmp_path: Path
) -> None:
    path = PAPER / "authors.yaml"
    short = ["train.epochs=1", "per_image.epochs=1"]
    assert evaluate.main(["--suite", str(path), "--output_dir", "out", *mini_options, *short]) == 0
    table = (tmp_path / "out" / "table.csv").read_text().splitlines()
    assert len(table) == 1 + len(read_suite(path).rows)
    assert len(list((tmp_path / "out" / "adapters").glob("*/last.pth"))) == 3

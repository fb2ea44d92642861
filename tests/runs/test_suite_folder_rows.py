"""Masks of another program as rows of a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import evaluate
from s3pot.config import Config, TrainConfig, save_config
from s3pot.data.image import read_rgb, write_png
from s3pot.io import write_json
from s3pot.runs.provenance import config_hash
from tests.builders import read_csv


@pytest.fixture
def theirs(tmp_path: Path, data: Path) -> Path:
    """True masks of faces 0 and 1 and an empty one of face 2, also as visible faces."""
    folder = tmp_path / "theirs"
    for index in range(3):
        name = f"face_{index:02d}"
        truth = read_rgb(data / f"{name}_occlusion.png")[..., 0] > 0
        region = np.load(data / f"{name}_parsing_mask.npy") == 6
        mask = truth & (index < 2)
        write_png(folder / "occlusion" / f"{name}.png", mask)
        write_png(folder / "face" / f"{name}.png", region & ~mask)
        write_png(folder / "large" / f"{name}.png", mask.repeat(2, axis=0).repeat(2, axis=1))
    return folder


@pytest.mark.slow
def test_masks_of_another_program_are_scored_as_ours(
    tmp_path: Path, run: Callable[..., int], theirs: Path
) -> None:
    rows = [
        {"name": "true", "method": "folder", "path": str(theirs / "occlusion")},
        {
            "name": "face",
            "method": "folder",
            "path": str(theirs / "face"),
            "polarity": "visible_face",
        },
        {"name": "large", "method": "folder", "path": str(theirs / "large"), "size": "resize"},
        {"name": "none", "method": "parser"},
    ]
    assert run(rows, main="true") == 0
    table = read_csv(tmp_path / "out" / "table.csv")
    assert [row["occlusion_iou"] for row in table] == ["0.666667"] * 3 + ["0.0"]
    assert [row["mask_seconds"] != "" for row in table] == [False] * 3 + [True]
    assert table[0]["weights"] == "" and table[1]["difference"] == "0.0"


@pytest.mark.parametrize("ending", ["_occlusion.png", ".png", ".npy"])
def test_both_routes_score_masks_of_another_program_alike(
    tmp_path: Path, data: Path, run: Callable[..., int], ending: str
) -> None:
    """True masks that reach beyond the parsed region, and wrong pixels outside it."""
    masks = tmp_path / "masks"
    masks.mkdir()
    for index in range(3):
        name = f"face_{index:02d}"
        region = np.load(data / f"{name}_parsing_mask.npy") == 6
        truth = read_rgb(data / f"{name}_occlusion.png")[..., 0] > 0
        outside = np.flatnonzero(~region & ~truth)
        truth.flat[outside[:40]] = True
        write_png(data / f"{name}_occlusion.png", truth)
        mask = truth.copy()
        mask.flat[outside[40 : 40 + 30 * index]] = True
        if ending == ".npy":
            np.save(masks / f"{name}{ending}", mask)
        else:
            write_png(masks / f"{name}{ending}", mask)
    assert evaluate.main(["--datapath", str(data), "--results", str(masks)]) == 0
    assert run([{"name": "all", "method": "folder", "path": str(masks)}]) == 0
    by_results = read_csv(masks / "per_image.csv")
    by_suite = read_csv(tmp_path / "out" / "per_image.csv")
    assert by_results == by_suite
    for index, face in enumerate(by_suite):
        region = np.load(data / f"face_{index:02d}_parsing_mask.npy") == 6
        truth = read_rgb(data / f"face_{index:02d}_occlusion.png")[..., 0] > 0
        assert float(face["iou"]) == pytest.approx((truth & region).sum() / truth.sum(), abs=1e-4)
        assert float(face["iou"]) < 1
    keys = ("occlusion_iou", "f1", "precision", "recall")
    tables = [read_csv(folder / "table.csv")[0] for folder in (masks, tmp_path / "out")]
    assert [tables[0][key] for key in keys] == [tables[1][key] for key in keys]


@pytest.mark.slow
def test_a_folder_needs_no_weights_and_its_faults_are_named(
    tmp_path: Path, run: Callable[..., int], theirs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = {"name": "theirs", "method": "folder", "path": str(theirs / "occlusion")}
    assert run([row], f"model.weights_dir={tmp_path / 'nowhere'}") == 0
    (theirs / "occlusion" / "face_01.png").unlink()
    assert run([row]) == 1
    assert "holds no mask of face_01" in caplog.text
    assert run([{**row, "path": str(theirs / "large")}]) == 2
    assert "size: resize" in caplog.text
    assert run([{**row, "path": ""}]) == 2
    assert "has a path" in caplog.text


@pytest.mark.slow
def test_changed_masks_are_scored_again(
    tmp_path: Path, run: Callable[..., int], theirs: Path
) -> None:
    row = {"name": "theirs", "method": "folder", "path": str(theirs / "occlusion")}
    assert run([row]) == 0
    write_png(theirs / "occlusion" / "face_01.png", np.zeros((64, 64), bool))
    assert run([row]) == 0
    assert read_csv(tmp_path / "out" / "table.csv")[0]["occlusion_iou"] == "0.333333"


def test_the_provenance_is_that_of_the_masks(
    tmp_path: Path, run: Callable[..., int], theirs: Path
) -> None:
    row = {"name": "theirs", "method": "folder", "path": str(theirs / "occlusion")}
    assert run([row], "train.seed=3") == 0
    of_others = read_csv(tmp_path / "out" / "table.csv")[0]
    assert (of_others["seed"], of_others["config"], of_others["weights"]) == ("", "", "")
    assert of_others["commit"] or of_others["version"]
    config = Config(train=TrainConfig(seed=7))
    save_config(config, theirs / "occlusion", "inference")
    write_json(
        theirs / "occlusion" / "summary.json", [{"name": "face_00", "sha256_sam": "5a" * 32}]
    )
    assert run([row], "train.seed=3") == 0
    of_ours = read_csv(tmp_path / "out" / "table.csv")[0]
    assert (of_ours["seed"], of_ours["config"]) == ("7", config_hash(config))
    assert of_ours["weights"] == "sam 5a5a5a5a5a5a"


def test_a_mask_that_would_be_that_of_two_faces_is_refused(
    tmp_path: Path, data: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    (data / "face_00_occlusion.png").rename(data / "face_00_visible_face.png")
    for path in list(data.glob("face_01*")):
        path.rename(data / path.name.replace("face_01", "face_00_occlusion"))
    masks = tmp_path / "masks"
    for name in ("face_00_occlusion", "face_02"):
        write_png(masks / f"{name}.png", np.zeros((64, 64), bool))
    said = "face_00_occlusion.png would be the mask of two faces, face_00 and face_00_occlusion."
    assert run([{"name": "all", "method": "folder", "path": str(masks)}]) == 2
    assert said in caplog.text and not (tmp_path / "out").exists()
    caplog.clear()
    assert evaluate.main(["--datapath", str(data), "--results", str(masks)]) == 2
    assert said in caplog.text

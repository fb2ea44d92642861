"""Faces whose photo failed after they were written: they stay, and every reader names them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import evaluate
import generate_reference
import inference
import train_general
import train_per_image
from s3pot.__main__ import main
from s3pot.data.image import write_png
from s3pot.io import write_npy
from s3pot.report.summary import Failure, Summary, write_summary_files
from s3pot.runs.outdated_faces import outdated_faces
from s3pot.typed_yaml import write_settings
from tests.builders import read_csv, write_photo

LEFT = "1 face is left in"
GENERATE = "generate_reference"


def write_summary(folder: Path, finished: Sequence[str], failed: Sequence[str]) -> None:
    rows = [{"name": name} for name in finished]
    failures = [Failure(name, "read", "its truth has another size") for name in failed]
    write_summary_files(folder, Summary(rows, failures))


def write_maps(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        write_npy(folder / f"{name}_parsing_mask.npy", np.zeros((8, 8), np.uint8))


@pytest.fixture
def data(processed_folder: Callable[..., Path]) -> Path:
    folder = processed_folder(3)
    write_summary(folder, ["face_00", "face_02"], ["face_01", "never_written"])
    return folder


def test_a_refused_truth_leaves_a_face_that_is_named(
    tmp_path: Path, mini_options: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for seed, name in enumerate(("a", "b")):
        write_photo(tmp_path / "in" / f"{name}.png", seed)
        write_png(tmp_path / "truth" / f"{name}_occlusion.png", np.eye(48, dtype=bool))
        write_png(tmp_path / "new" / f"{name}_occlusion.png", np.eye(48, k=3, dtype=bool))
    write_png(tmp_path / "new" / "a_occlusion.png", np.eye(20, dtype=bool))
    faces = tmp_path / "faces"

    def prepare(truth: str) -> int:
        folders = ["--input_dir", str(tmp_path / "in"), "--output_dir", str(faces)]
        options = ["--truth_dir", str(tmp_path / truth), *mini_options]
        return generate_reference.main([*folders, *options])

    assert prepare("truth") == 0
    assert "is left in" not in caplog.text
    before = (faces / "a_occlusion.png").read_bytes()
    assert prepare("new") == 1
    assert f"{LEFT} {faces}" in caplog.text and "according to failures.csv: a." in caplog.text
    assert (faces / "a_occlusion.png").read_bytes() == before
    assert outdated_faces(faces) == ["a"]
    write_png(tmp_path / "new" / "a_occlusion.png", np.eye(48, k=5, dtype=bool))
    caplog.clear()
    assert prepare("new") == 0
    assert "is left in" not in caplog.text and outdated_faces(faces) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "inference",
        "train_general",
        "train_per_image",
        "evaluate --results",
        "evaluate --suite",
        "evaluate --dry_run",
        "data convert",
        "data split",
    ],
)
def test_every_command_that_reads_faces_names_them(
    command: str,
    tmp_path: Path,
    data: Path,
    mini_options: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text(f"datapath: {data}\nrows: [{{name: region, method: region}}]\n")
    masks = tmp_path / "masks"
    for index in range(3):
        write_png(masks / f"face_{index:02d}_occlusion.png", np.eye(64, dtype=bool))
    datapath = ["--datapath", str(data)]
    source = ["--input_dir", str(data)]
    out = ["--output_dir", str(tmp_path / "out")]
    calls: dict[str, Callable[[], int]] = {
        "inference": lambda: inference.main([*datapath, *out, *mini_options]),
        "train_general": lambda: train_general.main(
            [*datapath, *out, *mini_options, "train.epochs=1"]
        ),
        "train_per_image": lambda: train_per_image.main(
            [*datapath, *out, *mini_options, "per_image.epochs=1"]
        ),
        "evaluate --results": lambda: evaluate.main([*datapath, "--results", str(masks)]),
        "evaluate --suite": lambda: evaluate.main(["--suite", str(suite), *out, *mini_options]),
        "evaluate --dry_run": lambda: evaluate.main(
            ["--suite", str(suite), "--dry_run", *mini_options]
        ),
        "data convert": lambda: main(["data", "convert", "--from", "faces", *source, *out]),
        "data split": lambda: main(["data", "split", *source, *out, "--parts", "a=0.5", "b=0.5"]),
    }
    assert calls[command]() == 0
    assert caplog.text.count(f"{LEFT} {data}") == 1
    assert "according to failures.csv: face_01." in caplog.text


def test_validate_counts_them_as_problems(tmp_path: Path, data: Path) -> None:
    assert main(["data", "validate", str(data), "--output_dir", str(tmp_path / "out")]) == 1
    problems = read_csv(tmp_path / "out" / "problems.csv")
    assert [(problem["name"], problem["kind"]) for problem in problems] == [("face_01", "outdated")]


def test_further_faces_of_a_photo_go_with_it(tmp_path: Path) -> None:
    names = ["a[1]", "a[1]_face2", "a[1]_face3", "a[1]_face2_copy", "b", "b_face2"]
    write_maps(tmp_path, names)
    write_summary(tmp_path, ["b", "b_face2", "a[1]_face3"], ["a[1]"])  # a photo a[1]_face3
    assert outdated_faces(tmp_path) == ["a[1]", "a[1]_face2"]


def test_a_map_without_a_name_is_no_face(tmp_path: Path) -> None:
    write_maps(tmp_path, ["", "._face2", "a"])
    write_summary(tmp_path, ["b"], ["a"])
    assert outdated_faces(tmp_path) == ["a"]


def test_parts_and_folders_of_folders(tmp_path: Path) -> None:
    write_maps(tmp_path, ["train/a", "train/sub/b", "val/c"])
    write_summary(tmp_path, ["train/a"], ["train/sub/b", "val/c"])
    assert outdated_faces(tmp_path) == ["train/sub/b", "val/c"]
    assert outdated_faces(tmp_path / "train") == ["sub/b"]
    assert outdated_faces(tmp_path / "val") == ["c"]
    (tmp_path / "failures.csv").unlink()
    write_summary(tmp_path / "train", ["sub/b"], ["a"])
    assert outdated_faces(tmp_path) == ["train/a"]
    assert outdated_faces(tmp_path / "train") == ["a"]


def test_converted_faces_whose_image_fails_later_are_named(tmp_path: Path) -> None:
    write_maps(tmp_path, ["train/a", "train/b", "c"])
    write_summary(tmp_path / "records", ["train/b"], ["train/a", "c"])
    assert outdated_faces(tmp_path) == ["c", "train/a"]
    assert outdated_faces(tmp_path / "train") == ["a"]


def test_the_photos_of_segment_fail_beside_its_faces(tmp_path: Path) -> None:
    write_maps(tmp_path / "faces", ["a", "a_face2", "b"])
    write_summary(tmp_path, ["b"], ["a", "../outside"])
    assert outdated_faces(tmp_path / "faces") == ["a", "a_face2"]
    (tmp_path / "summary.json").write_text("not JSON")
    assert outdated_faces(tmp_path / "faces") == []


@pytest.mark.parametrize(
    ("command", "outdated"),
    [
        ("inference", []),
        ("evaluate --suite", []),
        ("segment", ["a"]),
        ("generate_reference", ["a"]),
    ],
)
def test_failures_of_results_are_not_those_of_photos(
    tmp_path: Path, command: str, outdated: list[str]
) -> None:
    write_maps(tmp_path / "faces", ["a", "b"])
    write_settings(tmp_path, {}, command)
    write_summary(tmp_path, ["b"], ["a"])
    assert outdated_faces(tmp_path / "faces") == outdated

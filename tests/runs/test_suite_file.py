"""The YAML file of a table: what is read from it, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import evaluate
from s3pot.runs.suite_file import missing_folders, read_suite
from s3pot.types import S3potError

ROOT = Path(__file__).resolve().parents[2]


def test_main_must_be_a_row_and_names_differ(
    run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    assert run([{"name": "x"}], main="y") == 2
    assert "main is 'y', which is not the name of a row" in caplog.text
    assert run([{"name": "x"}, {"name": "x"}]) == 2
    assert "two rows have the same name" in caplog.text


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"name": "x", "methd": "pixel"}, "methd"),
        ({"name": "x", "method": "magic"}, "magic"),
        ({"method": "pixel"}, "including name"),
        ({"name": "x", "threshold": "high"}, "threshold"),
        ({"name": "x", "reference": "true"}, "oracle"),
        ({"name": "x", "overrides": "text"}, "suite.yaml"),
        ("text", "text"),
        ({"name": "x", "overrides": {"train": {"epochs": 3}}}, "in full: train.epochs"),
        ({"name": "x", "faces": -2}, "faces is -2; expected a number of faces, 0 for all"),
        ({"name": "x", "faces": 1.5}, "rows.1.faces is 1.5; expected a whole number"),
        ({"name": "x", "faces": True}, "rows.1.faces is True; expected a whole number"),
        ({"name": "x", "point_count": -1}, "point_count is -1"),
        ({"name": "x", "method": "pixel", "threshold": -1}, "threshold is -1; expected 0 to 2"),
        ({"name": " "}, "empty name"),
        ({"name": "x", "method": "parser", "threshold": 0.5}, "'parser' and its other keys"),
        ({"name": "x", "method": "token", "adapter": "bundled"}, "adapter is 'bundled', but"),
        ({"name": "x", "method": "parser", "points": "random"}, "points is 'random', but"),
        ({"name": "x", "adapter": "bundled", "init": "general"}, "init is 'general', but"),
        ({"name": "x", "threshold_rule": "otsu"}, "threshold_rule is 'otsu', but"),
        (
            {"name": "x", "method": "pixel", "threshold": 1, "threshold_rule": "otsu"},
            "threshold is 1.0, but",
        ),
        ({"name": "x", "size": "resize"}, "size is 'resize', but"),
        (
            {"name": "x", "method": "folder", "path": "p", "reference": "oracle"},
            "reference is 'oracle', but",
        ),
    ],
)
def test_bad_rows_are_one_clear_error(
    run: Callable[..., int], caplog: pytest.LogCaptureFixture, row: Any, words: str
) -> None:
    assert run([row]) == 2
    assert words in caplog.text


@pytest.mark.parametrize("key", ["limit", "train_limit"])
@pytest.mark.parametrize(
    ("value", "words"),
    [(-2, "expected a number of faces"), (1.5, "a whole number"), (True, "a whole number")],
)
def test_bad_limits_are_refused(
    run: Callable[..., int], caplog: pytest.LogCaptureFixture, key: str, value: Any, words: str
) -> None:
    assert run([{"name": "x"}], **{key: value}) == 2
    assert f"{key} is {value}" in caplog.text and words in caplog.text


def test_a_suite_and_results_are_refused_together(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = ["--suite", str(tmp_path / "s.yaml"), "--results", str(tmp_path)]
    assert evaluate.main(options) == 2
    assert "give one of them" in caplog.text


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "tables").rglob("*.yaml")), ids=str)
def test_the_bundled_suites_can_be_read(path: Path) -> None:
    assert read_suite(path).rows


def test_an_adapter_is_found_from_the_working_folder_or_the_suites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("here", "suites"):
        (tmp_path / folder).mkdir()
    (tmp_path / "here" / "best.pth").write_bytes(b"")
    (tmp_path / "suites" / "other.pth").write_bytes(b"")
    rows = [
        {"name": "a", "adapter": "here/best.pth"},
        {"name": "b", "adapter": "other.pth"},
        {"name": "c", "adapter": "bundled"},
    ]
    path = tmp_path / "suites" / "s.yaml"
    path.write_text(yaml.safe_dump({"datapath": "data", "rows": rows}))
    adapters = [Path(row.adapter) for row in read_suite(path).rows]
    assert adapters == [Path("here/best.pth"), path.parent / "other.pth", Path("bundled")]
    path.write_text(
        yaml.safe_dump({"datapath": "data", "rows": [{"name": "a", "adapter": "no.pth"}]})
    )
    with pytest.raises(S3potError, match=r"no\.pth.*neither a checkpoint"):
        read_suite(path)


def test_folders_are_found_from_the_working_folder_or_the_suites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("faces", "suites/faces", "suites/train", "suites/masks"):
        (tmp_path / folder).mkdir(parents=True)
    path = Path("suites") / "s.yaml"
    rows = [{"name": "a", "method": "folder", "path": "masks"}, {"name": "b", "adapter": "trained"}]
    tree = {"datapath": "faces", "train": "train", "rows": rows}
    path.write_text(yaml.safe_dump(tree))
    suite = read_suite(path)
    assert (suite.datapath, suite.train) == (Path("faces"), Path("suites/train"))
    assert suite.rows[0].path == str(Path("suites/masks"))
    assert missing_folders(suite) == []


def test_missing_folders_are_named_once_before_anything_runs(
    tmp_path: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        {"name": "theirs", "method": "folder", "path": "nowhere"},
        {"name": "trained", "adapter": "trained"},
    ]
    assert run(rows, train=str(tmp_path / "no train")) == 2
    assert "failed: face" not in caplog.text
    assert caplog.text.count("row 'theirs': path: The folder nowhere does not exist, neither") == 1
    assert f"train: The folder {tmp_path / 'no train'} does not exist; generate_ref" in caplog.text
    assert not (tmp_path / "out").exists()


def test_demo_table_has_the_required_rows() -> None:
    suite = read_suite(ROOT / "configs" / "tables" / "demo.yaml")
    names = [row.name for row in suite.rows]
    required = (
        "parser alone",
        "pixel-difference threshold",
        "token-contrast threshold",
        "single point",
        "greedy points rasterized",
        "no adapter",
        "general adapter",
        "general adapter (same 8 faces)",
        "per image adapter",
        "without FE",
    )
    assert len(set(names)) == len(names)
    for name in required:
        assert name in names and f"{name} (oracle)" in names
    for row in suite.rows:
        assert (row.reference == "oracle") == row.name.endswith(" (oracle)")
        assert ("prompt.features" in row.overrides) == row.name.startswith("without FE")
        assert (row.faces == 8) == ("8 faces" in row.name or row.name.startswith("per image"))


def test_unreadable_suite(tmp_path: Path) -> None:
    with pytest.raises(S3potError, match=r"The suite .*none.yaml does not exist; configs/tables/"):
        read_suite(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("rows: [")
    with pytest.raises(S3potError, match="bad.yaml"):
        read_suite(tmp_path / "bad.yaml")


def test_overrides_may_be_empty(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text("datapath: .\noverrides:\nrows:\n  - {name: x, method: parser, overrides: }\n")
    assert read_suite(path).rows[0].overrides == {}


def test_rows_that_are_no_list_are_named(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text("datapath: .\nrows: 3\n")
    with pytest.raises(S3potError, match=r"rows is 3; expected a list of .* row\. A suite"):
        read_suite(path)

"""The dry run of a table: its requirements and its cost, without loading a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import evaluate
from s3pot.config import load_config
from s3pot.data.image import write_png
from s3pot.runs.suite_cost import MINI_CPU, VIT_H_CPU, VIT_H_GPU, Work, cost_of
from s3pot.runs.suite_file import read_suite
from s3pot.runs.suite_plan import SuitePlan, plan_suite, plan_text

ROWS = [
    {"name": "none", "adapter": "none"},
    {"name": "bundled", "adapter": "bundled"},
    {"name": "encoder", "adapter": "none", "overrides": {"prompt.features": "encoder"}},
    {"name": "trained", "adapter": "trained"},
    {"name": "the same", "adapter": "trained", "faces": 2},
    {"name": "no hinge", "adapter": "trained", "overrides": {"loss.hinge_weight": 0}},
    {"name": "own", "adapter": "per_image", "faces": 2},
]


@pytest.fixture
def suite(tmp_path: Path, processed_folder: Callable[..., Path]) -> Callable[..., Path]:
    def write(rows: list[Any], **more: Any) -> Path:
        head = {"datapath": str(tmp_path / "data"), "train": str(tmp_path / "train"), **more}
        path = tmp_path / "suite.yaml"
        path.write_text(yaml.safe_dump({**head, "rows": rows}))
        return path

    processed_folder(4)
    processed_folder(3, "train")
    return write


@pytest.fixture
def plan(suite: Callable[..., Path], mini_options: list[str]) -> Callable[..., SuitePlan]:
    def make(rows: list[Any], *overrides: str, **more: Any) -> SuitePlan:
        config = load_config(None, [*mini_options, *overrides])
        return plan_suite(config, read_suite(suite(rows, **more)))

    return make


def test_costs_are_those_of_the_rates_and_shared_work_counts_once(
    plan: Callable[..., SuitePlan],
) -> None:
    result = plan(ROWS, "train.epochs=2", "per_image.epochs=5")
    assert result.missing == []
    rates = MINI_CPU
    expected = {
        "none": 4 * (rates.pair + rates.decode),
        "bundled": 4 * rates.decode,
        "encoder": 4 * (rates.pair + rates.decode),
        "trained": 4 * rates.decode + 3 * rates.pair + 6 * rates.step,
        "the same": 2 * rates.decode,
        "no hinge": 4 * rates.decode + 6 * rates.step,
        "own": 2 * rates.decode + 10 * rates.step,
    }
    assert {row.name: row.cost.cpu for row in result.rows} == pytest.approx(expected)
    assert result.cost.cpu == pytest.approx(sum(expected.values()))
    assert [row.training for row in result.rows][3:6] == [
        "3 faces x 2 epochs",
        "as above",
        "3 faces x 2 epochs",
    ]
    text = plan_text(result)
    assert text.count("\n| ") == len(ROWS) + 2 and "nothing is missing" in text


def test_the_encoders_size_counts_for_the_encoder_only() -> None:
    work = Work(pairs=2, decodes=3, steps=5)
    high, low = (cost_of(work, load_config(None, [f"model.sam=vit_{s}"])) for s in "hb")
    rest = 3 * VIT_H_CPU.decode + 5 * VIT_H_CPU.step
    assert high.cpu == pytest.approx(2 * VIT_H_CPU.pair + rest)
    assert low.cpu == pytest.approx(2 * VIT_H_CPU.pair * 0.17 + rest)
    assert high.gpu == pytest.approx(2 * VIT_H_GPU.pair + 3 * VIT_H_GPU.decode + 5 * VIT_H_GPU.step)
    assert cost_of(work, load_config("mini")).gpu is None


def test_all_that_is_missing_is_in_one_block(
    tmp_path: Path,
    suite: Callable[..., Path],
    mini_options: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = tmp_path / "data"
    (data / "face_00_ref.png").unlink()
    (data / "face_01_clean.png").unlink()
    write_png(data / "face_02_ref.png", np.zeros((32, 32, 3), np.uint8))
    (data / "face_03.png").write_bytes(b"no image")
    (tmp_path / "train" / "face_01_parsing_mask.npy").write_bytes(b"no array")
    rows = [
        *ROWS,
        {"name": "oracle", "method": "pixel", "reference": "oracle"},
        {"name": "theirs", "method": "folder", "path": "nowhere"},
    ]
    nowhere = f"model.weights_dir={tmp_path / 'empty'}"
    command = ["--suite", str(suite(rows)), "--dry_run", *mini_options, nowhere]
    assert evaluate.main(command) == 1
    block = capsys.readouterr().out.split("missing (")[1].splitlines()
    found = {line[2:] for line in block if line.startswith("- ")}
    for words in (
        "the reference is missing: face_00.",
        "image and reference differ in size: face_02.",
        f"image or reference cannot be read: face_03. {data / 'face_03.png'} is not",
        "the parsing is not a readable array: face_01.",
        "mini sam: the file",
        "mini adapter: the file",
        "row 'oracle': the true clean face is missing: face_01",
        "row 'theirs': path: The folder nowhere does not exist, neither in the working folder nor",
    ):
        assert any(words in line for line in found), words
    assert len(found) == 8
    assert not list(tmp_path.glob("results*")) and not Path("results/suite").exists()


def test_a_mistyped_override_is_an_error(
    suite: Callable[..., Path], mini_options: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"name": "typo", "overrides": {"prompt.feature": "encoder"}}]
    assert evaluate.main(["--suite", str(suite(rows)), "--dry_run", *mini_options]) == 2
    assert "row 'typo': unknown config key prompt.feature" in caplog.text


def test_missing_folders_name_what_makes_them(
    tmp_path: Path,
    suite: Callable[..., Path],
    mini_options: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = suite(ROWS[:4], datapath="no/data", train="no/train")
    assert evaluate.main(["--suite", str(path), "--dry_run", *mini_options]) == 1
    out = capsys.readouterr().out
    where = "does not exist, neither in the working folder nor in that of the suite; generate_ref"
    assert out.count(f"datapath: The folder no/data {where}") == out.count("no/data") == 1
    assert out.count(f"train: The folder no/train {where}") == out.count("no/train") == 1
    assert "mini detector" in out  # which generate_reference.py needs; the tiny set has none


def test_a_complete_suite_ends_with_zero_and_the_option_needs_a_suite(
    suite: Callable[..., Path], mini_options: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert evaluate.main(["--suite", str(suite(ROWS)), "--dry_run", *mini_options]) == 0
    assert evaluate.main(["--dry_run", *mini_options]) == 2
    assert "give --suite as well" in caplog.text


@pytest.mark.slow
def test_the_suites_of_the_mini_models_lack_only_their_faces(
    tmp_path: Path, processed_folder: Callable[..., Path]
) -> None:
    processed_folder(64)
    processed_folder(48, "train")
    for name in ("main", "modules", "losses", "sensitivity", "sam"):
        path = Path(__file__).resolve().parents[2] / "configs" / "tables" / f"{name}.yaml"
        suite = read_suite(path)
        train = tmp_path / "train" if suite.train else None
        suite = replace(suite, datapath=tmp_path / "data", train=train)
        result = plan_suite(load_config("mini"), suite)
        assert result.missing == []
        assert result.rows[0].faces == suite.limit
        assert 60 < result.cost.cpu < 20 * 60  # two cores: well below 40 minutes

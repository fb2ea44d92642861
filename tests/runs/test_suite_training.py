"""Adapters that the rows of a table train."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from s3pot.config import config_from_dict, load_config
from s3pot.data.face_folder import FaceFiles
from s3pot.runs.suite_training import SuiteTraining
from s3pot.sam.frozen import FrozenSam
from s3pot.training.checkpoint import decisive_settings, new_adapter
from s3pot.training.general import GeneralTraining
from s3pot.types import Prompts
from s3pot.weights.load import read_checkpoint
from tests.builders import read_csv


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Numbers of training epochs that were run, by the name of the output folder."""
    epochs = []
    run_epoch = GeneralTraining._run_epoch

    def counted(self: GeneralTraining, *arguments: Any) -> Any:
        epochs.append(self.output_dir.name)
        return run_epoch(self, *arguments)

    monkeypatch.setattr(GeneralTraining, "_run_epoch", counted)
    return epochs


TRAINED_ROWS = [
    {"name": "all losses", "adapter": "trained"},
    {"name": "the same", "adapter": "trained", "faces": 2},
    {"name": "no hinge", "adapter": "trained", "overrides": {"loss.hinge_weight": 0}},
]
# Its masks differ, its adapter does not.
LARGE_PIECES = {"name": "large", "adapter": "trained", "overrides": {"mask.min_piece": 0.01}}


@pytest.mark.slow
def test_adapters_are_trained_into_the_tables_folder_and_kept(
    tmp_path: Path,
    run: Callable[..., int],
    trained: list[str],
    processed_folder: Callable[..., Path],
) -> None:
    train = processed_folder(3, "train")
    more = {"train": str(train), "train_limit": 2, "overrides": {"train.epochs": 1}}
    rows = [*TRAINED_ROWS, LARGE_PIECES]
    assert run(rows, **more) == 0
    assert len(trained) == len(set(trained)) == 2  # three of four rows share an adapter
    folder = tmp_path / "out" / "adapters" / trained[0]
    record = json.loads((folder / "training.json").read_text())
    assert (record["faces"], record["epochs"]) == (2, 1)
    table = read_csv(tmp_path / "out" / "table.csv")
    weights = [row["weights"] for row in table]
    assert weights[0] == weights[1] == weights[3] != weights[2]
    trained.clear()
    assert run(rows, **more) == 0
    assert trained == []
    (folder / "last.pth").unlink()
    assert run(rows, **more) == 0
    assert trained == [folder.name]
    assert read_csv(tmp_path / "out" / "table.csv") == table


@pytest.mark.skipif(sys.platform == "win32", reason="flock is POSIX")
def test_a_disk_without_locks_is_no_obstacle(
    tmp_path: Path,
    run: Callable[..., int],
    trained: list[str],
    monkeypatch: pytest.MonkeyPatch,
    processed_folder: Callable[..., Path],
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    train = processed_folder(1, "train")
    assert run(TRAINED_ROWS[:1], train=str(train), overrides={"train.epochs": 1}, limit=1) == 0
    assert (tmp_path / "out" / "adapters" / trained[0] / "last.pth").is_file()


@pytest.mark.slow
def test_an_interrupted_training_goes_on(
    tmp_path: Path,
    run: Callable[..., int],
    trained: list[str],
    monkeypatch: pytest.MonkeyPatch,
    processed_folder: Callable[..., Path],
) -> None:
    train = processed_folder(2, "train")
    more = {"train": str(train), "overrides": {"train.epochs": 2}}
    write = GeneralTraining._write_files

    def interrupted(self) -> None:
        write(self)
        if self.epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(GeneralTraining, "_write_files", interrupted)
    assert run(TRAINED_ROWS[:1], **more) == 130
    monkeypatch.setattr(GeneralTraining, "_write_files", write)
    trained.clear()
    assert run(TRAINED_ROWS[:1], **more) == 0
    assert len(trained) == 1


@pytest.mark.slow
def test_a_training_with_other_usable_faces_starts_anew(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    processed_folder: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A face that failed for a moment can be read again when the training goes on."""
    more = {"train": str(processed_folder(3, "train")), "overrides": {"train.epochs": 2}}
    write, load = GeneralTraining._write_files, SuiteTraining.load

    def interrupted(self: GeneralTraining) -> None:
        write(self)
        raise KeyboardInterrupt

    def failing(self: SuiteTraining, face: FaceFiles) -> Prompts:
        if face.name == "face_01":
            raise OSError("the disk is away")
        return load(self, face)

    with monkeypatch.context() as patch:
        patch.setattr(GeneralTraining, "_write_files", interrupted)
        patch.setattr(SuiteTraining, "load", failing)
        assert run(TRAINED_ROWS[:1], **more) == 130
    assert run(TRAINED_ROWS[:1], **more) == 0
    assert "is trained anew: " in caplog.text and "face_01" in caplog.text


@pytest.mark.slow
def test_a_trained_row_equals_train_general(
    tmp_path: Path,
    run: Callable[..., int],
    mini_options: list[str],
    processed_folder: Callable[..., Path],
    tiny_sam: FrozenSam,
) -> None:
    import train_general

    train = processed_folder(2, "train")
    assert run(TRAINED_ROWS[:1], train=str(train), overrides={"train.epochs": 1}) == 0
    (checkpoint,) = (tmp_path / "out" / "adapters").glob("*/last.pth")
    general = tmp_path / "general"
    options = ["--datapath", str(train), "--epochs", "1", "--output_dir", str(general)]
    assert train_general.main([*options, "train.val_fraction=0", *mini_options]) == 0
    settings = [read_checkpoint(p)["config"] for p in (checkpoint, general / "last.pth")]
    assert decisive_settings(config_from_dict(settings[0])) == decisive_settings(
        config_from_dict(settings[1])
    )
    ours = read_checkpoint(checkpoint)["adapter"]
    theirs = read_checkpoint(general / "last.pth")["adapter"]
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    fresh = new_adapter(load_config(None, mini_options), tiny_sam).state_dict()
    assert not all(torch.equal(ours[name], fresh[name]) for name in fresh)


@pytest.mark.slow
def test_faces_that_cannot_be_trained_on(
    tmp_path: Path,
    run: Callable[..., int],
    caplog: pytest.LogCaptureFixture,
    processed_folder: Callable[..., Path],
) -> None:
    train = processed_folder(2, "train")
    (train / "face_00_ref.png").unlink()
    more = {"train": str(train), "overrides": {"train.epochs": 1}}
    assert run(TRAINED_ROWS[:1], **more) == 0
    assert "face_00_ref.png" in caplog.text
    (train / "face_01_ref.png").unlink()
    more["overrides"] = {"train.epochs": 2}
    assert run(TRAINED_ROWS[:1], **more) == 2
    assert "none of the faces in" in caplog.text and "(2 tried)" in caplog.text
    assert run(TRAINED_ROWS[:1]) == 2
    assert "train, the folder of training faces, is missing" in caplog.text

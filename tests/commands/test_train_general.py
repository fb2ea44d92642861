from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import torch

import train_general
from s3pot.build import build_segmenter
from s3pot.data.face_folder import FaceFiles
from s3pot.io import write_npy
from s3pot.locks import exclusive
from s3pot.runs.prompt_store import PromptStore
from s3pot.sam.mini import MiniImageEncoder
from s3pot.training import general
from s3pot.training.history import MeanLosses
from s3pot.training.output_folder import LOCK
from s3pot.training.trainer import AdapterTrainer
from s3pot.types import Prompts
from tests.builders import read_csv
from tests.fresh_python import FreshPython

Make = Callable[..., Path]
ROOT = Path(train_general.__file__).parent

# Runs the script and kills itself, like `kill -9`, at the N-th call of a function.
SUICIDE = """
import os, signal, sys
import torch
torch.set_num_threads(1)  # as in the tests' own process: other threads, other roundings
import train_general
from s3pot.training import general
from s3pot.training.trainer import AdapterTrainer
owner = {"step": AdapterTrainer, "history": general}[sys.argv[1]]
name = {"step": "_step", "history": "write_history"}[sys.argv[1]]
left, plain = int(sys.argv[2]), getattr(owner, name)
def deadly(*args, **kwargs):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*args, **kwargs)
setattr(owner, name, deadly)
train_general.main(sys.argv[3:])
"""


def run(folder: Path, output: Path, options: list[str], *more: str, epochs: int = 3) -> int:
    return train_general.main(arguments(folder, output, options, *more, epochs=epochs))


def arguments(
    folder: Path, output: Path, options: list[str], *more: str, epochs: int = 3
) -> list[str]:
    where = ["--datapath", str(folder), "--output_dir", str(output)]
    return [*where, "--epochs", str(epochs), "--bsz", "2", "--lr", "1e-2", *more, *options]


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def history(output: Path) -> list[dict[str, str]]:
    return read_csv(output / "history.csv")


@pytest.mark.figures
@pytest.mark.slow
def test_files_of_a_run(processed_folder: Make, mini_options: list[str], tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert run(processed_folder(5), output, mini_options) == 0
    names = {path.name for path in output.iterdir() if path.name != LOCK}
    epochs = {f"model_epoch_{n}.pth" for n in (1, 2, 3)}
    curves = {"history.csv", "history.jsonl", "loss_curve.png"}
    assert names == epochs | curves | {"last.pth", "best.pth", "config.yaml"}
    rows = history(output)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["train_total"]) < float(rows[0]["train_total"])
    lines = (output / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    lrs = [float(row["lr"]) for row in rows]
    assert lrs == pytest.approx([1e-2 * (1 + np.cos(np.pi * e / 3)) / 2 for e in range(3)])
    last = load(output / "last.pth")
    assert (last["kind"], last["epoch"], last["config"]["train"]["epochs"]) == (
        "s3pot-adapter",
        3,
        3,
    )
    assert set(last["adapter"]) == set(load(output / "model_epoch_3.pth")["adapter"])
    best = min(rows, key=lambda row: float(row["val_total"]))
    assert load(output / "best.pth")["epoch"] == int(best["epoch"])


@pytest.mark.slow
def test_a_folder_that_another_process_trains_into_is_refused(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    with exclusive(output / LOCK):
        assert run(processed_folder(2), output, mini_options, epochs=1) == 2
    assert "Another process is training into" in capsys.readouterr().err
    assert [path.name for path in output.iterdir()] == [LOCK]
    assert run(processed_folder(2), output, mini_options, epochs=1) == 0


@pytest.mark.slow
def test_same_seed_same_bytes(
    processed_folder: Make, mini_options: list[str], tmp_path: Path
) -> None:
    folder = processed_folder(4)
    for name in ("one", "two"):
        assert run(folder, tmp_path / name, [*mini_options, "cache.mode=memory"], epochs=2) == 0
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
    assert run(folder, tmp_path / "three", mini_options, "--seed", "5", epochs=2) == 0
    one, three = (load(tmp_path / name / "last.pth")["adapter"] for name in ("one", "three"))
    assert any(not torch.equal(one[key], three[key]) for key in one)


@pytest.mark.slow
def test_same_bytes_on_one_core_and_on_two(
    processed_folder: Make, mini_options: list[str], tmp_path: Path, two_threads: None
) -> None:
    folder = processed_folder(6)
    for threads, name in ((1, "one"), (2, "two")):
        torch.set_num_threads(threads)
        assert run(folder, tmp_path / name, mini_options, "--bsz", "3") == 0
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["disk", "memory", "off"])
def test_the_second_epoch_touches_no_image_encoder(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    mode: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []
    plain, epoch = MiniImageEncoder.forward, AdapterTrainer.train_epoch

    def counted(self: MiniImageEncoder, x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return plain(self, x)

    seen: list[int] = []

    def watched(self: AdapterTrainer, *args: Any) -> MeanLosses:
        seen.append(sum(calls))
        return epoch(self, *args)

    monkeypatch.setattr(MiniImageEncoder, "forward", counted)
    monkeypatch.setattr(AdapterTrainer, "train_epoch", watched)
    assert run(processed_folder(4), tmp_path / "out", [*mini_options, f"cache.mode={mode}"]) == 0
    assert seen == [8, 8, 8]
    assert sum(calls) == 8  # raw and reference of four faces, once


@pytest.mark.slow
@pytest.mark.parametrize(("where", "call"), [("step", 4), ("history", 2)])
def test_a_killed_run_resumes_byte_equal(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    fresh_python: FreshPython,
    where: str,
    call: int,
) -> None:
    folder, cut, whole = processed_folder(4), tmp_path / "cut", tmp_path / "whole"
    killed = fresh_python.run(SUICIDE, where, str(call), *arguments(folder, cut, mini_options))
    assert killed.returncode == -9, killed.stderr
    assert load(cut / "last.pth")["epoch"] == 1
    assert run(folder, cut, mini_options, "--resume") == 0
    assert run(folder, whole, mini_options) == 0
    names = sorted(path.name for path in whole.iterdir())
    assert names == sorted(path.name for path in cut.iterdir())
    assert {"last.pth", "best.pth", "model_epoch_3.pth", "history.csv", "loss_curve.png"} <= {
        *names
    }
    for name in names:
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.slow
def test_resume_without_a_checkpoint_starts_anew_and_with_all_done_ends(
    processed_folder: Make, mini_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, output = processed_folder(3), tmp_path / "out"
    assert run(folder, output, mini_options, "--resume", epochs=1) == 0
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    monkeypatch.setattr(AdapterTrainer, "_step", None)
    assert run(folder, output, mini_options, "--resume", epochs=1) == 0
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


@pytest.mark.slow
def test_resume_restores_files_that_were_removed(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What ``last.pth`` holds is written again; the best epoch was an earlier one."""
    folder, output = processed_folder(3), tmp_path / "out"
    options = [*mini_options, "train.save_every=2"]
    assert run(folder, output, options) == 0
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    for name in ("history.csv", "history.jsonl", "loss_curve.png", "model_epoch_3.pth"):
        (output / name).unlink()
    (output / "model_epoch_2.pth").unlink()
    capsys.readouterr()
    assert run(folder, output, options, "--resume") == 0
    del before["model_epoch_2.pth"]  # its weights are lost
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    last_line = capsys.readouterr().err.splitlines()[-1]
    listed = last_line.partition(": ")[2].replace(" (that epoch)", "").split(", ")
    names = {name.replace("_3.pth", "_N.pth") for name in before}
    assert sorted(listed) == sorted(names - {"config.yaml", LOCK})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "named"),
    [(["--seed", "4"], "train.seed"), (["sam.normalize=false"], "sam.normalize")],
)
def test_resume_with_other_settings_is_refused(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    change: list[str],
    named: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, output = processed_folder(3), tmp_path / "out"
    assert run(folder, output, mini_options, epochs=1) == 0
    assert run(folder, output, [*mini_options, *change], "--resume", epochs=1) == 2
    assert named in capsys.readouterr().err


@pytest.mark.slow
def test_resume_with_other_faces_is_refused(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, output = processed_folder(6), tmp_path / "out"
    for part, faces in (("train", "0123"), ("val", "45")):
        (folder / part).mkdir()
        for face in faces:
            for path in folder.glob(f"face_0{face}*"):
                path.rename(folder / part / path.name)
    assert run(folder, output, mini_options, epochs=2) == 0
    before = {path.name: path.read_bytes() for path in output.iterdir()}

    moved = folder.rename(tmp_path / "moved")
    assert run(moved, output, mini_options, "--resume", epochs=2) == 0
    assert "other faces" not in capsys.readouterr().err

    assert run(moved, output, [*mini_options, "train.val_faces=1"], "--resume", epochs=2) == 2
    assert "other faces (missing from validation: face_05)" in capsys.readouterr().err

    for path in (moved / "val").glob("face_04*"):  # a leak
        path.rename(moved / "train" / path.name)
    (moved / "train" / "face_01.png").unlink()
    (moved / "train" / "face_02_ref.png").write_bytes(
        (moved / "train" / "face_03_ref.png").read_bytes()
    )
    assert run(moved, output, mini_options, "--resume", epochs=2) == 2
    error = capsys.readouterr().err
    for change in (
        "missing from training: face_01",
        "new in training: face_04",
        "changed in training: face_02",
        "missing from validation: face_04",
    ):
        assert change in error
    assert "Restore them" in error and "--overwrite" in error and "--output_dir" in error
    assert "epochs are done" not in error
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


@pytest.mark.slow
def test_a_run_of_an_earlier_version_is_resumed_with_a_warning(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, output = processed_folder(3), tmp_path / "out"
    assert run(folder, output, mini_options, epochs=1) == 0
    content = load(output / "last.pth")
    del content["faces"]
    torch.save(content, output / "last.pth")
    assert run(folder, output, mini_options, "--resume", epochs=1) == 0
    assert "does not say which faces it was trained on" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_ended_meanwhile_is_not_replaced(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, output = processed_folder(3), tmp_path / "out"
    plain = build_segmenter

    def slow(*args: Any) -> Any:  # while it loads the models, another process trains
        output.mkdir()
        (output / "last.pth").write_bytes(b"of another run")
        return plain(*args)

    monkeypatch.setattr("s3pot.runs.train_general.build_segmenter", slow)
    assert run(folder, output, mini_options, epochs=1) == 2
    assert "holds another run (last.pth)" in capsys.readouterr().err
    assert (output / "last.pth").read_bytes() == b"of another run"


@pytest.mark.slow
def test_interrupted_keeps_the_last_epoch(
    processed_folder: Make, mini_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, output = processed_folder(3), tmp_path / "out"
    plain, calls = AdapterTrainer.train_epoch, []

    def interrupted(self: AdapterTrainer, *args: Any) -> MeanLosses:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(self, *args)

    monkeypatch.setattr(AdapterTrainer, "train_epoch", interrupted)
    assert run(folder, output, mini_options) == 130
    assert load(output / "last.pth")["epoch"] == 2
    assert run(folder, output, mini_options, "--resume") == 0
    assert load(output / "last.pth")["epoch"] == 3


@pytest.mark.slow
def test_faces_without_points_are_skipped_with_a_warning(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = processed_folder(5)
    background = np.zeros((64, 64), np.uint8)
    write_npy(folder / "face_02_parsing_mask.npy", background)
    assert run(folder, tmp_path / "out", mini_options, epochs=1) == 0
    assert "no prompt point was found in 1 face, left out: face_02" in capsys.readouterr().err
    for index in range(5):
        write_npy(folder / f"face_{index:02d}_parsing_mask.npy", background)
    assert run(folder, tmp_path / "none", mini_options, epochs=1) == 2
    assert "no face has a prompt point to train on" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "none").iterdir()] == [LOCK]


@pytest.mark.slow
def test_bad_faces_are_named_and_the_rest_is_done(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = processed_folder(5)
    (folder / "face_03_ref.png").write_bytes(b"no picture")
    assert run(folder, tmp_path / "out", mini_options, epochs=1) == 1
    assert "failed: face_03" in capsys.readouterr().err
    assert (tmp_path / "out" / "model_epoch_1.pth").is_file()


@pytest.mark.slow
def test_a_start_from_weights_that_are_no_numbers_is_refused(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, output = processed_folder(3), tmp_path / "out"
    assert run(folder, output, mini_options, epochs=1) == 0
    content = load(output / "last.pth")
    content["adapter"]["norm.bias"].fill_(float("nan"))
    torch.save(content, tmp_path / "bad.pth")
    start = ["--init_checkpoint", str(tmp_path / "bad.pth")]
    assert run(folder, tmp_path / "two", mini_options, *start, epochs=1) == 2
    assert "bad.pth holds values that are not finite numbers" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_and_names_the_image(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, output = processed_folder(3), tmp_path / "out"
    plain, calls = PromptStore.load, []
    options = [*mini_options, "train.val_fraction=0", "cache.memory_gb=0"]

    def damaged(self: PromptStore, face: FaceFiles) -> Prompts:
        calls.append(face.name)
        prompts = plain(self, face)
        is_damaged = len(calls) == 4  # the first image of the second epoch
        return (
            replace(prompts, image_embedding=prompts.image_embedding * torch.nan)
            if is_damaged
            else prompts
        )

    monkeypatch.setattr(PromptStore, "load", damaged)
    assert run(folder, output, options) == 2
    assert f"{calls[3]}: the loss is nan" in capsys.readouterr().err
    assert load(output / "last.pth")["epoch"] == 1
    assert (output / "loss_curve.png").is_file()


@pytest.mark.slow
def test_start_from_a_checkpoint(
    processed_folder: Make, mini_options: list[str], tmp_path: Path
) -> None:
    folder = processed_folder(3)
    assert run(folder, tmp_path / "one", mini_options, epochs=2) == 0
    start = ["--init_checkpoint", str(tmp_path / "one" / "last.pth"), "train.val_fraction=0"]
    assert run(folder, tmp_path / "two", mini_options, *start, epochs=1) == 0
    first, second = (float(history(tmp_path / n)[0]["train_total"]) for n in ("one", "two"))
    assert second < first
    assert "val_total" not in history(tmp_path / "two")[0]


@pytest.mark.slow
def test_how_many_checkpoints_stay(
    processed_folder: Make, mini_options: list[str], tmp_path: Path
) -> None:
    options = [*mini_options, "train.save_every=2", "train.keep=2"]
    assert run(processed_folder(3), tmp_path / "out", options, epochs=7) == 0
    names = sorted(path.name for path in (tmp_path / "out").glob("model_epoch_*"))
    assert names == ["model_epoch_6.pth", "model_epoch_7.pth"]


def test_tensorboard_that_is_not_installed_is_named(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    options = [*mini_options, "train.tensorboard=true"]
    assert run(processed_folder(3), tmp_path / "out", options, epochs=1) == 2
    assert "pip install tensorboard" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train_general", "train_per_image", "inference", "segment"])
def test_a_missing_adapter_is_reported_before_sam_is_loaded(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    def load(*arguments: Any) -> None:
        raise AssertionError("SAM is loaded")

    monkeypatch.setattr("s3pot.build.build_sam", load)
    folder = str(processed_folder(2))
    option = "--init_checkpoint" if command.startswith("train") else "--checkpoint"
    adapter = [option, str(tmp_path / "none.pth"), "--output_dir", str(tmp_path / "out")]
    faces = [f"{folder}/face_00.png"] if command == "segment" else ["--datapath", folder]
    main = importlib.import_module(f"s3pot.commands.{command}").main
    assert main([*faces, *adapter, *mini_options]) == 2
    assert "There is no checkpoint" in capsys.readouterr().err


@pytest.mark.slow
def test_tensorboard_gets_the_columns_of_the_history(
    processed_folder: Make, mini_options: list[str], tmp_path: Path
) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    output = tmp_path / "out"
    options = [*mini_options, "train.tensorboard=true"]
    assert run(processed_folder(3), output, options, epochs=2) == 0
    board = events.EventAccumulator(str(output / "tensorboard")).Reload()
    rows = history(output)
    for column in set(rows[0]) - {"epoch"}:
        points = [(event.step, event.value) for event in board.Scalars(column)]
        assert points == [
            (n, pytest.approx(float(row[column]), rel=1e-5)) for n, row in enumerate(rows, 1)
        ]
    (shown,) = board.Tags()["images"]  # one of three faces is held out
    assert shown.startswith("face_0")
    images = board.Images(shown)
    assert [(image.step, image.width, image.height) for image in images] == [
        (1, 64, 64),
        (2, 64, 64),
    ]


@pytest.mark.slow
def test_every_epoch_is_told(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"
    assert run(processed_folder(3), output, mini_options) == 0
    lines = capsys.readouterr().err.splitlines()
    rows = history(output)
    for number, row in enumerate(rows, 1):
        (line,) = (line for line in lines if line.startswith(f"epoch {number}/3: "))
        best = min(float(other["val_total"]) for other in rows[:number])
        for text in (
            f"train {float(row['train_total']):.4f}",
            f"occlusion {float(row['train_occlusion']):.3f}",
            f"val {float(row['val_total']):.4f}",
            f"lr {float(row['lr']):.2e}",
            f"best {best:.4f}",
            " s left",
        ):
            assert text in line
    assert "best.pth" in lines[-1] and "loss_curve.png" in lines[-1]
    assert "3 epochs are done" in lines[-2]


@pytest.mark.slow
def test_a_folder_that_holds_another_run_is_refused(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, output = processed_folder(3), tmp_path / "out"
    assert run(folder, output, mini_options, epochs=3) == 0
    (output / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    assert run(folder, output, mini_options, epochs=1) == 2
    error = capsys.readouterr().err
    assert "holds another run" in error and "--resume" in error and "--overwrite" in error
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    assert run(folder, output, mini_options, "--overwrite", epochs=1) == 0
    names = {path.name for path in output.iterdir()}
    assert {path for path in names if path.startswith("model_epoch")} == {"model_epoch_1.pth"}
    assert len(history(output)) == 1
    assert (output / "notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_a_run_that_cannot_begin_leaves_the_earlier_one(
    processed_folder: Make, mini_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, output = processed_folder(3), tmp_path / "out"
    assert run(folder, output, mini_options, epochs=1) == 0
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    options = [*mini_options, "train.tensorboard=true"]
    assert run(folder, output, options, "--overwrite", epochs=1) == 2
    assert (output / "last.pth").is_file()


def test_resume_and_overwrite_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train_general.main(["--datapath", "x", "--resume", "--overwrite"])
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.slow
def test_features_that_do_not_fit_into_memory_give_the_same_run(
    processed_folder: Make, mini_options: list[str], tmp_path: Path
) -> None:
    folder = processed_folder(4)
    for name, gigabytes in (("kept", "4"), ("some", "0.00003"), ("none", "0")):
        options = [*mini_options, f"cache.memory_gb={gigabytes}"]
        assert run(folder, tmp_path / name, options, epochs=2) == 0
    for name in ("some", "none"):
        for file in ("history.csv", "history.jsonl"):
            assert (tmp_path / name / file).read_bytes() == (tmp_path / "kept" / file).read_bytes()
        adapters = [
            load(tmp_path / run_name / "last.pth")["adapter"] for run_name in (name, "kept")
        ]
        assert all(torch.equal(adapters[0][key], adapters[1][key]) for key in adapters[1])


@pytest.mark.slow
def test_only_the_adapter_is_trained(
    processed_folder: Make, mini_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainers: list[AdapterTrainer] = []

    class Kept(AdapterTrainer):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            trainers.append(self)
            self.before = {
                key: value.clone() for key, value in self.segmenter.sam.state_dict().items()
            }

    monkeypatch.setattr(general, "AdapterTrainer", Kept)
    assert run(processed_folder(3), tmp_path / "out", mini_options, epochs=1) == 0
    (trainer,) = trainers
    after = trainer.segmenter.sam.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in trainer.before.items())
    given = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    assert given == {id(p) for p in trainer.adapter.parameters()}
    group = trainer.optimizer.param_groups[0]
    assert isinstance(trainer.optimizer, torch.optim.AdamW)
    assert group["weight_decay"] == 1e-6


@pytest.mark.slow
def test_validation_can_be_limited(
    processed_folder: Make, mini_options: list[str], tmp_path: Path, caplog: Any
) -> None:
    folder = processed_folder(6)
    for name, extra in (("all", []), ("two", ["train.val_faces=2"])):
        options = [*mini_options, "train.val_fraction=0.5", *extra]
        assert run(folder, tmp_path / name, options, epochs=1) == 0
    assert "validating on 3" in caplog.text and "validating on 2" in caplog.text
    whole, two = (history(tmp_path / name)[0] for name in ("all", "two"))
    assert whole["train_total"] == two["train_total"]
    assert whole["val_total"] != two["val_total"]

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from s3pot.commands import (
    cli,
    compare,
    data_split,
    data_validate,
    evaluate,
    figure,
    train_per_image,
)
from s3pot.config import Config
from s3pot.types import S3potError

EPOCHS = cli.Setting("--epochs", "train.epochs", "passes")
BATCH_SIZE = cli.Setting("--bsz", "train.batch_size", "images per step")


def parse(*argv: str) -> argparse.Namespace:
    settings = (BATCH_SIZE, cli.LEARNING_RATE, cli.SEED, EPOCHS)
    return cli.new_parser("doc", "./out", settings).parse_args(list(argv))


def test_defaults_give_the_paper_config() -> None:
    assert cli.config_from(parse()) == Config()


def test_command_line_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("train:\n  epochs: 7\n  lr: 1e-2\n  batch_size: 5\n")
    config = cli.config_from(parse("--config", str(path), "--epochs", "9", "train.lr=0.5"))
    assert (config.train.epochs, config.train.lr, config.train.batch_size) == (9, 0.5, 5)


def test_an_override_wins_over_a_short_option() -> None:
    assert cli.config_from(parse("--lr", "1e-3", "train.lr=2e-3")).train.lr == 2e-3


@pytest.mark.parametrize(
    "argv",
    [
        ["train.epochs=4", "--lr", "0.5", "train.seed=2"],
        ["--lr", "0.5", "train.epochs=4", "--verbose", "train.seed=2", "--device", "cpu"],
        ["train.epochs=4", "train.seed=2", "--lr", "0.5"],
    ],
)
def test_options_and_overrides_come_in_any_order(argv: list[str]) -> None:
    train = cli.config_from(parse(*argv)).train
    assert (train.epochs, train.seed, train.lr) == (4, 2, 0.5)


def test_a_required_option_stays_required_among_overrides(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = cli.new_parser("doc")
    parser.add_argument("--datapath", required=True)
    assert parser.parse_args(["train.lr=1", "--datapath", "x"]).datapath == "x"
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["train.lr=1"])
    assert stop.value.code == 2
    assert "--datapath" in capsys.readouterr().err


def test_a_packaged_config_is_known_by_its_name() -> None:
    assert cli.config_from(parse("--config", "mini")).model.set == "mini"


def test_a_missing_config_is_called_missing() -> None:
    with pytest.raises(S3potError, match="nowhere.yaml does not exist.*mini, paper"):
        cli.config_from(parse("--config", "nowhere.yaml"))


def test_help_names_keys_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "train.batch_size; default: 3" in text
    assert "default: ./out" in text
    assert "differences from the defaults (default: paper)" in text


def test_options_are_not_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("--epoch", "3")
    assert stop.value.code == 2


@pytest.mark.parametrize(("failed", "code"), [(0, 0), (3, 1)])
def test_exit_codes_of_a_finished_command(failed: int, code: int) -> None:
    assert cli.run(parse(), lambda config: failed) == code


@pytest.mark.parametrize("error", [S3potError("no such thing"), OSError(28, "no space left")])
def test_a_user_error_is_one_line_and_code_2(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(config: Config) -> int:
        raise error

    assert cli.run(parse(), body) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert str(error) in lines[0]


def test_an_error_of_the_system_names_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    def body(config: Config) -> int:
        raise PermissionError(13, "Permission denied", "there/a.png")

    assert cli.run(parse(), body) == 2
    assert capsys.readouterr().err.strip() == "error: there/a.png: Permission denied"


@pytest.mark.parametrize("below", ["", "new/deeper"])
def test_a_file_is_no_output_folder(
    tmp_path: Path, below: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    args = parse("--output_dir", str(tmp_path / "file" / below))
    assert cli.run(args, lambda config: 0) == 2
    assert f"{tmp_path / 'file'} is a file; expected a folder." in capsys.readouterr().err


def test_verbose_tells_where_an_error_arose(capsys: pytest.CaptureFixture[str]) -> None:
    def body(config: Config) -> int:
        raise S3potError("no such thing")

    assert cli.run(parse("--verbose"), body) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_bad_config_is_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(parse("train.epoch=3"), lambda config: 0) == 2
    assert "did you mean train.epochs?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--epochs", "0"], "error: --epochs: train.epochs is 0; it must be at least 1"),
        (["--bsz", "x"], "error: --bsz: train.batch_size is 'x'; expected a whole number"),
        (["--lr", "0"], "error: --lr: train.lr is 0.0; it must be greater than 0"),
        (["--epochs", "5", "train.epochs=0"], "error: train.epochs is 0; it must be at least 1"),
        (
            ["train.epoch=3"],
            "error: unknown config key train.epoch; did you mean train.epochs?",
        ),
    ],
)
def test_a_bad_value_is_not_blamed_on_the_file(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(parse("--config", "mini", *argv), lambda config: 0) == 2
    assert capsys.readouterr().err.strip() == message


def test_a_bad_value_of_the_file_is_blamed_on_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text("train: {epochs: 0}", encoding="utf-8")
    assert cli.run(parse("--config", str(path), "--lr", "1"), lambda config: 0) == 2
    assert f"at least 1 (The config is {path}.)" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["align.mode", "=", "auto"], ["align.mode", "=auto"]])
def test_spaces_around_the_sign_are_named_among_photos_too(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    args = parse()
    _, args.overrides = cli.split_photos(["photo.jpg", *words])
    assert cli.run(args, lambda config: 0) == 2
    assert "write section.key=value without spaces around the =" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["x" * 5000, "x/" * 5000, "a\0b"])
def test_an_override_that_is_no_possible_file_name_is_an_override(value: str) -> None:
    words = ["photo.jpg", f"truth.labels={value}"]
    assert cli.split_photos(words) == (["photo.jpg"], words[1:])


def test_an_output_folder_with_an_impossible_name_is_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = parse()
    args.output_dir = Path("x" * 5000)
    assert cli.run(args, lambda config: 0) == 2
    assert "File name too long" in capsys.readouterr().err


def test_a_bug_is_not_swallowed() -> None:
    def body(config: Config) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.run(parse(), body)


def test_a_full_gpu_is_named_with_its_cure(capsys: pytest.CaptureFixture[str]) -> None:
    def full(config: Config) -> NoReturn:
        import torch

        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    assert cli.run(parse(), full) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for words in ("sam.batch", "train.batch_size", "run.speed=fast", "allocate 20.00 MiB"):
        assert words in line


def test_sigterm_ends_as_ctrl_c_does(capsys: pytest.CaptureFixture[str]) -> None:
    def body(config: Config) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
        return 0

    before = signal.getsignal(signal.SIGTERM)
    assert cli.run(parse(), body) == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert "interrupted" in capsys.readouterr().err


def interrupt(*arguments: object) -> NoReturn:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("options", "how_to_go_on"),
    [
        ({}, "and the same command resumes"),
        ({"overwrite": True}, "but with --overwrite the same command starts over"),
        ({"resume": True}, "and the same command resumes"),
        ({"resume": False}, "and the same command with --resume continues from last.pth"),
        (
            {"resume": False, "overwrite": True},
            "the same command with --resume instead of --overwrite continues from last.pth",
        ),
    ],
)
def test_an_interrupted_command_says_how_to_go_on(
    options: dict[str, bool],
    how_to_go_on: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def end_of_epoch(config: Config) -> NoReturn:
        (tmp_path / "last.pth").touch()
        raise KeyboardInterrupt

    args = parse("--output_dir", str(tmp_path))
    vars(args).update(options)
    assert cli.run(args, end_of_epoch) == 130
    assert how_to_go_on in capsys.readouterr().err
    (tmp_path / "last.pth").unlink()
    assert cli.run(args, interrupt) == 130
    no_epoch = "no epoch is finished, and the same command with --resume starts over"
    assert (no_epoch in capsys.readouterr().err) == (not options.get("resume", True))


RESUMES = "interrupted; finished items are kept, and the same command resumes\n"
STARTS_OVER = "interrupted; the same command starts over\n"


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (compare.main, ["a", "b"], STARTS_OVER),
        (figure.main, ["a"], STARTS_OVER),
        (data_validate.main, ["a"], STARTS_OVER),
        (evaluate.main, ["--datapath", "a", "--results", "b"], STARTS_OVER),
        (evaluate.main, ["--suite", "a.yaml", "--dry_run"], STARTS_OVER),
        (evaluate.main, ["--suite", "a.yaml"], RESUMES),
        (data_split.main, ["--input_dir", "a"], RESUMES),
    ],
)
def test_only_commands_that_keep_items_say_so(
    main: Callable[[list[str]], int],
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("s3pot.runs.shard.require_one_process", interrupt)
    monkeypatch.setattr(evaluate, "chosen_suite", interrupt)
    assert main(arguments) == 130
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    ("reason", "is_about_space"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)]
)
def test_a_full_disk_is_named_with_its_cure(
    reason: int, is_about_space: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(config: Config) -> int:
        raise OSError(reason, os.strerror(reason), "out/a.npy")

    assert cli.run(parse(), body) == 2
    cure = "; free some space there: finished items are kept, and the same command resumes"
    want = f"error: out/a.npy: {os.strerror(reason)}{cure if is_about_space else ''}\n"
    assert capsys.readouterr().err == want


@pytest.mark.parametrize("options", [[], ["--resume"]])
def test_an_interrupted_fit_to_images_is_resumed_by_the_same_command(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(config: Config) -> int:
        raise KeyboardInterrupt

    output = ["--output_dir", str(tmp_path / "out")]
    args = train_per_image.build_parser().parse_args([*output, *options])
    assert cli.run(args, body) == 130
    assert "and the same command resumes" in capsys.readouterr().err


def test_a_command_runs_in_a_worker_thread() -> None:
    codes: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=lambda: codes.append(cli.run(parse(), lambda config: 0)))
    thread.start()
    thread.join()
    assert codes == [0]
    assert signal.getsignal(signal.SIGTERM) is before


def test_logging_is_left_as_it_was() -> None:
    root = logging.getLogger("s3pot")
    before = (root.level, list(root.handlers))
    assert cli.run(parse(), lambda config: 0) == 0
    assert (root.level, list(root.handlers)) == before


@pytest.mark.slow
def test_torch_is_imported_without_garbage_collection() -> None:
    script = (
        "import gc, sys; from s3pot.commands import cli; phases = [];"
        "gc.callbacks.append(lambda phase, info: phases.append(phase)); cli._import_torch();"
        "assert 'torch' in sys.modules and not phases and gc.isenabled();"
        "frozen = gc.get_freeze_count(); assert frozen > 100_000;"
        "cli._import_torch(); assert gc.get_freeze_count() == frozen"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr

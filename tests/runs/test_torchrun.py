"""Folder commands under torchrun: the same files as from one process, even after a kill."""

from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml

from s3pot.data.image import read_rgb, write_png
from s3pot.io import TEMPORARY
from tests.fresh_python import ROOT, TORCHRUN, FreshPython

LONGEST = 900  # seconds within which torchrun must end, on a busy machine

# What each torchrun process runs: a command, once for each output folder, until it fails. In the
# last folder, the rank DEADLY kills itself, like `kill -9`, when it is about to finish its second
# item, and the rank SLOW takes seconds for its first one.
PROCESS = """
import importlib, json, os, signal, sys, time
import torch
torch.set_num_threads(1)  # as in the tests' own process
from s3pot.runs import folder_run
plain = folder_run.write_record
def deadly(*arguments, **options):
    global left
    left -= 1
    if left == 1 and os.environ["RANK"] == os.environ.get("SLOW"):
        time.sleep(4)
    if not left and os.environ["RANK"] == os.environ.get("DEADLY"):
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*arguments, **options)
script, outputs, *arguments = sys.argv[1:]
for count, output in enumerate(json.loads(outputs)):
    # PyTorch's word for a restart: processes meet anew.
    os.environ["TORCHELASTIC_RESTART_COUNT"] = str(count)
    if output == json.loads(outputs)[-1]:
        left = 2
        folder_run.write_record = deadly
    code = importlib.import_module(script).main([*arguments, "--output_dir", output])
    if code:
        sys.exit(code)
    sys.stdout.write(f"done {output}\\n")  # in one piece: both ranks write to one file
    sys.stdout.flush()
"""


class Command:
    """A command over a folder of five items."""

    def __init__(self, script: str, arguments: list[str], fresh_python: FreshPython) -> None:
        self.script = script
        self.arguments = arguments
        self.fresh_python = fresh_python

    def alone(self, output: Path) -> int:
        """Run it in this process."""
        main = importlib.import_module(self.script).main
        code: int = main([*self.arguments, "--output_dir", str(output)])
        return code

    def in_two(
        self, *outputs: Path, deadly: str = "", slow: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run it under torchrun for each output; in the last, a rank may die or be slow."""
        program = outputs[0].parent / "process.py"
        program.write_text(PROCESS)
        folders = json.dumps([str(output) for output in outputs])
        return self.fresh_python.run(
            TORCHRUN,
            str(program),
            self.script,
            folders,
            *self.arguments,
            environment={
                "PYTHONPATH": str(ROOT),
                "OMP_NUM_THREADS": "1",
                "DEADLY": deadly,
                "SLOW": slow,
            },
            timeout=LONGEST,
        )


def _long(script: str) -> Any:
    return pytest.param(script, marks=pytest.mark.long)


@pytest.fixture(
    params=[
        "inference",
        _long("generate_reference"),
        _long("train_per_image"),
        _long("evaluate"),
    ]
)
def command(
    request: Any,
    tmp_path: Path,
    processed_folder: Callable[..., Path],
    mini_options: list[str],
    fresh_python: FreshPython,
) -> Command:
    script: str = request.param
    data = processed_folder(5)
    datapath = ["--datapath", str(data)]
    if script == "generate_reference":
        for number, path in enumerate(sorted(data.glob("face_??.png"))):
            write_png(tmp_path / "photos" / f"{number}.png", read_rgb(path))
        photos = ["--input_dir", str(tmp_path / "photos")]
        return Command(script, [*photos, *mini_options], fresh_python)
    if script == "inference":
        return Command(script, [*datapath, "--save_vis", *mini_options], fresh_python)
    if script == "train_per_image":
        return Command(script, [*datapath, "--epochs", "2", *mini_options], fresh_python)
    rows = [{"name": "bundled", "adapter": "bundled"}, {"name": "greedy", "method": "greedy"}]
    suite = tmp_path / "suite.yaml"
    suite.write_text(yaml.safe_dump({"datapath": str(data), "rows": rows}))
    return Command(script, ["--suite", str(suite), *mini_options], fresh_python)


def files_in(folder: Path) -> list[Path]:
    """All files but what a process left that was killed while it wrote, which is removed later."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in paths if not path.name.startswith(TEMPORARY)]


def contents(folder: Path) -> dict[str, Any]:
    """The files written for the items, as bytes by name; records without their times and hashes."""
    of_all = {"config.yaml", "index.html", "adapters.csv", "per_image.csv"}
    files = {}
    for path in files_in(folder):
        name = path.relative_to(folder).as_posix()
        if name in of_all or name.startswith(("summary.", "table", "faces.")):
            continue
        files[name] = timeless(json.loads(path.read_text())) if name.endswith(".json") else None
        if files[name] is None:
            files[name] = path.read_bytes()
    return files


def timeless(value: Any) -> Any:
    """Plain values without those that differ between runs: times and the hashes of records."""
    if isinstance(value, dict):
        return {
            key: timeless(entry)
            for key, entry in value.items()
            if not key.startswith("seconds") and key != "sha256_of_record"
        }
    return value


@pytest.mark.figures
@pytest.mark.slow
@pytest.mark.ddp
def test_two_processes_write_what_one_writes_even_if_one_is_killed(
    command: Command, tmp_path: Path
) -> None:
    assert command.alone(tmp_path / "one") == 0
    one = contents(tmp_path / "one")
    assert len(one) >= 5

    ended = command.in_two(tmp_path / "two", tmp_path / "killed", deadly="1")
    assert ended.stdout.count(f"done {tmp_path / 'two'}\n") == 2, (ended.stdout, ended.stderr)
    assert contents(tmp_path / "two") == one

    assert ended.returncode != 0
    assert set(contents(tmp_path / "killed")) < set(one)
    assert command.alone(tmp_path / "killed") == 0
    assert contents(tmp_path / "killed") == one
    one_and_killed = [
        {path.name for path in files_in(folder) if path.parent == folder}
        for folder in (tmp_path / "one", tmp_path / "killed")
    ]
    assert one_and_killed[0] == one_and_killed[1]


@pytest.mark.slow
@pytest.mark.ddp
def test_a_process_whose_images_are_all_bad_does_not_stop_the_other(
    tmp_path: Path,
    processed_folder: Callable[..., Path],
    mini_options: list[str],
    fresh_python: FreshPython,
) -> None:
    """torchrun ends all processes as soon as one reports a failure."""
    data = processed_folder(5)
    for number in (1, 3):
        (data / f"face_{number:02d}.png").write_bytes(b"no picture")
    command = Command("inference", ["--datapath", str(data), *mini_options], fresh_python)
    ended = command.in_two(tmp_path / "out", slow="0")
    assert ended.returncode == 1
    assert "interrupted" not in ended.stderr  # as it would be if torchrun ended the slow one
    done = sorted(path.name[:7] for path in (tmp_path / "out").glob("*_result.json"))
    assert done == ["face_00", "face_02", "face_04"]

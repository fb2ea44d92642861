"""The console command finds its commands and imports nothing heavy before it has to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import s3pot
from s3pot.__main__ import COMMANDS, main
from s3pot.commands import data
from s3pot.commands.dispatch import Command, dispatch

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "torchvision", "segment_anything", "matplotlib", "cv2")

SCRIPTS = [
    [f"{name}.py"]
    for name in (
        "generate_reference",
        "train_general",
        "train_per_image",
        "inference",
        "evaluate",
    )
]

CALLS = {
    "--help": ["--help"],
    **{f"{name} --help": [name, "--help"] for name in COMMANDS},
    "a wrong option": ["train-general", "--no_such_option"],
    **{f"data {name} --help": ["data", name, "--help"] for name in reversed(data.COMMANDS)},
}
DRAWING = "data draw --help"  # the last one; its program cannot be imported without OpenCV
# Runs commands that end with their help or an error, and prints for each the heavy modules that it
# imported, as JSON in the last line.
REPORT = f"""
import json
import sys
from s3pot.__main__ import main
imported = {{}}
for name, arguments in json.loads(sys.argv[1]).items():
    before = set(sys.modules)
    try:
        main(arguments)
    except SystemExit:
        pass
    imported[name] = sorted((set(sys.modules) - before) & set({HEAVY!r}))
print(json.dumps(imported))
"""


@pytest.fixture(scope="module")
def heavy_imports() -> dict[str, list[str]]:
    """The heavy modules that each of ``CALLS`` imports, one after the other in a fresh Python."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT, json.dumps(CALLS)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    imported: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return imported


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_help_and_errors_import_nothing_heavy(
    call: str, heavy_imports: dict[str, list[str]]
) -> None:
    assert heavy_imports[call] == (["cv2"] if call == DRAWING else [])


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert f"  {name} " in text
        assert command.summary in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_under_its_own_name(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main([name, "--help"])
    except SystemExit as stop:
        code = stop.code
    assert code == 0
    if name != "weights":  # it stays a program of its own: python -m s3pot.weights
        assert capsys.readouterr().out.startswith(f"usage: s3pot {name} ")


@pytest.mark.parametrize("name", data.COMMANDS)
def test_every_data_command_has_a_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["data", name, "--help"])
    assert stop.value.code == 0
    assert "usage: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no command was given"),
        (["train_general"], "did you mean train-general?"),
        (["xyz"], f"choose from {', '.join(COMMANDS)}"),
    ],
)
def test_a_wrong_command_is_refused_with_a_hint(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"s3pot {s3pot.__version__}\n"


def test_the_program_name_is_restored_after_a_command() -> None:
    before = sys.argv[0]
    with pytest.raises(SystemExit):
        dispatch("s3pot", {"x": Command("s3pot.commands.evaluate", "")}, ["x", "--help"])
    assert sys.argv[0] == before


@pytest.mark.slow
def test_python_m_runs_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "s3pot", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"s3pot {s3pot.__version__}\n")


# Runs a program and interrupts it when it imports NumPy, as Ctrl-C does while a command starts.
INTERRUPTED_START = """
import builtins
import runpy
import sys

def interrupted(name, *arguments, import_module=builtins.__import__, **keywords):
    if name == "numpy":
        raise KeyboardInterrupt
    return import_module(name, *arguments, **keywords)

builtins.__import__ = interrupted
program, *sys.argv[1:] = sys.argv[1:]
if program.endswith(".py"):
    runpy.run_path(program, run_name="__main__")
else:
    runpy.run_module(program, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("command", [["s3pot", "inference"], ["s3pot", "data", "split"], *SCRIPTS])
def test_an_interrupt_while_a_command_starts_ends_it_in_one_line(command: list[str]) -> None:
    call = [sys.executable, "-c", INTERRUPTED_START, *command]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == "interrupted before the command began\n"
    assert done.returncode == 130

"""Commands as documents write them: found, and parsed by the script they name."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


class Parsed(BaseException):
    """The script's parser accepted the arguments; nothing else of the script ran."""


def commands(document: Path) -> list[list[str]]:
    """Lines of a document's code blocks that start a Python program, continued lines joined."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", document.read_text(encoding="utf-8"), re.M | re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    starts = ("python ", "torchrun ")
    return [shlex.split(line, comments=True) for line in lines if line.startswith(starts)]


def program_and_arguments(command: list[str]) -> tuple[ModuleType, list[str]]:
    """Split ``python X.py ..``, ``python -m X ..`` or ``torchrun .. X.py ..``; import X."""
    if command[:2] == ["python", "-m"]:
        return importlib.import_module(f"{command[2]}.__main__"), command[3:]
    at = next(i for i, word in enumerate(command) if word.endswith(".py"))
    return load_script(command[at]), command[at + 1 :]


def load_script(name: str) -> ModuleType:
    """Import a script of the repository without running it."""
    path = ROOT / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None, f"no script {name}"
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(path.parent))  # as python itself does
        spec.loader.exec_module(module)
    return module


def parse_command(command: list[str]) -> None:
    """Run a program up to the point where its parser took the arguments; fail where it refuses."""
    program, arguments = program_and_arguments(command)
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *values: object) -> None:
        parse(parser, *values)  # type: ignore[call-overload]
        raise Parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        try:
            program.main(arguments)
        except Parsed:
            return
        except SystemExit:
            pytest.fail(f"arguments refused: {shlex.join(command)}")
    pytest.fail(f"no arguments parsed: {shlex.join(command)}")

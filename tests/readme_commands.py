"""Commands in documents: they are found, and parsed by the scripts they name."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from s3pot.commands.cli import CommandParser

ROOT = Path(__file__).resolve().parents[1]


class Parsed(BaseException):
    """Raised after the script's parser accepted the arguments; nothing else of the script ran."""


def commands(document: Path) -> list[list[str]]:
    """Find the lines of code blocks that start one of our programs, joining continued lines."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", document.read_text(encoding="utf-8"), re.M | re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    starts = ("python ", "torchrun ", "s3pot ")
    return [shlex.split(line, comments=True) for line in lines if line.startswith(starts)]


def program_and_arguments(command: list[str]) -> tuple[ModuleType, list[str]]:
    """Split ``python X.py ..``, ``python -m X ..``, ``s3pot ..`` or ``torchrun .. X.py ..``.

    Returns:
        The imported X and its arguments.
    """
    if command[0] == "s3pot":
        return importlib.import_module("s3pot.__main__"), command[1:]
    if command[:2] == ["python", "-m"]:
        spec = importlib.util.find_spec(command[2])
        assert spec is not None, f"no module {command[2]}"
        is_package = spec.submodule_search_locations is not None
        name = f"{command[2]}.__main__" if is_package else command[2]
        return importlib.import_module(name), command[3:]
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


def stop_after(parse: Callable[..., object]) -> Callable[..., None]:
    def stop(parser: argparse.ArgumentParser, *values: object) -> None:
        parse(parser, *values)
        raise Parsed

    return stop


def parse_command(command: list[str]) -> None:
    """Run a program until its parser has accepted the arguments; fail if it refuses them."""
    program, arguments = program_and_arguments(command)
    with pytest.MonkeyPatch.context() as patch:
        for parser_class in (argparse.ArgumentParser, CommandParser):
            patch.setattr(parser_class, "parse_args", stop_after(parser_class.parse_args))
        try:
            program.main(arguments)
        except Parsed:
            return
        except SystemExit:
            pytest.fail(f"arguments refused: {shlex.join(command)}")
    pytest.fail(f"no arguments parsed: {shlex.join(command)}")

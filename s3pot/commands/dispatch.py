"""A program with several commands, ``s3pot COMMAND ...``, each imported when it is called."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from s3pot.commands.exit_codes import NOTHING_DONE, interruptible_imports


@dataclass(frozen=True)
class Command:
    """A command of a program.

    Attributes:
        module: The name of its module, which defines ``main(argv) -> int``.
        summary: What it does, on one line.
    """

    module: str
    summary: str


def dispatch(program: str, commands: Mapping[str, Command], arguments: Sequence[str]) -> int:
    """Call the command that the first argument names, with the remaining arguments.

    Args:
        program: The words that the user types before the command's name.
        commands: The commands by name.
        arguments: The command line after ``program``.

    Returns:
        The command's exit code; 2 if there is no such command.
    """
    name = arguments[0] if arguments else ""
    if name in ("-h", "--help"):
        sys.stdout.write(_overview(program, commands))
        return 0
    if name not in commands:
        sys.stderr.write(f"{_overview(program, commands)}\n{_no_such(program, commands, name)}\n")
        return NOTHING_DONE
    program_before = sys.argv[0]
    sys.argv[0] = f"{program} {name}"  # the program's name in argparse's help of the command
    try:
        with interruptible_imports():
            module = importlib.import_module(commands[name].module)
        return int(module.main(list(arguments[1:])))
    finally:
        sys.argv[0] = program_before


def _overview(program: str, commands: Mapping[str, Command]) -> str:
    width = max(len(name) for name in commands)
    lines = [f"  {name:{width}}  {command.summary}\n" for name, command in commands.items()]
    return (
        f"usage: {program} COMMAND ...\n\ncommands:\n{''.join(lines)}\n"
        f"{program} COMMAND --help lists a command's options.\n"
    )


def _no_such(program: str, commands: Mapping[str, Command], name: str) -> str:
    if not name:
        return f"{program}: error: no command was given"
    similar = difflib.get_close_matches(name.replace("_", "-"), commands, n=1)
    hint = f"did you mean {similar[0]}?" if similar else f"choose from {', '.join(commands)}"
    return f"{program}: error: there is no command {name!r}; {hint}"

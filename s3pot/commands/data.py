"""The commands that make or bring data: ``s3pot data COMMAND ...``."""

from __future__ import annotations

from s3pot.commands.dispatch import Command, dispatch

COMMANDS = {
    "draw": Command("s3pot_synthetic.__main__", "draw occluded faces with exact truth"),
}


def main(argv: list[str]) -> int:
    """Run one of the commands; returns its exit code."""
    return dispatch("s3pot data", COMMANDS, argv)

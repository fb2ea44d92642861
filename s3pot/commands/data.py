"""The commands that make or bring data: ``s3pot data COMMAND ...``."""

from __future__ import annotations

from s3pot.commands.dispatch import Command, dispatch

COMMANDS = {
    "draw": Command("s3pot_synthetic.__main__", "draw occluded faces with exact truth"),
    "convert": Command("s3pot.commands.data_convert", "another data set → s3pot's layout, or back"),
    "validate": Command("s3pot.commands.data_validate", "what is in a data set, and what is wrong"),
    "split": Command("s3pot.commands.data_split", "into train and val, nobody in both"),
}


def main(argv: list[str]) -> int:
    """Run one of the commands; returns its exit code."""
    return dispatch("s3pot data", COMMANDS, argv)

"""The commands for data sets: ``s3pot data COMMAND ...``."""

from __future__ import annotations

from s3pot.commands.dispatch import Command, dispatch

COMMANDS = {
    "draw": Command("s3pot_synthetic.__main__", "draw occluded faces with exact ground truth"),
    "convert": Command("s3pot.commands.data_convert", "convert a data set to another layout"),
    "validate": Command("s3pot.commands.data_validate", "check a data set and summarize it"),
    "split": Command("s3pot.commands.data_split", "split a data set, e.g. into train and val"),
}


def main(argv: list[str]) -> int:
    """Run one of the commands; returns its exit code."""
    return dispatch("s3pot data", COMMANDS, argv)

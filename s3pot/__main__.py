"""The console command: ``s3pot COMMAND ...`` or ``python -m s3pot COMMAND ...``."""

from __future__ import annotations

import sys

from s3pot.commands.dispatch import Command, dispatch
from s3pot.version import __version__

COMMANDS = {
    "segment": Command(
        "s3pot.commands.segment", "photos → the occlusions of their faces, in one step"
    ),
    "generate-reference": Command(
        "s3pot.commands.generate_reference",
        "photos → aligned faces, their parsing and clean references",
    ),
    "train-general": Command(
        "s3pot.commands.train_general", "train one adapter for all faces of a folder"
    ),
    "train-per-image": Command(
        "s3pot.commands.train_per_image", "fit an adapter to one face, or to each, and segment it"
    ),
    "inference": Command("s3pot.commands.inference", "segment the occlusions of a face folder"),
    "evaluate": Command(
        "s3pot.commands.evaluate", "score results, or run a table of variants and baselines"
    ),
    "compare": Command("s3pot.commands.compare", "show two result folders side by side"),
    "figure": Command("s3pot.commands.figure", "make figures for a paper from result folders"),
    "weights": Command("s3pot.weights.__main__", "list, download and verify the official weights"),
    "data": Command("s3pot.commands.data", "draw faces; convert, validate and split data sets"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one of the commands; returns its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["--version"]:
        sys.stdout.write(f"s3pot {__version__}\n")
        return 0
    return dispatch("s3pot", COMMANDS, arguments)


if __name__ == "__main__":
    sys.exit(main())

"""List, download and verify the official weights.

python -m s3pot.weights list
python -m s3pot.weights download              # what configs/paper.yaml needs
python -m s3pot.weights download sam_vit_b bisenet
python -m s3pot.weights verify                # hash every file that is there
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from s3pot.types import S3potError
from s3pot.weights.download import download
from s3pot.weights.registry import (
    PAPER_SET,
    REGISTRY,
    WeightFile,
    default_folder,
    find,
    verify,
)

logger = logging.getLogger("s3pot.weights")


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; None for the command line.

    Returns:
        0 all done, 1 some files failed, 2 none could be done, 130 interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="python -m s3pot.weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("list", "download", "verify"))
    parser.add_argument("names", nargs="*", help=f"any of: {', '.join(REGISTRY)}")
    parser.add_argument(
        "--weights_dir", type=Path, help="default: S3POT_WEIGHTS_DIR, else ./weights"
    )
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = args.weights_dir or default_folder()
    try:
        entries = [find(name) for name in args.names]
        if args.command == "list":
            return _list(entries or list(REGISTRY.values()), folder)
        return _each(args.command, entries or _usual(args.command, folder), folder)
    except S3potError as error:
        logger.error("%s", error)
        return 2
    except KeyboardInterrupt:
        logger.error("interrupted; the same command goes on from here")
        return 130


def _usual(command: str, folder: Path) -> list[WeightFile]:
    if command == "download":
        return [REGISTRY[name] for name in PAPER_SET]
    present = [entry for entry in REGISTRY.values() if (folder / entry.file).is_file()]
    if not present:
        raise S3potError(f"no weights in {folder}; get them: python -m s3pot.weights download")
    return present


def _list(entries: list[WeightFile], folder: Path) -> int:
    for entry in entries:
        state = "here" if (folder / entry.file).is_file() else "missing"
        size = f"{entry.size / 1e6:,.1f} MB" if entry.size else "size unknown"
        lines = (
            f"{entry.name:<14} {state}, {size}, {folder / entry.file}",
            entry.note,
            f"licence: {entry.licence}",
            entry.url or "no direct link: fetch it by hand",
            f"sha256: {entry.sha256 or 'none published; pinned on first use'}",
        )
        sys.stdout.write("\n    ".join(lines) + "\n")
    return 0


def _each(command: str, entries: list[WeightFile], folder: Path) -> int:
    failed = 0
    for entry in entries:
        try:
            path = download(entry, folder) if command == "download" else verify(entry, folder, True)
            logger.info("%s: %s is verified", entry.name, path)
        except S3potError as error:
            logger.error("%s", error)
            failed += 1
    return 0 if not failed else 1 if failed < len(entries) else 2


if __name__ == "__main__":
    sys.exit(main())

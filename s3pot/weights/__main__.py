"""List, download and verify the official weights.

python -m s3pot.weights list                  # all files, and which are missing
python -m s3pot.weights list yunet            # one file: its URL, size, hash and license
python -m s3pot.weights download              # the files that configs/paper.yaml needs
python -m s3pot.weights download sam_vit_b bisenet
python -m s3pot.weights verify                # hash every existing file
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from s3pot.types import S3potError
from s3pot.weights import registry
from s3pot.weights.download import download
from s3pot.weights.locate import verify, weight_path
from s3pot.wording import message_of

logger = logging.getLogger("s3pot.weights")

ALL_DONE = 0
SOME_FAILED = 1
NOTHING_DONE = 2
INTERRUPTED = 130

_OUTCOMES = {
    "published": "is verified",
    "remembered": "is unchanged since it was first seen; no hash is published",
    "first seen": "is seen for the first time; no hash is published, so its own is pinned",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns 0 for success, 1 if files failed, 2 if all did, 130 on interrupt."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        folder = args.weights_dir or registry.default_folder()
        if args.command == "list" and not args.names:
            sys.stdout.write(overview(folder))
            return ALL_DONE
        names = args.names or usual_names(args.command, folder)
    except (S3potError, OSError) as error:
        logger.error("%s", message_of(error))
        return NOTHING_DONE
    if not names:
        command = registry.command_text("download", folder)
        logger.error("no weights in %s; to get them, run: %s", folder, command)
        return NOTHING_DONE
    failed = 0
    for name in names:
        try:
            sys.stdout.write(f"{name}: {run_one(args.command, name, folder)}\n")
        except (S3potError, OSError) as error:
            logger.error("%s", message_of(error))
            failed += 1
        except KeyboardInterrupt:
            logger.error("interrupted; the same command resumes from here")
            return INTERRUPTED
    if failed == 0:
        return ALL_DONE
    return SOME_FAILED if failed < len(names) else NOTHING_DONE


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    is_module = Path(sys.argv[0]).name == "__main__.py"  # otherwise "s3pot ...", as typed
    parser = argparse.ArgumentParser(
        prog="python -m s3pot.weights" if is_module else None,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("list", "download", "verify"))
    names = ", ".join(registry.weight_files())
    parser.add_argument("names", nargs="*", help=f"any of: {names}")
    parser.add_argument("--weights_dir", type=Path, help="default: S3POT_WEIGHTS_DIR or ./weights")
    return parser


def overview(folder: Path) -> str:
    """Format a table of all files: which exist, their sizes, and how to get the rest."""
    rows = [("NAME", "STATE", "SIZE", "FILE", "WHAT")]
    for name, entry in registry.weight_files().items():
        state = "here" if weight_path(entry, folder).is_file() else "missing"
        needed = " (needed)" if name in registry.PAPER_SET else ""
        what = entry.note.split(";")[0]
        rows.append((name, state + needed, registry.size_text(entry.size), entry.file, what))
    table = "\n".join(registry.table_lines(rows))
    return (
        f"{table}\n\n"
        f"The files belong in {folder}. Get those that configs/paper.yaml needs with\n"
        f"  {registry.command_text('download', folder)}\n"
        f"URL, hash and license of one file: {registry.command_text('list NAME', folder)}\n"
    )


def usual_names(command: str, folder: Path) -> list[str]:
    """Return the files that a command uses if none are named."""
    entries = registry.weight_files()
    if command == "download":
        return list(registry.PAPER_SET)
    return [name for name, entry in entries.items() if weight_path(entry, folder).is_file()]


def run_one(command: str, name: str, folder: Path) -> str:
    """List, download or verify one file; returns the text to print about it."""
    entry = registry.find(name)
    path = weight_path(entry, folder)
    if command == "list":
        state = "here" if path.is_file() else "missing"
        how = registry.how_to_get(entry, folder)
        return f"{state}. {entry.note}; license: {entry.license}{how}"
    if command == "download":
        check = download(entry, folder)
    else:
        check = verify(entry, folder, rehash=True)
    return f"{path} {_OUTCOMES[check.basis]}"


if __name__ == "__main__":
    sys.exit(main())

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
from s3pot.weights import registry as files
from s3pot.weights.download import download
from s3pot.weights.locate import verify

logger = logging.getLogger("s3pot.weights")


def main(argv: list[str] | None = None) -> int:
    """Run one command: 0 all done, 1 some files failed, 2 none could be done, 130 interrupted."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m s3pot.weights", None, __doc__, formatter_class=raw)
    parser.add_argument("command", choices=("list", "download", "verify"))
    parser.add_argument("names", nargs="*", help=f"any of: {', '.join(files.weight_files())}")
    parser.add_argument("--weights_dir", type=Path, help="default: S3POT_WEIGHTS_DIR or ./weights")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder, failed = args.weights_dir or files.default_folder(), 0
    present = [
        name for name, entry in files.weight_files().items() if (folder / entry.file).is_file()
    ]
    usual = {
        "list": list(files.weight_files()),
        "download": list(files.PAPER_SET),
        "verify": present,
    }
    names = args.names or usual[args.command]
    if not names:
        logger.error("no weights in %s; get them: python -m s3pot.weights download", folder)
        return 2
    for name in names:
        try:
            sys.stdout.write(f"{_one(args.command, name, folder)}\n")
        except S3potError as error:
            logger.error("%s", error)
            failed += 1
        except KeyboardInterrupt:
            logger.error("interrupted; the same command goes on from here")
            return 130
    return 0 if not failed else 1 if failed < len(names) else 2


def _one(command: str, name: str, folder: Path) -> str:
    entry = files.find(name)
    if command == "list":
        state = "here" if (folder / entry.file).is_file() else "missing"
        about = f"{state}. {entry.note}; licence: {entry.licence}{files.how_to_get(entry, folder)}"
        return f"{name}: {about}"
    path = download(entry, folder) if command == "download" else verify(entry, folder, rehash=True)
    return f"{name}: {path} is verified"


if __name__ == "__main__":
    sys.exit(main())

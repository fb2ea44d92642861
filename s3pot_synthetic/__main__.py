"""Draw a folder of occluded faces with their ground truth.

    python -m s3pot_synthetic --out DIR --count 100 --seed 0 [--split bench] [--workers 4]

The exit code is 0 if everything is drawn, 2 if nothing could be done, and 130 after an interrupt; a
rerun resumes where the last one stopped.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from s3pot.commands.cli import sigterm_interrupts
from s3pot.commands.exit_codes import INTERRUPTED, NOTHING_DONE
from s3pot.types import S3potError
from s3pot_synthetic.sample import SPLITS
from s3pot_synthetic.writer import write_folder

logger = logging.getLogger("s3pot_synthetic")


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    is_module = Path(sys.argv[0]).name == "__main__.py"  # otherwise "s3pot ...", as typed
    parser = argparse.ArgumentParser(
        prog="python -m s3pot_synthetic" if is_module else None,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", "--output_dir", type=Path, required=True, metavar="FOLDER", help="folder to write"
    )
    parser.add_argument("--count", type=int, required=True, help="number of faces")
    parser.add_argument("--seed", type=int, default=0, help="seed of the set (default 0)")
    parser.add_argument("--size", type=int, default=256, help="side in pixels (default 256)")
    parser.add_argument("--split", choices=sorted(SPLITS), default="train", help="default train")
    parser.add_argument("--subdir", default="", help="folder inside raw_images/ and truth/")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        with sigterm_interrupts():
            drawn = write_folder(
                args.out, args.count, args.size, args.split, args.seed, args.workers, args.subdir
            )
    except S3potError as error:
        logger.error("error: %s", error)
        return NOTHING_DONE
    except KeyboardInterrupt:
        logger.error("interrupted; run the same command again to resume")
        return INTERRUPTED
    logger.info("%s: %d drawn, %d kept", args.out, drawn, args.count - drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())

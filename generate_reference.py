r"""Make clean reference, parsing and alignment of every photo in a folder (RG, paper section 3.1).

    python generate_reference.py --input_dir ./dataset/raw_images \
        --output_dir ./dataset/processed_data --faceParser_name bisenet
    python generate_reference.py --input_dir faces --output_dir processed --config configs/mini.yaml

Photos that are finished are skipped; --overwrite does them again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from s3pot.commands.cli import Setting, new_parser, run
from s3pot.commands.generate_reference import ReferenceJob, generate
from s3pot.config import Config

SETTINGS = (Setting("--faceParser_name", "model.parser", "face parser: bisenet or segnext"),)


def build_parser() -> argparse.ArgumentParser:
    """The script's options."""
    parser = new_parser(__doc__, "./dataset/processed_data", SETTINGS)
    add = parser.add_argument
    add(
        "--input_dir",
        default="./dataset/raw_images",
        help="folder of photos (default: %(default)s)",
    )
    add(
        "--truth_dir",
        type=Path,
        help="folder with <stem>_occlusion.png and <stem>_clean.png, if known",
    )
    add("--all_faces", action="store_true", help="every face of a photo, not only the largest")
    add("--overwrite", action="store_true", help="also do photos that are finished")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)
    job = ReferenceJob(
        Path(args.input_dir), Path(args.output_dir), args.truth_dir, args.all_faces, args.overwrite
    )

    def body(config: Config) -> int:
        return generate(config, job)

    return run(args, body)


if __name__ == "__main__":
    sys.exit(main())

r"""Validate a data set: counts, sizes, classes, missing counterparts, duplicates, a contact sheet.

    s3pot data validate ./RealOcc
    s3pot data validate ./dataset/processed_data --output_dir ./results/validate
    s3pot data validate ./mine --from folders --images photos --masks masks --polarity occlusion

Prints a summary; writes report.json, images.csv, contact_sheet.png and, if something is wrong,
problems.csv with file and key. Exit codes: 0, no problem; 1, some problem; 2, not a data set.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from s3pot.commands import cli
from s3pot.commands.data_convert import DATASET_FORMATS, add_source, source_from
from s3pot.config import Config


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    parser = cli.new_parser(__doc__, "./results/validate", settings=(cli.LABELS,))
    add = parser.add_argument
    add("folder", type=Path, help="folder of the data set")
    add(
        "--from",
        dest="source_format",
        choices=("auto", *DATASET_FORMATS),
        default="auto",
        help="its format (default: recognized by its layout)",
    )
    add_source(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)

    def body(config: Config) -> int:
        from s3pot.runs.dataset_report import report_text
        from s3pot.runs.shard import require_one_process
        from s3pot.runs.validate_dataset import validate_dataset

        require_one_process("A validation")
        report = validate_dataset(
            args.folder,
            args.source_format,
            args.output_dir,
            source_from(args, config),
            config.run.max_pixels,
        )
        sys.stdout.write(cli.printable(report_text(report, args.output_dir)))
        return len(report.problems)

    return cli.run(args, body, keeps_items=False)

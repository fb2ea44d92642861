r"""Show two result folders side by side: pictures, scores, and the difference with its p-value.

    s3pot compare ./results/first ./results/second
    s3pot compare ./results/general ./results/per_image --output_dir ./results/general_or_per_image

Writes index.html, which opens from disk, and compare.csv with a row for each face that both runs
have. The pictures stay where they are; inference.py --save_vis writes them.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from s3pot.commands.cli import new_parser, run
from s3pot.config import Config

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    parser = new_parser(__doc__, "./results/compare", configurable=False)
    parser.add_argument(
        "run_a", type=Path, help="folder of inference.py, train_per_image.py or s3pot segment"
    )
    parser.add_argument("run_b", type=Path, help="another such folder, with the same faces")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = build_parser().parse_args(argv)

    def body(_: Config) -> int:
        from s3pot.report.compare import PAGE, compare_runs, read_result_folder
        from s3pot.runs.shard import require_one_process

        require_one_process("A comparison")
        facts = compare_runs(
            read_result_folder(args.run_a), read_result_folder(args.run_b), args.output_dir
        )
        for fact in facts:
            note = f" ({fact.note})" if fact.note else ""
            logger.info("%s: %s%s", fact.title, fact.value, note)
        logger.info("%s shows the two runs side by side", args.output_dir / PAGE)
        return 0

    return run(args, body, keeps_items=False)

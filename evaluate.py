r"""Score results against the truth, or run a table of variants and baselines.

    python evaluate.py --datapath ./dataset/processed_data/val --results ./results
    python evaluate.py --suite configs/tables/demo.yaml --output_dir results/demo \
        --config configs/mini.yaml

Prints the table and writes table.csv, table.md and per_image.csv.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from s3pot.commands.cli import new_parser, run
from s3pot.commands.evaluate import evaluate_results
from s3pot.config import Config
from s3pot.report.tables import Evaluation, markdown, save
from s3pot.runs.suite import evaluate_suite, read_suite
from s3pot.types import S3potError


def build_parser() -> argparse.ArgumentParser:
    """The script's options."""
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--datapath", type=Path, help="faces with truth; with --suite instead of the suite's own")
    add("--results", type=Path, help="what inference.py or train_per_image.py wrote")
    add("--meta", type=Path, help="meta.jsonl of drawn faces: also a row per occluder kind")
    add("--suite", type=Path, help="YAML list of rows to run, such as configs/tables/demo.yaml")
    add("--output_dir", type=Path, help="where the table goes (default: that of --results)")
    return parser


def evaluate(args: argparse.Namespace, config: Config) -> Evaluation:
    """The table that the options ask for, saved."""
    if args.suite:
        suite = read_suite(args.suite)
        suite = replace(suite, datapath=args.datapath or suite.datapath)
        return evaluate_suite(config, suite, args.output_dir or Path("results") / args.suite.stem)
    if not (args.datapath and args.results):
        raise S3potError("give --datapath and --results, or --suite; see --help")
    evaluation = evaluate_results(args.datapath, args.results, args.meta)
    save(args.output_dir or args.results, evaluation)
    return evaluation


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)

    def body(config: Config) -> int:
        evaluation = evaluate(args, config)
        sys.stdout.write(markdown(evaluation.rows))
        return evaluation.failed

    return run(args, body)


if __name__ == "__main__":
    sys.exit(main())

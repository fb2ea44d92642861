r"""Score results against the ground truth, or run a table of variants and baselines.

Commands:
    python evaluate.py --datapath ./dataset/processed_data/val --results ./results
    python evaluate.py --suite configs/tables/demo.yaml --output_dir results/demo --config mini
    python evaluate.py --suite configs/tables/main.yaml --config mini --dry_run

Prints the table and writes it as table.csv, table.md, table.tex (for the booktabs package) and, as
means with intervals, table.png and table.pdf; per_image.csv has the scores of each face. A suite
that was interrupted or extended computes only what is missing; --overwrite computes everything
again. --dry_run checks data, weights and rows of a suite without a GPU, and prints the cost of each
row and everything that is missing; the exit code is 1 if anything is.

A suite can be divided among several processes (torchrun, or --shard i/n in a job array); afterwards
the same command without them writes the table.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from s3pot.commands import cli
from s3pot.config import Config
from s3pot.types import S3potError

if TYPE_CHECKING:
    from s3pot.runs.suite_file import Suite


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    parser = cli.new_parser(__doc__, settings=(cli.LABELS,))
    add = parser.add_argument
    add("--datapath", type=Path, help="faces with ground truth; overrides that of --suite")
    where = "folder of inference.py, train_per_image.py, s3pot segment or another program's masks"
    add("--results", type=Path, help=where)
    add("--meta", type=Path, help="meta.jsonl of drawn faces: adds a row per occluder kind")
    add("--suite", type=Path, help="YAML file of rows to run, such as configs/tables/demo.yaml")
    add("--output_dir", type=Path, help="folder for the table (default: that of --results)")
    add(
        "--limit",
        type=int,
        metavar="N",
        help="only the first N faces; 0 for all (default: that of --suite, or all)",
    )
    add("--overwrite", action="store_true", help="with --suite: compute finished rows again")
    add("--dry_run", action="store_true", help="with --suite: only check and estimate")
    add("--shard", metavar="I/N", help="with --suite: process part I of N; I is 0 to N - 1")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)

    def body(config: Config) -> int:
        # Here, not above: --help should not wait for PyTorch.
        from s3pot.runs.selection import check_count

        if args.limit is not None:
            check_count("--limit", args.limit, "faces")
        refuse_what_would_be_ignored(args)
        if args.suite and args.dry_run:
            return check_suite(args, config)
        if args.suite:
            return run_suite(args, config)
        if args.datapath and args.results:
            return run_results(args, config)
        raise S3potError("give --datapath and --results, or --suite; see --help")

    return cli.run(args, body, keeps_items=bool(args.suite) and not args.dry_run)


def refuse_what_would_be_ignored(args: argparse.Namespace) -> None:
    """Make sure that every option has an effect.

    Raises:
        S3potError: An option belongs to ``--suite`` and another one to ``--results``.
    """
    if args.suite and args.results:
        raise S3potError(
            "--suite runs its own rows and --results scores finished masks; give one of them. "
            "A row of a suite with method: folder scores a folder of masks"
        )
    if args.dry_run and not args.suite:
        raise S3potError("--dry_run checks a suite; give --suite as well")
    if args.overwrite and not args.suite:
        raise S3potError(
            "--overwrite computes the finished rows of a suite again; give --suite as well. "
            "--results scores all faces in any case"
        )
    if args.shard is not None and not args.suite:
        raise S3potError(
            "--shard divides a suite; give --suite as well. --results is the work of one process; "
            "--limit takes the first faces"
        )
    if args.meta is not None and args.suite:
        raise S3potError(
            "--meta adds rows for kinds of occluders to the table of --results; the rows of a "
            "table from --suite are those of its file"
        )


def chosen_suite(args: argparse.Namespace) -> Suite:
    """Read the suite, with the faces that the options select."""
    from s3pot.runs.suite_file import read_suite

    suite = read_suite(args.suite)
    limit = suite.limit if args.limit is None else args.limit
    return replace(suite, datapath=args.datapath or suite.datapath, limit=limit)


def check_suite(args: argparse.Namespace, config: Config) -> int:
    """Print the cost of a table and what is missing; returns the number of missing things."""
    from s3pot.runs.suite_plan import plan_suite, plan_text

    plan = plan_suite(config, chosen_suite(args))
    sys.stdout.write(cli.printable(plan_text(plan)))
    return len(plan.missing)


def run_suite(args: argparse.Namespace, config: Config) -> int:
    """Run a table; returns how many faces failed, counted once for each row."""
    from s3pot.report.tables import markdown
    from s3pot.runs.shard import find_shard
    from s3pot.runs.suite import evaluate_suite

    suite = chosen_suite(args)
    output_dir = args.output_dir or Path("results") / args.suite.stem
    shard = find_shard(args.shard)
    evaluation = evaluate_suite(config, suite, output_dir, args.overwrite, shard)
    if shard.is_whole:
        sys.stdout.write(cli.printable(markdown(evaluation.rows)))
    return evaluation.failed


def run_results(args: argparse.Namespace, config: Config) -> int:
    """Score a result folder; returns how many faces failed."""
    from s3pot.data.output_guard import (
        refuse_data_folder,
        refuse_other_kinds,
        refuse_truth_as_result,
    )
    from s3pot.report.gallery import update_gallery
    from s3pot.report.tables import markdown, save, save_plot
    from s3pot.runs.evaluate_results import evaluate_results
    from s3pot.runs.shard import require_one_process

    require_one_process("Scoring the masks of --results")
    output_dir = args.output_dir or args.results
    refuse_truth_as_result(args.results, args.datapath)
    refuse_data_folder(output_dir, [args.datapath])
    refuse_other_kinds(output_dir, "evaluate", [args.results])
    scored = evaluate_results(config, args.datapath, args.results, args.meta, limit=args.limit or 0)
    evaluation = scored.evaluation
    save(output_dir, evaluation)
    save_plot(output_dir, evaluation)
    scores = {score.face: score.scores for score in evaluation.faces}
    update_gallery(args.results, scores, scored.occluder_kinds, scored.changes)
    sys.stdout.write(cli.printable(markdown(evaluation.rows)))
    return evaluation.failed

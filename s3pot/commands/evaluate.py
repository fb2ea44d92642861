r"""Score results against the truth, or run a table of variants and baselines.

    python evaluate.py --datapath ./dataset/processed_data/val --results ./results
    python evaluate.py --suite configs/tables/demo.yaml --output_dir results/demo \
        --config configs/mini.yaml

Prints the table and writes it as table.csv, table.md, table.tex (for the booktabs package) and, as
means with intervals, table.png and table.pdf; per_image.csv has the scores of each face.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from s3pot.commands.cli import new_parser, run
from s3pot.config import Config
from s3pot.data.face_folder import FaceFiles
from s3pot.data.image import read_rgb
from s3pot.data.truth import faces_with_truth, truth_and_region
from s3pot.metrics import mask_scores
from s3pot.report.rows import Evaluation, FaceScore, make_row
from s3pot.report.tables import markdown, save, save_plot
from s3pot.runs.folder_run import run_each
from s3pot.runs.provenance import provenance_of_results
from s3pot.runs.suite import evaluate_suite, read_suite
from s3pot.types import S3potError


def evaluate_results(datapath: Path, results: Path, meta: Path | None = None) -> Evaluation:
    """Score ``<stem>_occlusion.png`` of a result folder against the truth of a data folder.

    ``meta`` is the ``meta.jsonl`` of drawn faces, for rows per kind; None looks into ``datapath``.

    Raises:
        S3potError: No face can be scored.
    """
    if not results.is_dir():
        raise S3potError(f"--results {results} is no folder; run inference.py first")
    kinds, faces = _read_kinds(meta, datapath), faces_with_truth(datapath)

    def score(face: FaceFiles) -> FaceScore:
        truth, region = truth_and_region(face)
        path = results / f"{face.name}_occlusion.png"
        prediction = read_rgb(path)[..., 0] > 127
        if prediction.shape != truth.shape:
            sizes = f"{prediction.shape}, its truth {truth.shape}"
            raise S3potError(f"{path} is {sizes}; run inference.py on this --datapath")
        return FaceScore("all", face.name, mask_scores(prediction, truth, region))

    scored = run_each({face.name: face for face in faces}, score, "faces")
    provenance = provenance_of_results(results)
    rows = [make_row("all", scored, provenance=provenance)]
    for kind in sorted(set().union(*kinds.values())):
        own = [entry for entry in scored if kind in kinds.get(Path(entry.face).name, ())]
        if own:
            rows.append(make_row(kind, own, provenance=provenance))
    return Evaluation(rows, scored, len(faces) - len(scored))


def _read_kinds(meta: Path | None, datapath: Path) -> dict[str, set[str]]:
    """Occluder kinds of drawn faces by stem; empty where there is no ``meta.jsonl``."""
    path = meta or datapath / "meta.jsonl"
    if meta is None and not path.is_file():
        return {}
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        return {Path(line["stem"]).name: set(line["kinds"]) for line in lines}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise S3potError(f"{path} is no meta.jsonl of drawn faces ({error!r})") from error


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
    output_dir = args.output_dir or args.results
    save(output_dir, evaluation)
    save_plot(output_dir, evaluation)
    return evaluation


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)

    def body(config: Config) -> int:
        evaluation = evaluate(args, config)
        sys.stdout.write(markdown(evaluation.rows))
        return evaluation.failed

    return run(args, body)

r"""Break a table's scores down by grade and by occluder kind, with paired differences.

    python -m tools.bench_report --scores results/bench/per_image.csv \
        --meta ./dataset/bench/meta.jsonl --pair "general" "no adapter"

Prints and writes report.md; report.csv holds the same numbers and all others of that form.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from s3pot.io import atomic_path, write_csv
from s3pot.statistics import bootstrap_interval
from s3pot.types import S3potError
from s3pot.wording import reason_of
from s3pot_synthetic.occluders import BENCH_KINDS

logger = logging.getLogger("s3pot.tools.bench_report")

GRADES = ("easy", "medium", "hard")
COMMON = "common kinds only"
HELD_OUT = "a held-out kind"
MIN_FACES = 5  # an interval over fewer faces would be meaningless

Scores = dict[str, dict[str, float]]  # row → face → occlusion IoU, of faces with an occlusion
Groups = dict[str, set[str]]  # name of a group → stems of its faces


class Estimate(NamedTuple):
    """Mean occlusion IoU of a row, or mean difference to another row, over a group of faces."""

    group: str
    row: str
    minus: str  # the other row; empty if it is not a difference
    faces: int
    mean: float | None  # None without faces
    low: float | None  # 95 % bootstrap interval of the mean; None below MIN_FACES
    high: float | None


class Report(NamedTuple):
    """All estimates, and the other data of the tables."""

    estimates: Mapping[tuple[str, str, str], Estimate]  # by group, row, minus
    occluder_kinds: Sequence[str]  # groups of the kind table
    pairs: Sequence[tuple[str, str]]
    clean: int  # faces without an occlusion, left out


def read_scores(path: Path) -> tuple[Scores, int]:
    """Read ``per_image.csv`` of a table.

    Returns:
        Scores, and the number of faces without true occlusion, which are left out.

    Raises:
        S3potError: The file is missing, empty, of another kind, or has a face twice in a row.
    """
    wanted = "the per_image.csv that evaluate.py --suite writes"
    scores: Scores = {}
    clean: set[str] = set()
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                face = line["face"]
                row_scores = scores.setdefault(line["row"], {})
                if face in row_scores:
                    raise S3potError(f"{path}: {face} is twice in row {line['row']!r}; rename one")
                if int(line["true_positive"]) + int(line["false_negative"]):
                    row_scores[face] = float(line["iou"])
                else:
                    clean.add(face)
    except OSError as error:
        raise S3potError(f"{path} cannot be read ({error.strerror}); give {wanted}") from error
    except (LookupError, TypeError, ValueError) as error:
        raise S3potError(f"{path} is not {wanted} ({reason_of(error)})") from error
    if not any(scores.values()):
        raise S3potError(f"{path} has no face with a true occlusion; expected at least one")
    return scores, len(clean)


def read_groups(path: Path, faces: Iterable[str]) -> tuple[Groups, list[str]]:
    """Group faces by the ``meta.jsonl`` of the drawn set.

    A face with two kinds is in both their groups.

    Returns:
        Groups by name, and the names of those that are kinds, the most common first.

    Raises:
        S3potError: The file is not a ``meta.jsonl``, or a face is not in it.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        drawn = {line["stem"]: (line["difficulty"], set(line["kinds"])) for line in lines}
    except OSError as error:
        raise S3potError(
            f"{path} cannot be read ({error.strerror}); give the meta.jsonl of the drawn faces"
        ) from error
    except (LookupError, TypeError, ValueError) as error:
        raise S3potError(
            f"{path} is not a meta.jsonl of drawn faces ({reason_of(error)})"
        ) from error
    general = ("all", *GRADES, COMMON, HELD_OUT)
    groups: Groups = {name: set() for name in general}
    for face in faces:
        stem = Path(face).name
        if stem not in drawn:
            raise S3potError(f"{path} does not contain {face}; pass the --meta of its own set")
        grade, kinds_of_face = drawn[stem]
        rarity = HELD_OUT if kinds_of_face & set(BENCH_KINDS) else COMMON
        for name in ("all", grade, rarity, *kinds_of_face):
            groups.setdefault(name, set()).add(face)
    return groups, sorted(groups.keys() - general, key=lambda kind: (-len(groups[kind]), kind))


def estimate(
    scores: Scores, faces: set[str], group: str, row: str, minus: str = "", seed: int = 0
) -> Estimate:
    """Mean over the faces of a group that the row, and the other row, were run on."""
    row_scores = scores[row]
    other_scores = scores[minus] if minus else dict.fromkeys(row_scores, 0.0)
    common = faces & row_scores.keys() & other_scores.keys()
    values = [row_scores[face] - other_scores[face] for face in sorted(common)]
    mean = sum(values) / len(values) if values else None
    interval = bootstrap_interval(values, seed) if len(values) >= MIN_FACES else None
    low = None if interval is None else interval.low
    high = None if interval is None else interval.high
    return Estimate(group, row, minus, len(values), mean, low, high)


def make_report(scores: Path, meta: Path, pairs: Sequence[tuple[str, str]], seed: int) -> Report:
    """Read both files and estimate every row and pair in every group.

    Raises:
        S3potError: A file cannot be used, or a pair names an unknown row.
    """
    table, clean = read_scores(scores)
    for pair in pairs:
        for name in pair:
            if name not in table:
                raise S3potError(f"there is no row {name!r} in {scores}; it has {', '.join(table)}")
    groups, occluder_kinds = read_groups(meta, {face for row in table.values() for face in row})
    rows_and_pairs = [*((row, "") for row in table), *pairs]
    estimates = {
        (group, row, minus): estimate(table, faces, group, row, minus, seed)
        for group, faces in groups.items()
        for row, minus in rows_and_pairs
    }
    return Report(estimates, [COMMON, HELD_OUT, *occluder_kinds], pairs, clean)


def markdown(report: Report, columns: Sequence[str] = ()) -> str:
    """Format the report as Markdown; ``columns`` are the rows in the kind table, or all."""
    rows = [row for group, row, minus in report.estimates if group == "all" and not minus]
    for name in columns:
        if name not in rows:
            raise S3potError(f"there is no row {name!r}; --columns takes {', '.join(rows)}")
    groups = ("all", *GRADES)
    head = [f"{group} ({_count(report, group)})" for group in groups]
    by_grade = [[row, *(_cell(report, group, row) for group in groups)] for row in rows]
    differences = [
        [f"{row} − {minus}", *(_cell(report, group, row, minus) for group in groups)]
        for row, minus in report.pairs
    ]
    shown = list(columns) or rows
    by_kind = [
        [f"{_label(kind)} ({_count(report, kind)})", *(_cell(report, kind, row) for row in shown)]
        for kind in report.occluder_kinds
    ]
    parts = [
        "Mean occlusion IoU and its 95 % bootstrap interval. The number of faces is in brackets, "
        f"or after n if a row has fewer; there is no interval below {MIN_FACES} faces. "
        f"Left out: {report.clean} faces without an occlusion.\n",
        "## By grade\n\n" + _table(["row", *head], by_grade),
    ]
    if differences:
        text = "## Differences, face by face\n\nMean of the first row's IoU minus the second's.\n\n"
        parts.append(text + _table(["rows", *head], differences))
    note = "Kinds with a star are drawn in `bench` only. A face with two kinds counts in both.\n\n"
    parts.append("## By occluder kind\n\n" + note + _table(["kind", *shown], by_kind))
    return "\n".join(parts)


def _count(report: Report, group: str) -> int:
    """Return the number of faces of a group."""
    return max(entry.faces for entry in report.estimates.values() if entry.group == group)


def _label(kind: str) -> str:
    return kind + "*" if kind in BENCH_KINDS else kind


def _cell(report: Report, group: str, row: str, minus: str = "") -> str:
    """Format an estimate, with its number of faces if the group has more."""
    entry = report.estimates[group, row, minus]
    if entry.mean is None:
        return "-"
    form = "{:+.3f}" if minus else "{:.3f}"
    text = form.format(entry.mean)
    if entry.low is not None and entry.high is not None:
        text += f" ({form.format(entry.low)} to {form.format(entry.high)})"
    return text if entry.faces == _count(report, group) else f"{text}, n {entry.faces}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the tool's options."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench_report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--scores", type=Path, required=True, help="per_image.csv of evaluate.py --suite")
    add("--meta", type=Path, required=True, help="meta.jsonl of the drawn faces")
    add("--output_dir", type=Path, help="folder for the report (default: that of --scores)")
    text = "a difference to report; may be repeated"
    add("--pair", nargs=2, action="append", default=[], metavar=("ROW", "BASELINE"), help=text)
    add("--columns", nargs="+", default=[], metavar="ROW", help="rows in the kind table (all)")
    add("--seed", type=int, default=0, help="seed of the bootstrap (default 0)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the tool; returns 0, or 2 if nothing could be done."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        report = make_report(args.scores, args.meta, [(a, b) for a, b in args.pair], args.seed)
        text = markdown(report, args.columns)
        folder = args.output_dir or args.scores.parent
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(folder / "report.csv", [entry._asdict() for entry in report.estimates.values()])
        with atomic_path(folder / "report.md") as temporary:
            temporary.write_text(text, encoding="utf-8")
    except (S3potError, OSError) as error:
        logger.error("error: %s", error)
        return 2
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

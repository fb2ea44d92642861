"""docs/DATASHEET.md agrees with the drawing program, and its commands fit together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from readme_commands import ROOT, commands

from s3pot.runs.suite_file import read_suite
from s3pot_synthetic.hair import _STYLES
from s3pot_synthetic.head import HAIR_COLORS, SKIN_TONES
from s3pot_synthetic.occluders import BENCH_KINDS, TRAIN_KINDS
from s3pot_synthetic.textures import BENCH_TEXTURES, TRAIN_TEXTURES
from tools import bench_report

PATH = ROOT / "docs" / "DATASHEET.md"
TEXT = PATH.read_text(encoding="utf-8")


def cell(row: str) -> list[str]:
    """Names in the second column of the table row that starts with ``row``, without remarks."""
    found = re.search(rf"^\| {re.escape(row)} \| (.*) \|$", TEXT, re.M)
    assert found is not None, row
    return re.sub(r" \(.*?\)", "", found[1]).split(", ")


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ("of both splits", TRAIN_KINDS),
        ("of `bench` only", BENCH_KINDS),
        ("patterns of `bench` only", BENCH_TEXTURES),
    ],
)
def test_kinds_and_patterns_are_those_of_the_code(row: str, names: dict[str, object]) -> None:
    assert cell(row) == list(names)


def test_numbers_in_words_are_those_of_the_code() -> None:
    assert (len(TRAIN_TEXTURES), len(_STYLES)) == (8, 9) and "eight patterns" in TEXT
    assert (len(HAIR_COLORS), len(SKIN_TONES)) == (10, 7) and "nine styles, ten colors" in TEXT


def test_counts_add_up() -> None:
    rows = re.findall(r"^\| faces with.* \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", TEXT, re.M)
    assert len(rows) == 2
    for *grades, total in rows:
        assert sum(map(int, grades)) == int(total)
    assert sum(int(row[3]) for row in rows) == 256


def test_the_report_names_rows_of_the_table() -> None:
    suite = read_suite(ROOT / "configs" / "tables" / "bench.yaml")
    names = [row.name for row in suite.rows]
    assert len(names) == len(set(names))
    command = next(words for words in commands(PATH) if "tools.bench_report" in words)
    args = bench_report.build_parser().parse_args(command[3:])
    assert args.pair and {name for pair in args.pair for name in pair} <= set(names)
    assert args.columns and set(args.columns) <= set(names)
    assert suite.datapath.parent == Path(args.meta).parent

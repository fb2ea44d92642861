"""Summaries: written rows are read back, and records of other runs are found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from s3pot.report.summary import (
    Failure,
    Summary,
    read_summary,
    write_summary_files,
)
from s3pot.types import S3potError
from tests.builders import read_csv

ROWS = [{"name": "c", "occluded": "yes"}, {"name": "a", "occluded": "no"}]
FAILURES = [Failure("b", "read", "it is cut off"), Failure("m\udce9lange", "write", "denied")]


def test_one_list_holds_what_is_finished_and_what_failed(tmp_path: Path) -> None:
    write_summary_files(tmp_path, Summary(ROWS, FAILURES))
    items = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert [item["name"] for item in items] == ["a", "b", "c", "m\udce9lange"]
    assert items[1] == {"name": "b", "failed": {"stage": "read", "reason": "it is cut off"}}
    assert [row["name"] for row in read_csv(tmp_path / "summary.csv")] == ["a", "c"]
    assert [row["stage"] for row in read_csv(tmp_path / "failures.csv")] == ["read", "write"]
    summary = read_summary(tmp_path)
    assert list(summary.rows) == [ROWS[1], ROWS[0]]
    assert list(summary.failures) == FAILURES
    write_summary_files(tmp_path, Summary(ROWS))
    assert not (tmp_path / "failures.csv").exists()
    assert not read_summary(tmp_path).failures
    write_summary_files(tmp_path, Summary(failures=FAILURES))
    assert (tmp_path / "summary.csv").read_text() == "name\n"  # programs need a header


@pytest.mark.parametrize("content", ["{}x", "[1]", '[{"failed": {}}]', '[{"row": 1}]'])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(S3potError, match=r"summary\.json"):
        read_summary(tmp_path)

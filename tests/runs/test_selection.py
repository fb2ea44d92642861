"""Which items of a folder are processed, and that its summary stays complete."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from s3pot.io import write_json
from s3pot.report.summary import Failure, Summary, read_summary, write_summary_files
from s3pot.runs.folder_job import FolderJob, Outcome, Written
from s3pot.runs.records import ItemProvenance, write_record
from s3pot.runs.selection import Selection, complete_summary, run_selected, with_other_records
from s3pot.types import S3potError


class DoubleJob(FolderJob[int, int, int]):
    """Doubles numbers; some are bad."""

    unit = "numbers"

    def __init__(
        self, folder: Path, bad: Sequence[int] = (), interrupted: int | None = None
    ) -> None:
        self.folder = folder
        self.bad = bad
        self.interrupted = interrupted
        self.changed: Sequence[int] = ()  # numbers whose input is not that of their record
        self.computed: list[int] = []

    def name(self, item: int) -> str:
        return f"n{item}"

    def record_path(self, item: int) -> Path:
        return self.folder / f"n{item}_double.json"

    def provenance(self, item: int) -> ItemProvenance:
        return ItemProvenance(inputs={"number": "new" if item in self.changed else "old"})

    def read(self, item: int) -> int:
        if item in self.bad:
            raise S3potError("a bad number")
        return item

    def compute(self, inputs: Sequence[int]) -> list[int]:
        if self.interrupted in inputs:
            raise KeyboardInterrupt
        self.computed += inputs
        return [2 * number for number in inputs]

    def write(self, output: int, provenance: ItemProvenance) -> Written:
        return Written(content={"name": f"n{output // 2}", "double": output})

    def summarize(self, outcome: Outcome) -> None:
        summary = complete_summary(self.folder, outcome, "_double.json", lambda record: record)
        write_summary_files(self.folder, summary)


def run(
    folder: Path,
    count: int = 5,
    bad: Sequence[int] = (),
    limit: int = 0,
    retry: bool = False,
    changed: Sequence[int] = (),
) -> list[int]:
    """Run the job over the given count of numbers; returns those that it computed."""
    job = DoubleJob(folder, bad)
    job.changed = changed
    selection = Selection(limit=limit, only_failed=retry)
    run_selected(job, list(range(count)), selection, output_dir=folder, keep_finished=True)
    return job.computed


def names(summary: Summary) -> tuple[list[str], list[str]]:
    rows = [row["name"] for row in summary.rows]
    return rows, [failure.name for failure in summary.failures]


def test_only_what_failed_is_tried_again(tmp_path: Path) -> None:
    assert run(tmp_path, bad=(1, 3)) == [0, 2, 4]
    assert names(read_summary(tmp_path)) == (["n0", "n2", "n4"], ["n1", "n3"])
    (tmp_path / "n0_double.json").unlink()  # not finished any more, but it did not fail
    assert run(tmp_path, count=6, bad=(3,), retry=True) == [1]
    assert names(read_summary(tmp_path)) == (["n1", "n2", "n4"], ["n3"])
    assert run(tmp_path, bad=(3,), retry=True) == []  # all of them failed again
    assert run(tmp_path, retry=True) == [3]
    assert run(tmp_path, retry=True) == []
    assert run(tmp_path) == [0]
    assert names(read_summary(tmp_path)) == (["n0", "n1", "n2", "n3", "n4"], [])


def test_a_retry_without_failures_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "s3pot")
    run(tmp_path)
    assert "retry" not in caplog.text
    assert run(tmp_path, retry=True) == []
    assert "there is nothing to retry: " in caplog.text and "none of the numbers" in caplog.text
    assert Outcome().done("face") == "no face of this run is"
    assert Outcome(contents=[{}]).done("face") == "1 of 1 face is"


def test_a_retry_needs_a_run_before(tmp_path: Path) -> None:
    with pytest.raises(S3potError, match="without --retry_failed first"):
        run(tmp_path, retry=True)


def test_a_limit_takes_the_first_and_forgets_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, bad=(1, 4), limit=3) == [0, 2]
    assert names(read_summary(tmp_path)) == (["n0", "n2"], ["n1"])
    assert run(tmp_path, bad=(1, 4)) == [3]
    assert run(tmp_path, limit=2) == [1]
    assert names(read_summary(tmp_path)) == (["n0", "n1", "n2", "n3"], ["n4"])
    with pytest.raises(S3potError, match="--limit is -1"):
        run(tmp_path, limit=-1)


def test_failures_of_items_that_a_run_does_not_reach_are_kept(tmp_path: Path) -> None:
    """n3 succeeded before its input changed, so it has a record that must not count."""
    assert run(tmp_path) == [0, 1, 2, 3, 4]
    record = (tmp_path / "n3_double.json").read_bytes()
    (tmp_path / "n3_double.json").unlink()
    assert run(tmp_path, bad=(3,), changed=(3,)) == []
    (tmp_path / "n3_double.json").write_bytes(record)
    assert run(tmp_path, limit=1, changed=(3,)) == []
    assert names(read_summary(tmp_path)) == (["n0", "n1", "n2", "n4"], ["n3"])
    job = DoubleJob(tmp_path, interrupted=1)
    job.changed = (3,)
    with pytest.raises(KeyboardInterrupt):
        run_selected(job, list(range(5)), Selection(), output_dir=tmp_path, keep_finished=False)
    assert names(read_summary(tmp_path)) == (["n0", "n1", "n2", "n4"], ["n3"])
    assert run(tmp_path) == []
    assert names(read_summary(tmp_path)) == (["n0", "n1", "n2", "n3", "n4"], [])


def test_a_retry_of_other_inputs_forgets_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "s3pot")
    assert run(tmp_path, bad=(1, 3)) == [0, 2, 4]
    before = (tmp_path / "summary.json").read_bytes()
    assert run(tmp_path, count=1, retry=True) == []
    assert (tmp_path / "summary.json").read_bytes() == before
    assert "none of the numbers given now is among the 2 that failed" in caplog.text
    assert run(tmp_path, count=2, retry=True) == [1]
    assert names(read_summary(tmp_path)) == (["n0", "n1", "n2", "n4"], ["n3"])


def test_a_damaged_summary_is_an_error_only_in_a_retry(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(tmp_path, bad=(3,)) == [0, 1, 2, 4]
    (tmp_path / "summary.json").write_text('[{"name": ')
    with pytest.raises(S3potError, match="summary.json"):
        run(tmp_path, retry=True)
    assert run(tmp_path, bad=(3,)) == []
    assert "earlier failures are not known" in caplog.text
    assert names(read_summary(tmp_path)) == (["n0", "n1", "n2", "n4"], ["n3"])


def test_all_failed_is_an_error_but_not_in_a_retry(tmp_path: Path) -> None:
    with pytest.raises(S3potError, match="none of the numbers could be processed: 2 failed"):
        run(tmp_path, count=2, bad=(0, 1))
    assert names(read_summary(tmp_path)) == ([], ["n0", "n1"])
    assert run(tmp_path, count=2, bad=(0, 1), retry=True) == []


def test_records_of_other_runs_are_added(tmp_path: Path) -> None:
    def row_of(record: Any) -> Any:
        return dict(record["row"])

    def write(path: str, content: dict[str, Any]) -> None:
        write_record(tmp_path / f"{path}_result.json", ItemProvenance(), [], content)

    for name in ("a", "b", "sub/d", "old"):
        write(name, {"row": {"name": name, "value": 1}})
    write("per_image/a", {"row": {"name": "a", "value": 9}})
    write("other", {"name": "other"})  # of a command whose records have no rows
    # Files of other programs, and damaged ones.
    write_json(tmp_path / "odd_result.json", ["no record"])
    write_json(tmp_path / "text_result.json", {"row": "abc"})
    write_json(tmp_path / "q_result.json", {"row": {"name": "q"}})
    (tmp_path / "cut_result.json").write_text('{"row": ')
    summary = Summary([{"name": "a", "value": 2}], [Failure("b", "read", "gone")])
    complete = with_other_records(tmp_path, summary, "_result.json", row_of)
    assert [(row["name"], row["value"]) for row in complete.rows] == [
        ("a", 2),
        ("old", 1),
        ("sub/d", 1),
    ]
    assert complete.failures == summary.failures

"""Which items of a folder a run does: all, a share, the first ones, those that failed before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from s3pot.io import read_json
from s3pot.report.summary import SUMMARY, Failure, Row, Summary, read_summary
from s3pot.runs.folder_job import FolderJob, Input, Item, Outcome, Output
from s3pot.runs.folder_run import run_folder
from s3pot.runs.shard import Shard
from s3pot.types import S3potError


@dataclass(frozen=True)
class Selection:
    """Which items of a folder are done.

    Attributes:
        shard: The share of this process.
        limit: Only the first ones; 0 for all.
        only_failed: Only those that failed in the last run, as its ``summary.json`` says.
    """

    shard: Shard = field(default_factory=Shard)
    limit: int = 0
    only_failed: bool = False

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise S3potError(f"--limit is {self.limit}; expected a number of items, 0 for all")


def run_selected(
    job: FolderJob[Item, Input, Output],
    items: Sequence[Item],
    selection: Selection,
    *,
    output_dir: Path,
    keep_finished: bool,
) -> Outcome:
    """Do the selected items of a folder; see ``run_folder``.

    Args:
        job: What to do.
        items: All items of the folder.
        selection: Which of them.
        output_dir: Where the last run's summary lies.
        keep_finished: Leave items alone that are finished.

    Raises:
        S3potError: Each item failed and the run was about all of them, or there was no run before.
    """
    chosen = list(items)
    if selection.only_failed:
        failed = _failed_names(output_dir)
        chosen = [item for item in chosen if job.name(item) in failed]
    chosen = chosen[: selection.limit or None]
    positions = {id(item) for item in chosen}
    left_out = [item for item in items if id(item) not in positions]
    outcome = run_folder(
        job, chosen, keep_finished=keep_finished, shard=selection.shard, left_out=left_out
    )
    if not selection.only_failed:
        outcome.require_some(job.unit)
    return outcome


def complete_summary(
    output_dir: Path, outcome: Outcome, record_ending: str, row_of: Callable[[Row], Row]
) -> Summary:
    """Sum up a folder: what this run did, and what is known of all else that is in it.

    Args:
        output_dir: The folder.
        outcome: Of this run. Of items that it left out, earlier failures stay.
        record_ending: Of the names of the records.
        row_of: Gives the row of a record's content.
    """
    rows = [row_of(content) for content in outcome.contents]
    earlier: list[Failure] = []
    if outcome.left_out and (output_dir / SUMMARY).is_file():
        failures = read_summary(output_dir).failures
        earlier = [failure for failure in failures if failure.name in outcome.left_out]
    summary = Summary(rows, [*outcome.failures, *earlier])
    return with_other_records(output_dir, summary, record_ending, row_of)


def with_other_records(
    folder: Path, summary: Summary, ending: str, row_of: Callable[[Row], Row]
) -> Summary:
    """Add the faces of a folder that the summary does not name: other runs wrote them.

    Args:
        folder: Where the records are. Folders of other runs that lie inside it stay apart, for
            there a record's name is not its path.
        summary: Of this run.
        ending: Of the records' names, such as ``_result.json``.
        row_of: Gives the row of a record's content.
    """
    known = {str(row["name"]) for row in summary.rows}
    known |= {failure.name for failure in summary.failures}
    others = []
    for path in sorted(folder.rglob(f"*{ending}")):
        name = path.relative_to(folder).as_posix()[: -len(ending)]
        if name not in known:
            row = _row_of_record(path, row_of)
            if row is not None and row["name"] == name:
                others.append(row)
    return Summary([*summary.rows, *others], summary.failures)


def _row_of_record(path: Path, row_of: Callable[[Row], Row]) -> Row | None:
    """Read the row of a record; None if it is damaged or another program's."""
    try:
        row = row_of(read_json(path))
        return row if "name" in row else None
    except (S3potError, LookupError, TypeError, AttributeError):
        return None


def _failed_names(output_dir: Path) -> set[str]:
    """Read which items failed in the last run."""
    if not (output_dir / SUMMARY).is_file():
        raise S3potError(
            f"{output_dir} has no {SUMMARY}, which names what failed; run the command without "
            "--retry_failed first"
        )
    return {failure.name for failure in read_summary(output_dir).failures}

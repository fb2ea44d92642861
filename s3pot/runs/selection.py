"""The selection of items: all, a share, the first ones, or those that failed before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from s3pot.io import read_json
from s3pot.report.summary import SUMMARY, Failure, Row, Summary, read_summary
from s3pot.runs.folder_job import FolderJob, Input, Item, Outcome, Output
from s3pot.runs.folder_run import run_folder
from s3pot.runs.shard import Shard
from s3pot.types import S3potError
from s3pot.wording import brief, counted

logger = logging.getLogger(__name__)


def check_count(name: str, count: int, unit: str) -> None:
    """Refuse a negative number of items, of which 0 stands for all.

    Raises:
        S3potError: It is negative; a slice would silently drop the last items.
    """
    if count < 0:
        raise S3potError(f"{name} is {count}; expected a number of {unit}, 0 for all")


@dataclass(frozen=True)
class Selection:
    """Which items of a folder are processed.

    Attributes:
        shard: The share of this process.
        limit: Only the first N; 0 for all.
        only_failed: Only those that failed in the last run according to its ``summary.json``.
    """

    shard: Shard = field(default_factory=Shard)
    limit: int = 0
    only_failed: bool = False

    def __post_init__(self) -> None:
        check_count("--limit", self.limit, "items")


def run_selected(
    job: FolderJob[Item, Input, Output],
    items: Sequence[Item],
    selection: Selection,
    *,
    output_dir: Path,
    keep_finished: bool,
) -> Outcome:
    """Process the selected items of a folder; see ``run_folder``.

    Args:
        job: The work to do on each item.
        items: All items of the folder.
        selection: Which of them are processed.
        output_dir: The folder with the summary of the last run.
        keep_finished: Skip finished items.

    Raises:
        S3potError: All items were selected and all failed, or no earlier run is found.
    """
    chosen = list(items)
    if selection.only_failed:
        failed = _failed_names(output_dir)
        chosen = [item for item in chosen if job.name(item) in failed]
        if not chosen:
            logger.info(
                "there is nothing to retry: according to %s, none of the %s failed in the last run",
                output_dir / SUMMARY,
                job.unit,
            )
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
    """Summarize a folder: the results of this run, and of everything else that it holds.

    Args:
        output_dir: The folder.
        outcome: The outcome of this run. Earlier failures of items that it left out are kept.
        record_ending: The ending of the records' names.
        row_of: Converts a record's content to a row.
    """
    rows = [row_of(content) for content in outcome.contents]
    earlier: list[Failure] = []
    if outcome.left_out and (output_dir / SUMMARY).is_file():
        failures = read_summary(output_dir).failures
        earlier = [failure for failure in failures if failure.name in outcome.left_out]
    summary = Summary(rows, [*outcome.failures, *earlier])
    return with_other_records(output_dir, summary, record_ending, row_of, outcome.outdated)


def with_other_records(
    folder: Path,
    summary: Summary,
    ending: str,
    row_of: Callable[[Row], Row],
    outdated: Container[Path] = (),
) -> Summary:
    """Add the faces of a folder that the summary lacks because other runs wrote them.

    Args:
        folder: The folder of the records. Folders of other runs inside it are excluded, because
            there a record's name is not its path.
        summary: The summary of this run.
        ending: The ending of the records' names, such as ``_result.json``.
        row_of: Converts a record's content to a row.
        outdated: Records that no longer count.
    """
    names_in_summary = {str(row["name"]) for row in summary.rows}
    names_in_summary |= {failure.name for failure in summary.failures}
    others = []
    for path in sorted(folder.rglob(f"*{ending}")):
        name = path.relative_to(folder).as_posix()[: -len(ending)]
        if name not in names_in_summary and path not in outdated:
            row = _row_of_record(path, row_of)
            if row is not None and row["name"] == name:
                others.append(row)
    return Summary([*summary.rows, *others], summary.failures)


def warn_of_others(folder: Path, names: Sequence[str], noun: str) -> None:
    """Warn of items in a result folder whose sources are not, or no longer, in the input folder."""
    if names:
        logger.warning(
            "%s also holds %s that other inputs gave: %s. Delete them if their sources were "
            "renamed or removed; the next command would use them.",
            folder,
            counted(len(names), noun),
            brief(names),
        )


def _row_of_record(path: Path, row_of: Callable[[Row], Row]) -> Row | None:
    """Read the row of a record; None if it is damaged or written by another program."""
    try:
        row = row_of(read_json(path))
        return row if "name" in row else None
    except (S3potError, LookupError, TypeError, AttributeError):
        return None


def _failed_names(output_dir: Path) -> set[str]:
    """Read the names of the items that failed in the last run."""
    if not (output_dir / SUMMARY).is_file():
        raise S3potError(
            f"{output_dir} has no {SUMMARY}, which lists the failures; run the command without "
            "--retry_failed first"
        )
    return {failure.name for failure in read_summary(output_dir).failures}

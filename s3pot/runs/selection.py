"""The selection of items: all, a share, the first ones, or those that failed before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from s3pot.report.summary import SUMMARY, Failure, Row, Summary, read_summary
from s3pot.runs.folder_job import FolderJob, Input, Item, Outcome, Output
from s3pot.runs.folder_run import run_folder
from s3pot.runs.records import read_record
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
    earlier = _earlier_failures(job, items, output_dir, is_needed=selection.only_failed)
    if selection.only_failed:
        failed = {failure.name for failure in earlier}
        chosen = [item for item in chosen if job.name(item) in failed]
        if not chosen:  # what is known about the folder stays as it is
            _say_nothing_to_retry(output_dir / SUMMARY, job.unit, sorted(failed))
            return Outcome()
    else:  # an item that is no longer in the folder has no failure
        names = {job.name(item) for item in items}
        earlier = [failure for failure in earlier if failure.name in names]
    chosen = chosen[: selection.limit or None]
    chosen_ids = {id(item) for item in chosen}
    left_out = [item for item in items if id(item) not in chosen_ids]
    outcome = run_folder(
        job,
        chosen,
        keep_finished=keep_finished,
        shard=selection.shard,
        left_out=left_out,
        earlier_failures=earlier,
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
        outcome: The outcome of this run.
        record_ending: The ending of the records' names.
        row_of: Converts a record's content to a row.
    """
    rows = [row_of(content) for content in outcome.contents]
    summary = Summary(rows, [*outcome.failures, *outcome.still_failed])
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
            row = _read_row(path, row_of)
            if row is not None and row["name"] == name:
                others.append(row)
    return Summary([*summary.rows, *others], summary.failures)


def warn_of_others(folder: Path, names: Sequence[str], noun: str) -> None:
    """Warn of items in a result folder whose sources are not, or no longer, in the input folder."""
    if names:
        logger.warning(
            "%s also holds %s made from other inputs: %s. Delete them if their sources were "
            "renamed or removed; the next command would use them.",
            folder,
            counted(len(names), noun),
            brief(names),
        )


def _read_row(path: Path, row_of: Callable[[Row], Row]) -> Row | None:
    """Read the row of a record; None if it is damaged or written by another program."""
    record = read_record(path)
    if record is None:
        return None
    try:
        row = row_of(dict(record.content))
    except (LookupError, TypeError, ValueError):  # of another command, which keeps other values
        return None
    return row if "name" in row else None


def _earlier_failures(
    job: FolderJob[Item, Any, Any], items: Sequence[Item], output_dir: Path, is_needed: bool
) -> list[Failure]:
    """Read what failed in the last run.

    Args:
        job: Names the items.
        items: All items of the folder.
        output_dir: The folder with the summary of the last run.
        is_needed: Whether the run depends on it.

    Raises:
        S3potError: It is needed, and there is no summary, or one that cannot be read.
    """
    if not (output_dir / SUMMARY).is_file():
        if is_needed:
            raise S3potError(
                f"{output_dir} has no {SUMMARY}, which lists the failures; run the command without "
                "--retry_failed first"
            )
        return []
    try:
        failures = read_summary(output_dir).failures
    except S3potError as error:
        if is_needed:
            raise
        logger.warning("earlier failures are not known, and forgotten: %s", error)
        return []
    # Earlier versions wrote the path of a photo in place of its name.
    names = {job.label(item): job.name(item) for item in items}
    return [replace(failure, name=names.get(failure.name, failure.name)) for failure in failures]


def _say_nothing_to_retry(summary: Path, unit: str, failed: Sequence[str]) -> None:
    if failed:
        logger.warning(
            "there is nothing to retry: none of the %s given now is among the %d that failed "
            "according to %s: %s",
            unit,
            len(failed),
            summary,
            brief(failed),
        )
    else:
        logger.info(
            "there is nothing to retry: according to %s, none of the %s failed in the last run",
            summary,
            unit,
        )

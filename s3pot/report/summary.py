"""The summary of a folder: a row for each finished item, and a reason for each failed one.

``summary.json`` is one list, sorted by name. A finished item is represented by its row, a failed
one by ``{"name": ..., "failed": {"stage": ..., "reason": ...}}``. ``summary.csv`` has the finished
items and ``failures.csv`` the failed ones; without failures there is no such file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from s3pot.io import leads_outside, read_json, write_csv, write_json
from s3pot.types import S3potError
from s3pot.wording import reason_of

SUMMARY = "summary.json"
FAILURES = "failures.csv"
FAILURE_KEY = "failed"  # key of a failed item's stage and reason

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Failure:
    """An item that failed.

    Attributes:
        name: The name of the item.
        stage: read, compute or write.
        reason: One line or more.
    """

    name: str
    stage: str
    reason: str

    def to_row(self) -> dict[str, Any]:
        """Return the entry of ``summary.json``."""
        return {"name": self.name, FAILURE_KEY: {"stage": self.stage, "reason": self.reason}}


@dataclass(frozen=True)
class Summary:
    """The summary of a folder's items.

    Attributes:
        rows: The rows of the finished items.
        failures: The failed items.
    """

    rows: Sequence[Row] = ()
    failures: Sequence[Failure] = ()


def write_summary_files(folder: Path, summary: Summary) -> None:
    """Write ``summary.json``, ``summary.csv`` and ``failures.csv``, each atomically."""
    rows = sorted(summary.rows, key=_name)
    items = [*rows, *(failure.to_row() for failure in summary.failures)]
    write_json(folder / SUMMARY, sorted(items, key=_name))
    write_csv(folder / "summary.csv", rows, columns=["name"])
    write_failures(folder, summary.failures)


def write_failures(folder: Path, failures: Sequence[Failure]) -> None:
    """Write ``failures.csv`` with name, stage and reason; without failures, remove it."""
    path = folder / FAILURES
    if failures:
        write_csv(path, [asdict(failure) for failure in failures])
    else:
        path.unlink(missing_ok=True)


def read_summary(folder: Path) -> Summary:
    """Read ``summary.json``.

    Raises:
        S3potError: The file is missing, holds something else, or names a face outside the folder.
    """
    path = folder / SUMMARY
    items = read_json(path)
    try:
        failures = [
            Failure(
                str(item["name"]), str(item[FAILURE_KEY]["stage"]), str(item[FAILURE_KEY]["reason"])
            )
            for item in items
            if FAILURE_KEY in item
        ]
        rows = [item for item in items if FAILURE_KEY not in item and str(item["name"])]
    except (LookupError, TypeError) as error:
        raise S3potError(
            f"{path} is not a summary written by s3pot ({reason_of(error)}); "
            "expected a list with a name for each item"
        ) from error
    strangers = [_name(row) for row in rows if leads_outside(_name(row))]
    if strangers:
        raise S3potError(
            f"{path} names the face {strangers[0]!r}, whose files would lie outside {folder}; "
            "summaries written by s3pot never do"
        )
    return Summary(rows, failures)


def model_hashes_of(rows: Sequence[Row]) -> dict[str, set[str]]:
    """Collect the SHA-256 hashes in the columns ``sha256_<model>``, by model.

    A face without prompt points used no adapter, and its row names none.

    Raises:
        AttributeError: A row is not a mapping.
    """
    hashes: dict[str, set[str]] = {}
    for row in rows:
        for key, value in row.items():
            if key.startswith("sha256_") and value:
                hashes.setdefault(key.replace("sha256_", "", 1), set()).add(str(value))
    return hashes


def require_results(folder: Path, rows: Sequence[Row]) -> None:
    """Make sure that the rows of a summary are those of segmented faces.

    Raises:
        S3potError: Another command wrote them.
    """
    for row in rows:
        has_share = isinstance(row.get("occluded_share"), (int, float))
        if "occluded" not in row or not has_share:
            raise S3potError(
                f"{folder / SUMMARY} does not say how much of the face {_name(row)!r} is occluded, "
                "so it is not a summary of results: generate_reference.py or another program wrote "
                "it. Give a folder that inference.py, train_per_image.py or s3pot segment wrote."
            )


def _name(item: Row) -> str:
    return str(item["name"])

"""What a command does with each item of a folder; ``folder_run`` runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from s3pot.report.summary import Failure
from s3pot.runs.records import ItemProvenance
from s3pot.types import S3potError

Item = TypeVar("Item")
Input = TypeVar("Input")
Output = TypeVar("Output")


@dataclass(frozen=True)
class Written:
    """What ``FolderJob.write`` made.

    Attributes:
        files: All files of the item, in the folder of its record, or the job's, or below.
        content: Plain values for the record; a later run that finds the item finished gets them
            from there.
    """

    files: Sequence[Path] = ()
    content: dict[str, Any] = field(default_factory=dict)


class FolderJob(ABC, Generic[Item, Input, Output]):
    """What a command does with each item of a folder.

    Attributes:
        unit: What messages call the items.
        batch_size: How many items ``compute`` takes at once.
        workers: How many threads may run ``compute`` at once, each on batches of its own; with more
            than one, what it gives may depend on its inputs alone.
        files_folder: What the names of files in records are relative to; None for the folder of
            the record.
    """

    unit = "faces"
    batch_size = 1
    workers = 1
    files_folder: Path | None = None

    @abstractmethod
    def name(self, item: Item) -> str:
        """Say what messages call an item."""

    def record_path(self, item: Item) -> Path | None:
        """Say where the record of an item goes; None keeps none, so no item is ever finished."""
        return None

    def provenance(self, item: Item) -> ItemProvenance:
        """Say what an item is made from. Runs in a thread."""
        return ItemProvenance()

    @abstractmethod
    def read(self, item: Item) -> Input:
        """Read what an item needs. Runs in a thread, with no other call for the same item."""

    @abstractmethod
    def compute(self, inputs: Sequence[Input]) -> Sequence[Output]:
        """Compute one output for each input, at most ``batch_size`` at once."""

    @abstractmethod
    def write(self, output: Output, provenance: ItemProvenance) -> Written:
        """Write an item's files, but not its record. Runs in a thread, as ``read``.

        ``provenance`` is for jobs whose items have parts with records of their own.
        """

    def summarize(self, outcome: Outcome) -> None:
        """Write what belongs to all items together; also called when a run is interrupted."""


@dataclass
class Outcome:
    """What came of a run so far.

    Attributes:
        contents: ``Written.content`` of the items that are finished, in the items' order, whether
            they were made now or before.
        failures: In the items' order.
        left_out: Names of the folder's items that were not to be done in this run.
    """

    contents: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    left_out: frozenset[str] = frozenset()

    def require_some(self, unit: str) -> None:
        """Raise an S3potError if all items failed; ``unit`` is what it calls them."""
        if self.failures and not self.contents:
            raise S3potError(f"none of the {len(self.failures)} {unit} could be done")

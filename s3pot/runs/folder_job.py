"""The interface of a command's work on each item of a folder; ``folder_run`` runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from s3pot.report.summary import Failure
from s3pot.runs.records import ItemProvenance
from s3pot.types import S3potError
from s3pot.wording import subject

Item = TypeVar("Item")
Input = TypeVar("Input")
Output = TypeVar("Output")


@dataclass(frozen=True)
class Written:
    """The result of ``FolderJob.write``.

    Attributes:
        files: All files of the item, in the folder of its record, or in that of the job, or below.
        content: Plain values for the record, from which a later run that finds the item finished
            reads them.
    """

    files: Sequence[Path] = ()
    content: dict[str, Any] = field(default_factory=dict)


class FolderJob(ABC, Generic[Item, Input, Output]):
    """The work of a command on each item of a folder.

    Attributes:
        unit: The name of the items in messages.
        batch_size: How many items ``compute`` takes at once.
        workers: How many threads may run ``compute`` at once, each on its own batches; with more
            than one, its results may depend only on its inputs.
        files_folder: The folder to which the file names in records are relative; None for the
            folder of the record.
    """

    unit = "faces"
    batch_size = 1
    workers = 1
    files_folder: Path | None = None

    @abstractmethod
    def name(self, item: Item) -> str:
        """Return the name of an item in the summary: by it, a later run recognizes the item."""

    def label(self, item: Item) -> str:
        """Return how messages call an item: its name, unless a path says more."""
        return self.name(item)

    def record_path(self, item: Item) -> Path | None:
        """Return the path of an item's record; with None, no item ever counts as finished."""
        return None

    def provenance(self, item: Item) -> ItemProvenance:
        """Return what an item is computed from. Runs in a thread."""
        return ItemProvenance()

    @abstractmethod
    def read(self, item: Item) -> Input:
        """Read an item's inputs. Runs in a thread, never twice at once for the same item."""

    @abstractmethod
    def compute(self, inputs: Sequence[Input]) -> Sequence[Output | Exception]:
        """Compute one output for each input, at most ``batch_size`` at once.

        An error may be raised, upon which each input is computed alone, or be returned in place of
        the output of the input that caused it.
        """

    @abstractmethod
    def write(self, output: Output, provenance: ItemProvenance) -> Written:
        """Write an item's files, but not its record. Runs in a thread, like ``read``.

        ``provenance`` is for jobs whose items have parts with their own records.
        """

    def summarize(self, outcome: Outcome) -> None:
        """Write the files that concern all items; also called when a run is interrupted."""


@dataclass
class Outcome:
    """The state of a run so far.

    Attributes:
        contents: ``Written.content`` of the finished items, in the items' order, whether they were
            computed now or before.
        failures: In the items' order.
        left_out: Names of the folder's items that this run does not process or, because of an
            interrupt, does not reach.
        still_failed: Failures of the last run whose items this run did not process.
        outdated: Records and files of earlier results of the items that failed, now or then.
        unreached: The number of items that an interrupt left undone.
    """

    contents: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    left_out: frozenset[str] = frozenset()
    still_failed: list[Failure] = field(default_factory=list)
    outdated: frozenset[Path] = frozenset()
    unreached: int = 0

    def done(self, noun: str) -> str:
        """Begin a sentence about the finished items of this run: ``2 of 5 faces are``."""
        count = len(self.contents)
        total = count + len(self.failures) + self.unreached
        if not total:
            return f"no {noun} of this run is"
        return subject(count, noun, total)

    def require_some(self, unit: str) -> None:
        """Raise an S3potError if all items failed; ``unit`` is their name in its message."""
        if self.failures and not self.contents:
            raise S3potError(
                f"none of the {unit} could be processed: {len(self.failures):,} failed"
            )

"""Applying a function to each of several items, with the results kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from typing_extensions import override

from s3pot.runs.folder_job import FolderJob, Written
from s3pot.runs.folder_run import run_folder
from s3pot.runs.records import ItemProvenance

Item = TypeVar("Item")
Value = TypeVar("Value")


def run_each(items: Mapping[str, Item], do: Callable[[Item], Value], unit: str) -> list[Value]:
    """Apply a function to each of several named items, and keep the results in memory.

    Returns:
        The results of the items that did not fail, in order.

    Raises:
        S3potError: All of the items failed.
    """
    outcome = run_folder(_EachJob(items, do, unit), list(items))
    outcome.require_some(unit)
    return [content["value"] for content in outcome.contents]


class _EachJob(FolderJob[str, Item, Value]):
    """See ``run_each``."""

    def __init__(self, items: Mapping[str, Item], do: Callable[[Item], Value], unit: str) -> None:
        self.items = items
        self.do = do
        self.unit = unit

    @override
    def name(self, item: str) -> str:
        return item

    @override
    def read(self, item: str) -> Item:
        return self.items[item]

    @override
    def compute(self, inputs: Sequence[Item]) -> list[Value]:
        return [self.do(entry) for entry in inputs]

    @override
    def write(self, output: Value, provenance: ItemProvenance) -> Written:
        return Written(content={"value": output})

"""The YAML file of a table: which rows it has, over which faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from s3pot.baselines import BASELINES
from s3pot.config import ConfigError, build_dataclass, read_config_tree
from s3pot.types import S3potError

MODEL = "model"  # the method itself, beside the baselines
METHODS = (*BASELINES, MODEL)
REFERENCES = ("generated", "oracle")
STARTS = ("fresh", "general")
ADAPTERS = ("none", "bundled", "per_image")  # or the path of a checkpoint


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: First column.
        method: "model", or one of ``BASELINES``.
        reference: "generated", or "oracle": the true clean face, which nobody has for a photo.
        adapter: Of method model: "none", "bundled", "per_image", or the path of a checkpoint, from
            the working folder or that of the suite's file.
        init: Where per_image starts: "fresh", or "general": from the bundled adapter.
        faces: Only the first ones; 0 for all.
        threshold: Of the baselines pixel and token, in [0, 1].
        overrides: Config values of this row, by ``section.key``.

    Raises:
        S3potError: A word is none of those above.
    """

    name: str
    method: str = MODEL
    reference: str = REFERENCES[0]
    adapter: str = "none"
    init: str = STARTS[0]
    faces: int = 0
    threshold: float = 0.0
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check("method", self.method, METHODS)
        self._check("reference", self.reference, REFERENCES)
        self._check("init", self.init, STARTS)

    def _check(self, key: str, word: str, allowed: Sequence[str]) -> None:
        if word not in allowed:
            raise S3potError(
                f"row {self.name!r}: {key} is {word!r}; it must be one of {', '.join(allowed)}"
            )

    @property
    def is_oracle(self) -> bool:
        """Whether the true clean face is the reference."""
        return self.reference == "oracle"

    @property
    def is_fitted(self) -> bool:
        """Whether an adapter is fitted to each face."""
        return self.method == MODEL and self.adapter == "per_image"


@dataclass(frozen=True)
class Suite:
    """A whole table.

    Attributes:
        datapath: Faces with truth.
        rows: At least one; their names differ.
        limit: Only the first faces; 0 for all.
        main: Name of the row that the others are compared with; empty for none.
    """

    datapath: Path
    rows: Sequence[Row]
    limit: int = 0
    main: str = ""


@dataclass(frozen=True)
class _Head:
    """What a file says besides its rows."""

    datapath: str = ""
    limit: int = 0
    main: str = ""


def read_suite(path: Path) -> Suite:
    """Read a table's YAML.

    Raises:
        S3potError: The file is unreadable, a key is not known, or a value cannot be used.
    """
    try:
        tree = read_config_tree(path)
        rows = [_with_adapter(row, path.parent) for row in _read_rows(tree.pop("rows", None))]
        head: _Head = build_dataclass(_Head, tree, "")
        if not head.datapath:
            raise S3potError("datapath, the folder of faces, is missing")
    except S3potError as error:
        raise S3potError(
            f"cannot use the suite {path}: {error}. A suite has datapath, rows (a list) and "
            "perhaps limit (a number) and main (the name of a row)."
        ) from error
    names = [row.name for row in rows]
    if len(set(names)) < len(names):
        raise S3potError(f"cannot use the suite {path}: two rows have the same name")
    if head.main and head.main not in names:
        raise S3potError(f"cannot use the suite {path}: main is {head.main!r}, which is no row")
    return Suite(Path(head.datapath), rows, limit=head.limit, main=head.main)


def _read_rows(values: Any) -> list[Row]:
    if not isinstance(values, list) or not values:
        raise ConfigError("there are no rows")
    return [_read_row(value, number) for number, value in enumerate(values, 1)]


def _with_adapter(row: Row, folder: Path) -> Row:
    """Find a checkpoint that a row names: from the working folder, else from the suite's."""
    if row.adapter in ADAPTERS or Path(row.adapter).is_file():
        return row
    beside = folder / Path(row.adapter).expanduser()
    if not beside.is_file():
        raise S3potError(
            f"row {row.name!r}: adapter is {row.adapter!r}, which is neither a checkpoint in the "
            f"working folder or in {folder} nor one of {', '.join(ADAPTERS)}"
        )
    return replace(row, adapter=str(beside))


def _read_row(values: Any, number: int) -> Row:
    if not isinstance(values, dict) or "name" not in values:
        raise ConfigError(f"row {number} is {values!r}; expected keys and values, and name")
    overrides = values.pop("overrides", {})
    if not isinstance(overrides, dict):
        raise ConfigError(f"rows.{number}.overrides is {overrides!r}; expected keys and values")
    row: Row = build_dataclass(Row, values, f"rows.{number}.")
    return replace(row, overrides=overrides)

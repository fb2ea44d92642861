"""The YAML file of a table: its rows and its faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from s3pot.baselines import BASELINES, SEE_THE_TRUTH
from s3pot.data.altered_reference import ALTERATIONS
from s3pot.data.mask_folder import SIZES
from s3pot.data.masks import MARKS_OCCLUSION, POLARITIES
from s3pot.data.output_guard import refuse_truth_as_result
from s3pot.io import expand_home
from s3pot.ps.variants import FIXED, POINT_KINDS, THRESHOLD, THRESHOLD_RULES, PointVariant
from s3pot.report.before_after import FRESH, GENERAL
from s3pot.runs.selection import check_count
from s3pot.typed_yaml import ConfigError, build_dataclass, plain_value, read_config_tree
from s3pot.types import S3potError

MODEL = "model"  # the method itself, as opposed to the baselines
FOLDER = "folder"  # masks that another program wrote
METHODS = (*BASELINES, MODEL, FOLDER)
GENERATED = "generated"
ORACLE = "oracle"
OTHER_REFERENCE = "other_reference"
REFERENCES = (GENERATED, ORACLE, OTHER_REFERENCE, *ALTERATIONS)
NO_ADAPTER = "none"
BUNDLED = "bundled"
TRAINED = "trained"
PER_IMAGE = "per_image"
ADAPTERS = (NO_ADAPTER, BUNDLED, TRAINED, PER_IMAGE)  # or the path of a checkpoint
STARTS = (FRESH, GENERAL, TRAINED)
USE_A_THRESHOLD = ("pixel", "token")  # baselines, whatever their points
USE_POINTS = ("greedy", MODEL)  # methods whose mask depends on all points of PS


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: First column.
        method: "model", "folder", or one of ``BASELINES``.
        reference: "generated"; "oracle": the true clean face, which is unknown for a photo;
            "other_reference": that of the next face; or one of ``ALTERATIONS``.
        adapter: For method model: "none", "bundled", "trained" (on the suite's training faces, with
            the row's settings), "per_image", or the path of a checkpoint, relative to the working
            folder or that of the suite's file.
        init: The adapter that per_image starts from: "fresh"; "general" for the bundled adapter;
            "trained" for one trained on the suite's training faces.
        faces: Only the first N; 0 for all.
        threshold: Threshold of the baselines pixel and token, and of the points "threshold", in
            [0, 2].
        threshold_rule: "fixed", or "otsu": found for each face, without labels.
        points: See ``PointVariant``.
        point_count: The number of points to keep; 0 for all.
        path: For method folder: the folder of the masks, relative to the working folder or that of
            the suite's file.
        polarity: For method folder: what the masks mark, "occlusion" or "visible_face".
        size: For method folder: "exact" refuses masks whose size differs from the working image's,
            "resize" resizes them by the nearest pixel.
        overrides: Config values for this row, by ``section.key``.

    Raises:
        S3potError: A value is not one of those above, or its method does not use it.
    """

    name: str
    method: str = MODEL
    reference: str = REFERENCES[0]
    adapter: str = "none"
    init: str = STARTS[0]
    faces: int = 0
    threshold: float = 0.0
    threshold_rule: str = THRESHOLD_RULES[0]
    points: str = POINT_KINDS[0]
    point_count: int = 0
    path: str = ""
    polarity: str = MARKS_OCCLUSION
    size: str = SIZES[0]
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check("method", self.method, METHODS)
        self._check("reference", self.reference, REFERENCES)
        self._check("init", self.init, STARTS)
        self._check("threshold_rule", self.threshold_rule, THRESHOLD_RULES)
        self._check("points", self.points, POINT_KINDS)
        self._check("polarity", self.polarity, POLARITIES)
        self._check("size", self.size, SIZES)
        if not self.name.strip():
            raise S3potError("a row has an empty name; expected the text of its first column")
        where = f"row {self.name!r}: "
        check_count(f"{where}point_count", self.point_count, "points")
        check_count(f"{where}faces", self.faces, "faces")
        if not 0 <= self.threshold <= 2:
            raise S3potError(f"{where}threshold is {self.threshold:g}; expected 0 to 2")
        if (self.method == FOLDER) != bool(self.path):
            raise S3potError(
                f"row {self.name!r}: method is {self.method!r} and path is {self.path!r}; a row of "
                "method folder has a path, the folder of its masks, and no other row has one"
            )
        self._check_all_are_used()

    def _check_all_are_used(self) -> None:
        """Refuse a value that would change nothing: it was probably meant for another row."""
        is_model = self.method == MODEL
        is_folder = self.method == FOLDER
        by_threshold = self.method in USE_POINTS and self.points == THRESHOLD
        uses_a_threshold = self.method in USE_A_THRESHOLD or by_threshold
        used = {
            "adapter": is_model,
            "init": is_model and self.adapter == PER_IMAGE,
            "reference": not is_folder,
            "threshold": uses_a_threshold and self.threshold_rule == FIXED,
            "threshold_rule": uses_a_threshold,
            "points": self.method in USE_POINTS,
            "point_count": self.method in USE_POINTS,
            "polarity": is_folder,
            "size": is_folder,
        }
        for key in fields(self):
            value = getattr(self, key.name)
            if value != key.default and not used.get(key.name, True):
                raise S3potError(
                    f"row {self.name!r}: {key.name} is {value!r}, but a row with method "
                    f"{self.method!r} and its other keys does not use it; remove it"
                )

    def _check(self, key: str, word: str, allowed: Sequence[str]) -> None:
        if word not in allowed:
            raise S3potError(
                f"row {self.name!r}: {key} is {word!r}; it must be one of {', '.join(allowed)}"
            )

    @property
    def is_oracle(self) -> bool:
        """Whether the true clean face is the reference."""
        return self.reference == ORACLE

    @property
    def sees_the_truth(self) -> bool:
        """Whether the row uses the ground truth, and therefore does not compete with the others."""
        return self.is_oracle or self.method in SEE_THE_TRUTH

    @property
    def is_fitted(self) -> bool:
        """Whether an adapter is fitted to each face."""
        return self.method == MODEL and self.adapter == PER_IMAGE

    @property
    def is_trained(self) -> bool:
        """Whether an adapter is trained on the suite's training faces."""
        starts_trained = self.is_fitted and self.init == TRAINED
        return (self.method == MODEL and self.adapter == TRAINED) or starts_trained

    def point_variant(self, seed: int) -> PointVariant:
        """Return how the row changes the points that PS selected.

        Args:
            seed: Seed of the random draws.
        """
        return PointVariant(
            kind=self.points,
            count=self.point_count,
            threshold=self.threshold,
            rule=self.threshold_rule,
            seed=seed,
        )


@dataclass(frozen=True)
class Suite:
    """A whole table.

    Attributes:
        datapath: Faces with ground truth; it may be missing, see ``missing_folders``.
        rows: At least one; their names are unique.
        limit: Only the first faces; 0 for all.
        main: Name of the row that the others are compared with; empty for none.
        train: Faces that rows train on, with or without labels; None if no row does.
        train_limit: Only the first training faces; 0 for all.

    Raises:
        S3potError: A row would score the ground truths of the data folder against themselves.
    """

    datapath: Path
    rows: Sequence[Row]
    limit: int = 0
    main: str = ""
    train: Path | None = None
    train_limit: int = 0

    def __post_init__(self) -> None:
        for row in self.rows:
            if row.method == FOLDER:
                try:
                    refuse_truth_as_result(Path(row.path), self.datapath)
                except S3potError as error:
                    raise S3potError(f"row {row.name!r}: {error}") from error

    def folders_of_faces(self) -> dict[str, Path]:
        """Return the folders of the faces that are scored and trained on, by their keys."""
        folders = {"datapath": self.datapath}
        if self.train is not None and any(row.is_trained for row in self.rows):
            folders["train"] = self.train
        return folders


@dataclass(frozen=True)
class _Head:
    """The content of a suite file besides its rows."""

    datapath: str = ""
    limit: int = 0
    main: str = ""
    train: str = ""
    train_limit: int = 0


def read_suite(path: Path) -> Suite:
    """Read a table's YAML.

    Raises:
        S3potError: The file is unreadable, a key is unknown, or a value cannot be used.
    """
    if not path.is_file():
        raise S3potError(f"The suite {path} does not exist; configs/tables/ holds examples.")
    try:
        tree = read_config_tree(path)
        overrides = _read_overrides(tree.pop("overrides", {}), "")
        rows = _read_rows(tree.pop("rows", None), overrides)
        rows = [_with_paths(row, path.parent) for row in rows]
        head: _Head = build_dataclass(_Head, tree, "")
        _check_head(head, rows)
    except S3potError as error:
        reason = str(error)
        if not reason.endswith(("?", ".")):
            reason += "."
        raise S3potError(
            f"cannot use the suite {path}: {reason} A suite has datapath, rows (a list) and "
            "maybe limit (a number), main (the name of a row), train (a folder), train_limit (a "
            "number) and overrides (config values for all rows)."
        ) from error
    return Suite(
        datapath=_located(head.datapath, path.parent),
        rows=rows,
        limit=head.limit,
        main=head.main,
        train=_located(head.train, path.parent) if head.train else None,
        train_limit=head.train_limit,
    )


def missing_folders(suite: Suite) -> list[str]:
    """Name the folders that a suite needs and that do not exist, one sentence each."""
    folders = list(suite.folders_of_faces().items())
    folders += [
        (f"row {row.name!r}: path", Path(row.path)) for row in suite.rows if row.method == FOLDER
    ]
    return [_missing_text(key, folder) for key, folder in folders if not folder.is_dir()]


def _missing_text(key: str, folder: Path) -> str:
    text = f"{key}: The folder {folder} does not exist"
    if not folder.is_absolute():
        text += ", neither in the working folder nor in that of the suite"
    if key in ("datapath", "train"):
        text += "; generate_reference.py writes one"
    return f"{text}."


def _check_head(head: _Head, rows: Sequence[Row]) -> None:
    check_count("limit", head.limit, "faces")
    check_count("train_limit", head.train_limit, "faces")
    if not head.datapath:
        raise S3potError("datapath, the folder of faces, is missing")
    names = [row.name for row in rows]
    if len(set(names)) < len(names):
        raise S3potError("two rows have the same name")
    if head.main and head.main not in names:
        raise S3potError(f"main is {head.main!r}, which is not the name of a row")
    trained = [row.name for row in rows if row.is_trained]
    if trained and not head.train:
        raise S3potError(
            f"row {trained[0]!r} needs a trained adapter, but train, the folder of training faces, "
            "is missing"
        )


def _read_rows(values: Any, overrides: Mapping[str, Any]) -> list[Row]:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"rows is {values!r}; expected a list of at least one row")
    return [_read_row(value, number, overrides) for number, value in enumerate(values, 1)]


def _located(path: str, folder: Path) -> Path:
    """Locate a path of a suite: relative to the working folder or else to that of its file."""
    beside = folder / expand_home(path)
    return beside if beside.exists() and not Path(path).exists() else Path(path)


def _with_paths(row: Row, folder: Path) -> Row:
    """Locate the folder and the checkpoint that a row names.

    A folder may be missing: ``missing_folders`` reports it.
    """
    if row.path:
        row = replace(row, path=str(_located(row.path, folder)))
    if row.adapter in ADAPTERS:
        return row
    adapter = _located(row.adapter, folder)
    if not adapter.is_file():
        raise S3potError(
            f"row {row.name!r}: adapter is {row.adapter!r}, which is neither a checkpoint in the "
            f"working folder or in {folder} nor one of {', '.join(ADAPTERS)}"
        )
    return replace(row, adapter=str(adapter))


def _read_row(values: Any, number: int, suite_overrides: Mapping[str, Any]) -> Row:
    if not isinstance(values, dict) or "name" not in values:
        raise ConfigError(f"row {number} is {values!r}; expected keys and values, including name")
    overrides = _read_overrides(values.pop("overrides", {}), f"rows.{number}.")
    row: Row = build_dataclass(Row, values, f"rows.{number}.")
    return replace(row, overrides={**suite_overrides, **overrides})


def _read_overrides(values: Any, prefix: str) -> dict[str, Any]:
    values = plain_value(values)
    if values is None:  # nothing after the colon
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{prefix}overrides is {values!r}; expected keys and values")
    for section, value in values.items():
        if isinstance(value, dict):
            keys = ", ".join(f"{section}.{name}" for name in value)
            raise ConfigError(
                f"{prefix}overrides has the section {section!r}; write each of its keys in full: "
                f"{keys}"
            )
    return values

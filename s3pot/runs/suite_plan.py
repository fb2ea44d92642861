"""A dry run of a table: what exists, what is missing, and what each row will cost.

Of the faces, only image headers and parsings are read, and nothing is written. No GPU is needed.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from s3pot.build import official_name, weights_folder, weights_path
from s3pot.config import Config, config_to_dict
from s3pot.data.face_folder import FaceFiles, find_faces
from s3pot.data.image import image_size
from s3pot.data.image_formats import BadImage
from s3pot.data.mask_folder import MaskFolder
from s3pot.data.truth_paths import faces_with_truth
from s3pot.io import BadFile, read_npy
from s3pot.report.before_after import GENERAL
from s3pot.runs.outdated_faces import warn_of_outdated_faces
from s3pot.runs.suite_cost import (
    CPU,
    GPU,
    Cost,
    Work,
    cost_of,
    scoring_work,
    training_work,
)
from s3pot.runs.suite_file import BUNDLED, FOLDER, PER_IMAGE, Row, Suite, missing_folders
from s3pot.runs.suite_loading import row_config
from s3pot.types import S3potError
from s3pot.weights.locate import weight_path
from s3pot.weights.registry import (
    WeightFile,
    default_folder,
    find,
    how_to_get,
    missing_text,
)
from s3pot.wording import brief, counted


@dataclass(frozen=True)
class RowPlan:
    """The estimate for one row.

    Attributes:
        name: The name of the row.
        faces: The number of faces it scores.
        training: Description of what it trains; empty if nothing.
        cost: The cost of all work that no earlier row does.
    """

    name: str
    faces: int
    training: str
    cost: Cost


@dataclass
class SuitePlan:
    """The estimate for a table.

    Attributes:
        rows: In the order of the suite.
        missing: Everything required that is absent or wrong.
        weights: Missing official files by name; they become one entry of ``missing``.
    """

    rows: list[RowPlan] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    weights: dict[str, WeightFile] = field(default_factory=dict)

    def need(self, text: str) -> None:
        """Add something that is missing, unless it is already listed."""
        if text not in self.missing:
            self.missing.append(text)

    @property
    def cost(self) -> Cost:
        """The cost of the whole table."""
        total = Cost(0.0, 0.0)
        for row in self.rows:
            total += row.cost
        return total


def plan_suite(config: Config, suite: Suite) -> SuitePlan:
    """Check data, weights and rows of a table, and estimate its cost.

    Args:
        config: The config that the rows override.
        suite: The rows and the faces.

    Raises:
        S3potError: An override of a row cannot be used.
    """
    configs = [row_config(config, row) for row in suite.rows]
    plan = SuitePlan()
    for text in missing_folders(suite):
        plan.need(text)
    for folder in suite.folders_of_faces().values():
        warn_of_outdated_faces(folder)
    faces = _faces_to_score(plan, config, suite)
    train = _faces_to_train_on(plan, suite)
    max_pixels = max(effective_config.run.max_pixels for effective_config in configs)
    _check_files(plan, [*faces, *train], max_pixels)
    done: set[Hashable] = set()  # pairs and trainings of the earlier rows
    for row, effective_config in zip(suite.rows, configs):
        used = faces[: row.faces or None]
        _check_row(plan, row, effective_config, used)
        plan.rows.append(_plan_row(row, effective_config, used, train, done))
    _name_missing_weights(plan, config)
    return plan


def _faces_to_score(plan: SuitePlan, config: Config, suite: Suite) -> list[FaceFiles]:
    try:
        return faces_with_truth(suite.datapath)[: suite.limit or None]
    except S3potError as error:
        if suite.datapath.is_dir():
            plan.need(str(error))
        for model in ("parser", "generator", "detector"):  # of the command that writes the folder
            _check_weights(plan, config, model)
        return []


def _faces_to_train_on(plan: SuitePlan, suite: Suite) -> list[FaceFiles]:
    if suite.train is None or not any(row.is_trained for row in suite.rows):
        return []
    try:
        return find_faces(suite.train)[: suite.train_limit or None]
    except S3potError as error:
        if suite.train.is_dir():
            plan.need(f"training faces: {error}")
        return []


def _check_files(plan: SuitePlan, faces: Sequence[FaceFiles], max_pixels: int) -> None:
    """Check that the files of all faces exist and share one frame."""
    faults: dict[str, list[str]] = {}
    cures: dict[str, str] = {}
    for face in faces:
        for fault, cure in _faults(face, max_pixels).items():
            faults.setdefault(fault, []).append(face.name)
            cures.setdefault(fault, cure)  # of the first face
    for fault, names in faults.items():
        plan.need(f"{fault}: {brief(names)}. {cures[fault]}")


def _faults(face: FaceFiles, max_pixels: int) -> dict[str, str]:
    """Return what is wrong with the files of a face, and the cure of each fault."""
    cure = "Run generate_reference.py again."
    members = {"image": face.raw, "reference": face.reference, "parsing": face.parsing}
    missing = [role for role, path in members.items() if not path.is_file()]
    if missing:
        return {f"the {role} is missing": cure for role in missing}
    faults = {}
    try:
        if image_size(face.raw, max_pixels) != image_size(face.reference, max_pixels):
            faults["image and reference differ in size"] = cure
    except BadImage as error:
        faults["image or reference cannot be read"] = str(error)
    try:
        read_npy(face.parsing)
    except BadFile:
        faults["the parsing is not a readable array"] = cure
    return faults


def _check_row(plan: SuitePlan, row: Row, config: Config, faces: Sequence[FaceFiles]) -> None:
    """Check the requirements of this row alone."""
    if row.method == FOLDER:
        masks = MaskFolder(Path(row.path), row.polarity, row.size)
        names = [face.name for face in faces if masks.find(face.name) is None]
        if names and masks.folder.is_dir():
            plan.need(f"row {row.name!r}: {row.path} holds no mask of {brief(names)}")
        try:
            masks.require_distinct([face.name for face in faces])
        except S3potError as error:
            plan.need(f"row {row.name!r}: {error}")
        return
    _check_weights(plan, config, "sam")
    if row.adapter == BUNDLED or (row.adapter == PER_IMAGE and row.init == GENERAL):
        _check_weights(plan, config, "adapter")
    if row.is_oracle:
        names = [face.name for face in faces if face.clean is None]
        if names:
            plan.need(f"row {row.name!r}: the true clean face is missing: {brief(names)}")


def _check_weights(plan: SuitePlan, config: Config, model: str) -> None:
    if config.model.set == "official" and model != "adapter":
        entry = find(official_name(config, model))
        if not weight_path(entry, weights_folder(config)).is_file():
            plan.weights[entry.name] = entry
            return
    try:
        weights_path(config, model)
    except S3potError as error:
        plan.need(str(error))


def _name_missing_weights(plan: SuitePlan, config: Config) -> None:
    """List the missing official files in one block."""
    folder = weights_folder(config) or default_folder()
    entries = list(plan.weights.values())
    if len(entries) > 1:
        plan.need(missing_text(entries, folder))
    elif entries:
        entry = entries[0]
        plan.need(f"{entry.name}: {folder / entry.file} is missing.{how_to_get(entry, folder)}")


def _plan_row(
    row: Row,
    config: Config,
    faces: Sequence[FaceFiles],
    train: Sequence[FaceFiles],
    done: set[Hashable],
) -> RowPlan:
    """Estimate a row; pairs and trainings in ``done`` cost nothing."""
    work = [scoring_work(row, config, len(faces))]
    pairs_key = (config.model, config.sam, config.prompt, row.reference)
    if row.method != FOLDER:
        work.append(Work(pairs=_new(len(faces), ("score", pairs_key), done)))
    training = ""
    if row.is_trained:
        work.append(Work(pairs=_new(len(train), ("train", pairs_key), done)))
        settings = config_to_dict(config)
        decisive = [settings["train"], settings["loss"], settings["mask"]]
        key = ("adapter", pairs_key, str(decisive), row.point_variant(config.train.seed))
        is_new = _new(1, key, done)
        training = "as above"
        if is_new:
            faces_trained_on = counted(len(train), "face")
            training = f"{faces_trained_on} x {counted(config.train.epochs, 'epoch')}"
        work.append(training_work(config, len(train) * is_new))
    cost = Cost(0.0, 0.0)
    for part in work:
        cost += cost_of(part, config)
    if row.method == FOLDER:
        cost = replace(cost, gpu=0.0)
    return RowPlan(row.name, len(faces), training, cost)


def _new(count: int, key: Hashable, done: set[Hashable]) -> int:
    """Return ``count`` for the first occurrence of a key, then 0."""
    if key in done:
        return 0
    done.add(key)
    return count


def plan_text(plan: SuitePlan) -> str:
    """Format a plan: the rows in Markdown, the total, and a block of what is missing."""
    lines = [
        f"| row | faces | trains | s, {CPU} | s, {GPU} |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in plan.rows:
        name = row.name.replace("|", "\\|")
        seconds = f"{_number(row.cost.cpu)} | {_number(row.cost.gpu)}"
        lines.append(f"| {name} | {row.faces} | {row.training or '-'} | {seconds} |")
    total = plan.cost
    lines.append(f"| all rows | | | {_number(total.cpu)} | {_number(total.gpu)} |")
    lines += [
        "",
        "At most, in seconds, by the rates of s3pot/runs/suite_cost.py; finished work is kept.",
    ]
    if plan.missing:
        lines += ["", f"missing ({len(plan.missing)}):"]
        lines += [f"- {text}" for text in plan.missing]
    else:
        lines += ["", "nothing is missing"]
    return "\n".join(lines) + "\n"


def _number(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:,.0f}"

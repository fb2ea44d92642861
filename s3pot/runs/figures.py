"""Figures of result folders: those with enough data are drawn, the others are reported."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s3pot.build import truth_policy
from s3pot.config import config_from_dict
from s3pot.data.output_guard import refuse_data_folder, refuse_other_kinds
from s3pot.data.truth import TruthPolicy, require_truth
from s3pot.data.truth_paths import faces_with_truth
from s3pot.io import read_npy
from s3pot.report.compare import ResultFolder, read_result_folder, refuse_repeated
from s3pot.report.figures import (
    LogitFace,
    ScoredFace,
    choose_faces,
    faces_figure,
    iou_by_kind,
    iou_by_share,
    iou_histogram,
    precision_recall,
    precision_recall_figure,
    require_columns,
)
from s3pot.report.gallery import is_truly_occluded
from s3pot.report.plots import save_figure
from s3pot.runs.evaluate_results import read_kinds
from s3pot.runs.outdated_faces import warn_of_outdated_faces
from s3pot.typed_yaml import CONFIG_FILE, ConfigError, read_config_tree
from s3pot.types import S3potError
from s3pot.wording import brief, counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FigureOptions:
    """The figures to draw.

    Attributes:
        results: Result folders.
        output_dir: Folder for the figures.
        faces: Names of the faces that form the rows; empty for the best, the median and the worst.
        each: How many of the best, the median and the worst faces.
        columns: The pictures in each row.
        datapath: Data folder of the faces, for precision and recall.
        meta: ``meta.jsonl`` of drawn faces, for the kinds of occluders.
    """

    results: Sequence[Path]
    output_dir: Path
    faces: Sequence[str]
    each: int
    columns: Sequence[str]
    datapath: Path | None = None
    meta: Path | None = None


def write_figures(options: FigureOptions) -> list[Path]:
    """Draw all figures that the data allows, as ``<output_dir>/<name>.png`` and ``.pdf``.

    Returns:
        The paths of the figures, without extension.

    Raises:
        S3potError: An option cannot be used, a folder is not a result folder or is given twice,
            that for the figures holds something of another command, or nothing can be drawn.
    """
    if options.each < 1:
        raise S3potError(f"--each is {options.each}; at least one face is needed")
    require_columns(options.columns)
    if options.datapath is not None:
        refuse_data_folder(options.output_dir, [options.datapath])
        warn_of_outdated_faces(options.datapath)
    refuse_other_kinds(options.output_dir, "figure", options.results)
    runs = [read_result_folder(folder) for folder in options.results]
    refuse_repeated(runs)
    _require_faces(options.faces, runs[0])
    occluder_kinds: Mapping[str, set[str]] = {}
    if options.meta is not None:
        occluder_kinds = read_kinds(options.meta, options.meta.parent)
    labels = _labels(runs)
    scored = {label: scored_faces(run, occluder_kinds) for label, run in zip(labels, runs)}
    first = scored[labels[0]]
    of_first = labels[0] if len(runs) > 1 else ""  # the figures of only one run say of which
    drawers: dict[str, Callable[[], Figure]] = {
        "faces": lambda: _faces(options, runs[0], first, of_first),
        "iou_histogram": lambda: iou_histogram(_with_scores(scored)),
        "iou_by_share": lambda: iou_by_share(_with_scores(scored)),
        "iou_by_kind": lambda: iou_by_kind(_with_kinds(first), of_first),
        "precision_recall": lambda: _precision_recall(options, runs),
    }
    written = []
    for name, draw in drawers.items():
        try:
            figure = draw()
        except S3potError as error:
            logger.warning("no figure %s: %s", name, error)
            continue
        save_figure(figure, options.output_dir / name)
        written.append(options.output_dir / name)
    if not written:
        raise S3potError("no figure could be made; the messages above say what each one needs")
    return written


def scored_faces(run: ResultFolder, occluder_kinds: Mapping[str, set[str]]) -> list[ScoredFace]:
    """Return the faces of a run that are truly occluded and have scores."""
    return [
        ScoredFace(
            name=name,
            iou=float(row["occlusion_iou"]),
            true_share=row.get("true_share"),
            occluder_kinds=sorted(occluder_kinds.get(Path(name).name, ())),
        )
        for name, row in run.rows.items()
        if row.get("occlusion_iou") is not None and is_truly_occluded(row)
    ]


def _labels(runs: Sequence[ResultFolder]) -> list[str]:
    """Return the folders' names, or their paths if two have the same name."""
    names = [run.folder.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def _require_faces(names: Sequence[str], run: ResultFolder) -> None:
    """Raise S3potError if a run lacks a face that its figure should show."""
    missing = [name for name in names if name not in run.rows]
    if missing:
        raise S3potError(
            f"--faces: {run.folder} has no face {missing[0]!r}; it has {brief(list(run.rows))}"
        )


def _faces(
    options: FigureOptions, run: ResultFolder, scored: Sequence[ScoredFace], heading: str
) -> Figure:
    names = list(options.faces) or choose_faces(scored, options.each)
    ious = {face.name: f"IoU {face.iou:.2f}" for face in scored}
    return faces_figure(run.folder, names, options.columns, ious, heading)


def _with_scores(scored: Mapping[str, Sequence[ScoredFace]]) -> Mapping[str, Sequence[ScoredFace]]:
    for folder, faces in scored.items():
        if not faces:
            raise S3potError(
                f"{folder} has no scores; they need a ground truth beside the faces "
                "(generate_reference.py --truth_dir)"
            )
    return scored


def _with_kinds(faces: Sequence[ScoredFace]) -> Sequence[ScoredFace]:
    if not any(face.occluder_kinds for face in faces):
        raise S3potError("the kinds of occluders are not known; pass --meta META.JSONL")
    return faces


def _precision_recall(options: FigureOptions, runs: Sequence[ResultFolder]) -> Figure:
    if options.datapath is None:
        raise S3potError("it needs the ground truth; pass --datapath")
    datapath = options.datapath
    curves = {
        label: precision_recall(read_logits(run, datapath))
        for label, run in zip(_labels(runs), runs)
    }
    return precision_recall_figure(curves)


def read_logits(run: ResultFolder, datapath: Path) -> Iterator[LogitFace]:
    """Read logits, region and truth of the faces of a run, one by one.

    The truth follows the rules of the run, as its scores do. A face without prompt points has no
    logits: nothing of it is found, and what is truly occluded counts as missed. Other faces without
    logits are left out with a warning.

    Raises:
        S3potError: No face of the run has logits and ground truth, they do not match, or the rules
            for the truth in the run's config are invalid.
    """
    policy = _truth_policy(run)
    has_logits = False
    left_out = []
    for files in faces_with_truth(datapath):
        if files.name not in run.rows:
            continue
        path = run.folder / f"{files.name}_logits.npy"
        has_points = _has_points(run.rows[files.name])
        if has_points and not path.is_file():
            left_out.append(files.name)
            continue
        truth = require_truth(files, policy, max_pixels=run.max_pixels)
        if has_points:
            has_logits = True
            logits = read_npy(path)
        else:
            logits = np.zeros(truth.occlusion.shape)  # not used: no pixel can be found
        if logits.shape != truth.occlusion.shape:
            raise S3potError(
                f"{path} is {logits.shape}, but the truth is {truth.occlusion.shape}; run "
                "inference.py --save_logits on this --datapath"
            )
        scored = np.ones_like(truth.region) if truth.ignored is None else ~truth.ignored
        region = truth.region & scored if has_points else np.zeros_like(truth.region)
        yield LogitFace(logits, region, truth.occlusion & scored)
    if not has_logits:
        raise S3potError(
            f"{run.folder} has no logits of a scored face; run inference.py --save_logits"
        )
    if left_out:
        logger.warning(
            "%s: the precision-recall curve leaves out %s without logits: %s. Run inference.py "
            "--save_logits on this folder.",
            run.folder,
            counted(len(left_out), "face"),
            brief(left_out),
        )


def _truth_policy(run: ResultFolder) -> TruthPolicy:
    """Return which parts of a ground truth counted in a run; the default without its config.

    The other sections of the config are not read, because they may be those of another version.
    """
    path = run.folder / CONFIG_FILE
    if not path.is_file():
        return TruthPolicy()
    tree = read_config_tree(path)
    try:
        return truth_policy(config_from_dict({"truth": tree.get("truth", {})}).truth)
    except ConfigError as error:
        raise ConfigError(f"{error} (The config is {path}.)", error.key) from error


def _has_points(row: Mapping[str, Any]) -> bool:
    """Whether a face has prompt points; True if its row does not say."""
    return (row.get("positive_points"), row.get("negative_points")) != (0, 0)

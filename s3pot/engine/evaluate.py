"""Scores of a result folder against the truth, and how tables of scores are written."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3pot.data.image import atomic_path, read_rgb
from s3pot.data.layout import FaceFiles, find_faces, load_labels, load_truth
from s3pot.engine.results import write_csv
from s3pot.labels import region_of
from s3pot.metrics import MaskScores, mask_scores, summarise
from s3pot.rg.reference import resize_labels
from s3pot.types import S3potError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FaceScore:
    """One face in one row of a table.

    Attributes:
        row: Name of the row.
        face: Name of the face.
        scores: Against its truth.
        seconds: What the prediction took; None where that is not known.
    """

    row: str
    face: str
    scores: MaskScores
    seconds: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """A table and what lies behind it.

    Attributes:
        rows: Plain values, one mapping per row, in order.
        faces: Every score of every row.
        failed: Faces that could not be scored.
    """

    rows: Sequence[Mapping[str, Any]]
    faces: Sequence[FaceScore]
    failed: int


def evaluate_results(datapath: Path, results: Path, meta: Path | None = None) -> Evaluation:
    """Score ``<stem>_occlusion.png`` of a result folder against the truth of a data folder.

    Args:
        datapath: Folder contract with ``<stem>_occlusion.png`` or LabelMe ``<stem>.json``.
        results: What ``inference.py`` or ``train_per_image.py`` wrote.
        meta: ``meta.jsonl`` of drawn faces, for rows per kind; None looks into ``datapath``.

    Raises:
        S3potError: No face can be scored.
    """
    if not results.is_dir():
        raise S3potError(f"--results {results} is no folder; run inference.py first")
    kinds = read_kinds(meta, datapath)
    truths = [face for face in find_faces(datapath) if face.occlusion_truth is not None]
    scored, failed = [], 0
    for face in truths:
        try:
            scored.append(FaceScore("all", face.name, _score_file(face, results)))
        except S3potError as error:
            failed += 1
            logger.error("failed: %s: %s", face.name, error)
    if not scored:
        raise S3potError(
            f"no face of {datapath} could be scored: {len(truths)} have a truth, {results} holds "
            "the result of none; generate_reference.py --truth_dir carries truth along"
        )
    groups = {"all": scored}
    for kind in sorted({kind for entry in scored for kind in kinds.get(_stem(entry.face), ())}):
        groups[kind] = [entry for entry in scored if kind in kinds.get(_stem(entry.face), ())]
    rows = [table_row(name, entries) for name, entries in groups.items()]
    return Evaluation(rows, scored, failed)


def truth_and_region(face: FaceFiles) -> tuple[np.ndarray, np.ndarray]:
    """True occlusion and parsed region in the working frame, bool (H, W) both.

    Raises:
        S3potError: A file is missing or damaged.
    """
    truth = load_truth(face)
    if truth is None:
        raise S3potError(f"{face.name} has no truth <stem>_occlusion.png or <stem>.json")
    return truth, region_of(resize_labels(load_labels(face.parsing), truth.shape))


def read_kinds(meta: Path | None, datapath: Path) -> dict[str, list[str]]:
    """Occluder kinds of drawn faces by stem; empty where there is no ``meta.jsonl``."""
    path = meta or datapath / "meta.jsonl"
    if meta is None and not path.is_file():
        return {}
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        return {_stem(str(line["stem"])): [str(kind) for kind in line["kinds"]] for line in lines}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise S3potError(
            f"{path} is no meta.jsonl of drawn faces ({type(error).__name__}: {error})"
        ) from error


def table_row(name: str, entries: Sequence[FaceScore]) -> dict[str, Any]:
    """Sum up the faces of one row; scores rounded to 4 digits."""
    summary = asdict(summarise([entry.scores for entry in entries]))
    times = [entry.seconds for entry in entries if entry.seconds is not None]
    seconds = sum(times) / len(times) if times else None
    values = {"name": name, **summary, "seconds_per_face": seconds}
    return {key: round(v, 4) if isinstance(v, float) else v for key, v in values.items()}


def markdown(rows: Iterable[Mapping[str, Any]]) -> str:
    """The table for people: headline with its 95 % interval, then the other scores."""
    columns = {
        "F1": "f1",
        "precision": "precision",
        "recall": "recall",
        "boundary F1": "boundary_f1",
        "visible IoU": "visible_iou",
        "pooled IoU": "pooled_iou",
        "faces": "faces",
        "s / face": "seconds_per_face",
    }
    lines = ["| row | occlusion IoU (95 %) | " + " | ".join(columns) + " |"]
    lines.append("|---|" + "---|" * (len(columns) + 1))
    for row in rows:
        ends = _text(row["occlusion_iou_low"]), _text(row["occlusion_iou_high"])
        cells = [_text(row[key]) for key in columns.values()]
        headline = f"{_text(row['occlusion_iou'])} ({' to '.join(ends)})"
        lines.append(f"| {' | '.join([row['name'], headline, *cells])} |")
    return "\n".join(lines) + "\n"


def save(output_dir: Path, evaluation: Evaluation) -> None:
    """Write ``table.csv``, ``table.md`` and ``per_image.csv``."""
    write_csv(output_dir / "table.csv", evaluation.rows)
    with atomic_path(output_dir / "table.md") as temporary:
        temporary.write_text(markdown(evaluation.rows), encoding="utf-8")
    faces = [
        {"row": entry.row, "face": entry.face, **asdict(entry.scores), "seconds": entry.seconds}
        for entry in evaluation.faces
    ]
    write_csv(output_dir / "per_image.csv", faces)


def _score_file(face: FaceFiles, results: Path) -> MaskScores:
    truth, region = truth_and_region(face)
    path = results / f"{face.name}_occlusion.png"
    prediction = read_rgb(path)[..., 0] > 127
    if prediction.shape != truth.shape:
        raise S3potError(
            f"{path} is {prediction.shape[::-1]}, its truth {truth.shape[::-1]}: width and height "
            "differ; run inference.py on this --datapath"
        )
    return mask_scores(prediction, truth, region)


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)

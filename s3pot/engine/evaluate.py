"""Scores of a result folder against the truth, and how tables of scores are written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3pot.data.image import atomic_path, read_rgb
from s3pot.data.layout import FaceFiles, find_faces, load_labels, load_truth
from s3pot.engine.items import each
from s3pot.engine.results import write_csv
from s3pot.labels import region_of
from s3pot.metrics import MaskScores, mask_scores, summarise
from s3pot.rg.inverter import resize_labels
from s3pot.types import S3potError

_HEADLINE = "{occlusion_iou} ({occlusion_iou_low} to {occlusion_iou_high})"
_OTHERS = "f1 precision recall boundary_f1 visible_iou pooled_iou faces seconds_per_face".split()


@dataclass(frozen=True)
class FaceScore:
    """One face in one row of a table."""

    row: str
    face: str
    scores: MaskScores
    seconds: float | None = None  # of the prediction, where that is known


@dataclass(frozen=True)
class Evaluation:
    """A table as plain values, the scores behind it, and how many faces could not be scored."""

    rows: Sequence[Mapping[str, Any]]
    faces: Sequence[FaceScore]
    failed: int = 0


def faces_with_truth(datapath: Path) -> list[FaceFiles]:
    """The faces of a folder that can be scored, at least one, sorted; else S3potError."""
    faces = [face for face in find_faces(datapath) if face.occlusion_truth is not None]
    if not faces:
        raise S3potError(f"no truth in {datapath}; generate_reference.py --truth_dir brings it")
    return faces


def evaluate_results(datapath: Path, results: Path, meta: Path | None = None) -> Evaluation:
    """Score ``<stem>_occlusion.png`` of a result folder against the truth of a data folder.

    ``meta`` is the ``meta.jsonl`` of drawn faces, for rows per kind; None looks into ``datapath``.

    Raises:
        S3potError: No face can be scored.
    """
    if not results.is_dir():
        raise S3potError(f"--results {results} is no folder; run inference.py first")
    kinds, faces = _read_kinds(meta, datapath), faces_with_truth(datapath)

    def score(face: FaceFiles) -> FaceScore:
        truth, region = truth_and_region(face)
        path = results / f"{face.name}_occlusion.png"
        prediction = read_rgb(path)[..., 0] > 127
        if prediction.shape != truth.shape:
            sizes = f"{prediction.shape}, its truth {truth.shape}"
            raise S3potError(f"{path} is {sizes}; run inference.py on this --datapath")
        return FaceScore("all", face.name, mask_scores(prediction, truth, region))

    scored = list(each({face.name: face for face in faces}, score, "faces"))
    rows = [table_row("all", scored)]
    for kind in sorted(set().union(*kinds.values())):
        own = [entry for entry in scored if kind in kinds.get(Path(entry.face).name, ())]
        rows += [table_row(kind, own)] if own else []
    return Evaluation(rows, scored, len(faces) - len(scored))


def truth_and_region(face: FaceFiles) -> tuple[np.ndarray, np.ndarray]:
    """True occlusion and parsed region in the working frame, bool (H, W); else S3potError."""
    truth = load_truth(face)
    if truth is None:
        raise S3potError(f"{face.name} has no truth <stem>_occlusion.png or <stem>.json")
    return truth, region_of(resize_labels(load_labels(face.parsing), truth.shape))


def table_row(name: str, entries: Sequence[FaceScore]) -> dict[str, Any]:
    """Sum up the faces of one row; scores rounded to 4 digits."""
    times = [entry.seconds for entry in entries if entry.seconds is not None]
    values: dict[str, Any] = {"name": name, **summarise([entry.scores for entry in entries])}
    values["seconds_per_face"] = sum(times) / len(times) if times else None
    return {key: round(v, 4) if isinstance(v, float) else v for key, v in values.items()}


def markdown(rows: Iterable[Mapping[str, Any]]) -> str:
    """The table for people: headline with its 95 % interval, then the other scores."""
    lines = [["name", "occlusion_iou (95 %)", *_OTHERS], ["---"] * (2 + len(_OTHERS))]
    for row in rows:
        texts = {key: _text(value) for key, value in row.items()}
        lines.append([texts["name"], _HEADLINE.format(**texts), *(texts[key] for key in _OTHERS)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def save(output_dir: Path, evaluation: Evaluation) -> None:
    """Write ``table.csv``, ``table.md`` and ``per_image.csv``."""
    write_csv(output_dir / "table.csv", evaluation.rows)
    with atomic_path(output_dir / "table.md") as temporary:
        temporary.write_text(markdown(evaluation.rows), encoding="utf-8")
    rows = [{**vars(entry), **asdict(entry.scores)} for entry in evaluation.faces]
    rows = [{key: value for key, value in row.items() if key != "scores"} for row in rows]
    write_csv(output_dir / "per_image.csv", rows)


def _read_kinds(meta: Path | None, datapath: Path) -> dict[str, set[str]]:
    """Occluder kinds of drawn faces by stem; empty where there is no ``meta.jsonl``."""
    path = meta or datapath / "meta.jsonl"
    if meta is None and not path.is_file():
        return {}
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        return {Path(line["stem"]).name: set(line["kinds"]) for line in lines}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise S3potError(f"{path} is no meta.jsonl of drawn faces ({error!r})") from error

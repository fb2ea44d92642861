"""Scores of a result folder against the truth, and how tables of scores are written."""

from __future__ import annotations

import json
from pathlib import Path

from s3pot.data.face_folder import FaceFiles
from s3pot.data.image import read_rgb
from s3pot.data.truth import faces_with_truth, truth_and_region
from s3pot.metrics import mask_scores
from s3pot.report.tables import (
    Evaluation,
    FaceScore,
    table_row,
)
from s3pot.runs.folder_run import each
from s3pot.types import S3potError


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

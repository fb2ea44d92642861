"""Scoring the masks of a result folder against the ground truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from s3pot.data.face_folder import FaceFiles
from s3pot.data.masks import find_mask, read_mask
from s3pot.data.output_guard import refuse_truth_as_result
from s3pot.data.truth import FaceTruth, TruthPolicy, describe_truth, require_truth
from s3pot.data.truth_paths import faces_with_truth
from s3pot.io import BadFile, read_bytes
from s3pot.metrics import MaskScores, mask_scores
from s3pot.report.rows import Evaluation, FaceScore, make_row
from s3pot.runs.folder_job import FolderJob, Written
from s3pot.runs.folder_run import run_folder
from s3pot.runs.provenance import provenance_of_results
from s3pot.runs.records import ItemProvenance
from s3pot.types import S3potError
from s3pot.wording import reason_of

ALL = "all"  # name of the row of all faces


def evaluate_results(
    datapath: Path,
    results: Path,
    meta: Path | None = None,
    truth_policy: TruthPolicy | None = None,
    limit: int = 0,
) -> Evaluation:
    """Score ``<stem>_occlusion.png`` of a result folder against the truth in a data folder.

    Pixels of a mask outside the parsed region do not count as found, as in all tables; occlusion
    that the parser lost counts as missed, whatever program wrote the mask.

    Args:
        datapath: Faces with ground truth.
        results: Folder that inference or per-image training wrote for them.
        meta: ``meta.jsonl`` of drawn faces, for a row per kind of occluder; None looks for it in
            ``datapath``.
        truth_policy: Which parts of a ground truth count; None for the default.
        limit: Only the first faces; 0 for all.

    Raises:
        S3potError: No face can be scored, or the results are the data folder itself.
    """
    if not results.is_dir():
        raise S3potError(f"--results {results} is not a folder; run inference.py first")
    refuse_truth_as_result(results, datapath)
    policy = truth_policy or TruthPolicy()
    kinds = read_kinds(meta, datapath)
    faces = faces_with_truth(datapath)[: limit or None]
    outcome = run_folder(ScoreJob(results, policy), faces)
    outcome.require_some(ScoreJob.unit)
    scores: list[FaceScore] = [content["score"] for content in outcome.contents]
    provenance = replace(provenance_of_results(results), truth=describe_truth(faces, policy))
    rows = [make_row(ALL, scores, provenance=provenance)]
    for kind in sorted(set().union(*kinds.values())):
        of_kind = [score for score in scores if kind in kinds.get(Path(score.face).name, ())]
        if of_kind:
            rows.append(make_row(kind, of_kind, provenance=provenance))
    return Evaluation(rows, scores, failed=len(outcome.failures))


def read_kinds(meta: Path | None, datapath: Path) -> dict[str, set[str]]:
    """Read the occluder kinds of drawn faces by stem; empty if there is no ``meta.jsonl``.

    Raises:
        S3potError: The file is damaged, or ``meta`` is given and missing.
    """
    path = meta or datapath / "meta.jsonl"
    if meta is None and not path.is_file():
        return {}
    try:
        lines = [json.loads(line) for line in read_bytes(path).splitlines() if line]
        return {Path(line["stem"]).name: _texts(line["kinds"]) for line in lines}
    except (BadFile, ValueError, LookupError, TypeError, RecursionError) as error:
        raise S3potError(
            f"{path} is not a meta.jsonl of drawn faces ({reason_of(error)})"
        ) from error


def _texts(values: Any) -> set[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"the kinds are {values!r:.80}; expected a list of strings")
    return set(values)


@dataclass(frozen=True, eq=False)
class MaskInput:
    """The data read for a face; the prediction is bool (H, W), within the parsed region."""

    name: str
    prediction: np.ndarray
    truth: FaceTruth


class ScoreJob(FolderJob[FaceFiles, MaskInput, FaceScore]):
    """Score the masks of a result folder; nothing is written for a face."""

    def __init__(self, results: Path, truth_policy: TruthPolicy) -> None:
        self.results = results
        self.truth_policy = truth_policy

    @override
    def name(self, item: FaceFiles) -> str:
        return item.name

    @override
    def read(self, item: FaceFiles) -> MaskInput:
        truth = require_truth(item, self.truth_policy)
        stem = self.results / f"{item.name}_occlusion"
        path = find_mask(stem) or stem.with_name(f"{stem.name}.png")
        prediction = read_mask(path)
        if prediction.shape != truth.occlusion.shape:
            raise S3potError(
                f"{path} is {prediction.shape}, but the truth is {truth.occlusion.shape}; run "
                "inference.py on this --datapath"
            )
        # Our masks lie in the region; those of another program are cut, as in a table.
        return MaskInput(item.name, prediction & truth.region, truth)

    @override
    def compute(self, inputs: Sequence[MaskInput]) -> list[FaceScore]:
        return [FaceScore(ALL, entry.name, _scores(entry)) for entry in inputs]

    @override
    def write(self, output: FaceScore, provenance: ItemProvenance) -> Written:
        return Written(content={"score": output})


def _scores(entry: MaskInput) -> MaskScores:
    truth = entry.truth
    return mask_scores(entry.prediction, truth.occlusion, truth.region, truth.ignored)

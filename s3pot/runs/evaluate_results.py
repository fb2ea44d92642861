"""Scoring the masks of a result folder against the ground truth."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from s3pot.build import truth_policy
from s3pot.config import Config, TruthConfig
from s3pot.data.face_folder import FaceFiles, find_faces
from s3pot.data.folder_kinds import RESULT_RECORD
from s3pot.data.mask_folder import SAME_SIZE, MaskFolder
from s3pot.data.masks import MARKS_OCCLUSION
from s3pot.data.output_guard import refuse_truth_as_result
from s3pot.data.truth import GLASSES_KEPT, FaceTruth, describe_truth, require_truth
from s3pot.data.truth_paths import TRUTH_ROLES, faces_with_truth, truth_file, truth_files
from s3pot.io import BadFile, read_bytes
from s3pot.metrics import MaskScores, mask_scores
from s3pot.report.gallery import TruthChanges
from s3pot.report.rows import Evaluation, FaceScore, make_row
from s3pot.report.summary import SUMMARY, read_summary
from s3pot.runs.folder_job import FolderJob, Written
from s3pot.runs.folder_run import run_folder
from s3pot.runs.outdated_faces import warn_of_outdated_faces
from s3pot.runs.provenance import provenance_of_results
from s3pot.runs.records import ItemProvenance, hash_inputs, read_record
from s3pot.types import S3potError
from s3pot.wording import brief, counted, reason_of

logger = logging.getLogger(__name__)

ALL = "all"  # name of the row of all faces


@dataclass(frozen=True)
class ResultsEvaluation:
    """The scores of a result folder, and what its gallery has to know about them.

    Attributes:
        evaluation: The table.
        occluder_kinds: Face → kinds of its occluders, if they are known.
        changes: How the ground truth differs from that in the pictures.
    """

    evaluation: Evaluation
    occluder_kinds: Mapping[str, Collection[str]]
    changes: TruthChanges


def evaluate_results(
    config: Config,
    datapath: Path,
    results: Path,
    meta: Path | None = None,
    limit: int = 0,
) -> ResultsEvaluation:
    """Score the masks of a result folder against the truth in a data folder.

    Pixels of a mask outside the parsed region do not count as found, as in all tables; occlusion
    that the parser lost counts as missed, whatever program wrote the mask.

    Args:
        config: Says which parts of a ground truth count, and how large images may be.
        datapath: Faces with ground truth.
        results: Folder of their masks: that of inference or per-image training, or of another
            program; see ``MaskFolder``.
        meta: ``meta.jsonl`` of drawn faces, for a row per kind of occluder; None looks for it in
            ``datapath``.
        limit: Only the first faces; 0 for all.

    Raises:
        S3potError: No face can be scored, or the results are the data folder itself.
    """
    if not results.is_dir():
        raise S3potError(f"--results {results} is not a folder; run inference.py first")
    refuse_truth_as_result(results, datapath)
    policy = truth_policy(config.truth)
    occluder_kinds = read_kinds(meta, datapath)
    faces = faces_with_truth(datapath)[: limit or None]
    job = ScoreJob(results, config)
    job.masks.require_distinct([face.name for face in faces])
    outcome = run_folder(job, faces)
    outcome.require_some(ScoreJob.unit)
    scores: list[FaceScore] = [content["score"] for content in outcome.contents]
    origins: list[Origin] = [content["origin"] for content in outcome.contents]
    _warn_of_origins(results, datapath, origins)
    _warn_of_the_summary(results, datapath, [score.face for score in scores])
    warn_of_outdated_faces(datapath)
    provenance = replace(provenance_of_results(results), truth=describe_truth(faces, policy))
    rows = [make_row(ALL, scores, provenance=provenance)]
    for kind in sorted(set().union(*occluder_kinds.values())):
        of_kind = [
            score for score in scores if kind in occluder_kinds.get(Path(score.face).name, ())
        ]
        if of_kind:
            rows.append(make_row(kind, of_kind, provenance=provenance))
    changes = TruthChanges(
        changed=frozenset(origin.name for origin in origins if origin.has_changed_truth),
        removed=frozenset(face.name for face in find_faces(datapath) if truth_file(face) is None),
        other_rules=frozenset(origin.name for origin in origins if origin.has_other_rules),
    )
    return ResultsEvaluation(
        Evaluation(rows, scores, failed=len(outcome.failures)),
        occluder_kinds={
            score.face: occluder_kinds.get(Path(score.face).name, ()) for score in scores
        },
        changes=changes,
    )


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


@dataclass(frozen=True)
class Origin:
    """What a mask was computed from, as far as its record says.

    Attributes:
        name: The name of the face.
        run: Settings and weights of the run; empty without a record.
        is_outdated: Whether the files of the face are not those that the mask was computed from.
        has_changed_truth: Whether the files of its ground truth are not those that the run drew.
        has_other_rules: Whether the run used other rules for the ground truth.
    """

    name: str
    run: str = ""
    is_outdated: bool = False
    has_changed_truth: bool = False
    has_other_rules: bool = False


@dataclass(frozen=True, eq=False)
class MaskInput:
    """The data read for a face.

    Attributes:
        name: The name of the face.
        prediction: Its mask, within the parsed region, bool (H, W).
        truth: Its ground truth.
        origin: What the mask was computed from.
    """

    name: str
    prediction: np.ndarray
    truth: FaceTruth
    origin: Origin


@dataclass(frozen=True)
class MaskOutput:
    """The score of a mask, and what the mask was computed from."""

    score: FaceScore
    origin: Origin


class ScoreJob(FolderJob[FaceFiles, MaskInput, MaskOutput]):
    """Score the masks of a result folder; nothing is written for a face."""

    def __init__(self, results: Path, config: Config) -> None:
        self.results = results
        self.masks = MaskFolder(results, MARKS_OCCLUSION, SAME_SIZE)
        self.max_pixels = config.run.max_pixels
        self.truth = config.truth
        self.truth_policy = truth_policy(config.truth)

    @override
    def name(self, item: FaceFiles) -> str:
        return item.name

    @override
    def read(self, item: FaceFiles) -> MaskInput:
        truth = require_truth(item, self.truth_policy, max_pixels=self.max_pixels)
        prediction = self.masks.read(item.name, truth.occlusion.shape)
        # Our masks lie in the region; those of another program are cut, as in a table.
        origin = _origin(self.results / f"{item.name}{RESULT_RECORD}", item, self.truth)
        return MaskInput(item.name, prediction & truth.region, truth, origin)

    @override
    def compute(self, inputs: Sequence[MaskInput]) -> list[MaskOutput]:
        return [
            MaskOutput(FaceScore(ALL, entry.name, _scores(entry)), entry.origin) for entry in inputs
        ]

    @override
    def write(self, output: MaskOutput, provenance: ItemProvenance) -> Written:
        return Written(content={"score": output.score, "origin": output.origin})


def _scores(entry: MaskInput) -> MaskScores:
    truth = entry.truth
    return mask_scores(entry.prediction, truth.occlusion, truth.region, truth.ignored)


def _origin(path: Path, face: FaceFiles, truth: TruthConfig) -> Origin:
    """Read from the record of a mask what it was computed from, and compare it with the face."""
    record = read_record(path)
    if record is None:
        return Origin(face.name)
    recorded = dict(record.provenance["inputs"])
    settings = record.provenance["settings"]
    files = {"image": face.raw, "reference": face.reference, "parsing": face.parsing}
    now = hash_inputs({role: file for role, file in files.items() if role in recorded})
    rules = asdict(truth)
    rules_then = settings.get("truth", rules)
    roles = set(TRUTH_ROLES)
    if rules_then.get("glasses") == GLASSES_KEPT:  # the true parts of the face were not drawn
        roles.discard("true_parsing")
    truth_then = {role: sha256 for role, sha256 in recorded.items() if role in roles}
    truth_now = hash_inputs(
        {role: file for role, file in truth_files(face).items() if role in roles}
    )
    return Origin(
        name=face.name,
        run=json.dumps([settings, record.provenance["models"]], sort_keys=True),
        is_outdated=any(recorded[role] != sha256 for role, sha256 in now.items()),
        has_changed_truth=truth_then != truth_now,
        has_other_rules=rules_then != rules,
    )


def _warn_of_the_summary(results: Path, datapath: Path, scored: Sequence[str]) -> None:
    """Warn of scored masks that the last run did not write, and of its faces without data."""
    if not (results / SUMMARY).is_file():  # masks of another program
        return
    try:
        summary = read_summary(results)
    except S3potError:  # the warning about the provenance of the results says so
        return
    failed = sorted({failure.name for failure in summary.failures} & set(scored))
    if failed:
        logger.warning(
            "the last run failed on %s in %s, so the masks scored are those of an earlier run: %s",
            counted(len(failed), "face"),
            results,
            brief(failed),
        )
    names = {face.name for face in find_faces(datapath)}
    strangers = sorted({str(row["name"]) for row in summary.rows} - names)
    if strangers:
        logger.warning(
            "%s in %s cannot be scored, because %s lacks them: %s",
            counted(len(strangers), "result"),
            results,
            datapath,
            brief(strangers),
        )


def _warn_of_origins(results: Path, datapath: Path, origins: Sequence[Origin]) -> None:
    """Warn of masks of other files than those in the data folder, and of several runs."""
    outdated = [origin.name for origin in origins if origin.is_outdated]
    if outdated:
        logger.warning(
            "the files of %s in %s have changed since the masks were computed: %s; run the command "
            "that wrote the masks again",
            counted(len(outdated), "face"),
            datapath,
            brief(outdated),
        )
    runs = {origin.run for origin in origins}
    if len(runs) > 1:
        logger.warning(
            "the masks in %s come from %d runs with different settings or weights; the table "
            "names the settings of the last one",
            results,
            len(runs),
        )

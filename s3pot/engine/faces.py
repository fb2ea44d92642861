"""Faces of a folder one by one: prompts, mask, files; finished ones are kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from s3pot.data.layout import FaceFiles
from s3pot.engine.prompts import PromptStore
from s3pot.engine.record import digest, read_finished
from s3pot.engine.results import ResultOptions, record_path, write_result, write_summary
from s3pot.types import Prediction, Prompts, S3potError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Segmented:
    """A mask, and the SHA-256 of what made it beside SAM."""

    prediction: Prediction
    models: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FolderRun:
    """How the faces of a folder are segmented.

    Attributes:
        store: Where prompts come from.
        segment: From prompts with at least one point to a mask.
        made_by: Plain values that a mask depends on beside the files and the prompts' settings.
        output_dir: Where results go.
        options: What is written beside the masks.
        keep: Leave faces alone that are finished and were made the same way.
    """

    store: PromptStore
    segment: Callable[[Prompts], Segmented]
    made_by: Mapping[str, Any]
    output_dir: Path
    options: ResultOptions
    keep: bool = True


def run_faces(run: FolderRun, faces: Sequence[FaceFiles]) -> int:
    """Do every face and write the summary; returns how many failed, each named in the log.

    Raises:
        S3potError: All of them failed.
    """
    rows, failed = [], 0
    try:
        with logging_redirect_tqdm([logging.getLogger("s3pot")]):
            for face in tqdm(faces, desc="faces", unit="face", disable=None):
                try:
                    rows.append(_one(run, face))
                except S3potError as error:
                    failed += 1
                    logger.error("failed: %s: %s", face.name, error)
    finally:
        write_summary(run.output_dir, rows, run.options.save_vis)
    if failed == len(faces):
        raise S3potError(f"none of the {failed} faces could be done")
    logger.info("%d of %d faces are in %s", len(rows), len(faces), run.output_dir)
    return failed


def _one(run: FolderRun, face: FaceFiles) -> dict[str, Any]:
    """The summary row of one face, made or kept."""
    made_by = _made_by(run, face)
    kept = read_finished(record_path(run.output_dir, face.name), made_by) if run.keep else None
    if kept is not None and isinstance(kept.get("row"), dict):
        return dict(kept["row"])
    start = time.perf_counter()
    prompts = run.store.get(face)
    between = time.perf_counter()
    done = run.segment(prompts) if len(prompts.labels) else None
    if done is None:
        logger.warning("%s: no prompt point lies in the face region; nothing is marked", face.name)
    seconds = {"prompts": between - start, "segment": time.perf_counter() - between}
    return write_result(
        run.output_dir,
        face,
        prompts,
        None if done is None else done.prediction,
        models={"sam": run.store.sam_sha256, **({} if done is None else done.models)},
        seconds=seconds,
        options=run.options,
        made_by=made_by,
    )


def _made_by(run: FolderRun, face: FaceFiles) -> dict[str, Any]:
    paths = [face.raw, face.reference, face.parsing, face.occlusion_truth]
    paths += [face.align] if run.options.to_photo else []
    inputs = [digest(path) if path and path.is_file() else "" for path in paths]
    return {**run.store.made_by, **run.made_by, "options": asdict(run.options), "inputs": inputs}

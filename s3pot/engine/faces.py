"""Faces of a folder one by one: prompts, mask, files; finished ones are kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from s3pot.data.layout import FaceFiles
from s3pot.engine.items import each, read_finished
from s3pot.engine.prompts import PromptStore
from s3pot.engine.results import ResultOptions, record_path, write_result, write_summary
from s3pot.types import Prediction, Prompts
from s3pot.weights.hashing import file_sha256

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Segmented:
    """A mask, None without prompt points, and the SHA-256 of what made it beside SAM."""

    prediction: Prediction | None
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
    rows: list[dict[str, Any]] = []
    try:
        for row in each({face.name: face for face in faces}, partial(_one, run), "faces"):
            rows.append(row)
    finally:  # an interrupted run has a summary too
        write_summary(run.output_dir, rows, run.options.save_vis)
    logger.info("%d of %d faces are in %s", len(rows), len(faces), run.output_dir)
    return len(faces) - len(rows)


def _one(run: FolderRun, face: FaceFiles) -> dict[str, Any]:
    """The summary row of one face, made or kept."""
    paths = [face.raw, face.reference, face.parsing, face.occlusion_truth]
    paths += [face.align] if run.options.to_photo else []
    inputs = [file_sha256(path) if path and path.is_file() else "" for path in paths]
    made_by = {"options": asdict(run.options), "inputs": inputs, **run.store.made_by, **run.made_by}
    kept = read_finished(record_path(run.output_dir, face.name), made_by) if run.keep else None
    if kept:
        return dict(kept["row"])
    start = time.perf_counter()
    prompts = run.store.get(face)
    between = time.perf_counter()
    done = run.segment(prompts) if len(prompts.labels) else Segmented(None)
    if done.prediction is None:
        logger.warning("%s: no prompt point lies in the face region; nothing is marked", face.name)
    return write_result(
        run.output_dir,
        face,
        prompts,
        done.prediction,
        models={"sam": run.store.sam_sha256, **done.models},
        seconds={"prompts": between - start, "segment": time.perf_counter() - between},
        options=run.options,
        made_by=made_by,
    )

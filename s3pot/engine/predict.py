"""Inference over a data folder: prompts, adapter, mask, files."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from s3pot.adapter import PromptAdapter
from s3pot.build import build_adapter, build_sam, model_hashes, settings, weights_path
from s3pot.config import Config, save_config
from s3pot.data.layout import FaceFiles, find_faces
from s3pot.engine.checkpoint import restore_adapter
from s3pot.engine.device import pick_device
from s3pot.engine.prompts import PromptStore
from s3pot.engine.record import digest, read_finished
from s3pot.engine.results import ResultOptions, record_path, write_result, write_summary
from s3pot.pipeline import PipelineSettings, segment
from s3pot.sam.frozen import FrozenSam
from s3pot.types import Prediction, Prompts, S3potError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictJob:
    """What to do.

    Attributes:
        datapath: Folder contract.
        output_dir: Where results go.
        checkpoint: Trained adapter; None takes the mini set's own.
        options: What is written beside the masks.
        overwrite: Also do what is finished.
    """

    datapath: Path
    output_dir: Path
    checkpoint: Path | None = None
    options: ResultOptions = field(default_factory=ResultOptions)
    overwrite: bool = False


@dataclass(frozen=True)
class Segmenter:
    """Loaded models of the second half: FE, PS, adapter and mask.

    Attributes:
        sam: Frozen SAM.
        adapter: Trained.
        settings: Numbers of the method.
        hashes: Model → SHA-256.
    """

    sam: FrozenSam
    adapter: PromptAdapter
    settings: PipelineSettings
    hashes: Mapping[str, str]

    @torch.no_grad()
    def segment(self, prompts: Prompts) -> Prediction | None:
        """The face logits of prompts on any device; None where there is no prompt point."""
        if not len(prompts.labels):
            return None
        device = self.sam.sam.device
        moved = {k: v.to(device) for k, v in vars(prompts).items() if k != "name"}
        return segment(self.sam, self.adapter, Prompts(prompts.name, **moved), self.settings)


def load_segmenter(config: Config, checkpoint: Path | None = None) -> Segmenter:
    """Load SAM and a trained adapter.

    Args:
        config: Settings.
        checkpoint: Adapter; None takes the mini set's own.

    Raises:
        S3potError: Weights are missing or do not fit, or no adapter is known.
    """
    if checkpoint is None and config.model.set != "mini":
        raise S3potError(
            "no adapter: the official models bundle none; train one with train_general.py and pass "
            "--checkpoint, or use --config configs/mini.yaml"
        )
    path = checkpoint or weights_path(config, "adapter")
    hashes = model_hashes(config, ("sam",))
    sam = build_sam(config, pick_device(config.run.device))
    adapter = build_adapter(sam)
    restore_adapter(adapter, path, hashes["sam"])
    hashes["adapter"] = digest(path)
    return Segmenter(sam, adapter.eval(), settings(config), hashes)


def predict(config: Config, job: PredictJob) -> int:
    """Segment every face that is not finished; write the results and their summary.

    Returns:
        How many faces failed; each is named in the log.

    Raises:
        S3potError: Nothing can be done: no faces, or missing weights.
    """
    faces = find_faces(job.datapath)
    models = load_segmenter(config, job.checkpoint)
    store = PromptStore(models.sam, config, job.datapath)
    save_config(config, job.output_dir)
    rows, failed = [], 0
    try:
        with logging_redirect_tqdm([logging.getLogger("s3pot")]):
            for face in tqdm(faces, desc="inference", unit="face", disable=None):
                try:
                    rows.append(_one(config, job, models, store, face))
                except S3potError as error:
                    failed += 1
                    logger.error("failed: %s: %s", face.name, error)
    finally:
        write_summary(job.output_dir, rows, job.options.save_vis)
    if failed == len(faces):
        raise S3potError(f"none of the {failed} faces could be done")
    logger.info("%d of %d faces are in %s", len(rows), len(faces), job.output_dir)
    return failed


def _one(
    config: Config, job: PredictJob, models: Segmenter, store: PromptStore, face: FaceFiles
) -> dict[str, Any]:
    """The summary row of one face, made or kept."""
    made_by = _made_by(config, job, models, face)
    kept = None if job.overwrite else read_finished(record_path(job.output_dir, face.name), made_by)
    if kept is not None and isinstance(kept.get("row"), dict):
        return dict(kept["row"])
    start = time.perf_counter()
    prompts = store.get(face)
    between = time.perf_counter()
    prediction = models.segment(prompts)
    if prediction is None:
        logger.warning("%s: no prompt point lies in the face region; nothing is marked", face.name)
    seconds = {"prompts": between - start, "segment": time.perf_counter() - between}
    return write_result(
        job.output_dir,
        face,
        prompts,
        prediction,
        models=models.hashes,
        seconds=seconds,
        options=job.options,
        made_by=made_by,
    )


def _made_by(config: Config, job: PredictJob, models: Segmenter, face: FaceFiles) -> dict[str, Any]:
    """What a result depends on."""
    paths: dict[str, Path | None] = {"raw": face.raw, "reference": face.reference}
    paths.update(parsing=face.parsing, truth=face.occlusion_truth)
    if job.options.to_photo:
        paths["align"] = face.align
    return {
        "models": dict(models.hashes),
        "settings": asdict(models.settings),
        "normalize": config.sam.normalize,
        "options": asdict(job.options),
        "inputs": {key: digest(path) for key, path in paths.items() if path and path.is_file()},
    }

"""Per-image training: the adapter is fitted to one face, then segments it (paper section 3.4)."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from s3pot.adapter import PromptAdapter
from s3pot.build import build_adapter, build_sam, settings
from s3pot.config import Config, config_to_dict, save_config
from s3pot.data.layout import FaceFiles
from s3pot.engine.checkpoint import restore_adapter, save_checkpoint
from s3pot.engine.device import pick_device
from s3pot.engine.history import write_history
from s3pot.engine.loop import AdapterTrainer
from s3pot.engine.prompts import PromptStore
from s3pot.engine.record import digest, read_finished
from s3pot.engine.results import ResultOptions, record_path, write_result, write_summary
from s3pot.engine.seed import seed_everything
from s3pot.pipeline import segment
from s3pot.sam.frozen import FrozenSam
from s3pot.types import Prompts, S3potError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PerImageJob:
    """What to do.

    Attributes:
        faces: Each is trained on alone.
        datapath: Data folder that their features are kept in.
        output_dir: Where adapters, masks, pictures and histories go.
        init_checkpoint: Adapter to start from; None starts from a fresh one.
        options: What is written beside the masks.
        resume: Keep faces that are finished.
    """

    faces: Sequence[FaceFiles]
    datapath: Path
    output_dir: Path
    init_checkpoint: Path | None = None
    options: ResultOptions = field(default_factory=lambda: ResultOptions(save_vis=True))
    resume: bool = False


def fit_adapter(
    sam: FrozenSam, prompts: Prompts, adapter: PromptAdapter, config: Config
) -> list[dict[str, float]]:
    """Fit an adapter to one image, in place; it ends with the weights of the lowest loss.

    Stops after ``per_image.patience`` epochs without an improvement of ``per_image.min_delta``.

    Args:
        sam: Frozen SAM.
        prompts: With at least one point, on SAM's device.
        adapter: Fresh or pre-trained.
        config: ``per_image``, ``train``, ``loss`` and ``mask`` decide.

    Returns:
        Epoch, learning rate and losses before each step.

    Raises:
        S3potError: A loss is no number.
    """
    own = config.per_image
    trainer = AdapterTrainer(sam, adapter, config, own.epochs)
    history: list[dict[str, float]] = []
    best, mark, waited = math.inf, math.inf, 0
    kept = _copy(adapter)
    for epoch in range(1, own.epochs + 1):
        before, lr = _copy(adapter), trainer.lr
        losses = trainer.train_epoch(lambda _: prompts, [0])
        history.append({"epoch": epoch, "lr": lr, **vars(losses)})
        if losses.total < best:
            best, kept = losses.total, before
        waited = 0 if losses.total < mark - own.min_delta else waited + 1
        mark = min(mark, losses.total) if waited == 0 else mark
        if waited >= own.patience:
            break
    adapter.load_state_dict(kept)
    adapter.eval()
    return history


def _copy(adapter: PromptAdapter) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone() for key, value in adapter.state_dict().items()}


def train_per_image(config: Config, job: PerImageJob) -> int:
    """Fit, segment and write each face.

    Returns:
        How many faces failed; each is named in the log.

    Raises:
        S3potError: Nothing can be done: missing weights, or an adapter that does not fit.
    """
    sam = build_sam(config, pick_device(config.run.device))
    store = PromptStore(sam, config, job.datapath)
    if job.init_checkpoint is not None:
        restore_adapter(build_adapter(sam), job.init_checkpoint, store.sam_sha256)
    save_config(config, job.output_dir)
    rows, failed = [], 0
    try:
        with logging_redirect_tqdm([logging.getLogger("s3pot")]):
            for face in tqdm(job.faces, desc="per image", unit="face", disable=None):
                try:
                    rows.append(_one(config, job, store, face))
                except S3potError as error:
                    failed += 1
                    logger.error("failed: %s: %s", face.name, error)
    finally:
        if rows:
            write_summary(job.output_dir, rows, job.options.save_vis)
    if failed == len(job.faces):
        raise S3potError(f"none of the {failed} faces could be done")
    logger.info("%d of %d faces are in %s", len(rows), len(job.faces), job.output_dir)
    return failed


def _one(config: Config, job: PerImageJob, store: PromptStore, face: FaceFiles) -> dict[str, Any]:
    """The summary row of one face, made or kept."""
    made_by = _made_by(config, job, store, face)
    record = record_path(job.output_dir, face.name)
    kept = read_finished(record, made_by) if job.resume else None
    if kept is not None and isinstance(kept.get("row"), dict):
        return dict(kept["row"])
    start = time.perf_counter()
    prompts = store.get(face)
    between = time.perf_counter()
    prediction, models = None, {"sam": store.sam_sha256}
    if len(prompts.labels):
        adapter = _fit_and_save(config, job, store, prompts)
        models["adapter"] = digest(_stem(job, face.name, "_adapter.pth"))
        with torch.no_grad():
            prediction = segment(store.sam, adapter, prompts, settings(config))
    else:
        logger.warning("%s: no prompt point lies in the face region; nothing is marked", face.name)
    seconds = {"prompts": between - start, "train": time.perf_counter() - between}
    return write_result(
        job.output_dir,
        face,
        prompts,
        prediction,
        models=models,
        seconds=seconds,
        options=job.options,
        made_by=made_by,
    )


def _fit_and_save(
    config: Config, job: PerImageJob, store: PromptStore, prompts: Prompts
) -> PromptAdapter:
    """Each face starts from the same seed: it does not depend on those before it."""
    seed_everything(config.train.seed, config.run.deterministic)
    adapter = build_adapter(store.sam)
    if job.init_checkpoint is not None:
        restore_adapter(adapter, job.init_checkpoint, store.sam_sha256)
    history = fit_adapter(store.sam, prompts, adapter, config)
    name = prompts.name
    names = ("_history.csv", "_history.jsonl", "_loss_curve.png")
    write_history(history, *(_stem(job, name, end) for end in names))
    save_checkpoint(
        _stem(job, name, "_adapter.pth"),
        adapter,
        epoch=len(history),
        config=config_to_dict(config),
        sam_sha256=store.sam_sha256,
    )
    return adapter


def _stem(job: PerImageJob, name: str, end: str) -> Path:
    return job.output_dir / f"{name}{end}"


def _made_by(
    config: Config, job: PerImageJob, store: PromptStore, face: FaceFiles
) -> dict[str, Any]:
    """What a result depends on."""
    tree = config_to_dict(config)
    paths = {"raw": face.raw, "reference": face.reference, "parsing": face.parsing}
    found = {key: digest(path) for key, path in paths.items() if path.is_file()}
    start = digest(job.init_checkpoint) if job.init_checkpoint else ""
    parts = {key: tree[key] for key in ("mask", "loss", "train", "per_image")}
    return {
        **store.made_by,
        **parts,
        "init": start,
        "inputs": found,
        "options": asdict(job.options),
    }

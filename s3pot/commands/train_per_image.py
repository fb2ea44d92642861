"""Per-image training: the adapter is fitted to one face, then segments it (paper section 3.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from s3pot.adapter import PromptAdapter
from s3pot.build import build_sam, settings
from s3pot.commands.inference import FolderRun, run_faces
from s3pot.config import Config, config_to_dict, save_config
from s3pot.data.face_folder import FaceFiles
from s3pot.device import pick_device
from s3pot.distributed import Process
from s3pot.io import file_sha256
from s3pot.pipeline import segment
from s3pot.report.writer import ResultOptions
from s3pot.runs.prompt_store import PromptStore
from s3pot.sam.frozen import FrozenSam
from s3pot.training.checkpoint import new_adapter, save_checkpoint
from s3pot.training.history import write_history
from s3pot.training.trainer import AdapterTrainer
from s3pot.types import Prediction, Prompts


@dataclass(frozen=True)
class PerImageJob:
    """Faces of the data folder ``datapath``, each trained on alone.

    They start from ``init_checkpoint``, or from a fresh adapter; ``resume`` keeps finished ones.
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

    Returns:
        Epoch, learning rate and the losses before each step.

    Raises:
        S3potError: A loss is no number.
    """
    own = config.per_image
    trainer = AdapterTrainer(sam, adapter, config, own.epochs, Process(sam.sam.device))
    history: list[dict[str, float]] = []
    best, mark, marked, kept = math.inf, math.inf, 0, deepcopy(adapter.state_dict())
    for epoch in range(1, own.epochs + 1):
        before, lr = deepcopy(adapter.state_dict()), float(trainer.schedule.get_last_lr()[0])
        losses = trainer.train_epoch(lambda _: prompts, [0])
        history.append({"epoch": epoch, "lr": lr, **losses})
        if losses["total"] < best:
            best, kept = losses["total"], before
        if losses["total"] < mark - own.min_delta:
            mark, marked = losses["total"], epoch
        if epoch - marked >= own.patience:
            break
    adapter.load_state_dict(kept)
    return history


def train_per_image(config: Config, job: PerImageJob) -> int:
    """Fit, segment and write each face.

    Returns:
        How many faces failed; each is named in the log.

    Raises:
        S3potError: Nothing can be done: missing weights, or an adapter that does not fit.
    """
    sam = build_sam(config, pick_device(config.run.device))
    store = PromptStore(sam, config, job.datapath)
    new_adapter(config, sam, job.init_checkpoint)  # what does not fit is said at once
    save_config(config, job.output_dir)
    tree: dict[str, Any] = config_to_dict(config)

    def fit(prompts: Prompts) -> tuple[Prediction, Mapping[str, str]]:
        adapter = new_adapter(config, sam, job.init_checkpoint)
        history = fit_adapter(sam, prompts, adapter, config)
        stem = f"{job.output_dir / prompts.name}_"
        write_history(history, stem)
        path, more = Path(f"{stem}adapter.pth"), {"config": tree, "sam_sha256": store.sam_sha256}
        save_checkpoint(path, adapter, epoch=len(history), **more)
        with torch.no_grad():
            prediction = segment(sam, adapter, prompts, settings(config))
        return prediction, {"adapter": file_sha256(path)}

    made_by = {key: tree[key] for key in ("mask", "loss", "train", "per_image")}
    made_by["start"] = file_sha256(job.init_checkpoint) if job.init_checkpoint else ""
    run = FolderRun(store, fit, made_by, job.output_dir, job.options, keep=job.resume)
    return run_faces(run, job.faces)

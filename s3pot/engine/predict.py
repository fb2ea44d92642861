"""Inference over a data folder: prompts, adapter, mask, files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from s3pot.adapter import PromptAdapter
from s3pot.build import build_adapter, build_sam, model_hashes, settings, weights_path
from s3pot.config import Config, save_config
from s3pot.data.layout import find_faces
from s3pot.engine.checkpoint import restore_adapter
from s3pot.engine.device import pick_device
from s3pot.engine.faces import FolderRun, Segmented, run_faces
from s3pot.engine.prompts import PromptStore
from s3pot.engine.results import ResultOptions
from s3pot.pipeline import PipelineSettings, segment
from s3pot.sam.frozen import FrozenSam
from s3pot.types import Prediction, Prompts
from s3pot.weights.hashing import file_sha256


@dataclass(frozen=True)
class PredictJob:
    """What to do."""

    datapath: Path  # folder contract
    output_dir: Path
    checkpoint: Path | None = None  # trained adapter; None takes the mini set's own
    options: ResultOptions = field(default_factory=ResultOptions)
    overwrite: bool = False  # also do what is finished


@dataclass(frozen=True)
class Segmenter:
    """Loaded models of the second half: FE, PS, adapter and mask."""

    sam: FrozenSam
    adapter: PromptAdapter  # trained
    adapter_sha256: str
    settings: PipelineSettings

    @torch.no_grad()
    def segment(self, prompts: Prompts) -> Prediction:
        """The face logits of prompts with at least one point, on any device."""
        return segment(self.sam, self.adapter, prompts.to(self.sam.sam.device), self.settings)


def load_segmenter(config: Config, checkpoint: Path | None = None) -> Segmenter:
    """Load SAM and a trained adapter; without a checkpoint the mini set's own.

    Raises:
        S3potError: Weights are missing or do not fit, or no adapter is known.
    """
    sam_sha256 = model_hashes(config, ("sam",))["sam"]  # a missing SAM is the first to be named
    path = checkpoint or weights_path(config, "adapter")
    sam = build_sam(config, pick_device(config.run.device))
    adapter = build_adapter(sam)
    restore_adapter(adapter, path, sam_sha256)
    return Segmenter(sam, adapter.eval(), file_sha256(path), settings(config))


def predict(config: Config, job: PredictJob) -> int:
    """Segment every face that is not finished; returns how many failed, each named in the log.

    Raises:
        S3potError: Nothing can be done: no faces, or missing weights.
    """
    faces = find_faces(job.datapath)
    models = load_segmenter(config, job.checkpoint)
    store = PromptStore(models.sam, config, job.datapath)
    save_config(config, job.output_dir)
    hashes = {"adapter": models.adapter_sha256}
    made_by = {"models": hashes, "settings": asdict(models.settings)}

    def one(prompts: Prompts) -> Segmented:
        return Segmented(models.segment(prompts), hashes)

    keep = not job.overwrite
    return run_faces(FolderRun(store, one, made_by, job.output_dir, job.options, keep), faces)

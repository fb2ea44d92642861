"""An adapter is fitted to each face, which is then segmented with it (paper section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from typing_extensions import override

from s3pot.build import build_segmenter, quality_limits
from s3pot.config import Config, config_to_dict, save_config
from s3pot.data.face_folder import FaceFiles
from s3pot.device import pick_device
from s3pot.io import file_sha256
from s3pot.report.writer import ResultOptions
from s3pot.runs.folder_run import run_folder
from s3pot.runs.prompt_store import PromptStore
from s3pot.runs.records import ItemProvenance
from s3pot.runs.segment_faces import AdapterFiles, FaceOutput, FittedAdapter, SegmentFaces
from s3pot.runs.shard import Shard, local_rank
from s3pot.training.checkpoint import new_adapter, save_checkpoint
from s3pot.training.curve import write_curve
from s3pot.training.history import write_history
from s3pot.training.per_image import fit_adapter
from s3pot.types import Prediction, Prompts


@dataclass(frozen=True)
class PerImageOptions:
    """What to do.

    Attributes:
        faces: Each is trained on alone.
        datapath: Their data folder.
        output_dir: Where results go.
        init_checkpoint: Adapter to start from; None for a fresh one.
        results: What is written beside the masks.
        resume: Keep faces that are finished.
        shard: The share of this process.
    """

    faces: Sequence[FaceFiles]
    datapath: Path
    output_dir: Path
    init_checkpoint: Path | None = None
    results: ResultOptions = field(default_factory=lambda: ResultOptions(save_vis=True))
    resume: bool = False
    shard: Shard = field(default_factory=Shard)


def run_train_per_image(config: Config, options: PerImageOptions) -> int:
    """Fit an adapter to each face, segment and write it.

    Returns:
        How many faces failed; each is named in the log.

    Raises:
        S3potError: Nothing can be done: missing weights, or an adapter that does not fit.
    """
    segmenter = build_segmenter(config, pick_device(config.run.device, local_rank()))
    new_adapter(config, segmenter.sam, options.init_checkpoint)  # what does not fit, fails here
    save_config(config, options.output_dir)
    job = PerImageJob(config, PromptStore(segmenter, config, options.datapath), options)
    outcome = run_folder(job, options.faces, keep_finished=options.resume, shard=options.shard)
    outcome.require_some(job.unit)
    return len(outcome.failures)


class PerImageJob(SegmentFaces):
    """Fit an adapter to each face and segment it; see ``SegmentFaces``."""

    def __init__(self, config: Config, store: PromptStore, options: PerImageOptions) -> None:
        super().__init__(store, options.output_dir, options.results, quality_limits(config))
        self.config = config
        self.init_checkpoint = options.init_checkpoint
        self.start_sha256 = file_sha256(self.init_checkpoint) if self.init_checkpoint else ""
        self.batch_size = 1

    @override
    def adapter_provenance(self) -> ItemProvenance:
        return ItemProvenance(
            models={"sam": self.store.sam_sha256, "start": self.start_sha256},
            settings={
                "pipeline": asdict(self.segmenter.settings),
                "loss": asdict(self.config.loss),
                "train": asdict(self.config.train),
                "per_image": asdict(self.config.per_image),
            },
        )

    @override
    def predict(self, prompts: Prompts) -> tuple[Prediction, FittedAdapter | None]:
        adapter = new_adapter(self.config, self.segmenter.sam, self.init_checkpoint)
        history = fit_adapter(self.segmenter, prompts, adapter, self.config)
        with torch.no_grad():
            prediction = self.segmenter.predict_visible_face(adapter, prompts)
        return prediction, FittedAdapter(adapter, history)

    @override
    def write_adapter(self, output: FaceOutput) -> AdapterFiles:
        if output.fitted is None:
            return AdapterFiles(files=[], sha256=None)
        prefix = f"{self.output_dir / output.result.face.name}_"
        adapter_path = Path(f"{prefix}adapter.pth")
        save_checkpoint(
            adapter_path,
            output.fitted.adapter,
            epoch=len(output.fitted.history),
            config=config_to_dict(self.config),
            sam_sha256=self.store.sam_sha256,
        )
        write_history(output.fitted.history, prefix)
        write_curve(output.fitted.history, prefix)
        files = [adapter_path]
        for ending in ("history.csv", "history.jsonl", "loss_curve.png"):
            files.append(Path(prefix + ending))
        return AdapterFiles(files, sha256=file_sha256(adapter_path))

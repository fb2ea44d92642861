"""Inference: every face of a folder is segmented with one trained adapter."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from typing_extensions import override

from s3pot.build import build_segmenter, quality_limits, weights_path
from s3pot.config import Config, save_config
from s3pot.data.face_folder import find_faces
from s3pot.device import pick_device
from s3pot.io import file_sha256
from s3pot.pipeline import Adapter
from s3pot.report.writer import ResultOptions
from s3pot.runs.outdated_faces import warn_of_outdated_faces
from s3pot.runs.prompt_store import PromptStore
from s3pot.runs.records import ItemProvenance
from s3pot.runs.segment_faces import (
    AdapterFiles,
    FaceOutput,
    FittedAdapter,
    SegmentFaces,
    refuse_to_replace,
)
from s3pot.runs.selection import Selection, run_selected
from s3pot.runs.shard import local_rank
from s3pot.training.checkpoint import new_adapter
from s3pot.types import Prompts
from s3pot.weights.load import require_checkpoint


@dataclass(frozen=True)
class InferenceOptions:
    """The options of inference.

    Attributes:
        datapath: Folder of faces in the folder contract.
        output_dir: Folder for the results.
        checkpoint: Trained adapter; None uses that of the mini set.
        results: What is written besides the masks.
        overwrite: Also process finished faces again.
        selection: Which items are processed.
    """

    datapath: Path
    output_dir: Path
    checkpoint: Path | None = None
    results: ResultOptions = field(default_factory=ResultOptions)
    overwrite: bool = False
    selection: Selection = field(default_factory=Selection)


def run_inference(config: Config, options: InferenceOptions) -> int:
    """Segment every face that is not finished.

    Returns:
        The number of faces that failed; each is named in the log.

    Raises:
        S3potError: Nothing can be done: there are no faces, weights are missing, or ground truths
            would be replaced.
    """
    faces = find_faces(options.datapath)
    refuse_to_replace(options.output_dir, options.datapath, faces, InferenceJob.command)
    warn_of_outdated_faces(options.datapath)
    job = build_inference_job(config, options)
    save_config(config, options.output_dir, InferenceJob.command)
    outcome = run_selected(
        job,
        faces,
        options.selection,
        output_dir=options.output_dir,
        keep_finished=not options.overwrite,
    )
    return len(outcome.failures)


def build_inference_job(config: Config, options: InferenceOptions) -> InferenceJob:
    """Load SAM and the adapter.

    Raises:
        S3potError: Weights are missing, or the adapter does not fit.
    """
    weights_path(config, "sam")  # so that a missing SAM is reported first
    checkpoint = options.checkpoint or weights_path(config, "adapter")
    require_checkpoint(checkpoint)
    segmenter = build_segmenter(config, pick_device(config.run.device, local_rank()))
    return InferenceJob(
        config,
        PromptStore(segmenter, config, options.datapath, is_single_pass=True),
        options,
        checkpoint,
    )


class InferenceJob(SegmentFaces):
    """Segment faces with one trained adapter; see ``SegmentFaces``.

    Args:
        config: The config of the run.
        store: Provides the prompts.
        options: Where and what to write.
        checkpoint: The file of the trained adapter.

    Raises:
        S3potError: The adapter does not fit.
    """

    command = "inference"

    def __init__(
        self, config: Config, store: PromptStore, options: InferenceOptions, checkpoint: Path
    ) -> None:
        super().__init__(
            store, options.output_dir, options.results, quality_limits(config), config.truth
        )
        self.adapter = new_adapter(config, self.segmenter.sam, checkpoint).eval()
        self.adapter_sha256 = file_sha256(checkpoint)

    @override
    def adapter_provenance(self) -> ItemProvenance:
        return ItemProvenance(
            models={"sam": self.store.sam_sha256, "adapter": self.adapter_sha256},
            settings={"pipeline": asdict(self.segmenter.settings)},
        )

    @override
    def adapter_for(self, prompts: Prompts) -> tuple[Adapter, FittedAdapter | None]:
        return self.adapter, None

    @override
    def write_adapter(self, output: FaceOutput) -> AdapterFiles:
        used = output.result.prediction is not None
        return AdapterFiles(files=[], sha256=self.adapter_sha256 if used else None)

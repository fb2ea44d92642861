r"""Segment the occlusions of every face that generate_reference.py prepared (paper section 3).

    python inference.py --datapath ./dataset/processed_data/val \
        --checkpoint ./checkpoint/train_general/model_epoch_50.pth --output_dir ./results --save_vis
    python inference.py --datapath processed --output_dir results --config configs/mini.yaml

Results that are finished are kept; --overwrite makes them again.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from s3pot.adapter import PromptAdapter
from s3pot.build import build_segmenter, weights_path
from s3pot.commands.cli import new_parser, run
from s3pot.config import Config, save_config
from s3pot.data.face_folder import FaceFiles, find_faces
from s3pot.device import pick_device
from s3pot.io import file_sha256
from s3pot.pipeline import OcclusionSegmenter
from s3pot.report.writer import ResultOptions, record_path, write_result, write_summary
from s3pot.runs.folder_run import each, read_finished
from s3pot.runs.prompt_store import PromptStore
from s3pot.training.checkpoint import new_adapter
from s3pot.types import Prediction, Prompts

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictJob:
    """What to do."""

    datapath: Path  # folder contract
    output_dir: Path
    checkpoint: Path | None = None  # trained adapter; None takes the mini set's own
    options: ResultOptions = field(default_factory=ResultOptions)
    overwrite: bool = False  # also do what is finished


@dataclass(frozen=True)
class SegmentationModels:
    """Loaded models of the second half: FE, PS, adapter and mask."""

    segmenter: OcclusionSegmenter
    adapter: PromptAdapter  # trained
    adapter_sha256: str


@dataclass(frozen=True)
class FolderRun:
    """How the faces of a folder are segmented.

    Attributes:
        store: Where prompts come from.
        segment: From prompts with at least one point to a mask and the SHA-256, by name, of what
            made it beside SAM.
        made_by: Plain values that a mask depends on beside the files and the prompts' settings.
        output_dir: Where results go.
        options: What is written beside the masks.
        keep: Leave faces alone that are finished and were made the same way.
    """

    store: PromptStore
    segment: Callable[[Prompts], tuple[Prediction, Mapping[str, str]]]
    made_by: Mapping[str, Any]
    output_dir: Path
    options: ResultOptions
    keep: bool = True


def load_models(config: Config, checkpoint: Path | None = None) -> SegmentationModels:
    """Load SAM and a trained adapter; without a checkpoint the mini set's own.

    Raises:
        S3potError: Weights are missing or do not fit, or no adapter is known.
    """
    weights_path(config, "sam")  # a missing SAM is the first to be named
    path = checkpoint or weights_path(config, "adapter")
    segmenter = build_segmenter(config, pick_device(config.run.device))
    adapter = new_adapter(config, segmenter.sam, path).eval()
    return SegmentationModels(segmenter, adapter, file_sha256(path))


def predict(config: Config, job: PredictJob) -> int:
    """Segment every face that is not finished; returns how many failed, each named in the log.

    Raises:
        S3potError: Nothing can be done: no faces, or missing weights.
    """
    faces = find_faces(job.datapath)
    models = load_models(config, job.checkpoint)
    store = PromptStore(models.segmenter, config, job.datapath)
    save_config(config, job.output_dir)
    hashes = {"adapter": models.adapter_sha256}
    made_by = {"models": hashes, "settings": asdict(models.segmenter.settings)}

    def one(prompts: Prompts) -> tuple[Prediction, Mapping[str, str]]:
        with torch.no_grad():
            return models.segmenter.predict_visible_face(models.adapter, prompts), hashes

    keep = not job.overwrite
    return run_faces(FolderRun(store, one, made_by, job.output_dir, job.options, keep), faces)


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
    times = [time.perf_counter()]
    prompts = run.store.get(face)
    times.append(time.perf_counter())
    prediction, hashes = run.segment(prompts) if prompts.has_points else (None, {})
    times.append(time.perf_counter())
    if prediction is None:
        logger.warning("%s: no prompt point lies in the face region; nothing is marked", face.name)
    more: dict[str, Any] = {
        "seconds_prompts": round(times[1] - times[0], 4),
        "seconds_segment": round(times[2] - times[1], 4),
        "sha256_sam": run.store.sam_sha256,
        **{f"sha256_{model}": value for model, value in hashes.items()},
    }
    return write_result(run.output_dir, face, prompts, prediction, run.options, made_by, more)


def build_parser() -> argparse.ArgumentParser:
    """The script's options."""
    parser = new_parser(__doc__, "./results")
    add = parser.add_argument
    add("--datapath", type=Path, required=True, help="folder that generate_reference.py wrote")
    add("--checkpoint", type=Path, help="trained adapter (default: the mini set's own)")
    add("--save_vis", action="store_true", help="also write pictures and index.html")
    add("--to_photo", action="store_true", help="also write the masks in the photo's own frame")
    add("--overwrite", action="store_true", help="also do faces that are finished")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)
    options = ResultOptions(args.save_vis, args.to_photo)
    output = Path(args.output_dir)
    job = PredictJob(args.datapath, output, args.checkpoint, options, args.overwrite)

    def body(config: Config) -> int:
        return predict(config, job)

    return run(args, body)

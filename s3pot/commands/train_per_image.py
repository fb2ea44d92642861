r"""Fit an adapter to one face, or to each face of a folder, and segment it.

Commands:
    python train_per_image.py --target_img ./dataset/processed_data/test_01.png \
        --ref_img ./dataset/processed_data/test_01_ref.png \
        --parsing_mask ./dataset/processed_data/test_01_parsing_mask.npy --epochs 100
    python train_per_image.py --datapath ./dataset/processed_data/val --resume
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from s3pot.build import build_segmenter
from s3pot.commands import cli
from s3pot.commands.inference import FolderRun, run_faces
from s3pot.config import Config, config_to_dict, save_config
from s3pot.data.face_folder import FaceFiles, face_from, find_faces
from s3pot.device import pick_device
from s3pot.io import file_sha256
from s3pot.report.writer import ResultOptions
from s3pot.runs.prompt_store import PromptStore
from s3pot.training.checkpoint import new_adapter, save_checkpoint
from s3pot.training.curve import write_curve
from s3pot.training.history import write_history
from s3pot.training.per_image import fit_adapter
from s3pot.types import Prediction, Prompts, S3potError


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


def train_per_image(config: Config, job: PerImageJob) -> int:
    """Fit, segment and write each face.

    Returns:
        How many faces failed; each is named in the log.

    Raises:
        S3potError: Nothing can be done: missing weights, or an adapter that does not fit.
    """
    segmenter = build_segmenter(config, pick_device(config.run.device))
    sam = segmenter.sam
    store = PromptStore(segmenter, config, job.datapath)
    new_adapter(config, sam, job.init_checkpoint)  # what does not fit is said at once
    save_config(config, job.output_dir)
    tree: dict[str, Any] = config_to_dict(config)

    def fit(prompts: Prompts) -> tuple[Prediction, Mapping[str, str]]:
        adapter = new_adapter(config, sam, job.init_checkpoint)
        history = fit_adapter(segmenter, prompts, adapter, config)
        stem = f"{job.output_dir / prompts.name}_"
        write_history(history, stem)
        write_curve(history, stem)
        path = Path(f"{stem}adapter.pth")
        save_checkpoint(path, adapter, epoch=len(history), config=tree, sam_sha256=store.sam_sha256)
        with torch.no_grad():
            prediction = segmenter.predict_visible_face(adapter, prompts)
        return prediction, {"adapter": file_sha256(path)}

    made_by = {key: tree[key] for key in ("mask", "loss", "train", "per_image")}
    made_by["start"] = file_sha256(job.init_checkpoint) if job.init_checkpoint else ""
    run = FolderRun(store, fit, made_by, job.output_dir, job.options, keep=job.resume)
    return run_faces(run, job.faces)


EPOCHS = cli.Setting("--epochs", "per_image.epochs", "most steps per image")
LR = cli.LEARNING_RATE
SEED = cli.SEED


def build_parser() -> argparse.ArgumentParser:
    """The script's options."""
    parser = cli.new_parser(__doc__, "./results/per_image", (EPOCHS, LR, SEED))
    parser.add_argument("--target_img", type=Path, help="aligned raw face")
    parser.add_argument("--ref_img", type=Path, help="its reference")
    parser.add_argument("--parsing_mask", type=Path, help="its 12-class map, .npy")
    parser.add_argument(
        "--datapath", type=Path, help="a folder of faces instead of the three files"
    )
    parser.add_argument(
        "--init_checkpoint", type=Path, help="adapter to start from (default: none)"
    )
    parser.add_argument("--resume", action="store_true", help="keep faces that are finished")
    parser.add_argument(
        "--to_photo", action="store_true", help="also write the masks in the photo's frame"
    )
    return parser


def read_job(args: argparse.Namespace) -> PerImageJob:
    """Faces and folders of the command line.

    Raises:
        S3potError: Neither the three files nor a folder, or both.
    """
    files = (args.target_img, args.ref_img, args.parsing_mask)
    if (args.datapath is None) == (None in files) or (args.datapath and any(files)):
        raise S3potError("pass --target_img, --ref_img and --parsing_mask, or --datapath instead")
    faces = find_faces(args.datapath) if args.datapath else [face_from(*files)]
    return PerImageJob(
        faces,
        args.datapath or args.target_img.parent,
        Path(args.output_dir),
        args.init_checkpoint,
        ResultOptions(save_vis=True, to_photo=args.to_photo),
        args.resume,
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)

    def body(config: Config) -> int:
        return train_per_image(config, read_job(args))

    return cli.run(args, body)

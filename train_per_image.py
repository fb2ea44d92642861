r"""Fit an adapter to one face, or to each face of a folder, and segment it.

Commands:
    python train_per_image.py --target_img ./dataset/processed_data/test_01.png \
        --ref_img ./dataset/processed_data/test_01_ref.png \
        --parsing_mask ./dataset/processed_data/test_01_parsing_mask.npy --epochs 100
    python train_per_image.py --datapath ./dataset/processed_data/val --resume
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from s3pot.commands import cli
from s3pot.commands.train_per_image import PerImageJob, train_per_image
from s3pot.config import Config
from s3pot.data.face_folder import face_from, find_faces
from s3pot.report.writer import ResultOptions
from s3pot.types import S3potError

EPOCHS = cli.Setting("--epochs", "per_image.epochs", "most steps per image")
LR = cli.Setting("--lr", "train.lr", "learning rate of AdamW")
SEED = cli.Setting("--seed", "train.seed", "seed of everything random")


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


if __name__ == "__main__":
    sys.exit(main())

r"""Fit an adapter to one face, or to each face of a folder, and segment it (paper section 3.4).

Commands:
    python train_per_image.py --target_img ./dataset/processed_data/test_01.png \
        --ref_img ./dataset/processed_data/test_01_ref.png \
        --parsing_mask ./dataset/processed_data/test_01_parsing_mask.npy --epochs 100
    python train_per_image.py --datapath ./dataset/processed_data/val

Finished faces are kept; --overwrite fits to them again. The faces of a folder can be divided among
several processes (torchrun, or --shard i/n in a job array); afterwards the same command without
them writes the summary.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from s3pot.commands import cli
from s3pot.config import Config
from s3pot.types import S3potError

if TYPE_CHECKING:
    from s3pot.runs.train_per_image import PerImageOptions

EPOCHS = cli.Setting("--epochs", "per_image.epochs", "maximum number of steps per image")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    settings = (EPOCHS, cli.LEARNING_RATE, cli.SEED)
    parser = cli.new_parser(__doc__, "./results/per_image", settings)
    add = parser.add_argument
    add("--target_img", type=Path, help="aligned face")
    add("--ref_img", type=Path, help="its reference")
    add("--parsing_mask", type=Path, help="its 12-class map, .npy")
    add("--datapath", type=Path, help="a folder of faces instead of the three files")
    add("--init_checkpoint", type=Path, help="adapter to start from (default: a fresh one)")
    again = parser.add_mutually_exclusive_group()
    # The default; scripts written for earlier versions pass it.
    again.add_argument(
        "--resume", action="store_true", default=True, help="keep finished faces: the default"
    )
    again.add_argument("--overwrite", action="store_true", help="fit to finished faces again")
    add("--to_photo", action="store_true", help="also write the masks in the photo's frame")
    add("--save_coco", action="store_true", help="also write the masks as one COCO file")
    cli.add_strict(parser)
    cli.add_selection(parser, "faces")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)

    def body(config: Config) -> int:
        # Here, not above: --help should not wait for PyTorch.
        from s3pot.runs.train_per_image import run_train_per_image

        return run_train_per_image(config, options_from(args))

    return cli.run(args, body)


def options_from(args: argparse.Namespace) -> PerImageOptions:
    """Read faces and folders from the command line.

    Raises:
        S3potError: Neither the three files nor a folder are given, or both.
    """
    from s3pot.data.face_folder import face_from, find_faces
    from s3pot.report.writer import ResultOptions
    from s3pot.runs.train_per_image import PerImageOptions

    files = (args.target_img, args.ref_img, args.parsing_mask)
    if args.datapath is not None and not any(files):
        faces = find_faces(args.datapath)
        datapath = args.datapath
    elif args.datapath is None and all(files):
        faces = [face_from(*files)]
        datapath = args.target_img.parent
    else:
        raise S3potError(
            "pass --target_img, --ref_img and --parsing_mask, or --datapath instead of the three"
        )
    return PerImageOptions(
        faces=faces,
        datapath=datapath,
        output_dir=args.output_dir,
        init_checkpoint=args.init_checkpoint,
        results=ResultOptions(save_vis=True, to_photo=args.to_photo, save_coco=args.save_coco),
        overwrite=args.overwrite,
        selection=cli.selection_from(args),
    )

r"""Train one adapter for all faces of a folder.

Commands:
    python train_general.py --datapath ./dataset/processed_data --bsz 3 --lr 1e-4 --epochs 50 \
        --output_dir ./checkpoint/train_general
    torchrun --nproc_per_node 2 train_general.py --datapath ./dataset/processed_data
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from s3pot.commands import cli
from s3pot.commands.train_general import GeneralJob, train_general
from s3pot.config import Config

EPOCHS = cli.Setting("--epochs", "train.epochs", "passes over the images")


def build_parser() -> argparse.ArgumentParser:
    """The script's options."""
    parser = cli.new_parser(__doc__, "./checkpoint/train_general", (*cli.TRAINING, EPOCHS))
    parser.add_argument(
        "--datapath", required=True, type=Path, help="folder that generate_reference.py wrote"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from <output_dir>/last.pth if there is one"
    )
    parser.add_argument(
        "--init_checkpoint", type=Path, help="adapter to start from (default: none)"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)
    job = (args.datapath, Path(args.output_dir), args.resume, args.init_checkpoint)

    def body(config: Config) -> int:
        return train_general(config, GeneralJob(*job))

    return cli.run(args, body)


if __name__ == "__main__":
    sys.exit(main())

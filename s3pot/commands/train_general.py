r"""Train one adapter for all faces of a folder (paper section 3.4).

Commands:
    python train_general.py --datapath ./dataset/processed_data --bsz 3 --lr 1e-4 --epochs 50 \
        --output_dir ./checkpoint/train_general
    torchrun --nproc_per_node 2 train_general.py --datapath ./dataset/processed_data

An output folder that holds another run is refused, unless --resume continues exactly where it
stopped (from its last.pth) or --overwrite replaces it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from s3pot.commands import cli
from s3pot.config import Config

BATCH_SIZE = cli.Setting("--bsz", "train.batch_size", "images per step, over all processes")
EPOCHS = cli.Setting("--epochs", "train.epochs", "passes over the images")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    settings = (BATCH_SIZE, cli.LEARNING_RATE, EPOCHS, cli.SEED)
    parser = cli.new_parser(__doc__, "./checkpoint/train_general", settings)
    parser.add_argument(
        "--datapath", required=True, type=Path, help="folder written by generate_reference.py"
    )
    earlier_run = parser.add_mutually_exclusive_group()
    earlier_run.add_argument(
        "--resume", action="store_true", help="continue from <output_dir>/last.pth if it exists"
    )
    earlier_run.add_argument(
        "--overwrite", action="store_true", help="replace the run that <output_dir> holds"
    )
    parser.add_argument(
        "--init_checkpoint", type=Path, help="adapter to start from (default: a fresh one)"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)

    def body(config: Config) -> int:
        # Here, not above: --help should not wait for PyTorch.
        from s3pot.runs.train_general import GeneralOptions, run_train_general

        options = GeneralOptions(
            datapath=args.datapath,
            output_dir=args.output_dir,
            resume=args.resume,
            overwrite=args.overwrite,
            init_checkpoint=args.init_checkpoint,
        )
        return run_train_general(config, options)

    return cli.run(args, body)

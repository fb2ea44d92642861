r"""Segment the occlusions of every face that generate_reference.py prepared (paper section 3).

    python inference.py --datapath ./dataset/processed_data/val \
        --checkpoint ./checkpoint/train_general/model_epoch_50.pth --output_dir ./results --save_vis
    python inference.py --datapath processed --output_dir results --config configs/mini.yaml

Results that are finished are kept; --overwrite makes them again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from s3pot.commands.cli import new_parser, run
from s3pot.commands.inference import PredictJob, predict
from s3pot.config import Config
from s3pot.report.writer import ResultOptions


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


if __name__ == "__main__":
    sys.exit(main())

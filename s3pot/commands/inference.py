r"""Segment the occlusions of every face that generate_reference.py prepared (paper section 3).

Commands:
    python inference.py --datapath ./dataset/processed_data/val \
        --checkpoint ./checkpoint/train_general/model_epoch_50.pth --output_dir ./results --save_vis
    python inference.py --datapath processed --output_dir results --config mini
    torchrun --nproc_per_node 8 inference.py --datapath processed --checkpoint adapter.pth

Finished results are kept; --overwrite computes them again. The faces can be divided among several
processes (torchrun, or --shard i/n in a job array); afterwards the same command without them writes
the summary.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from s3pot.commands import cli
from s3pot.config import Config


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    parser = cli.new_parser(__doc__, "./results", (cli.LABELS,))
    add = parser.add_argument
    add("--datapath", type=Path, required=True, help="folder written by generate_reference.py")
    add("--checkpoint", type=Path, help="trained adapter (default: that of the mini set)")
    add("--save_vis", action="store_true", help="also write pictures and index.html")
    add("--to_photo", action="store_true", help="also write the masks in the photo's own frame")
    add("--save_logits", action="store_true", help="also write the visible-face logits")
    add("--save_coco", action="store_true", help="also write the masks as one COCO file")
    add("--overwrite", action="store_true", help="process finished faces again")
    cli.add_strict(parser)
    cli.add_selection(parser, "faces")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)

    def body(config: Config) -> int:
        # Here, not above: --help should not wait for PyTorch.
        from s3pot.report.writer import ResultOptions
        from s3pot.runs.inference import InferenceOptions, run_inference

        options = InferenceOptions(
            datapath=args.datapath,
            output_dir=args.output_dir,
            checkpoint=args.checkpoint,
            results=ResultOptions(
                save_vis=args.save_vis,
                to_photo=args.to_photo,
                save_logits=args.save_logits,
                save_coco=args.save_coco,
            ),
            overwrite=args.overwrite,
            selection=cli.selection_from(args),
        )
        return run_inference(config, options)

    return cli.run(args, body)

r"""Make figures for a paper from result folders, as PNG and PDF.

    s3pot figure ./results --output_dir ./figures
    s3pot figure ./results --faces test_01 test_07 --columns raw reference overlay truth error
    s3pot figure ./results/general ./results/fitted --datapath ./dataset/processed_data/val

faces.*: rows of faces, by default the best, the median and the worst (of the first folder, which is
named above them if there are several; needs inference with --save_vis). iou_histogram.*,
iou_by_share.*: need a ground truth beside the faces; the share is true_share of summary.csv.
iou_by_kind.*: of the first folder; needs --meta. precision_recall.*: needs --datapath and inference
with --save_logits.
A figure that cannot be made is reported with the reason.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from s3pot.commands import cli
from s3pot.config import Config

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    parser = cli.new_parser(__doc__, "./figures", configurable=False)
    add = parser.add_argument
    where = "folders of inference.py, train_per_image.py or s3pot segment"
    add("results", type=Path, nargs="+", help=where)
    add("--faces", nargs="+", help="names of faces (default: best, median and worst)")
    add("--each", type=int, default=2, help="how many best, median and worst faces (default: 2)")
    add(
        "--columns", nargs="+", help="pictures of a row: raw classes reference points attention ..."
    )
    add("--datapath", type=Path, help="data folder of the faces, for precision and recall")
    add("--meta", type=Path, help="meta.jsonl of drawn faces, for the kinds of occluders")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)

    def body(_: Config) -> int:
        # Here, not above: --help should not wait for Matplotlib.
        from s3pot.report.figures import DEFAULT_COLUMNS
        from s3pot.runs.figures import FigureOptions, write_figures
        from s3pot.runs.shard import require_one_process

        require_one_process("Drawing figures")
        options = FigureOptions(
            results=args.results,
            output_dir=args.output_dir,
            faces=args.faces or (),
            each=args.each,
            columns=args.columns or DEFAULT_COLUMNS,
            datapath=args.datapath,
            meta=args.meta,
        )
        for figure in write_figures(options):
            logger.info("%s.png and .pdf", figure)
        return 0

    return cli.run(args, body, keeps_items=False)

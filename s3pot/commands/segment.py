r"""Segment the occlusions of faces in photos, in one step: first references, then masks.

Commands:
    s3pot segment photo.jpg --output_dir out --config mini --save_vis
    s3pot segment ./photos --output_dir out --checkpoint adapter.pth --all_faces
    s3pot segment "trip/**/*.jpg" --output_dir out --config mini --strict align.mode=always

Masks and overlays are written in the frame of the aligned face and in that of the photo. The
aligned faces with their references are in <output_dir>/faces, where the other commands can read
them (--datapath). Finished photos are kept; --overwrite processes them again. The photos can be
divided among several processes (torchrun, or --shard i/n in a job array); afterwards the same
command without them writes the summary.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from s3pot.commands import cli
from s3pot.config import Config
from s3pot.types import S3potError


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    parser = cli.new_parser(__doc__, "./results/segment", takes_photos=True)
    add = parser.add_argument
    add("--checkpoint", type=Path, help="trained adapter (default: that of the mini set)")
    add("--all_faces", action="store_true", help="all faces of a photo, not only the largest")
    add("--save_vis", action="store_true", help="also write pictures and index.html")
    add("--save_coco", action="store_true", help="also write the masks as one COCO file")
    add("--overwrite", action="store_true", help="process finished photos again")
    cli.add_strict(parser)
    cli.add_selection(parser, "photos")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)
    photos, args.overrides = cli.split_photos(args.overrides)

    def body(config: Config) -> int:
        # Here, not above: --help should not wait for PyTorch.
        from s3pot.runs.segment import SegmentOptions, run_segment

        if not photos:
            raise S3potError("no photo was given; see --help")
        options = SegmentOptions(
            inputs=photos,
            output_dir=args.output_dir,
            checkpoint=args.checkpoint,
            all_faces=args.all_faces,
            save_vis=args.save_vis,
            save_coco=args.save_coco,
            overwrite=args.overwrite,
            selection=cli.selection_from(args),
        )
        return run_segment(config, options)

    return cli.run(args, body)

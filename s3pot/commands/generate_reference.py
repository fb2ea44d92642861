r"""Align, parse and generate a clean reference of every photo in a folder (RG, paper section 3.1).

Commands:
    python generate_reference.py --input_dir ./dataset/raw_images \
        --output_dir ./dataset/processed_data --faceParser_name bisenet
    python generate_reference.py --input_dir faces --output_dir processed --config mini
    torchrun --nproc_per_node 8 generate_reference.py --input_dir faces --output_dir processed

Finished photos are skipped; --overwrite processes them again. The photos can be divided among
several processes (torchrun, or --shard i/n in a job array).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from s3pot.commands import cli
from s3pot.config import Config

FACE_PARSER = cli.Setting("--faceParser_name", "model.parser", "face parser: bisenet or segnext")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    parser = cli.new_parser(__doc__, "./dataset/processed_data", (FACE_PARSER, cli.LABELS))
    add = parser.add_argument
    add(
        "--input_dir",
        type=Path,
        default=Path("./dataset/raw_images"),
        help="folder of photos, or one photo (default: ./dataset/raw_images)",
    )
    add(
        "--truth_dir",
        type=Path,
        help="folder of truths, if known: <stem>_occlusion.png, <stem>.png or LabelMe <stem>.json, "
        "<stem>_visible_face.png, <stem>_ignore.png, <stem>_true_parsing.npy, <stem>_clean.png",
    )
    add("--all_faces", action="store_true", help="all faces of a photo, not only the largest")
    add("--overwrite", action="store_true", help="process finished photos again")
    cli.add_strict(parser)
    cli.add_selection(parser, "photos")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)

    def body(config: Config) -> int:
        # Here, not above: --help should not wait for PyTorch.
        from s3pot.runs.generate_reference import ReferenceOptions, run_generate_reference

        options = ReferenceOptions(
            input_dir=args.input_dir,
            output_dir=args.output_dir,
            truth_dir=args.truth_dir,
            all_faces=args.all_faces,
            overwrite=args.overwrite,
            selection=cli.selection_from(args),
        )
        return run_generate_reference(config, options)

    return cli.run(args, body)

r"""Split faces, a converted data set or a folder of images into parts, reproducibly.

    s3pot data split --input_dir ./dataset/faces --output_dir ./dataset/parts \
        --parts train=0.8 val=0.2 --group_by prefix --seed 1
    s3pot data split --input_dir ./CelebA --output_dir ./dataset/parts --as lists \
        --parts train=100 val=20 --group_by ./CelebA/identity_CelebA.txt

Each group goes into one part as a whole, so that no person is in both train and val. Writes a list
of names for each part, split.json, and folders of links or copies, which train_general.py accepts
as --datapath.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from s3pot.commands import cli
from s3pot.config import Config


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    parser = cli.new_parser(__doc__, "./dataset/parts", configurable=False)
    add = parser.add_argument
    add("--input_dir", type=Path, required=True, help="folder to split")
    add(
        "--parts",
        nargs="+",
        default=["train=0.9", "val=0.1"],
        metavar="NAME=AMOUNT",
        help="shares (train=0.8) or numbers of images (train=100); default: train=0.9 val=0.1",
    )
    add(
        "--group_by",
        default="none",
        metavar="WHAT",
        help="what stays together: none, folder, prefix (names up to the first _ or -), or a file "
        "with a name and its group, such as a person, on each line (default: none)",
    )
    add("--seed", type=int, default=0, help="seed of the split (default: 0)")
    add(
        "--as",
        dest="form",
        choices=("links", "copies", "lists"),
        default="links",
        help="folders of links or of copies, or only lists (default: links)",
    )
    add("--overwrite", action="store_true", help="replace a different split in --output_dir")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)

    def body(_: Config) -> int:
        from s3pot.data.datasets.grouping import parse_parts
        from s3pot.runs.shard import require_one_process
        from s3pot.runs.split_dataset import SplitOptions, split_dataset

        require_one_process("A split")
        options = SplitOptions(
            input_dir=args.input_dir,
            output_dir=args.output_dir,
            parts=parse_parts(args.parts),
            group_by=args.group_by,
            seed=args.seed,
            form=args.form,
            overwrite=args.overwrite,
        )
        return split_dataset(options)

    return cli.run(args, body)

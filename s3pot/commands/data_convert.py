r"""Convert a data set into folders for generate_reference.py, or into another layout.

    s3pot data convert --from realocc --input_dir ./RealOcc --output_dir ./dataset/realocc
    s3pot data convert --from cofw --input_dir ./FaceOcc --output_dir ./dataset/cofw
    s3pot data convert --from celebamask-hq --input_dir ./CelebAMask-HQ --output_dir ./dataset/hq
    s3pot data convert --from folders --input_dir ./mine --images photos --masks masks \
        --polarity occlusion --output_dir ./dataset/mine
    s3pot data convert --from coco --input_dir ./coco --annotations ./coco/faces.json \
        --output_dir ./dataset/coco
    s3pot data convert --from s3pot --input_dir ./dataset/mine --to labelme --output_dir ./labelme

Finished images are skipped; --overwrite converts them again. Images that cannot be converted are
reported by name, and the rest is converted. docs/USAGE.md describes the layout of each format.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from s3pot.commands import cli
from s3pot.config import Config

if TYPE_CHECKING:
    from s3pot.data.datasets.formats import SourceOptions

DATASET_FORMATS = (
    "authors",
    "realocc",
    "cofw",
    "celebamask-hq",
    "folders",
    "coco",
    "labelme",
    "s3pot",
    "faces",
)
TARGETS = ("s3pot", "folders", "coco", "labelme", "faces")


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe a data set, other than its format; see ``source_from``."""
    source = parser.add_argument_group("the data set")
    add = source.add_argument
    add("--images", default="", metavar="FOLDER", help="folder of images (formats folders, coco)")
    add("--masks", default="", metavar="FOLDER", help="folder of masks (folders)")
    add("--ignore_masks", default="", metavar="FOLDER", help="masks of ignored pixels (folders)")
    add("--mask_ending", default="", metavar="_MASK", help="ending of the masks' names (folders)")
    add(
        "--polarity",
        default="",
        choices=("occlusion", "visible_face"),
        help="what masks or instances mark (folders, coco)",
    )
    add("--annotations", type=Path, metavar="FILE", help="the JSON file (coco)")


def source_from(args: argparse.Namespace, config: Config) -> SourceOptions:
    """Collect the options of ``add_source`` and the labels of the config as ``SourceOptions``."""
    from s3pot.data.datasets.formats import SourceOptions
    from s3pot.data.label_policy import LabelPolicy

    return SourceOptions(
        images=args.images,
        masks=args.masks,
        ignored=args.ignore_masks,
        mask_ending=args.mask_ending,
        polarity=args.polarity,
        annotations=args.annotations,
        policy=LabelPolicy.from_text(config.truth.labels, config.truth.ignore),
    )


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    parser = cli.new_parser(__doc__, "./dataset/converted", settings=(cli.LABELS,))
    add = parser.add_argument
    add("--from", dest="source_format", choices=DATASET_FORMATS, required=True, help="its format")
    add("--to", dest="target_format", choices=TARGETS, default="s3pot", help="default: s3pot")
    add("--input_dir", type=Path, required=True, help="folder of the data set")
    add("--polygons", action="store_true", help="--to coco: write polygons where they are exact")
    add("--overwrite", action="store_true", help="also convert finished images again")
    add_source(parser)
    cli.add_selection(parser, "images")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)

    def body(config: Config) -> int:
        from s3pot.runs.convert_dataset import ConvertOptions, convert_dataset

        options = ConvertOptions(
            input_dir=args.input_dir,
            output_dir=args.output_dir,
            source_format=args.source_format,
            target_format=args.target_format,
            source=source_from(args, config),
            as_polygons=args.polygons,
            overwrite=args.overwrite,
            selection=cli.selection_from(args),
            max_pixels=config.run.max_pixels,
        )
        return convert_dataset(options)

    return cli.run(args, body)

r"""Measure a configuration on real photos of unoccluded faces, with occluders pasted on.

    python -m tools.real_photos --photos DIR --config configs/mini.yaml --out results/photos
    python -m tools.real_photos --photos DIR --config configs/mini.yaml --out results/photos \
        --crop align --detector weights/face_detection_yunet_2023mar.onnx
    python -m tools.real_photos --photos DIR --config configs/mini.yaml --out results/side_lit \
        --look side_lit

DIR holds <name>.jpg and <name>_label.png in the colors of FASSEG. ``photo_truth.py`` defines the
region and what is ignored, ``photo_paste.py`` creates the occluders, and ``photo_looks.py`` makes
photos harder before that. Writes ``pictures.csv`` (a row for each occluded picture), ``photos.csv``
(a row for each unoccluded photo) and contact sheets, and prints means with 95 % bootstrap intervals
over the rows.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Union

import cv2
import numpy as np

from s3pot.api import FaceSegmenter, load_from_config
from s3pot.commands.cli import new_parser, run
from s3pot.config import Config
from s3pot.data.image import write_png
from s3pot.io import write_csv
from s3pot.labels import OCCLUSION_CLASS, REGION_CLASSES
from s3pot.metrics import mask_scores
from s3pot.report import vis
from s3pot.rg.detect import FaceDetector
from s3pot.runs.each import run_each
from s3pot.segmentation import Segmentation
from s3pot.statistics import bootstrap_interval
from s3pot.types import S3potError
from tools.photo_looks import LOOKS
from tools.photo_paste import Pasted, paste
from tools.photo_truth import LabeledFace, find_photos, read_face

logger = logging.getLogger("s3pot.tools.real_photos")
Row = Mapping[str, Union[str, int, float]]

TILE, SHEET_ROWS = 192, 16
GRAY, GREEN = (128, 128, 128), (40, 200, 90)
MEASURES = {  # columns of pictures.csv
    "region_iou": "region, occluded picture against truth",
    "region_iou_unoccluded": "region, occluded against unoccluded photo",
    "reach": "true occlusion inside the parsed region",
    "called_occluded": "pictures called occluded",
    "found": "pictures whose occluder is found at all",
    "occlusion_iou": "occlusion IoU",
    "precision": "occlusion precision",
    "recall": "occlusion recall",
    "point_precision": "PS's occlusion points that lie on the occluder",
    "point_recall": "points on the occluder that PS calls occlusion",
    "share": "hidden share: IoU of marking all of it",
}
UNOCCLUDED_MEASURES = {  # columns of photos.csv
    "region_iou": "region, unoccluded photo against truth",
    "called_occluded": "photos called occluded",
    "false_occlusion": "share of the region called occluded",
}


@dataclass(frozen=True)
class Measured:
    """The results of one photo: rows of the tables and rows of the contact sheet."""

    unoccluded: Row
    pictures: list[Row]
    lines: list[np.ndarray]


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the tool's options."""
    parser = new_parser(__doc__)
    parser.prog = "python -m tools.real_photos"
    add = parser.add_argument
    add("--photos", type=Path, required=True, help="folder of labeled photos")
    add("--out", type=Path, required=True, help="folder for tables and contact sheets")
    add("--crop", choices=("pad", "align"), default="pad", help="whole photo, or FFHQ crop (pad)")
    add("--detector", type=Path, help="YuNet ONNX file, for --crop align")
    add("--size", type=int, default=256, help="side of the working image (256)")
    add("--variants", type=int, default=4, help="occluded pictures of each photo (4)")
    add("--seed", type=int, default=0, help="seed of the occluders (0)")
    add("--look", choices=tuple(LOOKS), default="plain", help="change of the photos (plain)")
    add("--checkpoint", type=Path, help="adapter (default: that of the mini set)")
    return parser


def parsed_region(result: Segmentation) -> np.ndarray:
    """Return the parsed face region, including occluded pixels: bool (S, S)."""
    return np.isin(result.parsing, (*REGION_CLASSES, OCCLUSION_CLASS))


def measure_unoccluded(photo: LabeledFace, result: Segmentation) -> Row:
    """Build the row of an unoccluded photo."""
    judged, region = ~photo.ignored, parsed_region(result)
    return {
        "photo": photo.name,
        "region_iou": mask_scores(region & judged, photo.region).iou,
        "called_occluded": float(result.is_occluded),
        "false_occlusion": float(result.occlusion.sum() / max(1, region.sum())),
    }


def measure_occluded(
    photo: LabeledFace, unoccluded: Segmentation, pasted: Pasted, result: Segmentation
) -> Row:
    """Build the row of an occluded picture."""
    judged, region, truth = ~photo.ignored, parsed_region(result), pasted.occlusion
    scores = mask_scores(result.occlusion & judged, truth)
    return {
        "photo": photo.name,
        "group": pasted.group,
        "kind": pasted.kind,
        "share": round(pasted.share, 4),
        "region_iou": mask_scores(region & judged, photo.region).iou,
        "region_iou_unoccluded": mask_scores(region, parsed_region(unoccluded)).iou,
        "reach": float((region & truth).sum() / truth.sum()),
        "called_occluded": float(result.is_occluded),
        "found": float(scores.true_positive > 0),
        "occlusion_iou": scores.iou,
        "precision": scores.precision,
        "recall": scores.recall,
        **measure_points(photo, truth, result),
    }


def measure_points(photo: LabeledFace, truth: np.ndarray, result: Segmentation) -> Row:
    """Measure how well PS separates hidden from visible points outside the ignored zone."""
    columns, rows = result.points.round().astype(int).clip(0, len(truth) - 1).reshape(-1, 2).T
    judged = ~photo.ignored[rows, columns]
    hidden, called = truth[rows, columns] & judged, (result.labels == 0) & judged
    hits = int((hidden & called).sum())
    return {
        "point_precision": hits / max(1, int(called.sum())),
        "point_recall": hits / max(1, int(hidden.sum())),
    }


def draw_line(photo: LabeledFace, pasted: Pasted, result: Segmentation) -> np.ndarray:
    """Draw photo, occluded, parsing, reference, truth, prediction: (TILE, 6 TILE, 3) uint8."""
    shown, classes = pasted.picture, vis.color_labels(result.parsing)
    truth = vis.overlay(vis.overlay(shown, photo.ignored, GRAY, 0.7), photo.region, GREEN, 0.25)
    predicted = vis.overlay(shown, parsed_region(result), GREEN, 0.25)
    tiles = [
        photo.picture,
        shown,
        shown // 2 + classes // 2,
        result.reference,
        vis.overlay(truth, pasted.occlusion),
        vis.overlay(predicted, result.occlusion),
    ]
    small = [cv2.resize(tile, (TILE, TILE), interpolation=cv2.INTER_AREA) for tile in tiles]
    line, text = np.concatenate(small, axis=1), f"{photo.name} {pasted.kind}"
    for color, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(line, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, width, cv2.LINE_AA)
    return line


def table(rows: Sequence[Row], measures: Mapping[str, str]) -> list[str]:
    """Format a line of text for each measure: mean and interval."""
    lines = []
    for column, text in measures.items():
        values = [float(row[column]) for row in rows]
        lines.append(f"{text:42}{np.mean(values):8.3f}   {_interval_text(values)}")
    return lines


def _interval_text(values: Sequence[float]) -> str:
    interval = bootstrap_interval(values)
    if interval is None or interval.low is None or interval.high is None:
        return ""
    return f"[{interval.low:.3f}, {interval.high:.3f}]"


def by_column(rows: Sequence[Row], column: str) -> list[str]:
    """Format a line for each value of a column: count, share, occlusion and region IoU."""
    lines = [f"{column:16}{'n':>4}{'share':>8}{'occl. IoU':>11}{'95 %':>17}{'region IoU':>12}"]
    for value in sorted({str(row[column]) for row in rows}):
        part = [row for row in rows if row[column] == value]
        share, iou, region = (
            [float(row[key]) for row in part] for key in ("share", "occlusion_iou", "region_iou")
        )
        interval = _interval_text(iou)
        means = f"{np.mean(share):8.3f}{np.mean(iou):11.3f}{interval:>17}{np.mean(region):12.3f}"
        lines.append(f"{value:16}{len(part):4}{means}")
    return lines


def measure_photos(
    photos: Mapping[str, LabeledFace], model: FaceSegmenter, args: argparse.Namespace
) -> list[Measured]:
    """Segment every photo, both unoccluded and with each of its occluders."""
    names = list(photos)

    def measure_photo(photo: LabeledFace) -> Measured:
        unoccluded = model.segment(photo.picture)
        others = [other for other in photos.values() if other.name != photo.name]
        measured = Measured(measure_unoccluded(photo, unoccluded), [], [])
        for variant in range(args.variants):
            number = names.index(photo.name) * args.variants + variant
            pasted = paste(photo, others, number, args.seed)
            if pasted is None:
                logger.warning("%s: occluder %d hides too little or too much", photo.name, number)
                continue
            result = model.segment(pasted.picture)
            measured.pictures.append(measure_occluded(photo, unoccluded, pasted, result))
            measured.lines.append(draw_line(photo, pasted, result))
        return measured

    return run_each(photos, measure_photo, "faces")


def write_sheets(folder: Path, lines: Sequence[np.ndarray]) -> None:
    """Write contact sheets of SHEET_ROWS rows each, ``sheet_01.png`` and so on."""
    for start in range(0, len(lines), SHEET_ROWS):
        sheet = np.concatenate(lines[start : start + SHEET_ROWS])
        write_png(folder / f"sheet_{start // SHEET_ROWS + 1:02d}.png", sheet)


def measure(config: Config, args: argparse.Namespace) -> int:
    """Run all measurements; returns how many photos failed, each named in the log.

    Raises:
        S3potError: Nothing can be done: no photos, inconsistent options, missing weights.
    """
    if (args.crop == "align") != (args.detector is not None):
        raise S3potError("--crop align and --detector FILE, a YuNet ONNX file, go together")
    if args.size < 32 or args.variants < 1:
        options = f"--size {args.size} and --variants {args.variants}"
        raise S3potError(f"{options}; expected a size of at least 32 and 1 variant or more")
    config = replace(config, align=replace(config.align, mode="never"))  # cropping is done here
    files = find_photos(args.photos)
    if len(files) < 2:
        raise S3potError(f"--photos {args.photos} holds 1 labeled photo; expected 2 or more")
    model = load_from_config(config, args.checkpoint)
    detector = FaceDetector(args.detector) if args.detector else None

    def read(name: str) -> LabeledFace:
        return LOOKS[args.look](read_face(name, *files[name], args.size, detector))

    faces = {face.name: face for face in run_each({name: name for name in files}, read, "photos")}
    done = measure_photos(faces, model, args)
    pictures = [row for entry in done for row in entry.pictures]
    if not pictures:
        raise S3potError("no occluder fits any photo; use more --variants")
    write_csv(args.out / "photos.csv", [entry.unoccluded for entry in done])
    write_csv(args.out / "pictures.csv", pictures)
    write_sheets(args.out, [line for entry in done for line in entry.lines])
    report = [f"{len(done)} unoccluded photos, {args.look}, crop {args.crop}, {args.size} px"]
    report += table([entry.unoccluded for entry in done], UNOCCLUDED_MEASURES)
    report += ["", f"{len(pictures)} occluded pictures, seed {args.seed}"]
    report += table(pictures, MEASURES)
    report += ["", *by_column(pictures, "group"), "", *by_column(pictures, "kind")]
    sys.stdout.write("\n".join(report) + "\n")
    return len(files) - len(done)


def main(argv: list[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = build_parser().parse_args(argv)
    return run(args, lambda config: measure(config, args), keeps_items=False)


if __name__ == "__main__":
    sys.exit(main())

"""Draw a contact sheet of synthetic faces.

    python -m tools.contact_sheet --out sheet.png --count 24 --split bench --seed 0
    python -m tools.contact_sheet --out bench.jpg --count 64 --split bench --columns 8 --by_grade

Each sample has four tiles: raw, clean, colored labels, and the occlusion in red over raw. With
--by_grade it has two, raw above occlusion, and the rows show the first easy, medium and hard
samples.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from s3pot.labels import COLORS
from s3pot_synthetic import FaceSample, draw_face

GRADES = ("easy", "medium", "hard")


def marked(sample: FaceSample) -> np.ndarray:
    """Overlay the occlusion in red on the picture: (S, S, 3) uint8."""
    overlay = sample.raw.copy()
    overlay[sample.occlusion] = overlay[sample.occlusion] // 2 + np.array([127, 0, 0], np.uint8)
    return overlay


def tiles(sample: FaceSample) -> np.ndarray:
    """Put the views of one sample side by side: (S, 4 S, 3) uint8."""
    labels = np.array(COLORS, np.uint8)[sample.labels]
    return np.concatenate([sample.raw, sample.clean, labels, marked(sample)], 1)


def sheet(count: int, split: str, seed: int, size: int, columns: int, start: int) -> np.ndarray:
    """Draw ``count`` samples in rows of ``columns``: (H, W, 3) uint8."""
    rows = [tiles(draw_face(start + i, size, split, seed=seed)) for i in range(count)]
    rows += [np.zeros_like(rows[0])] * (-count % columns)
    lines = [np.concatenate(rows[i : i + columns], 1) for i in range(0, len(rows), columns)]
    return np.concatenate(lines, 0)


def by_grade(count: int, split: str, seed: int, size: int, columns: int, start: int) -> np.ndarray:
    """Show the first ``columns`` occluded faces of each grade of ``count``: (6 S, W, 3) uint8."""
    pictures: dict[str, list[np.ndarray]] = {grade: [] for grade in GRADES}
    for index in range(start, start + count):
        sample = draw_face(index, size, split, seed=seed)
        line = pictures[str(sample.meta["difficulty"])]
        if sample.occlusion.any() and len(line) < columns:
            line.append(np.concatenate([sample.raw, marked(sample)], 0))
    picture = np.zeros((len(GRADES), 2 * size, columns * size, 3), np.uint8)
    for place, line in zip(picture, pictures.values()):
        for column, pair in enumerate(line):
            place[:, column * size : (column + 1) * size] = pair
    return picture.reshape(-1, columns * size, 3)


def main(argv: list[str] | None = None) -> int:
    """Write the sheet and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.contact_sheet",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="picture to write")
    parser.add_argument("--count", type=int, default=24, help="number of samples (24)")
    parser.add_argument(
        "--split", choices=("train", "bench"), default="train", help="default train"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the set (0)")
    parser.add_argument("--size", type=int, default=128, help="side of a tile in pixels (128)")
    parser.add_argument("--columns", type=int, default=3, help="samples in a row (3)")
    parser.add_argument("--start", type=int, default=0, help="first index (0)")
    parser.add_argument("--by_grade", action="store_true", help="one line per grade")
    args = parser.parse_args(argv)
    make = by_grade if args.by_grade else sheet
    picture = make(args.count, args.split, args.seed, args.size, args.columns, args.start)
    if not cv2.imwrite(str(args.out), picture[..., ::-1]):
        parser.error(f"cannot write {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Draw a contact sheet of drawn photos with the faces that the bundled detector finds.

    python -m tools.detector_sheet --out docs/images/detector.jpg

Each canvas shows one or four drawn people in front of a drawn background, upright, tilted, sideways
or upside down; every other person is occluded. Boxes, landmarks, FFHQ crops and scores are those of
the detector, which the parser supports as in ``configs/mini.yaml``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from s3pot.io import atomic_path
from s3pot.rg.detect import Face
from s3pot.rg.mini_detector import MIN_SCORE
from s3pot_synthetic.crowd_backgrounds import draw_background
from s3pot_synthetic.crowd_bank import draw_person
from tools.detector_photos import Portrait, draw_finds, load_finder, put

SEED = 21  # of the people; the detector was trained on people of seed 0
CANVAS = 480  # side of a canvas in pixels
PERSON = 320  # side of a drawn person in pixels
TURNS = (0, 25, 180, 0, 10, 90, -40, 0)  # rotation of the people on each canvas in degrees
SEVERAL = (3, 7)  # canvases with four people
COLUMNS = 4
QUALITY = 85  # of the JPEG


def draw_portrait(index: int, seed: int) -> Portrait:
    """Draw a person; those with odd numbers have an occluder in front of the face."""
    drawn = draw_person(index, PERSON, seed)
    picture = drawn["whole"]
    matte = drawn["people"][..., 3]
    if index % 2:
        occluder, coverage = drawn["occluders"][..., :3], drawn["occluders"][..., 3:]
        picture = np.where(coverage > 127, occluder, picture)
        matte = np.maximum(matte, coverage[..., 0])
    low, high = drawn["outlines"].min(axis=0), drawn["outlines"].max(axis=0)
    face = Face((*low.tolist(), *(high - low).tolist()), 1.0, drawn["landmarks"])
    return Portrait(f"person {index}", picture, matte, face)


def draw_canvas(number: int, seed: int) -> np.ndarray:
    """Draw one canvas of the sheet, uint8 (CANVAS, CANVAS, 3)."""
    rng = np.random.default_rng([seed, number])
    canvas = draw_background(rng, CANVAS)
    centers = [(0.5, 0.5)]
    heights = (0.3, 0.65)  # heights of a face as shares of the canvas
    if number in SEVERAL:
        centers = [(0.28, 0.28), (0.72, 0.28), (0.28, 0.72), (0.72, 0.72)]
        heights = (0.12, 0.28)
    for place, center in enumerate(centers):
        portrait = draw_portrait(10 * number + place + number % 2, seed)
        height = CANVAS * rng.uniform(*heights)
        degrees = TURNS[number] + rng.normal(0, 8)
        put(canvas, portrait, height, degrees, CANVAS * np.array(center))
    return canvas


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the tool's options."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.detector_sheet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="JPEG to write")
    parser.add_argument("--weights_dir", type=Path, help="folder of the mini models")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of people and canvases ({SEED})")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = build_parser().parse_args(argv)
    detector = load_finder(args.weights_dir)
    tiles = []
    for number in range(len(TURNS)):
        canvas = draw_canvas(number, args.seed)
        faces = [face for face in detector.detect(canvas) if face.score >= MIN_SCORE]
        tiles.append(draw_finds(canvas, faces))
    rows = [np.concatenate(tiles[i : i + COLUMNS], axis=1) for i in range(0, len(tiles), COLUMNS)]
    with atomic_path(args.out) as aside:
        Image.fromarray(np.concatenate(rows)).save(aside, "JPEG", quality=QUALITY)
    return 0


if __name__ == "__main__":
    sys.exit(main())

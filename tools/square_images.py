"""Measure which square images, with and without a face, are accepted, doubtful or rejected.

    python -m tools.square_images --config configs/mini.yaml
    python -m tools.square_images --config configs/mini.yaml --photos DIR

A square image may be a portrait, so the configuration segments it if there is any sign of a face in
it. The images are drawn training portraits, drawn backgrounds without people, shapes with random
textures, and noise, waves, gradients and single colors. DIR holds labeled photos as for
``tools.real_photos``: they are used unoccluded, with a pasted occluder, and as windows that exclude
the face. The tool prints how many images of each group pass, are marked as doubtful, and are
rejected because they show no face.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from s3pot.api import FaceSegmenter, load_from_config
from s3pot.commands.cli import new_parser, run
from s3pot.config import Config
from s3pot.quality import OK
from s3pot.rg.detect import NoFace
from s3pot_synthetic import draw_face
from s3pot_synthetic.crowd_backgrounds import draw_background
from s3pot_synthetic.segments import texture_scene
from tools.photo_paste import paste
from tools.photo_truth import LabeledFace, find_photos, read_face

logger = logging.getLogger("s3pot.tools.square_images")

SEED = 4444  # of all images; the bundled models were trained on faces of seed 0
SIDE = 256  # in pixels
WINDOW = 0.25  # side of a window of a photo, relative to the photo's
WINDOWS = 2  # windows of each photo
TRIES = 200  # random windows, of which the first without any of the face is used
VERDICTS = ("pass", "doubtful", "no face")


def draw_plain(rng: np.random.Generator, number: int) -> np.ndarray:
    """Draw noise, a wave, a gradient or one color, in turn: uint8 (SIDE, SIDE, 3)."""
    x = np.broadcast_to(np.linspace(0, 1, SIDE)[:, None], (SIDE, SIDE, 1))
    amount = (
        rng.random((SIDE, SIDE, 1)),
        0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(2, 12) * x),
        x,
        np.ones((SIDE, SIDE, 1)),
    )[number % 4]
    first, second = rng.uniform(0, 255, (2, 3))
    return np.round(first + amount * (second - first)).astype(np.uint8)


def drawn_images(numbers: range) -> dict[str, list[np.ndarray]]:
    """Draw the images with these numbers of all groups that need no photos."""
    rngs = [np.random.default_rng([SEED, number]) for number in numbers]
    return {
        "drawn portraits": [draw_face(index, SIDE, "train", seed=SEED).raw for index in numbers],
        "drawn backgrounds": [draw_background(rng, SIDE) for rng in rngs],
        "shapes with textures": [texture_scene(rng, SIDE)[0] for rng in rngs],
        "plain": [draw_plain(rng, number) for number, rng in zip(numbers, rngs)],
    }


def window_without_face(rng: np.random.Generator, photo: LabeledFace) -> np.ndarray | None:
    """Cut a square window that contains nothing of the face; None if there is none."""
    size = len(photo.picture)
    side = round(WINDOW * size)
    for _ in range(TRIES):
        top, left = rng.integers(0, size - side, 2)
        inner = slice(top, top + side), slice(left, left + side)
        if not photo.region[inner].any():
            return cv2.resize(photo.picture[inner], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    return None


def photo_images(photos: Sequence[LabeledFace], numbers: range) -> dict[str, list[np.ndarray]]:
    """Prepare the groups made from the labeled photos with these numbers."""
    chosen = photos[numbers.start : numbers.stop]
    pasted, windows = [], []
    for number, photo in zip(numbers, chosen):
        others = [other for other in photos if other is not photo]
        pasted.append(paste(photo, others, number, SEED))
        rng = np.random.default_rng([SEED, number])
        windows += [window_without_face(rng, photo) for _ in range(WINDOWS)]
    return {
        "photos": [photo.picture for photo in chosen],
        "photos with an occluder": [entry.picture for entry in pasted if entry is not None],
        "windows of photos": [window for window in windows if window is not None],
    }


def verdict(model: FaceSegmenter, image: np.ndarray) -> str:
    """Segment an image and return one of VERDICTS."""
    try:
        result = model.segment(image)
    except NoFace:
        return "no face"
    return "pass" if result.quality == OK else "doubtful"


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the tool's options."""
    parser = new_parser(__doc__)
    parser.prog = "python -m tools.square_images"
    add = parser.add_argument
    add("--photos", type=Path, help="folder of labeled photos (none)")
    add("--first", type=int, default=0, help="number of the first image of each group (0)")
    add("--count", type=int, default=40, help="images of each group (40)")
    return parser


def measure(config: Config, args: argparse.Namespace) -> int:
    """Segment all images and print the table; returns 0."""
    model = load_from_config(config)
    numbers = range(args.first, args.first + args.count)
    groups = drawn_images(numbers)
    if args.photos is not None:
        files = find_photos(args.photos)
        photos = [read_face(name, *files[name], SIDE, None) for name in files]
        groups.update(photo_images(photos, numbers))
    sys.stdout.write(f"{'':26}images" + "".join(f"{name:>10}" for name in VERDICTS) + "\n")
    for name, images in groups.items():
        verdicts = [verdict(model, image) for image in images]
        counts = "".join(f"{verdicts.count(each):10}" for each in VERDICTS)
        sys.stdout.write(f"{name:26}{len(images):6}{counts}\n")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = build_parser().parse_args(argv)
    return run(args, lambda config: measure(config, args), keeps_items=False)


if __name__ == "__main__":
    sys.exit(main())

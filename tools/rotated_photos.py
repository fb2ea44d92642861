"""Measure how many faces are cropped the right way up in photos rotated by 90, 180 and 270 degrees.

    python -m tools.rotated_photos --config configs/mini.yaml
    python -m tools.rotated_photos --config configs/mini.yaml --photos DIR

Drawn training faces are shown as portraits, most of them occluded, and unoccluded on larger drawn
backgrounds (``tools.drawn_crops``). DIR holds labeled photos as for ``tools.real_photos``; they are
shown whole, and small and tilted on drawn backgrounds. The tool prints the share of the faces of
which a crop was found that deviates from the true one by at most ANGLE degrees and by at most FAR
of its side.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3pot.build import build_aligner
from s3pot.commands.cli import new_parser, run
from s3pot.config import Config
from s3pot.geometry import TURNS, rotated_points
from s3pot.rg.align import FaceAligner, quad_from_landmarks
from s3pot.rg.detect import NoFace
from s3pot_synthetic import draw_face
from tools.drawn_crops import draw_photo
from tools.photo_scenes import SIZE, Person, draw_canvas
from tools.photo_truth import PARTS, LabeledFace, find_photos, read_face

logger = logging.getLogger("s3pot.tools.rotated_photos")

SEED = 4343  # of the faces; the bundled models were trained on faces of seed 0
PORTRAIT = 256  # side of a drawn portrait in pixels
ANGLE, FAR = 30.0, 0.3


@dataclass(frozen=True)
class KnownFace:
    """A photo with one face.

    Attributes:
        image: uint8 (H, W, 3).
        landmarks: Five landmarks of its face, (5, 2).
    """

    image: np.ndarray
    landmarks: np.ndarray


def drawn_portraits(numbers: range) -> Iterator[KnownFace]:
    """Draw portraits of the train split."""
    for index in numbers:
        face = draw_face(index, PORTRAIT, "train", seed=SEED)
        yield KnownFace(face.raw, face.landmarks)


def drawn_photos(numbers: range) -> Iterator[KnownFace]:
    """Draw unoccluded faces of the train split, those with even numbers, on larger backgrounds."""
    for index in numbers:
        if index % 2 == 0:
            photo = draw_photo(index, SEED)
            yield KnownFace(photo.image, photo.landmarks)


def placed_photos(photos: Sequence[LabeledFace]) -> Iterator[KnownFace]:
    """Place labeled photos on drawn backgrounds, as ``tools.photo_scenes`` does."""
    nothing = np.zeros((SIZE, SIZE), bool)
    for photo in photos:
        matte = np.where(photo.parts != PARTS.index("background"), 255, 0).astype(np.uint8)
        person = Person(photo, photo.picture, nothing, matte)
        rng = np.random.default_rng([SEED, zlib.crc32(photo.name.encode())])
        canvas, (place,) = draw_canvas(rng, [person])
        yield KnownFace(canvas, place.landmarks)


def is_cropped_well(aligner: FaceAligner, face: KnownFace, turn: int) -> bool:
    """Whether the crop of a photo rotated counterclockwise by ``turn`` degrees shows its face."""
    size = (face.image.shape[0], face.image.shape[1])
    rotated = np.ascontiguousarray(np.rot90(face.image, turn // 90))
    try:
        (alignment,) = aligner.align(rotated)
    except NoFace:
        return False
    true = quad_from_landmarks(rotated_points(face.landmarks, turn, size))
    true_edge = true[3] - true[0]
    edge = alignment.corners[3] - alignment.corners[0]
    cosine = edge @ true_edge / (np.linalg.norm(edge) * np.linalg.norm(true_edge))
    away = np.linalg.norm(alignment.corners.mean(axis=0) - true.mean(axis=0))
    is_near = away <= FAR * np.linalg.norm(true_edge)
    return bool(cosine >= math.cos(math.radians(ANGLE)) and is_near)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the tool's options."""
    parser = new_parser(__doc__)
    parser.prog = "python -m tools.rotated_photos"
    add = parser.add_argument
    add("--photos", type=Path, help="folder of labeled photos (none)")
    add("--first", type=int, default=0, help="number of the first face of each kind (0)")
    add("--count", type=int, default=40, help="faces of each kind; half of the drawn photos (40)")
    return parser


def measure(config: Config, args: argparse.Namespace) -> int:
    """Rotate all photos, crop them, and print the table; returns 0."""
    aligner = build_aligner(config)
    numbers = range(args.first, args.first + args.count)
    groups = {
        "drawn portraits": list(drawn_portraits(numbers)),
        "drawn photos, unoccluded": list(drawn_photos(numbers)),
    }
    if args.photos is not None:
        files = find_photos(args.photos)
        names = list(files)[numbers.start : numbers.stop]
        photos = [read_face(name, *files[name], SIZE, None) for name in names]
        whole = [KnownFace(photo.picture, photo.place.landmarks) for photo in photos]
        groups["photos, whole"] = whole
        groups["photos, placed"] = list(placed_photos(photos))
    heads = "".join(f"{turn:8}" for turn in TURNS)
    sys.stdout.write(f"{'':26}faces{heads}\n")
    for name, faces in groups.items():
        shares = [
            np.mean([is_cropped_well(aligner, face, turn) for face in faces]) for turn in TURNS
        ]
        texts = "".join(f"{share:8.2f}" for share in shares)
        sys.stdout.write(f"{name:26}{len(faces):5}{texts}\n")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = build_parser().parse_args(argv)
    return run(args, lambda config: measure(config, args), keeps_items=False)


if __name__ == "__main__":
    sys.exit(main())

"""Measure how far the bundled models' crops are from the true ones, on drawn training faces.

    python -m tools.drawn_crops --config configs/mini.yaml --count 40 --first 100

Faces are drawn alternately with and without an occluder, and each is placed on a canvas at a random
size, tilt and position. The crop of the detector alone and that of the configuration, which the
parser confirms and refines (``s3pot.rg.refine``), are compared with the crop given by the drawn
landmarks. The tool prints how many faces are found, the largest distance between corresponding
corners as a share of the side, and the offsets from the parts of a parsing to the landmarks in the
true crop, which are the constants of ``s3pot.rg.refine``.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from s3pot.build import build_aligner, build_face_parser, weights_folder
from s3pot.commands.cli import new_parser, run
from s3pot.config import Config
from s3pot.data.pixels import to_tensor
from s3pot.rg.align import FaceAligner, from_landmarks, quad_from_landmarks
from s3pot.rg.detect import Detector, Face
from s3pot.rg.mini_detector import load_mini_detector
from s3pot.rg.parser import Parser
from s3pot.rg.refine import LEFT, MOUTH, RIGHT, find_middles
from s3pot.rg.warp import crop
from s3pot.types import S3potError
from s3pot_synthetic.crowd_backgrounds import draw_background
from s3pot_synthetic.crowd_bank import draw_person

SEED = 777  # of the faces; the detector was trained on faces of seed 0
FACE, CANVAS = 320, 560  # sides of a drawn face and of its canvas in pixels
SCALE = (0.4, 1.2)  # of the face on the canvas
LEAN = 15.0  # degrees, standard deviation
FOUND = 0.15  # of the crop side: largest mean landmark distance of a face that counts as found
CROP = 256


@dataclass(frozen=True)
class DrawnPhoto:
    """A drawn face on a canvas.

    Attributes:
        image: Image, uint8 (CANVAS, CANVAS, 3).
        landmarks: Five landmarks in the image's pixels, (5, 2).
        is_occluded: Whether an occluder was laid on the face.
    """

    image: np.ndarray
    landmarks: np.ndarray
    is_occluded: bool


def draw_photo(index: int, seed: int = SEED) -> DrawnPhoto:
    """Draw a face of the train split on a canvas; faces with odd numbers are occluded."""
    drawn = draw_person(index, FACE, seed)
    rng = np.random.default_rng([seed, 5, index])
    picture = drawn["whole"].astype(np.float64)
    matte = drawn["people"][..., 3] / 255
    is_occluded = index % 2 == 1
    if is_occluded:
        weight = drawn["occluders"][..., 3] / 255
        picture += weight[..., None] * (drawn["occluders"][..., :3] - picture)
        matte = np.maximum(matte, weight)
    canvas = draw_background(rng, CANVAS).astype(np.float64)
    scale = math.exp(rng.uniform(*np.log(SCALE)))
    angle = math.radians(rng.normal(0, LEAN))
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    center = CANVAS / 2 + rng.uniform(-0.1, 0.1, 2) * CANVAS
    shift = center - linear @ drawn["landmarks"].mean(axis=0)
    motion = np.concatenate([linear, shift[:, None]], axis=1)
    # Warping samples single pixels, so first blur away what is too fine for the canvas.
    picture = cv2.GaussianBlur(picture, (0, 0), 0.4 / scale)
    matte = cv2.GaussianBlur(matte, (0, 0), 0.4 / scale)
    sides = (CANVAS, CANVAS)
    warped = cv2.warpAffine(picture, motion, sides, borderMode=cv2.BORDER_REPLICATE)
    canvas += cv2.warpAffine(matte, motion, sides)[..., None] * (warped - canvas)
    image = canvas.round().clip(0, 255).astype(np.uint8)
    return DrawnPhoto(image, drawn["landmarks"] @ linear.T + shift, is_occluded)


def crop_error(landmarks: np.ndarray, truth: np.ndarray) -> float:
    """Return the largest corner distance of two faces' crops, as a share of the second's side."""
    want = quad_from_landmarks(truth)
    away = np.linalg.norm(quad_from_landmarks(landmarks) - want, axis=1)
    return float(away.max() / np.linalg.norm(want[3] - want[0]))


def find_face(photo: DrawnPhoto, detector: Detector) -> Face | None:
    """Return the detection of the drawn face; None if the detector misses it."""
    quad = quad_from_landmarks(photo.landmarks)
    side = float(np.linalg.norm(quad[3] - quad[0]))
    for face in detector.detect(photo.image):
        if np.linalg.norm(face.landmarks - photo.landmarks, axis=1).mean() < FOUND * side:
            return face
    return None


def crop_errors(photo: DrawnPhoto, alone: Detector, aligner: FaceAligner) -> dict[str, float]:
    """Measure the crops of one face: ``alone`` and ``refined`` → error; no entry if not found."""
    assert aligner.detector is not None
    assert aligner.refine is not None
    errors = {}
    face = find_face(photo, alone)
    if face is not None:
        errors["alone"] = crop_error(face.landmarks, photo.landmarks)
    face = find_face(photo, aligner.detector)
    if face is not None:
        landmarks = face.landmarks
        if not face.is_confirmed:
            landmarks = aligner.refine(photo.image, landmarks)
        errors["refined"] = crop_error(landmarks, photo.landmarks)
    return errors


def part_offsets(photo: DrawnPhoto, parser: Parser) -> list[tuple[str, np.ndarray]]:
    """Return the offsets from the centers of the parts to their landmarks, in the true crop.

    Returns:
        Names of parts and their offsets, (2,), as shares of the side; x grows away from the nose, y
        downward.
    """
    alignment = from_landmarks(photo.landmarks, (CANVAS, CANVAS), CROP)
    parsing = parser.parse(to_tensor(crop(photo.image, alignment))[None])[0].numpy()
    corners = alignment.corners
    axes = np.stack([corners[3] - corners[0], corners[1] - corners[0]])
    places = (photo.landmarks - corners[0]) @ axes.T / alignment.side**2
    wanted = {LEFT: places[0], RIGHT: places[1], MOUTH.half: places[3:].mean(axis=0)}
    return [
        (part.name, (wanted[part.half] - middle) * (part.half or 1, 1))
        for part, middle in find_middles(parsing).items()
    ]


def describe(errors: Sequence[float], name: str) -> str:
    """Format the number of faces, and the mean, median and 95th percentile of the errors."""
    mean, median, high = np.mean(errors), np.median(errors), np.quantile(errors, 0.95)
    return f"{name:21}{len(errors):4}   {mean:.3f}   {median:.3f}   {high:.3f}"


def measure(config: Config, args: argparse.Namespace) -> int:
    """Draw the faces, find them and compare the crops; returns 0.

    Raises:
        S3potError: The configuration does not align faces with the bundled models.
    """
    aligner = build_aligner(config)
    if aligner.detector is None or aligner.refine is None:
        raise S3potError(
            "the configuration has no detector whose crops the parser refines; use "
            "--config configs/mini.yaml, with align.mode=auto or always"
        )
    alone = load_mini_detector(weights_folder(config), config.align.min_score)
    parser = build_face_parser(config, torch.device("cpu"))
    errors: dict[str, list[float]] = {}
    offsets: dict[str, list[np.ndarray]] = {}
    for index in range(args.first, args.first + args.count):
        photo = draw_photo(index)
        for name, offset in part_offsets(photo, parser):
            offsets.setdefault(name, []).append(offset)
        kind = "occluded" if photo.is_occluded else "unoccluded"
        for crops, error in crop_errors(photo, alone, aligner).items():
            errors.setdefault(f"{kind}, {crops}", []).append(error)
    lines = [f"{args.count} faces; corners of the crop: faces found, mean, median, 95 %"]
    lines += [describe(errors[name], name) for name in sorted(errors)]
    lines.append("from the middle of a part to its landmark: median x, y; standard deviation")
    for name, values in offsets.items():
        x, y = np.median(values, axis=0)
        spread = np.std(values, axis=0)
        lines.append(f"{name:10}{len(values):4}   {x:.4f} {y:.4f}; {spread[0]:.4f} {spread[1]:.4f}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the tool's options."""
    parser = new_parser(__doc__)
    parser.prog = "python -m tools.drawn_crops"
    add = parser.add_argument
    add("--count", type=int, default=40, help="faces (40)")
    add("--first", type=int, default=100, help="number of the first face (100)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = build_parser().parse_args(argv)
    return run(args, lambda config: measure(config, args), keeps_items=False)


if __name__ == "__main__":
    sys.exit(main())

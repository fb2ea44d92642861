r"""Measure the bundled face detector on real photos: whole, small, rotated, several on a canvas.

    python -m tools.detector_photos --photos DIR --judge face_detection_yunet_2023mar.onnx \
        --out results/detector

DIR holds photos with one face each; if a FASSEG label map <name>_label.png is beside a photo, the
person is cut out of it. The judge, OpenCV's YuNet, locates the landmarks in each whole photo; they
are transformed with the photo when it is placed on a canvas. Both detectors then search every
canvas, the bundled one with the parser, as in ``configs/mini.yaml``. A face counts as found if the
landmarks of some detection are within FOUND of the side of the FFHQ crop. Writes ``faces.csv`` (a
row for each face) and ``sheet.png``, and prints a table.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Union

import cv2
import numpy as np

from s3pot.build import build_aligner
from s3pot.config import load_config
from s3pot.data.image import read_rgb, write_png
from s3pot.io import write_csv
from s3pot.rg.align import quad_from_landmarks
from s3pot.rg.detect import Face, FaceDetector
from s3pot.rg.mini_detector import MIN_SCORE
from s3pot.types import S3potError
from s3pot_synthetic.crowd_backgrounds import draw_background
from tools.photo_truth import LABEL, PARTS, read_parts

logger = logging.getLogger("s3pot.tools.detector_photos")
Row = Mapping[str, Union[str, int, float]]

CANVAS = 720  # side of a canvas, in pixels
FOUND = 0.1  # maximum mean distance of the landmarks of a found face, relative to the crop's side
ANGLES = (-45, -20, 20, 45)  # degrees
SMALL = (20, 40, 80)  # heights of the small faces, in pixels
TILE = 240


class Finder(Protocol):
    """A face detector."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """Detect the faces of a photo, uint8 RGB (H, W, 3), largest first."""


@dataclass(frozen=True)
class Portrait:
    """A photo of one face.

    Attributes:
        name: Its file's stem.
        picture: (H, W, 3) uint8.
        person: Mask of the person, (H, W) uint8, 0 or 255.
        face: The judge's detection in the whole photo.
    """

    name: str
    picture: np.ndarray
    person: np.ndarray
    face: Face


@dataclass(frozen=True)
class Canvas:
    """A picture with known faces.

    Attributes:
        kind: The test case: whole, small, turned, several.
        picture: (H, W, 3) uint8.
        names: The photo of each face.
        landmarks: True landmarks of each face, (N, 5, 2).
    """

    kind: str
    picture: np.ndarray
    names: list[str]
    landmarks: np.ndarray


def load_finder(weights_dir: Path | None) -> Finder:
    """Load the bundled detector, which the parser supports, or those in another folder."""
    overrides = [] if weights_dir is None else [f"model.weights_dir={weights_dir}"]
    detector = build_aligner(load_config("mini", overrides)).detector
    assert detector is not None  # the configuration aligns
    return detector


def read_portrait(path: Path, judge: Finder) -> Portrait:
    """Read a photo and apply the judge; S3potError if it finds no face."""
    picture = read_rgb(path)
    faces = judge.detect(picture)
    if not faces:
        raise S3potError(f"the judge finds no face in {path.name}; expected photos of one face")
    label = path.with_name(path.stem + LABEL)
    person = np.full(picture.shape[:2], 255, np.uint8)
    if label.is_file():
        person[read_parts(label) == PARTS.index("background")] = 0
    return Portrait(path.stem, picture, person, faces[0])


def put(
    canvas: np.ndarray, portrait: Portrait, height: float, degrees: float, center: np.ndarray
) -> np.ndarray:
    """Place a person on a canvas, in place.

    Args:
        canvas: (S, S, 3) uint8.
        portrait: The person.
        height: Height of the face's box on the canvas, in pixels.
        degrees: Clockwise rotation.
        center: Position of the center of the face's box, x and y.

    Returns:
        The landmarks on the canvas, (5, 2).
    """
    scale = height / portrait.face.box[3]
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    linear = scale * np.array([[cosine, -sine], [sine, cosine]])
    middle = np.array(portrait.face.box[:2]) + np.array(portrait.face.box[2:]) / 2
    motion = np.concatenate([linear, (center - linear @ middle)[:, None]], axis=1)
    sides = (canvas.shape[1], canvas.shape[0])
    picture, person = portrait.picture, portrait.person
    if scale < 1:
        # Warping samples single pixels, so first blur away what is too fine for the canvas.
        sigma = 0.4 / scale
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
        person = cv2.GaussianBlur(person, (0, 0), sigma)
    warped = cv2.warpAffine(picture, motion, sides, borderMode=cv2.BORDER_REPLICATE)
    weight = cv2.warpAffine(person, motion, sides)[..., None] / 255.0
    canvas[:] = (canvas + weight * (warped.astype(np.float64) - canvas)).astype(np.uint8)
    return portrait.face.landmarks @ linear.T + motion[:, 2]


def make_canvases(portraits: Sequence[Portrait], seed: int) -> list[Canvas]:
    """Create all test pictures: whole photos, and canvases with one or four faces."""
    rng = np.random.default_rng(seed)
    canvases = [
        Canvas("whole", portrait.picture, [portrait.name], portrait.face.landmarks[None])
        for portrait in portraits
    ]
    for portrait in portraits:
        for degrees in ANGLES:
            canvas, center = draw_background(rng, CANVAS), rng.uniform(300, 420, 2)
            landmarks = put(canvas, portrait, rng.uniform(180, 360), degrees, center)
            canvases.append(Canvas("turned", canvas, [portrait.name], landmarks[None]))
        for height in SMALL:
            canvas, center = draw_background(rng, CANVAS), rng.uniform(120, 600, 2)
            landmarks = put(canvas, portrait, height, rng.normal(0, 8), center)
            canvases.append(Canvas(f"small {height}", canvas, [portrait.name], landmarks[None]))
    for _ in range(len(portraits)):
        chosen = [portraits[int(number)] for number in rng.choice(len(portraits), 4, False)]
        canvas = draw_background(rng, CANVAS)
        faces = []
        for portrait, (x, y) in zip(chosen, ((180, 180), (540, 180), (180, 540), (540, 540))):
            center = np.array([x, y]) + rng.uniform(-40, 40, 2)
            faces.append(put(canvas, portrait, rng.uniform(40, 180), rng.normal(0, 15), center))
        names = [portrait.name for portrait in chosen]
        canvases.append(Canvas("several", canvas, names, np.stack(faces)))
    for number in range(len(portraits)):
        empty = np.zeros((0, 5, 2))
        canvases.append(Canvas("no face", draw_background(rng, 320 + 30 * number), [], empty))
    return canvases


def score(canvas: Canvas, faces: Sequence[Face], detector: str) -> tuple[list[Row], int]:
    """Compare detections with the truth: a row for each true face, and false detections."""
    rows: list[Row] = []
    free = list(faces)
    for name, truth in zip(canvas.names, canvas.landmarks):
        side = float(np.linalg.norm(np.diff(quad_from_landmarks(truth), axis=0)[1]))
        errors = [np.linalg.norm(face.landmarks - truth, axis=1).mean() / side for face in free]
        is_found = bool(errors) and min(errors) <= FOUND
        error = crop_error = score_of_find = math.nan
        if is_found:
            face = free.pop(int(np.argmin(errors)))
            offset = quad_from_landmarks(face.landmarks) - quad_from_landmarks(truth)
            error = float(min(errors))
            crop_error = float(np.linalg.norm(offset, axis=1).max() / side)
            score_of_find = face.score
        row: Row = {
            "detector": detector,
            "kind": canvas.kind,
            "photo": name,
            "found": int(is_found),
            "error": error,
            "crop_error": crop_error,
            "score": score_of_find,
        }
        rows.append(row)
    return rows, len(free)


def table(rows: Sequence[Row], false_finds: Mapping[tuple[str, str], list[int]]) -> list[str]:
    """Format a line of text for each detector and kind."""
    lines = [
        f"{'detector':9} {'kind':10} {'faces':>5} {'found':>6} {'landmarks':>9} {'95 %':>6} "
        f"{'crop':>6} {'score':>6} {'false':>6}"
    ]
    for (detector, kind), false in false_finds.items():
        mine = [row for row in rows if (row["detector"], row["kind"]) == (detector, kind)]
        finds = [row for row in mine if row["found"]]
        errors, crops, scores = (
            np.array([float(row[name]) for row in finds] or [math.nan])
            for name in ("error", "crop_error", "score")
        )
        share = len(finds) / len(mine) if mine else math.nan
        lines.append(
            f"{detector:9} {kind:10} {len(mine):5} {share:6.3f} {errors.mean():9.4f} "
            f"{np.quantile(errors, 0.95):6.3f} {crops.mean():6.3f} {scores.mean():6.2f} "
            f"{np.mean(false):6.2f}"
        )
    return lines


def draw_finds(picture: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
    """Draw boxes, landmarks, crops and scores on a picture: (TILE, TILE, 3) uint8."""
    scale = TILE / max(picture.shape[:2])
    shown = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.zeros((TILE, TILE, 3), np.uint8)
    tile[: shown.shape[0], : shown.shape[1]] = shown
    for face in faces:
        x, y, width, height = (round(value * scale) for value in face.box)
        cv2.rectangle(tile, (x, y), (x + width, y + height), (255, 60, 60), 1)
        quad = np.round(quad_from_landmarks(face.landmarks) * scale).astype(np.int32)
        cv2.polylines(tile, [quad], True, (80, 120, 255), 1)
        for point in np.round(face.landmarks * scale).astype(int).tolist():
            cv2.circle(tile, point, 1, (60, 255, 60), -1)
        text, place = f"{face.score:.2f}", (x, max(9, y - 2))
        cv2.putText(tile, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 255, 0), 1)
    return tile


def write_sheet(path: Path, tiles: Sequence[np.ndarray], columns: int = 10) -> None:
    """Write tiles in rows."""
    blank = [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    full = [*tiles, *blank]
    rows = [np.concatenate(full[i : i + columns], 1) for i in range(0, len(full), columns)]
    write_png(path, np.concatenate(rows))


def measure(args: argparse.Namespace) -> list[str]:
    """Search all canvases with both detectors; returns the table's lines.

    Raises:
        S3potError: There are no photos, or the judge finds no face in one.
    """
    paths = sorted(
        path for path in args.photos.iterdir() if path.suffix.lower() in (".jpg", ".jpeg")
    )
    if len(paths) < 4:
        raise S3potError(f"--photos {args.photos} holds {len(paths)} photos; expected 4 or more")
    judge = FaceDetector(args.judge)
    finders: dict[str, Finder] = {"mini": load_finder(args.weights_dir), "yunet": judge}
    canvases = make_canvases([read_portrait(path, judge) for path in paths], args.seed)
    rows: list[Row] = []
    false_finds: dict[tuple[str, str], list[int]] = {}
    seconds = dict.fromkeys(finders, 0.0)
    tiles = []
    for canvas in canvases:
        for name, finder in finders.items():
            started = time.perf_counter()
            # Hints, which the bundled detector returns if no face is certain, do not count.
            faces = [face for face in finder.detect(canvas.picture) if face.score >= MIN_SCORE]
            seconds[name] += time.perf_counter() - started
            scored, false = score(canvas, faces, name)
            rows += scored
            false_finds.setdefault((name, canvas.kind), []).append(false)
            if name == "mini":
                tiles.append(draw_finds(canvas.picture, faces))
    write_csv(args.out / "faces.csv", rows)
    write_sheet(args.out / "sheet.png", tiles)
    times = [
        f"{name}: {1000 * total / len(canvases):.0f} ms each" for name, total in seconds.items()
    ]
    return [*table(rows, dict(sorted(false_finds.items()))), "; ".join(times)]


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the tool's options."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.detector_photos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--photos", type=Path, required=True, help="folder of photos with one face each")
    add("--judge", type=Path, required=True, help="YuNet ONNX file")
    add("--out", type=Path, required=True, help="folder for the table and the contact sheet")
    add("--weights_dir", type=Path, help="folder of the mini models; default: the bundled ones")
    add("--seed", type=int, default=0, help="seed of the canvases (0)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the tool and return the exit code."""
    args = build_parser().parse_args(argv)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        lines = measure(args)
    except S3potError as error:
        logger.error("%s", error)
        return 2
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

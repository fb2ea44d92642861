"""Measure the alignment on a folder of photos: landmarks, round trip, registration.

    python -m tools.measure_alignment --photos DIR --detector YUNET.onnx

For each photo, it reports how far eyes and mouth corners, detected again in the crop, are from
their average positions in FFHQ and from where the alignment placed them (as a share of the crop's
side); and how much the round trip from photo to crop and back changes the face (in gray levels) and
shifts it (in pixels, by phase correlation).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from s3pot.data.image import read_rgb, write_png
from s3pot.data.image_formats import BadImage
from s3pot.geometry import Alignment
from s3pot.rg.align import from_landmarks
from s3pot.rg.detect import Face, FaceDetector
from s3pot.rg.warp import crop, to_photo

# Mean positions of eyes and mouth corners in FFHQ, as shares of the side, x, y.
FFHQ_PLACES = np.array([[0.377, 0.469], [0.623, 0.469], [0.393, 0.725], [0.611, 0.725]])
EYES_AND_MOUTH = [0, 1, 3, 4]
COLUMNS = ("photo", "score", "ffhq %", "placed %", "round trip", "shift px")


def in_crop(points: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Convert points (N, 2) from the photo frame to shares of the crop's sides."""
    corners = alignment.corners
    axes = np.stack([corners[3] - corners[0], corners[1] - corners[0]], axis=1)
    return np.linalg.solve(axes, (points - corners[0]).T).T


def distance(points: np.ndarray, places: np.ndarray) -> float:
    """Mean distance of two point sets (N, 2)."""
    return float(np.linalg.norm(points - places, axis=1).mean())


def face_window(face: Face, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the face's box inside a photo of this height and width."""
    x, y, width, height = face.box
    rows = slice(max(0, round(y)), min(size[0], round(y + height)))
    return rows, slice(max(0, round(x)), min(size[1], round(x + width)))


def transformable(length: int) -> int:
    """Return the largest even size up to ``length`` without padding by the FFT, which adds bias."""
    return next(n for n in range(length - length % 2, 0, -2) if cv2.getOptimalDFTSize(n) == n)


def shift(first: np.ndarray, second: np.ndarray) -> float:
    """Length in pixels of the translation between two pictures (H, W, 3), by phase correlation."""
    height, width = (transformable(length) for length in first.shape[:2])
    gray = [
        cv2.cvtColor(part[:height, :width], cv2.COLOR_RGB2GRAY).astype(np.float64)
        for part in (first, second)
    ]
    window = cv2.createHanningWindow((width, height), cv2.CV_64F)
    moved, _ = cv2.phaseCorrelate(gray[0], gray[1], window)
    return float(np.linalg.norm(moved))


def measure(
    photo: np.ndarray, face: Face, aligned: np.ndarray, way: Alignment, again: Face | None
) -> list[float]:
    """Compute the four numbers of the table for one face; NaN if none is found in the crop."""
    placed = in_crop(face.landmarks[EYES_AND_MOUTH], way)
    detected = np.full_like(placed, np.nan)
    if again is not None:
        detected = (again.landmarks[EYES_AND_MOUTH] + 0.5) / aligned.shape[0]
    rows, columns = face_window(face, way.photo_size)
    before = photo[rows, columns]
    after = to_photo(aligned, way)[rows, columns]
    change = float(np.abs(before.astype(int) - after).mean())
    return [
        100 * distance(detected, FFHQ_PLACES),
        100 * distance(detected, placed),
        change,
        shift(before, after),
    ]


def main(argv: list[str] | None = None) -> int:
    """Print the table; returns 1 if no face was found in some photo."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.measure_alignment",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--photos", type=Path, required=True, help="folder, searched recursively")
    parser.add_argument("--detector", type=Path, required=True, help="YuNet ONNX file")
    parser.add_argument("--size", type=int, default=1024, help="side of the crop")
    parser.add_argument("--crops", type=Path, help="write the crops to this folder")
    options = parser.parse_args(argv)
    detector = FaceDetector(options.detector)
    sys.stdout.write("".join(f"{name:>14}" for name in COLUMNS) + "\n")
    table = []
    failed = 0
    for path in sorted(p for p in options.photos.rglob("*") if p.is_file()):
        try:
            photo = read_rgb(path)
        except BadImage:
            continue
        faces = detector.detect(photo)
        if not faces:
            failed += 1
            sys.stdout.write(f"{path.name:>14}  no face\n")
            continue
        way = from_landmarks(faces[0].landmarks, (photo.shape[0], photo.shape[1]), options.size)
        aligned = crop(photo, way)
        again = detector.detect(aligned)
        row = measure(photo, faces[0], aligned, way, again[0] if again else None)
        table.append(row)
        values = [faces[0].score, *row]
        sys.stdout.write(f"{path.name:>14}" + "".join(f"{value:14.3f}" for value in values) + "\n")
        if options.crops:
            write_png(options.crops / f"{path.stem}.png", aligned)
    if table:
        for name, row in (("mean", np.nanmean(table, axis=0)), ("worst", np.nanmax(table, axis=0))):
            sys.stdout.write(f"{name:>14}{'':14}" + "".join(f"{v:14.3f}" for v in row) + "\n")
    return 1 if failed or not table else 0


if __name__ == "__main__":
    sys.exit(main())

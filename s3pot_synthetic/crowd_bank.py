"""The bank of people, occluders and backgrounds that scenes are composed of, drawn once.

Drawing a face takes a tenth of a second, placing a finished cutout in a scene less than a
hundredth. Therefore a folder of cutouts is drawn first, and every process reads it through memory
maps.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from s3pot.io import write_npy
from s3pot.types import S3potError
from s3pot_synthetic.canvas import Array
from s3pot_synthetic.crowd_backgrounds import draw_background
from s3pot_synthetic.face import Face, draw_clean
from s3pot_synthetic.head import outline
from s3pot_synthetic.layers import compose, coverage
from s3pot_synthetic.occluders import draw_kind, draw_occluder
from s3pot_synthetic.processes import draw_each

logger = logging.getLogger(__name__)

FACE_SIZE = 256  # side of a cutout in pixels
PLACE_SIZE = 448  # side of a background in pixels
OUTLINE_POINTS = 16  # of the outline of a face from hairline to chin
_HAIRLINE = -0.78  # head coordinates: above this is the skull, which is not part of the face box


@dataclass(frozen=True)
class Bank:
    """Everything that is drawn in advance; the arrays may be memory maps.

    Attributes:
        people: Head, hair, neck and clothes, with coverage: (N, S, S, 4) uint8 RGBA.
        whole: The same drawn faces with their own backgrounds, (N, S, S, 3) uint8.
        occluders: An occluder for each face, lit and with its coverage, in the same frame: (N, S,
            S, 4) uint8 RGBA.
        landmarks: Five landmarks of each face as in ``s3pot.rg.detect.Face``, (N, 5, 2) float32
            pixels.
        outlines: Outline of each face from hairline to chin, (N, K, 2) float32 pixels.
        places: Backgrounds, (M, P, P, 3) uint8.
    """

    people: Array
    whole: Array
    occluders: Array
    landmarks: Array
    outlines: Array
    places: Array


_FILES = ("people", "whole", "occluders", "landmarks", "outlines", "places")


def face_outline(face: Face) -> Array:
    """Trace a face from hairline to chin, in pixels: (OUTLINE_POINTS, 2) float32."""
    head = face.head
    rim = (outline(head) - np.array(head.center)) @ _turn(head.roll)
    rim[:, 1] = np.maximum(rim[:, 1], _HAIRLINE * head.half[1])
    rim = rim @ _turn(head.roll).T + np.array(head.center)
    chosen = rim[np.linspace(0, len(rim) - 1, OUTLINE_POINTS).round().astype(int)]
    return ((chosen + 0.5) * head.frame.scale - 0.5).astype(np.float32)


def _turn(angle: float) -> Array:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _pixels(picture: Array) -> Array:
    return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)


def draw_person(index: int, size: int = FACE_SIZE, seed: int = 0) -> dict[str, Array]:
    """Draw the cutout of one person of the train split.

    Returns:
        One entry of each array of a ``Bank``, except ``places``.
    """
    face = draw_clean(np.random.default_rng([seed, 1, index, 20]), size, "train")
    rng = np.random.default_rng([seed, 1, index, 21])
    layers = draw_occluder(rng, face, "train", draw_kind(rng, "train"))
    hidden = compose(rng, face, layers) if layers else face.image
    mask = coverage(layers) if layers else np.zeros((size, size), np.uint8)
    whole = _pixels(face.image)
    return {
        "people": np.dstack([whole, face.person]),
        "whole": whole,
        "occluders": np.dstack([_pixels(hidden), mask]),
        "landmarks": face.landmarks,
        "outlines": face_outline(face),
    }


def _draw_place(index: int, seed: int) -> Array:
    return draw_background(np.random.default_rng([seed, 1, index, 22]), PLACE_SIZE)


def draw_bank(folder: Path, people: int, places: int, workers: int, seed: int = 0) -> None:
    """Draw a bank into a folder, unless it already holds one.

    Args:
        folder: Its files are written atomically.
        people: Number of people.
        places: Number of backgrounds.
        workers: Number of processes; with fewer than two, this process draws.
        seed: Seed of the bank, from 0.
    """
    if all((folder / f"crowd_{name}.npy").exists() for name in _FILES):
        return
    folder.mkdir(parents=True, exist_ok=True)
    drawn = list(draw_each(partial(draw_person, seed=seed), range(people), workers, chunk=16))
    for name in _FILES[:-1]:
        write_npy(folder / f"crowd_{name}.npy", np.stack([person[name] for person in drawn]))
    grounds = list(draw_each(partial(_draw_place, seed=seed), range(places), workers, chunk=8))
    write_npy(folder / "crowd_places.npy", np.stack(grounds))
    logger.info("%d people and %d places drawn into %s", people, places, folder)


def open_bank(folder: Path) -> Bank:
    """Open a bank written by ``draw_bank``, as memory maps.

    Raises:
        S3potError: The folder does not hold a bank.
    """
    paths = [folder / f"crowd_{name}.npy" for name in _FILES]
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        raise S3potError(f"{folder} lacks {', '.join(missing)}: draw the bank of people first")
    people, whole, occluders, landmarks, outlines, places = (
        np.load(path, mmap_mode="r") for path in paths
    )
    return Bank(people, whole, occluders, np.array(landmarks), np.array(outlines), places)

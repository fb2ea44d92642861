"""Draw a contact sheet of the photo checks, using drawn faces instead of photos.

    python -m tools.photo_like --config configs/mini.yaml --out docs/images/photo_like.jpg

Faces of the bench split are processed as ``tools.photo_scenes`` processes photos: they are lit from
one side, given a beard or rotated (``photo_looks.py``), an occluder is pasted on
(``photo_paste.py``: drawn occluders and pieces of the other faces), and each face is placed on a
cluttered drawn canvas. The configured models find and segment the faces without further help. Each
row shows two faces, and for each the whole canvas with the crop that was found in it, the crop, its
parsing, the masks and the ground truth.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from s3pot.api import FaceSegmenter, load_from_config
from s3pot.commands.cli import new_parser, run
from s3pot.config import Config
from s3pot.io import atomic_path
from s3pot.labels import CLASSES
from s3pot.report import vis
from s3pot.rg.detect import NoFace
from s3pot.rg.warp import crop
from s3pot.segmentation import PhotoMasks, Segmentation
from s3pot.types import S3potError
from s3pot_synthetic import FaceSample, draw_face
from tools.photo_looks import LOOKS
from tools.photo_paste import paste
from tools.photo_scenes import SIZE, Person, Placed, draw_canvas, find
from tools.photo_truth import PARTS, LabeledFace, judge

logger = logging.getLogger("s3pot.tools.photo_like")

SEED = 20  # of the faces; the tables in the documents use the faces of seed 0
PART_OF_CLASS = {  # all other classes are background
    "hair": "hair",
    "eyebrows": "hair",
    "skin": "skin",
    "ears": "skin",
    "belowface": "skin",
    "nose": "nose",
    "lip": "mouth",
    "mouth": "mouth",
    "eyes": "eyes",
}
COLUMNS = ("photo and crop", "crop", "parsing", "masks", "truth")
PER_LINE = 2
TILE, HEADING, GAP = 128, 18, 6
QUALITY = 82  # of the JPEG


def as_photo(name: str, sample: FaceSample) -> LabeledFace:
    """Turn a drawn face into a labeled photo; S3potError if an eye or the mouth is not visible."""
    parts = np.array(
        [PARTS.index(PART_OF_CLASS.get(label, "background")) for label in CLASSES], np.uint8
    )
    inside_photo = np.ones(sample.labels.shape, bool)
    return judge(name, sample.clean, parts[sample.labels], inside_photo)


def draw_photos(count: int, seed: int) -> tuple[list[LabeledFace], list[np.ndarray]]:
    """Draw faces that show both eyes and the mouth, cycling through the looks.

    Returns:
        The faces, and the matte of each person, uint8 (S, S).
    """
    photos: list[LabeledFace] = []
    mattes = []
    index = 0
    while len(photos) < count:
        sample = draw_face(index, SIZE, "bench", seed=seed)
        index += 1
        try:
            photo = as_photo(f"face {index - 1}", sample)
        except S3potError:  # closed eyes
            continue
        name = list(LOOKS)[len(photos) % len(LOOKS)]
        photos.append(LOOKS[name](photo))
        matte = np.repeat(sample.person[..., None], 3, axis=2)
        if name == "turned":
            matte = LOOKS[name](replace(photo, picture=matte)).picture
        mattes.append(matte[..., 0])
    return photos, mattes


def occlude(
    photo: LabeledFace, others: Sequence[LabeledFace], matte: np.ndarray, number: int
) -> Person | None:
    """Paste an occluder on a face; None if none fits.

    Args:
        photo: The face.
        others: Faces from which pieces are cut.
        matte: Matte of the person, uint8 (S, S).
        number: Number of the occluder, as ``paste`` expects it.
    """
    pasted = paste(photo, others, number, seed=0)
    if pasted is None:
        return None
    changed = (pasted.picture != photo.picture).any(axis=2)
    return Person(photo, pasted.picture, pasted.occlusion, np.where(changed, 255, matte))


def draw_tiles(canvas: np.ndarray, place: Placed, result: Segmentation | None) -> np.ndarray:
    """Show one face as COLUMNS side by side, uint8 (TILE, 5 TILE, 3).

    Args:
        canvas: Image that was searched, uint8 (H, W, 3).
        place: Where the face is on the canvas.
        result: Segmentation of the face; None if the face was not found.
    """
    scale = TILE / max(canvas.shape[:2])
    whole = cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.full((TILE, TILE, 3), 255, np.uint8)
    tile[: whole.shape[0], : whole.shape[1]] = whole
    blank = np.full((TILE, TILE, 3), 128, np.uint8)
    if result is None:
        return np.concatenate([tile, *[blank] * (len(COLUMNS) - 1)], axis=1)
    corners = np.round((result.alignment.corners + 0.5) * scale - 0.5).astype(np.int32)
    cv2.polylines(tile, [corners], True, vis.WHITE, 1, cv2.LINE_AA)
    image = result.raw
    classes = vis.color_labels(result.parsing)
    tiles = [
        image,
        image // 2 + classes // 2,
        _marked(image, PhotoMasks(result.occlusion, result.face)),
        vis.overlay(image, crop(place.occlusion, result.alignment)),
    ]
    small = [cv2.resize(each, (TILE, TILE), interpolation=cv2.INTER_AREA) for each in tiles]
    return np.concatenate([tile, *small], axis=1)


def _marked(image: np.ndarray, masks: PhotoMasks) -> np.ndarray:
    """Tint the visible face and the occlusion."""
    return vis.overlay(vis.overlay(image, masks.face, vis.FACE_COLOR, 0.25), masks.occlusion)


def join(lines: Sequence[np.ndarray]) -> np.ndarray:
    """Put the tiles of all faces on one page, PER_LINE faces per row, uint8 (H, W, 3)."""
    heading = np.full((HEADING, lines[0].shape[1], 3), 255, np.uint8)
    for number, text in enumerate(COLUMNS):
        place = (number * TILE + 4, HEADING - 5)
        cv2.putText(heading, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, vis.BLACK, 1, cv2.LINE_AA)
    blocks = []
    for start in range(PER_LINE):
        block = np.concatenate([heading, *lines[start::PER_LINE]])
        blocks += [block, np.full((len(block), GAP, 3), 255, np.uint8)]
    return np.concatenate(blocks[:-1], axis=1)


def segment(canvas: np.ndarray, place: Placed, model: FaceSegmenter) -> Segmentation | None:
    """Return the model's segmentation of the face on a canvas; None if it is not found."""
    try:
        return find(model.segment_all(canvas), place)
    except NoFace:
        return None


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the tool's options."""
    parser = new_parser(__doc__)
    parser.prog = "python -m tools.photo_like"
    add = parser.add_argument
    add("--out", type=Path, required=True, help="JPEG to write")
    add("--count", type=int, default=16, help="faces, a multiple of 2 (16)")
    add("--seed", type=int, default=SEED, help=f"of faces and canvases ({SEED})")
    return parser


def make_sheet(config: Config, args: argparse.Namespace) -> int:
    """Draw and segment the faces and write the sheet; returns 0.

    Raises:
        S3potError: There are too few faces, or weights are missing.
    """
    if args.count < 2 or args.count % PER_LINE:
        raise S3potError(f"--count {args.count}; expected a multiple of {PER_LINE}")
    model = load_from_config(config)
    photos, mattes = draw_photos(args.count, args.seed)
    lines = []
    for number, photo in enumerate(photos):
        others = [other for other in photos if other is not photo]
        person = occlude(photo, others, mattes[number], number)
        if person is None:
            raise S3potError(f"{photo.name}: no occluder fits this face; choose another --seed")
        canvas, (place,) = draw_canvas(np.random.default_rng([args.seed, number]), [person])
        lines.append(draw_tiles(canvas, place, segment(canvas, place, model)))
        logger.info("%d of %d faces", number + 1, args.count)
    with atomic_path(args.out) as aside:
        Image.fromarray(join(lines)).save(aside, "JPEG", quality=QUALITY)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = build_parser().parse_args(argv)
    return run(args, lambda config: make_sheet(config, args), keeps_items=False)


if __name__ == "__main__":
    sys.exit(main())

r"""Measure the accuracy lost when faces must be found in whole photos instead of given as crops.

    python -m tools.photo_scenes --photos DIR --config configs/mini.yaml --out results/scenes
    python -m tools.photo_scenes --photos DIR --config configs/mini.yaml --out results/several \
        --together 4

DIR and the occluders are those of ``tools.real_photos``. Each occluded person is cut out and placed
on a drawn background, small or large and tilted, alone or together with others. The configuration
detects and crops all faces of such a canvas by itself, and its masks are compared with the truth.
The same face is also segmented in four given crops, so that the difference splits into steps:

- the original photo (given);
- the original photo at the resolution that it has on the canvas (resampled);
- the photo's frame, cut out of the canvas (framed), so that also the background is the canvas's;
- the FFHQ crop of the canvas by the photo's labels (labeled): a perfect detector would use it.

Writes ``faces.csv`` (a row for each face) and contact sheets, and prints means and paired
differences with 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from s3pot.api import FaceSegmenter, load_from_config
from s3pot.commands.cli import new_parser, run
from s3pot.config import Config
from s3pot.geometry import Alignment, as_quad, image_corners
from s3pot.io import write_csv
from s3pot.metrics import mask_scores
from s3pot.report import vis
from s3pot.rg.align import from_landmarks
from s3pot.rg.detect import NoFace
from s3pot.rg.warp import crop, to_photo
from s3pot.runs.each import run_each
from s3pot.segmentation import PhotoMasks, Segmentation
from s3pot.types import S3potError
from s3pot_synthetic.crowd_backgrounds import draw_background
from tools.photo_paste import paste
from tools.photo_truth import PARTS, LabeledFace, find_photos, read_face
from tools.real_photos import GREEN, Row, table, write_sheets

logger = logging.getLogger("s3pot.tools.photo_scenes")

SIZE = 512  # of the studio photos before they are placed on a canvas, in pixels
GIVEN = 256  # of the given crops, in pixels
PLACE = 480  # side of the area for one face on a canvas
SCALE = (0.3, 0.85)  # of a person on the canvas, relative to SIZE
LEAN = 15.0  # degrees, standard deviation
NEAR = 0.15  # maximum distance of the centers of a found face, relative to the crop's side
TILE = 480
MEASURES = {  # columns of faces.csv
    "found": "faces found",
    "given_iou": "occlusion IoU on the original photos",
    "resampled_iou": "at the resolution of the canvas",
    "framed_iou": "in their frame, cut out of the canvas",
    "labeled_iou": "in crops of the canvas by the labels",
    "scene_iou": "in crops found by the configuration",
    "resolution_step": "original -> resolution of the canvas",
    "background_step": "resolution -> frame cut out of the canvas",
    "framing_step": "frame -> crop by the labels",
    "detection_step": "crop by the labels -> found crop",
    "against_framed": "frame cut out of the canvas -> found crop",
    "against_given": "original -> found crop",
}


@dataclass(frozen=True)
class Person:
    """An occluded person to be placed on a canvas; S is SIZE.

    Attributes:
        photo: The unoccluded studio photo with its truth.
        picture: The occluded photo, uint8 (S, S, 3).
        occlusion: Its truth, bool (S, S).
        matte: Person and occluder, uint8 (S, S), 0 or 255.
    """

    photo: LabeledFace
    picture: np.ndarray
    occlusion: np.ndarray
    matte: np.ndarray


@dataclass(frozen=True)
class Placed:
    """A person on a canvas, in its frame.

    Attributes:
        person: The person.
        studio: The whole studio photo, moved like the person, uint8 (H, W, 3).
        motion: The map from the studio photo to the canvas, (2, 3).
        occlusion: bool (H, W).
        judged: Where the truth is known, bool (H, W).
    """

    person: Person
    studio: np.ndarray
    motion: np.ndarray
    occlusion: np.ndarray
    judged: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        """The center between eyes and mouth, x, y."""
        place = self.person.photo.place
        return np.asarray(self.motion @ [*(place.middle + place.down / 2), 1.0])

    @property
    def landmarks(self) -> np.ndarray:
        """Five landmarks of the face by its labels, (5, 2)."""
        points = self.person.photo.place.landmarks
        return np.asarray(points @ self.motion[:, :2].T + self.motion[:, 2])

    @property
    def frame(self) -> np.ndarray:
        """The corners of the studio photo, (4, 2), in the order of a quad."""
        corners = image_corners(self.person.occlusion.shape)
        return np.asarray(corners @ self.motion[:, :2].T + self.motion[:, 2])

    @property
    def face_side(self) -> float:
        """The approximate side of the face's FFHQ crop, in pixels."""
        scale = math.sqrt(float(np.linalg.det(self.motion[:, :2])))
        return 3.6 * scale * float(np.linalg.norm(self.person.photo.place.down))


@dataclass(frozen=True)
class References:
    """Occlusion IoU of one face in given crops.

    Attributes:
        given: In the original studio photo.
        resampled: In that photo at the resolution of the canvas.
        framed: In the frame of that photo, cut out of the canvas.
        labeled: In the canvas's FFHQ crop by the photo's labels.
    """

    given: float
    resampled: float
    framed: float
    labeled: float


def make_person(photo: LabeledFace, others: Sequence[LabeledFace], number: int) -> Person | None:
    """Paste an occluder on a photo; None if none fits."""
    pasted = paste(photo, others, number, seed=0)
    if pasted is None:
        return None
    matte = (photo.parts != PARTS.index("background")) | (pasted.picture != photo.picture).any(2)
    return Person(photo, pasted.picture, pasted.occlusion, matte.astype(np.uint8) * 255)


def put(rng: np.random.Generator, canvas: np.ndarray, person: Person, corner: np.ndarray) -> Placed:
    """Place a person on a canvas, uint8 (H, W, 3), in place, in the area with this corner."""
    scale, angle = rng.uniform(*SCALE), math.radians(rng.normal(0, LEAN))
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    place = person.photo.place
    target = corner + PLACE / 2 + rng.uniform(-0.1, 0.1, 2) * PLACE
    shift = target - linear @ (place.middle + place.down / 2)
    motion = np.concatenate([linear, shift[:, None]], axis=1)
    sides = (canvas.shape[1], canvas.shape[0])
    # Warping samples single pixels, so first blur away what is too fine for the canvas.
    picture, matte = (
        cv2.GaussianBlur(layer, (0, 0), 0.4 / scale) for layer in (person.picture, person.matte)
    )
    weight = cv2.warpAffine(matte, motion, sides)[..., None] / 255.0
    warped = cv2.warpAffine(picture, motion, sides, borderMode=cv2.BORDER_REPLICATE)
    canvas[:] = np.round(canvas + weight * (warped.astype(np.float64) - canvas))

    def mask(where: np.ndarray) -> np.ndarray:
        layer = where.astype(np.uint8)
        return cv2.warpAffine(layer, motion, sides, flags=cv2.INTER_NEAREST) > 0

    return Placed(
        person=person,
        studio=warped,
        motion=motion,
        occlusion=mask(person.occlusion),
        judged=mask(~person.photo.ignored),
    )


def draw_canvas(
    rng: np.random.Generator, people: Sequence[Person]
) -> tuple[np.ndarray, list[Placed]]:
    """Place people side by side on a drawn background; returns the canvas and their positions."""
    columns = math.ceil(math.sqrt(len(people)))
    lines = math.ceil(len(people) / columns)
    height, width = lines * PLACE + 160, columns * PLACE + 240
    canvas = draw_background(rng, max(height, width))[:height, :width].copy()
    places = []
    for number, person in enumerate(people):
        corner = np.array([120 + number % columns * PLACE, 80 + number // columns * PLACE])
        places.append(put(rng, canvas, person, corner.astype(np.float64)))
    return canvas, places


def given_iou(model: FaceSegmenter, person: Person) -> float:
    """Compute the occlusion IoU on the studio photo itself."""
    small = cv2.resize(person.picture, (GIVEN, GIVEN), interpolation=cv2.INTER_AREA)
    truth, judged = (
        cv2.resize(mask.astype(np.uint8), (GIVEN, GIVEN), interpolation=cv2.INTER_NEAREST) > 0
        for mask in (person.occlusion, ~person.photo.ignored)
    )
    return mask_scores(model.segment(small).occlusion & judged, truth).iou


def iou_in_crop(
    model: FaceSegmenter, image: np.ndarray, place: Placed, alignment: Alignment
) -> float:
    """Compute the occlusion IoU of a face in a given crop of a canvas, or of its studio photo."""
    occlusion = to_photo(model.segment(crop(image, alignment)).occlusion, alignment)
    return mask_scores(occlusion & place.judged, place.occlusion).iou


def given_crops(canvas: np.ndarray, place: Placed) -> tuple[Alignment, Alignment]:
    """Return two crops of a face on a canvas: the studio photo's frame, and that of the labels."""
    size = (canvas.shape[0], canvas.shape[1])
    framed = Alignment(quad=as_quad(place.frame), size=(GIVEN, GIVEN), photo_size=size)
    return framed, from_landmarks(place.landmarks, size, GIVEN)


def find(results: Sequence[Segmentation], place: Placed) -> Segmentation | None:
    """Return the result whose crop contains a face; None if there is none."""
    middles = [result.alignment.corners.mean(axis=0) for result in results]
    away = [float(np.linalg.norm(middle - place.middle)) for middle in middles]
    if not away or min(away) > NEAR * place.face_side:
        return None
    return results[int(np.argmin(away))]


def score(place: Placed, masks: PhotoMasks | None, references: References) -> Row:
    """Build the row of one face; a face that is not found has no mask and scores 0."""
    iou = 0.0
    if masks is not None:
        iou = mask_scores(masks.occlusion & place.judged, place.occlusion).iou
    return {
        "photo": place.person.photo.name,
        "side": round(place.face_side),
        "found": float(masks is not None),
        "given_iou": references.given,
        "resampled_iou": references.resampled,
        "framed_iou": references.framed,
        "labeled_iou": references.labeled,
        "scene_iou": iou,
        "resolution_step": references.resampled - references.given,
        "background_step": references.framed - references.resampled,
        "framing_step": references.labeled - references.framed,
        "detection_step": iou - references.labeled,
        "against_framed": iou - references.framed,
        "against_given": iou - references.given,
    }


def draw_tile(
    canvas: np.ndarray, places: Sequence[Placed], results: Sequence[PhotoMasks]
) -> np.ndarray:
    """Draw canvas, truth and masks side by side: (TILE, 3 TILE, 3) uint8."""
    truth, masks = canvas, canvas
    for place in places:
        truth = vis.overlay(truth, place.occlusion)
    for entry in results:
        masks = vis.overlay(vis.overlay(masks, entry.face, GREEN, 0.25), entry.occlusion)
    scale = TILE / max(canvas.shape[:2])
    tiles = []
    for image in (canvas, truth, masks):
        tile = np.zeros((TILE, TILE, 3), np.uint8)
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        tile[: small.shape[0], : small.shape[1]] = small
        tiles.append(tile)
    return np.concatenate(tiles, axis=1)


def measure_scene(
    people: Sequence[Person], finder: FaceSegmenter, taker: FaceSegmenter, seed: Sequence[int]
) -> tuple[list[Row], np.ndarray]:
    """Search and segment one canvas: returns a row for each face, and the tile of the sheet."""
    canvas, places = draw_canvas(np.random.default_rng(seed), people)
    try:
        results = finder.segment_all(canvas)
    except NoFace:
        results = []
    rows, masks = [], []
    for place in places:
        result = find(results, place)
        masks.append(None if result is None else result.in_photo())
        framed, labeled = given_crops(canvas, place)
        references = References(
            given=given_iou(taker, place.person),
            resampled=iou_in_crop(taker, place.studio, place, framed),
            framed=iou_in_crop(taker, canvas, place, framed),
            labeled=iou_in_crop(taker, canvas, place, labeled),
        )
        rows.append(score(place, masks[-1], references))
    return rows, draw_tile(canvas, places, [entry for entry in masks if entry is not None])


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the tool's options."""
    parser = new_parser(__doc__)
    parser.prog = "python -m tools.photo_scenes"
    add = parser.add_argument
    add("--photos", type=Path, required=True, help="folder of labeled photos")
    add("--out", type=Path, required=True, help="folder for the table and contact sheets")
    add("--together", type=int, default=1, help="faces on one canvas (1)")
    add("--variants", type=int, default=2, help="occluded pictures of each photo (2)")
    add("--seed", type=int, default=0, help="seed of the canvases (0)")
    return parser


def measure(config: Config, args: argparse.Namespace) -> int:
    """Run all measurements; returns how many photos and canvases failed, each named in the log.

    Raises:
        S3potError: Nothing can be done: too few photos, inconsistent options, missing weights.
    """
    files = find_photos(args.photos)
    if len(files) < 2 or args.together < 1 or args.variants < 1:
        raise S3potError(
            f"{len(files)} photos, --together {args.together}, --variants {args.variants}; "
            "expected at least 2 photos, and at least 1 for the others"
        )
    finder = load_from_config(config)
    taker = replace(finder, aligner=replace(finder.aligner, detector=None))

    def read(name: str) -> LabeledFace:
        return read_face(name, *files[name], SIZE, None)

    photos = run_each({name: name for name in files}, read, "photos")
    people = []
    for variant in range(args.variants):
        for number, photo in enumerate(photos):
            others = [other for other in photos if other is not photo]
            people.append(make_person(photo, others, number * args.variants + variant))
    kept = [person for person in people if person is not None]
    groups = {
        f"canvas {start // args.together}": kept[start : start + args.together]
        for start in range(0, len(kept), args.together)
    }
    names = list(groups)

    def measure_canvas(name: str) -> tuple[list[Row], np.ndarray]:
        return measure_scene(groups[name], finder, taker, [args.seed, names.index(name)])

    done = run_each({name: name for name in groups}, measure_canvas, "canvases")
    rows = [row for entry in done for row in entry[0]]
    write_csv(args.out / "faces.csv", rows)
    write_sheets(args.out, [entry[1] for entry in done])
    head = f"{len(rows)} faces, {args.together} together, on {len(done)} canvases, seed {args.seed}"
    sys.stdout.write("\n".join([head, *table(rows, MEASURES)]) + "\n")
    return len(files) - len(photos) + len(groups) - len(done)


def main(argv: list[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = build_parser().parse_args(argv)
    return run(args, lambda config: measure(config, args), keeps_items=False)


if __name__ == "__main__":
    sys.exit(main())

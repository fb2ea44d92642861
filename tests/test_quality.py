"""Which results are doubtful and which are not."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from s3pot.geometry import Alignment, as_quad, image_corners
from s3pot.labels import CLASSES
from s3pot.quality import Evidence, QualityLimits, find_doubts, likeness, quality_text
from s3pot.types import AlignedFace

SIZE = 100
LIMITS = QualityLimits(min_score=0.7, min_likeness=0.6)


def oval(center: tuple[int, int] = (50, 55), axes: tuple[int, int] = (25, 33)) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.ellipse(mask, center, axes, 0, 0, 360, 1, -1)
    return mask > 0


def evidence(region: np.ndarray, similarity: float = 0.9) -> Evidence:
    """A face with eyes and a nose in ``region``, and the given agreement of image and reference."""
    parsing = np.where(region, CLASSES.index("skin"), 0).astype(np.uint8)
    rows, columns = np.nonzero(region)
    if len(rows):
        nose = (slice(int(rows.mean()), int(rows.mean()) + 2), int(columns.mean()))
        parsing[nose] = CLASSES.index("nose")
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    face = AlignedFace("face", image, parsing, image)
    return Evidence(face, np.full((16, 16), similarity), whole(SIZE, SIZE), False)


def whole(height: int, width: int, score: float | None = None) -> Alignment:
    size = (height, width)
    return Alignment(as_quad(image_corners(size)), size, size, score=score)


def crop_at(left: float, top: float, side: float) -> Alignment:
    quad = ((left, top), (left, top + side), (left + side, top + side), (left + side, top))
    return Alignment(quad, (64, 64), (SIZE, SIZE), score=0.9)


def test_a_face_is_believed() -> None:
    assert find_doubts(evidence(oval()), LIMITS) == []
    assert quality_text([]) == "ok"


@pytest.mark.parametrize(
    ("region", "doubt"),
    [
        (np.zeros((SIZE, SIZE), bool), "no face region"),
        (oval(axes=(6, 8)), "small face region (1.7% of the image)"),
        (np.ones((SIZE, SIZE), bool), "large face region (100% of the image)"),
        (oval(axes=(49, 12)), "odd shape of the face region"),
        (oval(center=(90, 55)), "the face region lies at the edge of the image"),
        (oval(center=(50, 99), axes=(30, 30)), "the face region lies at the edge of the image"),
        (np.eye(5, dtype=bool).repeat(12, 0).repeat(12, 1), "odd shape of the face region"),
    ],
)
def test_a_region_that_is_no_face_is_doubted(region: np.ndarray, doubt: str) -> None:
    padding = SIZE - len(region)
    region = np.pad(region, (padding // 2, padding - padding // 2))
    assert doubt in find_doubts(evidence(region), LIMITS)


def test_scattered_pieces_are_doubted_and_a_bar_across_the_face_is_not() -> None:
    scattered = np.zeros((SIZE, SIZE), bool)
    for row in range(20, 80, 20):
        for column in range(20, 80, 20):
            scattered[row : row + 10, column : column + 10] = True
    assert "the face region is in 9 pieces" in find_doubts(evidence(scattered), LIMITS)
    face = oval()
    face[40:48] = False
    assert find_doubts(evidence(face), LIMITS) == []


def test_a_face_needs_a_feature() -> None:
    smooth = evidence(oval())
    parsing = np.where(oval(), CLASSES.index("skin"), 0).astype(np.uint8)
    smooth = replace(smooth, face=replace(smooth.face, parsing=parsing))
    assert find_doubts(smooth, LIMITS) == ["no eyes, nose or mouth"]


def test_a_black_square_shows_nothing() -> None:
    black = evidence(oval())
    black = replace(black, face=replace(black.face, image=np.zeros((SIZE, SIZE, 3), np.uint8)))
    assert find_doubts(black, LIMITS) == ["nothing is visible in the face region"]


@pytest.mark.filterwarnings("error")
def test_a_region_that_has_no_pixel_of_the_image_shows_nothing() -> None:
    fine = evidence(oval())
    parsing = np.zeros((10 * SIZE, 10 * SIZE), np.uint8)
    parsing[300:700, 301:700:10] = CLASSES.index("skin")  # between the pixels' centers
    fine = replace(fine, face=replace(fine.face, parsing=parsing))
    assert "nothing is visible in the face region" in find_doubts(fine, LIMITS)


def test_a_reference_that_fits_nowhere_is_doubted_and_one_that_fits_in_part_is_not() -> None:
    doubts = ["the reference hardly resembles the image anywhere"]
    assert find_doubts(evidence(oval(), similarity=0.3), LIMITS) == doubts
    half = evidence(oval())
    similarity = half.similarity.copy()
    similarity[:9] = -0.2  # a mask over the upper half
    assert find_doubts(replace(half, similarity=similarity), LIMITS) == []
    assert find_doubts(evidence(oval(), similarity=0.3), QualityLimits()) == []


def test_likeness_counts_the_region_only() -> None:
    similarity = np.full((4, 4), -1.0)
    similarity[:2] = 0.5
    region = np.zeros((40, 40), bool)
    region[:20] = True
    assert likeness(similarity, region) == 0.5
    assert likeness(similarity, ~region) == -1
    assert likeness(similarity, np.zeros((40, 40), bool)) == -1


@pytest.mark.parametrize(
    ("alignment", "looked", "doubts"),
    [
        (whole(SIZE, SIZE), False, []),
        (whole(SIZE, SIZE), True, ["no face found in the photo"]),
        (whole(SIZE, SIZE, score=0.9), True, []),
        (whole(SIZE, SIZE, score=0.62), True, ["unsure alignment (detector 0.62, limit 0.7)"]),
        (whole(SIZE, SIZE, score=0.6997), True, ["unsure alignment (detector 0.6997, limit 0.7)"]),
        (whole(SIZE, SIZE, score=0.7), True, []),
        (
            whole(60, 80),
            False,
            ["the photo is 80 x 60 and was not aligned (align.mode=auto does it)"],
        ),
        (crop_at(10, 10, 50), True, []),
        (crop_at(-10, -10, 50), True, []),
        (crop_at(-8, -12, 120), True, []),  # the whole face is in the photo, and 69 % of the crop
        (crop_at(-25, -30, 150), True, []),  # and 44 % of the crop
        (crop_at(-30, -30, 50), True, ["much of the face lies outside the photo (88% of it)"]),
        (crop_at(65, 0, 70), True, ["much of the face lies outside the photo (54% of it)"]),
        (None, False, []),
    ],
)
def test_doubts_about_the_alignment(
    alignment: Alignment | None, looked: bool, doubts: list[str]
) -> None:
    face = replace(evidence(oval()), alignment=alignment, looked_for_face=looked)
    assert find_doubts(face, LIMITS) == doubts
    assert quality_text(doubts) == ("ok" if not doubts else f"doubtful: {doubts[0]}")


def test_the_parsing_may_have_another_size() -> None:
    face = evidence(oval())
    small = face.face.parsing[::2, ::2]
    assert find_doubts(replace(face, face=replace(face.face, parsing=small)), LIMITS) == []

"""Occluded faces on canvases: their places, the assignment of results, and the whole tool."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from s3pot.data.image import write_png
from s3pot.geometry import as_quad
from s3pot.labels import CLASSES
from s3pot.rg.align import identity
from s3pot.rg.warp import crop
from s3pot.segmentation import PhotoMasks
from s3pot_synthetic import FaceSample, draw_face
from tools import photo_scenes
from tools.photo_scenes import (
    GIVEN,
    SIZE,
    Person,
    Placed,
    References,
    draw_canvas,
    find,
    given_crops,
    iou_in_crop,
    put,
    score,
)
from tools.photo_truth import FASSEG_COLORS, PARTS, judge

PART_OF = {
    "hair": "hair", "eyebrows": "hair", "skin": "skin", "ears": "skin", "belowface": "skin",
    "nose": "nose", "lip": "mouth", "mouth": "mouth", "eyes": "eyes",
}  # fmt: skip
PLAIN = (0, 7)  # drawn faces whose eyes and mouth are open


def parts_of(sample: FaceSample) -> np.ndarray:
    names = [PART_OF.get(name, "background") for name in CLASSES]
    return np.array([PARTS.index(name) for name in names], np.uint8)[sample.labels]


@pytest.fixture(scope="module")
def person() -> Person:
    sample = draw_face(PLAIN[0], SIZE)
    known = np.ones(sample.labels.shape, bool)
    photo = judge("a", sample.clean, parts_of(sample), known)
    occlusion = photo.region & (np.arange(SIZE) < photo.place.middle[0])
    red = np.where(occlusion[..., None], np.array([255, 0, 0], np.uint8), photo.picture)
    return Person(photo, red, occlusion, np.full((SIZE, SIZE), 255, np.uint8))


def test_the_truth_lies_where_the_picture_does(person: Person) -> None:
    canvas = np.zeros((700, 800, 3), np.uint8)
    placed = put(np.random.default_rng(0), canvas, person, np.array([100.0, 80.0]))
    is_red = (canvas[..., 0] > 200) & (canvas[..., 1:].max(axis=2) < 60)
    assert (is_red & placed.occlusion).sum() > 0.95 * is_red.sum() > 0
    assert (is_red & placed.occlusion).sum() > 0.9 * placed.occlusion.sum()
    assert placed.occlusion[placed.judged].any() and not placed.occlusion[~placed.judged].any()
    rows, columns = np.nonzero(placed.occlusion)
    assert abs(rows.mean() - placed.middle[1]) < 0.5 * placed.face_side
    assert 0 < placed.middle[0] - columns.mean() < 0.5 * placed.face_side


@pytest.mark.slow
def test_people_have_places_of_their_own(person: Person) -> None:
    canvas, places = draw_canvas(np.random.default_rng(1), [person] * 4)
    assert canvas.shape[0] > 2 * photo_scenes.PLACE
    for number, place in enumerate(places):
        for other in places[:number]:
            assert not (place.occlusion & other.occlusion).any()
            assert np.linalg.norm(place.middle - other.middle) > place.face_side


def result_at(place: Placed, offset: float) -> SimpleNamespace:
    """A result whose crop is shifted from a face by the given share of the crop's side."""
    half = place.face_side / 2
    corners = np.array([[-half, -half], [-half, half], [half, half], [half, -half]])
    middle = place.middle + np.array([offset * place.face_side, 0])
    whole = identity(np.zeros((*place.occlusion.shape, 3), np.uint8))
    return SimpleNamespace(alignment=replace(whole, quad=as_quad(corners + middle)))


@pytest.mark.slow
def test_a_face_is_found_by_the_nearest_crop(person: Person) -> None:
    _, (place, other) = draw_canvas(np.random.default_rng(2), [person] * 2)
    results = [result_at(place, 0.1), result_at(place, 0.02), result_at(other, 0.3)]
    assert find(results, place) is results[1]  # type: ignore[arg-type, comparison-overlap]
    assert find(results, other) is None  # type: ignore[arg-type]
    assert find([], place) is None


def test_faces_that_are_not_found_score_nothing(person: Person) -> None:
    _, (place,) = draw_canvas(np.random.default_rng(2), [person])
    references = References(given=0.7, resampled=0.68, framed=0.65, labeled=0.6)
    row = score(place, None, references)
    assert (row["found"], row["scene_iou"]) == (0, 0)
    assert row["against_given"] == pytest.approx(-0.7)
    exact = place.occlusion | ~place.judged  # ignored pixels do not count
    row = score(place, PhotoMasks(exact, exact), references)
    assert (row["found"], row["scene_iou"]) == (1, 1)
    names = ("resolution_step", "background_step", "framing_step", "detection_step")
    np.testing.assert_allclose([row[name] for name in names], [-0.02, -0.03, -0.05, 0.4])
    assert row["against_framed"] == pytest.approx(0.35)


def test_given_crops_show_the_face_and_their_masks_come_back(person: Person) -> None:
    canvas, (place,) = draw_canvas(np.random.default_rng(2), [person])
    assert np.abs(place.landmarks.mean(axis=0) - place.middle).max() < 0.1 * place.face_side

    def segment(image: np.ndarray) -> SimpleNamespace:
        is_red = (image[..., 0] > 200) & (image[..., 1:].max(axis=2) < 60)
        return SimpleNamespace(occlusion=is_red)

    model = SimpleNamespace(segment=segment)
    for alignment in given_crops(canvas, place):
        assert iou_in_crop(model, canvas, place, alignment) > 0.9  # type: ignore[arg-type]


def test_the_frame_shows_the_studio_photo(person: Person) -> None:
    canvas = np.zeros((700, 800, 3), np.uint8)
    place = put(np.random.default_rng(0), canvas, person, np.array([100.0, 80.0]))
    framed, _ = given_crops(canvas, place)
    studio = cv2.resize(person.picture, (GIVEN, GIVEN), interpolation=cv2.INTER_AREA)
    for image in (canvas, place.studio):
        offset = crop(image, framed).astype(float) - cv2.GaussianBlur(studio, (0, 0), 1.0)
        assert np.abs(offset[8:-8, 8:-8]).mean() < 6


def test_the_studio_photo_keeps_its_background(person: Person) -> None:
    canvas = np.zeros((700, 800, 3), np.uint8)
    matte = person.matte.copy()
    matte[:, : SIZE // 4] = 0
    place = put(np.random.default_rng(0), canvas, replace(person, matte=matte), np.full(2, 90.0))
    framed, _ = given_crops(canvas, place)
    left = (slice(20, -20), slice(8, GIVEN // 4 - 8))
    assert crop(canvas, framed)[left].max() == 0
    assert crop(place.studio, framed)[left].max() > 0


@pytest.mark.slow
def test_the_whole_tool(
    tmp_path: Path, mini_options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    colors = np.array(list(FASSEG_COLORS.values()), np.uint8)
    for name, index in zip("ab", PLAIN):
        sample = draw_face(index, 128)
        write_png(tmp_path / "photos" / f"{name}.png", sample.clean)
        write_png(tmp_path / "photos" / f"{name}_label.png", colors[parts_of(sample)])
    command = ["--photos", str(tmp_path / "photos"), "--out", str(tmp_path / "out")]
    command += ["--variants", "1", *mini_options, "align.mode=never"]
    assert photo_scenes.main(command) == 0
    with (tmp_path / "out" / "faces.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["photo"] for row in rows] == ["a", "b"]
    for name in ("given_iou", "resampled_iou", "framed_iou", "labeled_iou"):
        assert all(0 <= float(row[name]) <= 1 for row in rows)
    assert "frame cut out of the canvas -> found crop" in capsys.readouterr().out
    assert (tmp_path / "out" / "sheet_01.png").exists()
    assert photo_scenes.main([*command, "--together", "0"]) == 2
    assert "--together 0" in capsys.readouterr().err

"""Scenes with many faces: places of the faces, requested properties, and reproducible bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3pot.types import S3potError
from s3pot_synthetic import crowd, crowd_bank
from s3pot_synthetic.crowd import draw_crowd
from s3pot_synthetic.crowd_backgrounds import draw_background
from s3pot_synthetic.crowd_bank import Bank, draw_bank, draw_person, open_bank

SIDE = 160


@pytest.fixture(scope="module")
def bank() -> Bank:
    """Eight people in six places."""
    people = [draw_person(index) for index in range(8)]
    places = [draw_background(np.random.default_rng(index), 120) for index in range(6)]
    names = ("people", "whole", "occluders", "landmarks", "outlines")
    stacked = {name: np.stack([person[name] for person in people]) for name in names}
    return Bank(places=np.stack(places), **stacked)


def scenes(bank: Bank, count: int = 60) -> list[crowd.CrowdScene]:
    return [draw_crowd(np.random.default_rng([4, i]), bank, SIDE) for i in range(count)]


@pytest.mark.slow
def test_same_stream_same_scene(bank: Bank) -> None:
    first, second = (draw_crowd(np.random.default_rng(9), bank, SIDE) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.landmarks, second.landmarks)
    assert not np.array_equal(first.image, draw_crowd(np.random.default_rng(8), bank, SIDE).image)


@pytest.mark.slow
def test_faces_of_all_sizes_and_numbers(bank: Bank) -> None:
    drawn = scenes(bank)
    counts = [len(scene.boxes) for scene in drawn]
    assert min(counts) == 0 and max(counts) >= 3
    sides = np.concatenate([scene.boxes[:, 2:].max(axis=1) for scene in drawn])
    assert sides.min() < 20 and sides.max() > 0.8 * SIDE
    for scene in drawn:
        assert scene.image.shape == (SIDE, SIDE, 3) and scene.image.dtype == np.uint8
        middle = scene.boxes[:, :2] + scene.boxes[:, 2:] / 2
        assert (middle >= 0).all() and (middle < SIDE).all()


@pytest.mark.slow
def test_landmarks_lie_in_their_box_and_in_order(bank: Bank) -> None:
    turns = []
    for scene in scenes(bank):
        for box, points in zip(scene.boxes, scene.landmarks):
            assert (points >= box[:2] - 2).all() and (points <= box[:2] + box[2:] + 2).all()
            across = points[1] - points[0]
            down = points[3:].mean(axis=0) - points[:2].mean(axis=0)
            # Seen from the left eye toward the right one, the mouth is on the right: never
            # mirrored.
            assert across[0] * down[1] - across[1] * down[0] > 0
            assert across @ (points[4] - points[3]) > 0
            turns.append(np.degrees(np.arctan2(across[1], across[0])))
    assert np.abs(turns).max() > 30 and np.abs(turns).max() < 90


@pytest.mark.parametrize("scale", [0.11, 0.4, 1.0, 1.9])
@pytest.mark.parametrize("margin", [0, 20])
def test_warp_moves_pixels_to_where_points_go(scale: float, margin: int) -> None:
    size, spot = crowd_bank.FACE_SIZE, np.array([150.0, 90.0])
    source = np.zeros((size, size, 4), np.uint8)
    source[int(spot[1]) - 10 : int(spot[1]) + 11, int(spot[0]) - 10 : int(spot[0]) + 11] = 255
    turn = scale * np.array([[0.8, -0.6], [0.6, 0.8]])
    motion = np.concatenate([turn, np.array([[60.0], [30.0]])], axis=1)
    part, rows, columns = crowd._warp(source, motion, 400, margin)
    weight = part[..., 3].astype(np.float64)
    y, x = np.mgrid[rows.start : rows.stop, columns.start : columns.stop]
    centroid = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
    np.testing.assert_allclose(centroid, turn @ spot + [60, 30], atol=0.3)


def test_hidden_and_cut_faces_are_not_asked_for(bank: Bank) -> None:
    box = np.array([40.0, 40.0, 40.0, 50.0])
    points, outline = np.zeros((5, 2)), np.zeros((16, 2))

    def person(moved: tuple[float, float] = (0, 0), hidden: float = 0.0) -> crowd._Person:
        return crowd._Person(box + [*moved, 0, 0], points, outline, hidden, True)

    image, rng = np.zeros((SIDE, SIDE, 3), np.uint8), np.random.default_rng(0)

    def counts(*people: crowd._Person) -> tuple[int, int]:
        scene = crowd._finish(rng, image, list(people), SIDE)
        return len(scene.boxes), len(scene.ignored)

    assert counts(person(), person((70, 0))) == (2, 0)
    assert counts(person(), person((0, 5))) == (1, 1)  # the second one is in front of the first
    assert counts(person(hidden=0.9)) == (0, 1)
    assert counts(person((-70, 0))) == (0, 1)


@pytest.mark.slow
def test_bank_on_disk(tmp_path: Path) -> None:
    with pytest.raises(S3potError, match=r"lacks crowd_people\.npy"):
        open_bank(tmp_path)
    draw_bank(tmp_path, people=2, places=1, workers=1)
    drawn = open_bank(tmp_path)
    person = draw_person(1)
    np.testing.assert_array_equal(drawn.people[1], person["people"])
    np.testing.assert_array_equal(drawn.landmarks[1], person["landmarks"])
    assert drawn.places.shape == (1, crowd_bank.PLACE_SIZE, crowd_bank.PLACE_SIZE, 3)
    before = (tmp_path / "crowd_people.npy").stat().st_mtime_ns
    draw_bank(tmp_path, people=2, places=1, workers=1)
    assert (tmp_path / "crowd_people.npy").stat().st_mtime_ns == before


def test_outline_is_the_face_without_the_skull(bank: Bank) -> None:
    for outline, points in zip(bank.outlines, bank.landmarks):
        eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
        down = (mouth - eyes) / np.linalg.norm(mouth - eyes)
        reach = (outline - eyes) @ down / np.linalg.norm(mouth - eyes)
        assert -1.35 < reach.min() < -0.6 and 1.4 < reach.max() < 2.3

"""Segments of drawn scenes, landmarks and mattes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from s3pot.labels import CLASSES, region_of
from s3pot_synthetic import draw_face, draw_scene_segments, texture_scene
from s3pot_synthetic.canvas import Frame
from s3pot_synthetic.head import draw_head
from s3pot_synthetic.natural import banks, surface

SIZE = 96


def test_texture_scenes_have_many_segments_of_all_sizes() -> None:
    counts, shares = [], []
    for seed in range(20):
        image, ids = texture_scene(np.random.default_rng(seed), SIZE)
        assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8
        assert ids.shape == (SIZE, SIZE) and ids.dtype == np.int16 and ids.min() >= 0
        areas = np.bincount(ids.ravel())[1:]
        counts.append((areas > 0).sum())
        shares += list(areas[areas > 0] / SIZE**2)
    assert min(counts) >= 1 and max(counts) >= 20
    assert min(shares) < 0.003 and max(shares) > 0.1


def test_texture_scenes_change_at_the_edges_of_segments() -> None:
    at_edges, elsewhere = [], []
    for seed in range(12):
        image, ids = texture_scene(np.random.default_rng(seed), SIZE)
        step = np.abs(np.diff(image.astype(float), axis=1)).mean(2)
        edge = np.diff(ids, axis=1) != 0
        at_edges.append(step[edge].mean())
        elsewhere.append(step[~edge].mean())
    assert np.mean(at_edges) > 2 * np.mean(elsewhere)


def test_texture_scenes_depend_on_the_stream_only() -> None:
    first = texture_scene(np.random.default_rng(5), SIZE)
    texture_scene(np.random.default_rng(6), SIZE)
    again = texture_scene(np.random.default_rng(5), SIZE)
    other = texture_scene(np.random.default_rng(7), SIZE)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_surfaces_have_the_color_asked_for() -> None:
    base = np.array([0.8, 0.3, 0.2])
    means = [surface(np.random.default_rng(s), 40, 60, base).mean((0, 1)) for s in range(40)]
    np.testing.assert_allclose(np.median(means, axis=0) / 255, base, atol=0.08)
    assert all(not field.flags.writeable for fields in banks().values() for field in fields)


@pytest.mark.slow
def test_scene_segments_are_those_of_the_drawn_face() -> None:
    for index in range(12):
        sample = draw_face(index, SIZE, seed=3)
        scene = draw_scene_segments(index, SIZE, seed=3)
        np.testing.assert_array_equal(scene.image, sample.raw)
        visible = region_of(sample.labels) & ~sample.occluder
        face = np.unique(scene.things[visible])
        assert len(face) == 1 and face[0] > 0
        hidden = np.unique(scene.things[sample.occluder])
        assert len(hidden) == len(sample.meta["kinds"]) or not sample.occluder.any()
        assert not set(hidden) & set(face)
        assert len(np.unique(scene.parts[visible])) >= 3
        for number in np.unique(scene.parts[~sample.occluder & (sample.labels > 0)]):
            assert len(np.unique(sample.labels[(scene.parts == number)])) <= 1


@pytest.mark.slow
def test_landmarks_lie_on_their_parts() -> None:
    hits = []
    eye = ("eyes", "eye_glass")
    expected = (eye, eye, ("nose", "eye_glass"), ("lip", "mouth"), ("lip", "mouth"))
    for index in range(25):
        sample = draw_face(index, SIZE, seed=8)
        assert sample.landmarks.shape == (5, 2) and sample.landmarks.dtype == np.float32
        left_eye, right_eye, nose, left_corner, right_corner = sample.landmarks
        assert left_eye[0] < right_eye[0] and left_corner[0] < right_corner[0]
        assert max(left_eye[1], right_eye[1]) < min(left_corner[1], right_corner[1])
        for names, point in zip(expected, sample.landmarks):
            near = np.isin(sample.labels, [CLASSES.index(name) for name in names])
            near = cv2.dilate(near.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
            hits.append(near[tuple(np.clip(np.round(point[::-1]), 0, SIZE - 1).astype(int))])
    assert np.mean(hits) > 0.93


def test_landmarks_scale_with_the_picture() -> None:
    small, large = draw_face(4, 64).landmarks, draw_face(4, 256).landmarks
    np.testing.assert_allclose((large + 0.5) / 4 - 0.5, small, atol=1e-3)


def test_landmarks_of_a_head_seen_from_the_front() -> None:
    head = draw_head(np.random.default_rng(0), Frame(SIZE))
    points = head.landmarks
    corners = head.turn([(side * head.mouth_x, head.mouth_y) for side in (-1, 1)], 0.05)
    assert (
        np.linalg.norm(points[3:] - corners, axis=1).max() <= abs(head.smile) * 2.3 * head.half[1]
    )


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "bench"])
def test_the_person_covers_every_part_and_leaves_background(split: str) -> None:
    for index in range(8):
        sample = draw_face(index, SIZE, split, seed=2)
        assert sample.person.dtype == np.uint8
        assert (sample.person[sample.labels > 0] >= 64).mean() > 0.99
        assert 0.02 < (sample.person == 0).mean() < 0.9

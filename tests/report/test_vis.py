"""Pictures: kinds, sizes, and that the right pixels take the right colour."""

from __future__ import annotations

import numpy as np
import pytest

from s3pot.labels import COLOURS, OCCLUSION
from s3pot.report import vis

GREY = (90, 90, 90)


def grey(height=64, width=64):
    return np.full((height, width, 3), 90, np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 20), (300, 200)])
def test_every_picture_keeps_size_and_kind_and_its_input(size):
    picture, rng = grey(*size), np.random.default_rng(0)
    points, labels = rng.random((9, 2)), rng.integers(0, 2, 9)
    mask = rng.random(size) < 0.5
    made = [
        vis.overlay(picture, mask),
        vis.draw_points(picture, points, labels, points[0]),
        vis.draw_attention(picture, points, rng.random((10, 10))),
        vis.colour_labels(mask.astype(np.uint8)),
    ]
    for image in made:
        assert (image.shape, image.dtype) == ((*size, 3), np.uint8)
    assert (picture == 90).all()


def test_labels_take_their_colours():
    painted = vis.colour_labels(np.array([[0, OCCLUSION]], np.uint8))
    np.testing.assert_array_equal(painted[0], COLOURS[[0, OCCLUSION]])


def test_overlay_tints_the_mask_and_leaves_the_rest():
    mask = np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    made = vis.overlay(grey(), mask, (255, 0, 0), share=0.5)
    assert tuple(made[32, 32]) == (172, 45, 45)
    assert tuple(made[16, 30]) == (255, 0, 0)
    assert (made[~mask] == 90).all()
    assert (vis.overlay(grey(), np.zeros((64, 64), bool)) == 90).all()


def test_points_lie_where_they_should_in_their_colours():
    points = np.array([[0.25, 0.75], [0.75, 0.25]])
    made = vis.draw_points(grey(), points, np.array([1, 0]))
    assert tuple(made[48, 16]) == vis.FACE
    assert tuple(made[16, 48]) == vis.OCCLUSION
    assert tuple(made[16, 16]) == GREY
    ringed = vis.draw_points(grey(300, 300), points, np.array([1, 0]), points[0])
    assert tuple(ringed[224, 75]) == vis.FIRST


def test_heavier_points_are_larger_and_brighter():
    points = np.array([[0.25, 0.5], [0.75, 0.5]])
    attention = np.array([[0.0, 0.5, 0.5], [0.1, 0.2, 0.7], [0.0, 0.2, 0.8]])  # columns 0.1, 0.9
    made = vis.draw_attention(np.zeros((220, 220, 3), np.uint8), points, attention).sum(axis=2)
    assert (made[:, 110:] > 0).sum() > 2 * (made[:, :110] > 0).sum() > 0
    assert made[:, 110:].max() > made[:, :110].max()
    pad_only = np.array([[0.0, 1.0], [0.0, 1.0]])
    assert vis.draw_attention(grey(), points[:1], pad_only).shape == (64, 64, 3)


def test_side_by_side_leaves_a_gap():
    made = vis.side_by_side(grey(20, 30), grey(20, 10), gap=2)
    assert made.shape == (20, 30 + 2 + 10, 3)
    assert (made[:, 30:32] == 255).all()
    assert (made[:, 32:] == 90).all()


def test_enlarged_is_a_whole_factor_and_leaves_large_pictures():
    assert vis.enlarged(grey(100, 200), 512).shape == (300, 600, 3)
    large = np.random.default_rng(0).integers(0, 256, (600, 20, 3)).astype(np.uint8)
    assert (vis.enlarged(large, 512) == large).all()

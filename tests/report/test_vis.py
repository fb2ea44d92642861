"""Pictures: kinds, sizes, and the right color at the right pixels."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
import pytest

from s3pot.labels import COLORS, OCCLUSION_CLASS
from s3pot.report import vis

GRAY = (90, 90, 90)

# How people without red, green or blue cones see linear RGB (Machado et al., 2009, full severity).
COLOR_BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def gray(height: int = 64, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), 90, np.uint8)


def lab_as_seen(color: tuple[int, ...], matrix: np.ndarray) -> np.ndarray:
    """CIELAB of an sRGB color as an eye with this matrix sees it."""
    srgb = np.array(color) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(matrix @ linear, 0, 1)
    encoded = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(encoded.astype(np.float32).reshape(1, 1, 3), cv2.COLOR_RGB2LAB)[0, 0]


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 20), (300, 200)])
def test_every_picture_keeps_size_and_kind_and_its_input(size: tuple[int, int]) -> None:
    picture, rng = gray(*size), np.random.default_rng(0)
    points, labels = rng.random((9, 2)), rng.integers(0, 2, 9)
    mask = rng.random(size) < 0.5
    pictures = [
        vis.overlay(picture, mask),
        vis.error_map(picture, mask, rng.random(size) < 0.5),
        vis.draw_points(picture, points, labels, points[0]),
        vis.draw_attention(picture, points, rng.random((10, 10))),
        vis.color_labels(mask.astype(np.uint8)),
    ]
    for image in pictures:
        assert (image.shape, image.dtype) == ((*size, 3), np.uint8)
    assert (picture == 90).all()


def test_labels_take_their_colors() -> None:
    painted = vis.color_labels(np.array([[0, OCCLUSION_CLASS]], np.uint8))
    np.testing.assert_array_equal(painted[0], COLORS[[0, OCCLUSION_CLASS]])


def test_overlay_tints_the_mask_and_leaves_the_rest() -> None:
    mask = np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    tinted = vis.overlay(gray(), mask, (255, 0, 0), share=0.5)
    assert tuple(tinted[32, 32]) == (172, 45, 45)
    assert tuple(tinted[16, 30]) == (255, 0, 0)
    assert (tinted[~mask] == 90).all()
    assert (vis.overlay(gray(), np.zeros((64, 64), bool)) == 90).all()


@pytest.mark.parametrize("place", [(0, 0), (30, 40), (50, 0), (0, 50)])
def test_an_overlay_changes_the_same_pixels_wherever_the_mask_lies(place: tuple[int, int]) -> None:
    """Only the box around the mask is worked on; a slow definition finds the same picture."""
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[place[0] : place[0] + 14, place[1] : place[1] + 14] = True
    mask[place[0] + 3, place[1] + 7] = False
    color = np.array(vis.OCCLUSION_COLOR)
    want = picture.copy()
    want[mask] = (picture[mask] + (color - picture[mask].astype(np.float32)) * 0.5).round()
    padded = np.pad(mask, 2)
    shifts = {1: ((0, 1), (1, 0), (0, -1), (-1, 0)), 2: ((1, 1), (1, -1), (-1, 1), (-1, -1))}
    around = [*shifts[1], *shifts[2], (0, 2), (2, 0), (0, -2), (-2, 0)]
    moved = [np.roll(padded, shift, (0, 1))[2:-2, 2:-2] for shift in around]
    want[mask & ~np.logical_and.reduce(moved)] = vis.WHITE
    want[mask & ~np.logical_and.reduce(moved[:4])] = color
    np.testing.assert_array_equal(vis.overlay(picture, mask), want)


@pytest.mark.parametrize(
    "background", [(0, 0, 0), (255, 255, 255), (224, 172, 140), vis.OCCLUSION_COLOR]
)
def test_an_outline_shows_on_any_background(background: tuple[int, int, int]) -> None:
    picture = np.full((64, 64, 3), background, np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[16:48, :48] = True  # cut off by the picture's left edge
    canvas = picture.copy()
    vis.draw_outline(canvas, mask, vis.OCCLUSION_COLOR)
    difference = np.abs(canvas.astype(int) - picture).max(axis=2)
    for rim in (difference[16:18, 20], difference[46:48, 20], difference[30, :2]):
        assert rim.max() > 100
    assert not difference[~mask].any() and not difference[20:44, 4:44].any()


def test_error_map_marks_hit_miss_and_false_alarm() -> None:
    truth = np.zeros((60, 60), bool)
    prediction = np.zeros((60, 60), bool)
    truth[10:50, 10:30] = True
    prediction[10:50, 20:40] = True
    painted = vis.error_map(gray(60, 60), prediction, truth).astype(int)
    for (row, column), color in {
        (30, 25): vis.HIT,
        (30, 15): vis.MISS,
        (30, 35): vis.FALSE_ALARM,
    }.items():
        nearest = min(
            (vis.HIT, vis.MISS, vis.FALSE_ALARM),
            key=lambda known: np.abs(painted[row, column] - known).sum(),
        )
        assert nearest == color
    assert tuple(painted[30, 10]) == vis.BLACK  # the outline of the truth
    assert len(set(painted[5, 5].tolist())) == 1  # gray elsewhere


def test_error_map_brings_the_masks_to_the_size_of_the_picture() -> None:
    truth = np.zeros((20, 20), bool)
    truth[:10] = True
    large = vis.error_map(gray(80, 80), truth, truth)
    np.testing.assert_array_equal(
        large, vis.error_map(gray(80, 80), np.repeat(truth.repeat(4, 0), 4, 1), truth)
    )


@pytest.mark.parametrize("eye", COLOR_BLINDNESS)
def test_a_color_blind_eye_tells_the_errors_apart(eye: str) -> None:
    seen = [
        lab_as_seen(color, COLOR_BLINDNESS[eye]) for color in (vis.HIT, vis.MISS, vis.FALSE_ALARM)
    ]
    for first, second in combinations(seen, 2):
        assert np.linalg.norm(first - second) > 30


def test_points_lie_where_they_should_in_their_colors() -> None:
    points = np.array([[0.25, 0.75], [0.75, 0.25]])
    drawn = vis.draw_points(gray(), points, np.array([1, 0]))
    assert tuple(drawn[48, 16]) == vis.FACE_COLOR
    assert tuple(drawn[16, 48]) == vis.OCCLUSION_COLOR
    assert tuple(drawn[16, 16]) == GRAY
    ringed = vis.draw_points(gray(300, 300), points, np.array([1, 0]), points[0])
    assert tuple(ringed[224, 75]) == vis.FIRST_POINT_COLOR


def test_occlusion_points_have_corners_and_face_points_have_none() -> None:
    points = np.array([[0.25, 0.5], [0.75, 0.5]])
    drawn = vis.draw_points(gray(600, 600), points, np.array([1, 0]))
    assert tuple(drawn[296, 146]) == GRAY  # 3.5 pixels up and left of the center of a disc
    assert tuple(drawn[297, 447]) == vis.OCCLUSION_COLOR


def test_heavier_points_are_larger_and_brighter() -> None:
    points = np.array([[0.25, 0.5], [0.75, 0.5]])
    attention = np.array([[0.0, 0.5, 0.5], [0.1, 0.2, 0.7], [0.0, 0.2, 0.8]])  # columns 0.1, 0.9
    drawn = vis.draw_attention(np.zeros((220, 220, 3), np.uint8), points, attention).sum(axis=2)
    assert (drawn[:, 110:] > 0).sum() > 2 * (drawn[:, :110] > 0).sum() > 0
    assert drawn[:, 110:].max() > drawn[:, :110].max()
    pad_only = np.array([[0.0, 1.0], [0.0, 1.0]])
    assert vis.draw_attention(gray(), points[:1], pad_only).shape == (64, 64, 3)


def test_attention_colors_brighten() -> None:
    colors = vis.attention_colors(np.linspace(0, 1, 9))
    assert (np.diff(colors.sum(axis=1).astype(int)) > 0).all()
    assert vis.attention_colors(np.zeros(0)).shape == (0, 3)


def test_side_by_side_leaves_a_gap() -> None:
    joined = vis.side_by_side(gray(20, 30), gray(20, 10), gap=2)
    assert joined.shape == (20, 30 + 2 + 10, 3)
    assert (joined[:, 30:32] == 255).all()
    assert (joined[:, 32:] == 90).all()


def test_enlarged_is_a_whole_factor_and_leaves_large_pictures() -> None:
    assert vis.enlarged(gray(100, 200), 512).shape == (300, 600, 3)
    large = np.random.default_rng(0).integers(0, 256, (600, 20, 3)).astype(np.uint8)
    assert (vis.enlarged(large, 512) == large).all()

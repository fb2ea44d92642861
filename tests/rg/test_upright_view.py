"""The view of a single face: its geometry, and what it shows of a photo."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from s3pot.rg.align import quad_from_landmarks
from s3pot.rg.detect import Face
from s3pot.rg.upright_view import (
    VIEW_CROP,
    VIEW_SIDE,
    UprightView,
    face_in_middle,
    mirrored_landmarks,
)

FACE = np.array([[-20.0, -18], [20, -18], [0, 5], [-15, 24], [15, 24]])


def landmarks_at(center: tuple[float, float], degrees: float, scale: float) -> np.ndarray:
    """A face's landmarks in a photo."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * FACE @ turn.T + center


@pytest.mark.parametrize("degrees", [0, 40, -130])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("zoom", [1.0, 1.4])
def test_the_crop_of_the_face_is_upright_in_the_middle(
    degrees: float, scale: float, zoom: float
) -> None:
    points = landmarks_at((310.0, 250.0), degrees, scale)
    view = UprightView.of_face(points)
    assert view is not None
    middle, half = (VIEW_SIDE - 1) / 2, zoom * VIEW_CROP / 2
    low, high = middle - half, middle + half
    corners = np.array([[low, low], [low, high], [high, high], [high, low]])
    np.testing.assert_allclose(view.zoomed(zoom).to_photo(corners), quad_from_landmarks(points))


@pytest.mark.parametrize("scale", [0.7, 1.5, 6.0])
def test_a_spot_of_the_photo_is_rendered_where_its_landmark_is(scale: float) -> None:
    points = landmarks_at((450.0, 420.0), 25, scale)
    photo = np.zeros((900, 1000, 3), np.uint8)
    spot = points[1]
    cv2.circle(photo, (round(spot[0]), round(spot[1])), round(4 * scale), (255,) * 3, -1)
    view = UprightView.of_face(points)
    assert view is not None
    picture = view.render(photo)[..., 0].astype(float)
    assert picture.shape == (VIEW_SIDE, VIEW_SIDE)
    rows, columns = np.indices(picture.shape)
    seen = np.array([(columns * picture).sum(), (rows * picture).sum()]) / picture.sum()
    np.testing.assert_allclose(view.to_photo(seen[None])[0], spot, atol=scale)


def test_landmarks_that_coincide_have_no_view() -> None:
    assert UprightView.of_face(np.ones((5, 2))) is None


def test_mirrored_landmarks_are_those_of_the_mirror_image() -> None:
    points = landmarks_at((90.0, 100.0), 10, 1.0)
    mirrored = mirrored_landmarks(points)
    assert mirrored[0, 0] < mirrored[1, 0] and mirrored[3, 0] < mirrored[4, 0]
    np.testing.assert_allclose(mirrored[2], [VIEW_SIDE - 1 - points[2, 0], points[2, 1]])
    np.testing.assert_allclose(mirrored_landmarks(mirrored), points)


def test_only_a_face_in_the_middle_is_the_one_that_the_view_was_made_for() -> None:
    middle = (VIEW_SIDE - 1) / 2
    beside = Face((0.0, 0.0, 9.0, 9.0), 0.9, landmarks_at((middle - 40, middle), 0, 1.0))
    centered = Face((0.0, 0.0, 9.0, 9.0), 0.5, landmarks_at((middle + 9, middle), 0, 1.0))
    assert face_in_middle([beside, centered]) is centered
    assert face_in_middle([beside]) is None

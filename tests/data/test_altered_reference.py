"""Degraded references: only the reference changes, and in the documented way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3pot.data.altered_reference import (
    ALTERATIONS,
    blurred,
    turned,
    with_next_references,
)
from s3pot.data.face_folder import output_files
from s3pot.types import AlignedFace


@pytest.fixture
def face() -> AlignedFace:
    random = np.random.default_rng(0)
    image, reference = random.integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
    return AlignedFace("face", image, np.full((40, 60), 6, np.uint8), reference)


@pytest.mark.parametrize("name", ALTERATIONS)
def test_only_the_reference_changes(face: AlignedFace, name: str) -> None:
    altered = ALTERATIONS[name](face)
    assert altered.image is face.image
    assert altered.parsing is face.parsing
    assert altered.reference.shape == face.reference.shape
    assert altered.reference.dtype == np.uint8
    assert (altered.reference != face.reference).any()


def test_the_blurred_image_comes_from_the_image(face: AlignedFace) -> None:
    other = AlignedFace("face", face.image, face.parsing, face.image)
    altered = ALTERATIONS["blurred_image"]
    assert np.array_equal(altered(face).reference, altered(other).reference)
    assert altered(face).reference.std() < 0.2 * face.image.std()


def test_blur_keeps_the_mean_and_flat_images() -> None:
    flat = np.full((30, 50, 3), 77, np.uint8)
    assert np.array_equal(blurred(flat, 0.05), flat)
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert abs(blurred(image, 0.02).mean() - image.mean()) < 2


def test_a_turn_moves_pixels_counterclockwise_about_the_center() -> None:
    image = np.zeros((101, 101, 3), np.uint8)
    image[50, 80:90] = 255  # right of the center
    quarter = turned(image, 90)
    assert (quarter[11:21, 50] > 250).all()  # above it
    assert np.array_equal(turned(image, 0), image)


def test_each_face_gets_the_reference_of_the_next_one() -> None:
    faces = [output_files(Path("data"), name) for name in "abc"]
    changed = with_next_references(faces)
    assert [face.reference.name for face in changed] == ["b_ref.png", "c_ref.png", "a_ref.png"]
    assert [face.raw for face in changed] == [face.raw for face in faces]
    assert with_next_references(faces[:1]) == faces[:1]

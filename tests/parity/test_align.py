"""Alignment against the recorded reference: quad, crop with black borders, and the inverse."""

from __future__ import annotations

from types import ModuleType
from typing import Callable

import numpy as np
import pytest

from s3pot.geometry import Alignment
from s3pot.rg.align import from_landmarks
from s3pot.rg.warp import crop, inverse_coefficients, to_photo

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def want(vectors: Callable[[str], Arrays]) -> Arrays:
    return vectors("align")


@pytest.fixture(scope="module")
def photo(fill: ModuleType, parity_seed: int) -> np.ndarray:
    return np.ascontiguousarray(fill.photo_uint8(parity_seed, "align", 720)[:480])


@pytest.fixture(scope="module")
def alignment(fill: ModuleType, parity_seed: int, photo: np.ndarray) -> Alignment:
    height, width = photo.shape[:2]
    return from_landmarks(fill.landmarks68(parity_seed), (height, width), borders="black")


@pytest.fixture(scope="module")
def face(photo: np.ndarray, alignment: Alignment) -> np.ndarray:
    return crop(photo, alignment)


def same_picture(got: np.ndarray, want: np.ndarray) -> bool:
    """Whether 99.9 % of the values differ by at most 1."""
    return bool((np.abs(got.astype(int) - want.astype(int)) <= 1).mean() >= 0.999)


def test_quad(alignment: Alignment, want: Arrays) -> None:
    np.testing.assert_allclose(alignment.corners, want["quad"], rtol=1e-6, atol=1e-6)


def test_crop(face: np.ndarray, want: Arrays) -> None:
    assert same_picture(face[::8, ::8], want["crop"])
    np.testing.assert_allclose(face.mean(axis=(0, 1)), want["crop_mean"], atol=0.01)
    black = (face == 0).all(axis=2).mean()
    np.testing.assert_allclose(black, want["crop_black_fraction"], atol=1e-4)


def test_inverse_coefficients(alignment: Alignment, want: Arrays) -> None:
    got = inverse_coefficients(alignment.corners, alignment.size)
    np.testing.assert_allclose(got, want["inverse_coefficients"], rtol=1e-6, atol=1e-6)


def test_pasted(photo: np.ndarray, face: np.ndarray, alignment: Alignment, want: Arrays) -> None:
    covered = to_photo(np.ones(face.shape[:2], bool), alignment)
    got = np.where(covered[..., None], to_photo(255 - face, alignment), photo)
    assert same_picture(got[::8, ::8], want["pasted"])
    np.testing.assert_allclose(got.mean(axis=(0, 1)), want["pasted_mean"], atol=0.01)

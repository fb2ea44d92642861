"""Alignments: crop and inverse for any photo and quad; invalid files are named."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from s3pot.geometry import Alignment
from s3pot.io import BadFile, write_json
from s3pot.rg.warp import crop, to_photo
from s3pot.types import S3potError

SIDES = st.integers(1, 60)
NUMBERS = st.floats(-40, 100, allow_nan=False)
CENTERS = st.tuples(NUMBERS, NUMBERS)
ODD = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=5,
)


def square(center: tuple[float, float], half: float, angle: float) -> tuple[Any, ...]:
    """A quad as alignment produces it: a rotated square."""
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * half
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return tuple((float(x), float(y)) for x, y in corners @ turn.T + center)


@pytest.mark.slow
@given(
    height=SIDES,
    width=SIDES,
    center=CENTERS,
    half=st.floats(1, 60),
    angle=st.floats(-4, 4),
    borders=st.sampled_from(["reflect", "black"]),
    shrink=st.integers(1, 3),
)
def test_any_square_is_cropped_and_comes_back(
    height: int,
    width: int,
    center: tuple[float, float],
    half: float,
    angle: float,
    borders: str,
    shrink: int,
) -> None:
    alignment = Alignment(
        quad=square(center, half, angle),
        size=(16, 16),
        photo_size=(height, width),
        shrink=shrink,
        borders=borders,
    )
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    image = crop(photo, alignment)
    assert image.shape == (16, 16, 3) and image.dtype == np.uint8
    mask = to_photo(np.ones((16, 16), bool), alignment)
    assert mask.shape == (height, width) and mask.dtype == np.bool_
    back = to_photo(image, alignment)
    assert back.shape == photo.shape
    assert not back[~dilated(mask)].any()


def dilated(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 2)
    shape = mask.shape
    shifts = [(y, x) for y in range(5) for x in range(5)]
    return np.any([padded[y : y + shape[0], x : x + shape[1]] for y, x in shifts], axis=0)


@given(
    center=st.tuples(st.floats(20, 40), st.floats(20, 40)),
    half=st.floats(8, 16),
    angle=st.floats(-4, 4),
)
def test_a_mask_comes_back_to_where_it_was(
    center: tuple[float, float], half: float, angle: float
) -> None:
    """Every pixel whose center lies well inside the square, none that lies well outside."""
    alignment = Alignment(square(center, half, angle), size=(64, 64), photo_size=(60, 60))
    mask = to_photo(np.ones((64, 64), bool), alignment)
    y, x = np.mgrid[0:60, 0:60]
    offset = np.stack([x - center[0], y - center[1]], axis=-1)
    along = np.abs(offset @ [np.cos(angle), np.sin(angle)])
    across = np.abs(offset @ [-np.sin(angle), np.cos(angle)])
    distance = np.maximum(along, across)
    assert mask[distance < half - 1.5].all()
    assert not mask[distance > half + 1.5].any()


@given(
    quad=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=4, max_size=4),
    size=st.tuples(SIDES, SIDES),
    photo_size=st.tuples(SIDES, SIDES),
    score=st.one_of(st.none(), st.floats(0, 1)),
)
def test_what_is_written_is_read(
    quad: list[tuple[float, float]],
    size: tuple[int, int],
    photo_size: tuple[int, int],
    score: float | None,
) -> None:
    try:
        alignment = Alignment(tuple(quad), size, photo_size, score=score)
    except S3potError:
        assume(False)
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "a_align.json", alignment.to_dict())
        assert Alignment.read(Path(folder) / "a_align.json") == alignment


@pytest.mark.slow
@given(
    values=st.one_of(
        ODD,
        st.fixed_dictionaries(
            {
                key: st.one_of(st.just(good), ODD)
                for key, good in Alignment(square((8, 8), 4, 0), (9, 9), (20, 20)).to_dict().items()
            }
        ),
    )
)
def test_any_content(values: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a_align.json"
        path.write_text(json.dumps(values), encoding="utf-8")
        try:
            alignment = Alignment.read(path)
        except BadFile as error:
            assert "a_align.json" in str(error)
            return
        assert np.isfinite(alignment.corners).all()

"""Masks: the meaning of two values does not depend on their storage; anything else is reported."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from s3pot.data.masks import BadMask, as_mask, read_mask
from s3pot.types import S3potError

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))
MASKS = SHAPES.flatmap(lambda shape: arrays.arrays(np.bool_, shape)).filter(
    lambda mask: mask.any() and not mask.all()
)


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, format=form, **options)
    stream.seek(0)
    return stream


@pytest.mark.slow
@given(mask=MASKS, low=st.integers(0, 254), data=st.data())
def test_two_grays(mask: np.ndarray, low: int, data: st.DataObject) -> None:
    high = data.draw(st.integers(low + 1, 255))
    values = np.where(mask, high, low).astype(np.uint8)
    for form in ("PNG", "BMP", "TIFF", "PPM"):
        np.testing.assert_array_equal(read_mask(saved(Image.fromarray(values), form), "x"), mask)
    np.testing.assert_array_equal(as_mask(values, "x"), mask)


@pytest.mark.slow
@given(mask=MASKS, low=st.integers(0, 65_534), data=st.data())
def test_two_values_of_16_bits(mask: np.ndarray, low: int, data: st.DataObject) -> None:
    high = data.draw(st.integers(low + 1, 65_535))
    values = np.where(mask, high, low).astype(np.uint16)
    np.testing.assert_array_equal(read_mask(saved(Image.fromarray(values)), "x"), mask)


@pytest.mark.slow
@given(mask=MASKS, color=st.tuples(*[st.integers(0, 255)] * 3).filter(lambda c: max(c) >= 32))
def test_a_color_on_black(mask: np.ndarray, color: tuple[int, int, int]) -> None:
    values = mask[..., None] * np.array(color, np.uint8)
    np.testing.assert_array_equal(read_mask(saved(Image.fromarray(values)), "x"), mask)


@pytest.mark.slow
@given(mask=MASKS, color=st.tuples(*[st.integers(0, 255)] * 3))
def test_alpha(mask: np.ndarray, color: tuple[int, int, int]) -> None:
    """Anything drawn on a transparent canvas belongs to the mask, whatever its color."""
    values = np.zeros((*mask.shape, 4), np.uint8)
    values[..., :3] = color
    values[..., 3] = mask * 255
    np.testing.assert_array_equal(read_mask(saved(Image.fromarray(values)), "x"), mask)


@pytest.mark.slow
@given(mask=MASKS)
def test_one_bit_and_palettes(mask: np.ndarray) -> None:
    bits = Image.fromarray(mask.astype(np.uint8) * 255).convert("1")
    np.testing.assert_array_equal(read_mask(saved(bits), "x"), mask)
    palette = Image.fromarray(mask.astype(np.uint8), mode="P")
    palette.putpalette([0, 0, 0, 200, 30, 30])
    np.testing.assert_array_equal(read_mask(saved(palette), "x"), mask)


ANY_ARRAY = st.sampled_from(
    [np.uint8, np.int64, np.float32, np.bool_, np.complex64, "U3", "M8[s]"]
).flatmap(
    lambda kind: arrays.arrays(
        kind, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)
    )
)


@pytest.mark.slow
@given(values=ANY_ARRAY)
def test_any_array(values: np.ndarray) -> None:
    try:
        mask = as_mask(values, "x")
    except BadMask:
        return
    assert mask.dtype == np.bool_ and mask.shape == values.shape


@pytest.mark.slow
@given(values=arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_any_gray_image(values: np.ndarray) -> None:
    for form in ("PNG", "JPEG", "WEBP"):
        try:
            mask = read_mask(saved(Image.fromarray(values), form), "x")
        except S3potError as error:
            assert "x" in str(error)
            continue
        assert mask.dtype == np.bool_ and mask.shape == values.shape


@given(content=st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    with suppress(S3potError):
        read_mask(io.BytesIO(content), "x")

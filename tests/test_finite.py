"""Values that are not finite are found, whatever their sum is."""

from __future__ import annotations

import math

import pytest
import torch

from s3pot.finite import is_finite, require_finite
from s3pot.types import S3potError

TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", TYPES)
def test_large_finite_values_are_finite(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    assert is_finite(torch.full((4, 1000), largest, dtype=dtype))
    assert is_finite(torch.tensor([[largest], [largest], [-largest]], dtype=dtype))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_value_among_many_is_found(dtype: torch.dtype, bad: float) -> None:
    values = torch.randn(3, 40, 50).to(dtype)
    for place in [(0, 0, 0), (1, 17, 3), (2, 39, 49)]:
        broken = values.clone()
        broken[place] = bad
        assert not is_finite(broken)
        assert not is_finite(broken.transpose(0, 2))


@pytest.mark.parametrize("place", range(3))
def test_the_one_tensor_that_is_not_finite_is_found_among_several(place: int) -> None:
    largest = torch.finfo(torch.float32).max
    values = [torch.full((2, 3), largest), torch.ones(4, dtype=torch.float16), torch.zeros(1)]
    assert is_finite(*values, torch.tensor([1]))
    values[place][0] = math.nan
    assert not is_finite(*values)


def test_opposite_infinities_are_found() -> None:
    assert not is_finite(torch.tensor([math.inf, 1.0, -math.inf]))


def test_whole_numbers_and_nothing_are_finite() -> None:
    assert is_finite(torch.tensor([2**62, 2**62]))
    assert is_finite(torch.tensor([True]))
    assert is_finite(torch.empty(0))


def test_what_is_not_finite_is_named() -> None:
    require_finite("SAM's tokens", torch.ones(3), torch.zeros(2))
    with pytest.raises(S3potError, match=r"SAM's tokens are not finite .* try run\.speed=exact"):
        require_finite(
            "SAM's tokens", torch.ones(3), torch.tensor([math.nan]), setting="run.speed=exact"
        )

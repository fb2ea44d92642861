"""Whether tensors are finite is what looking at every value says."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from s3pot.finite import is_finite

TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@given(st.lists(st.floats(width=32), max_size=20), st.sampled_from(TYPES))
def test_the_answer_is_that_of_looking_at_every_value(
    numbers: list[float], dtype: torch.dtype
) -> None:
    values = torch.tensor(numbers, dtype=torch.float64).to(dtype)
    assert is_finite(values) == all(math.isfinite(value) for value in values.tolist())

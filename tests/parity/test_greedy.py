"""Greedy matching of the recipe's score matrices, in the order in which pairs are accepted."""

from __future__ import annotations

from types import ModuleType
from typing import Callable

import numpy as np
import pytest
import torch

from s3pot.ps.greedy import greedy_match

SHAPES = [(5, 9), (9, 5), (64, 64), (200, 64), (300, 4096), (1500, 4096)]


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_order_of_taking(
    rows: int, cols: int, fill: ModuleType, vectors: Callable, parity_seed: int
) -> None:
    want = vectors("greedy")
    got = greedy_match(torch.from_numpy(fill.score_matrix(parity_seed, rows, cols)))
    np.testing.assert_array_equal(got[0], want[f"rows_{rows}x{cols}"])
    np.testing.assert_array_equal(got[1], want[f"cols_{rows}x{cols}"])

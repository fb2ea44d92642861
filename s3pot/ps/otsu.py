"""Otsu's rule (1979): split numbers where the variance between the two parts is largest.

It uses no labels, so there is nothing to tune.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cut:
    """A split of numbers into two parts.

    Attributes:
        threshold: The largest number of the lower part; the numbers above it form the upper part.
        gap: Difference of the parts' means.
    """

    threshold: float
    gap: float


def otsu(values: Tensor) -> Cut | None:
    """Split finite numbers in two, on the CPU: only two numbers are the result.

    (On a GPU, PyTorch before 2.6 has no deterministic cumulative sum.)

    Args:
        values: (N,), on any device.

    Returns:
        The best split; None if all numbers are equal.
    """
    ordered = values.cpu().double().sort().values
    count = len(ordered)
    if count < 2 or ordered[0] == ordered[-1]:
        return None
    lower_counts = torch.arange(1, count, dtype=torch.float64)
    upper_counts = count - lower_counts
    sums = ordered.cumsum(0)
    lower_means = sums[:-1] / lower_counts
    upper_means = (sums[-1] - sums[:-1]) / upper_counts
    between = lower_counts * upper_counts * (upper_means - lower_means).square()
    between = between.masked_fill(ordered[1:] == ordered[:-1], -1)  # equal numbers stay together
    cut = int(between.argmax())
    return Cut(float(ordered[cut]), float(upper_means[cut] - lower_means[cut]))

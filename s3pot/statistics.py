"""The uncertainty of a mean over images, and of the difference between two methods.

Both the bootstrap and the sign-flip test only resample images; they make no assumption about the
distribution of the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

BOOTSTRAP_SAMPLES = 2000
LEVEL = 0.95  # of the intervals
MOST_EXACT = 16  # with up to so many pairs, all 2^n flips are tried
SIGN_FLIPS = 20_000  # number of random flips with more pairs
_BLOCK = 1 << 20  # random numbers drawn at once


@dataclass(frozen=True)
class Interval:
    """A mean and its percentile interval at ``LEVEL``.

    Attributes:
        mean: The mean.
        low: Lower end; None for a single value, which says nothing about the spread.
        high: Upper end, or None.
    """

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PairedDifference:
    """How much higher one method scores than another on the same images.

    Attributes:
        mean: Mean of the differences.
        low: Lower end of the mean's bootstrap interval; None for a single image.
        high: Upper end of the interval, or None.
        p_value: Two-sided p-value of the hypothesis that the two methods are exchangeable on every
            image.
        pairs: Number of images.
    """

    mean: float
    low: float | None
    high: float | None
    p_value: float
    pairs: int


def bootstrap_interval(values: Sequence[float], seed: int = 0) -> Interval | None:
    """Estimate the confidence interval of a mean over images (percentile bootstrap).

    Args:
        values: One finite score per image.
        seed: Seed of the draws with replacement.

    Returns:
        None without values; a mean without ends for a single one.

    Raises:
        ValueError: A value is not finite.
    """
    scores = _finite(values)
    if not len(scores):
        return None
    if len(scores) == 1:
        return Interval(float(scores[0]), None, None)
    generator = np.random.default_rng(seed)

    def draw(rows: int) -> np.ndarray:
        images = generator.integers(len(scores), size=(rows, len(scores)))
        return np.asarray(scores[images].mean(axis=1))

    means = _in_blocks(draw, BOOTSTRAP_SAMPLES, len(scores))
    low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(scores.mean()), float(low), float(high))


def paired_difference(
    scores: Sequence[float], other_scores: Sequence[float], seed: int = 0
) -> PairedDifference | None:
    """Compare two methods on the same images.

    Args:
        scores: One finite score per image.
        other_scores: Those of the other method, in the same order.
        seed: Seed of the bootstrap and, with more than ``MOST_EXACT`` images, of the sign flips.

    Returns:
        The first method's scores minus the second's; None without images.

    Raises:
        ValueError: The lengths differ, or a score is not finite.
    """
    if len(scores) != len(other_scores):
        raise ValueError(
            f"{len(scores)} and {len(other_scores)} scores; expected one pair for each image"
        )
    differences = _finite(scores) - _finite(other_scores)
    interval = bootstrap_interval(differences.tolist(), seed)
    if interval is None:
        return None
    return PairedDifference(
        mean=interval.mean,
        low=interval.low,
        high=interval.high,
        p_value=sign_flip_p_value(differences, seed),
        pairs=len(differences),
    )


def sign_flip_p_value(differences: Sequence[float] | np.ndarray, seed: int = 0) -> float:
    """Test whether paired differences have mean zero by flipping their signs.

    With up to ``MOST_EXACT`` pairs, all 2^n flips are tried; with more, ``SIGN_FLIPS`` random ones
    are, and the observed signs count as one of them so that p is never zero.

    Args:
        differences: One finite difference per image, at least one.
        seed: Seed of the random flips.

    Returns:
        Share of the flips with a mean at least as far from zero, in (0, 1].

    Raises:
        ValueError: A difference is not finite, or there is none.
    """
    values = _finite(differences)
    count = len(values)
    if not count:
        raise ValueError("a sign-flip test needs at least one difference")
    # Sums that are mathematically equal may differ in their last digits.
    threshold = abs(values.sum()) - 1e-9 * np.abs(values).sum()
    if count <= MOST_EXACT:
        bits = np.arange(2**count)[:, None] >> np.arange(count) & 1
        sums = (1 - 2 * bits) @ values
        return float((np.abs(sums) >= threshold).mean())
    generator = np.random.default_rng(seed)

    def draw(rows: int) -> np.ndarray:
        signs = 2 * generator.integers(2, size=(rows, count)) - 1
        return np.asarray(signs @ values)

    sums = _in_blocks(draw, SIGN_FLIPS, count)
    return float((1 + (np.abs(sums) >= threshold).sum()) / (1 + SIGN_FLIPS))


def _finite(values: Sequence[float] | np.ndarray) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a score is not finite; every score must be a number")
    return array


def _in_blocks(draw: Callable[[int], np.ndarray], rows: int, columns: int) -> np.ndarray:
    """Join ``rows`` results of ``draw(rows)``, called for blocks of rows to limit the memory."""
    step = max(1, _BLOCK // columns)
    blocks = [draw(min(step, rows - start)) for start in range(0, rows, step)]
    return np.concatenate(blocks)

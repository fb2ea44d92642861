"""Intervals and tests against SciPy on the same numbers, and against slow, obvious ones."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from s3pot import statistics
from s3pot.statistics import (
    BOOTSTRAP_SAMPLES,
    bootstrap_interval,
    paired_difference,
    sign_flip_p_value,
)


def scores(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).beta(5, 2, count)


def test_bootstrap_is_seeded_and_covers_the_mean() -> None:
    values = np.random.default_rng(3).normal(0.6, 0.1, 100)
    interval = bootstrap_interval(values.tolist(), seed=5)
    assert interval == bootstrap_interval(values.tolist(), seed=5)
    assert interval != bootstrap_interval(values.tolist(), seed=6)
    # 1.96 standard errors on each side, up to the resampling's own noise
    error = 1.96 * values.std() / 10
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - error, abs=0.004)
    assert interval.high == pytest.approx(values.mean() + error, abs=0.004)


def test_bootstrap_of_nothing_and_of_one() -> None:
    assert bootstrap_interval([]) is None
    one = bootstrap_interval([0.25])
    assert (one.mean, one.low, one.high) == (0.25, None, None)
    pair = paired_difference([0.75], [0.25])
    assert (pair.mean, pair.low, pair.high, pair.p_value) == (0.5, None, None, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("count", [7, 30, 200])
def test_bootstrap_agrees_with_scipy(count: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="needs scipy: pip install scipy")
    values = scores(count)
    ours = bootstrap_interval(values)
    theirs = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=20_000,
        method="percentile",
        random_state=np.random.default_rng(1),
    ).confidence_interval
    noise = 0.15 * values.std() / np.sqrt(count)
    assert ours.low == pytest.approx(theirs.low, abs=noise)
    assert ours.high == pytest.approx(theirs.high, abs=noise)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values, differences = scores(50), scores(50) - scores(50, 1)
    expected = bootstrap_interval(values), sign_flip_p_value(differences)
    draws = np.random.default_rng(0).integers(50, size=(BOOTSTRAP_SAMPLES, 50))
    low, high = np.quantile(values[draws].mean(axis=1), (0.025, 0.975))
    assert (expected[0].low, expected[0].high) == pytest.approx((low, high))
    monkeypatch.setattr(statistics, "_BLOCK", 333)
    assert bootstrap_interval(values) == expected[0]
    assert sign_flip_p_value(differences) == expected[1]


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_few_pairs_are_flipped_in_every_way(count: int) -> None:
    differences = scores(count) - scores(count, 1)
    sums = [abs(np.dot(signs, differences)) for signs in product((1, -1), repeat=count)]
    expected = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-12)
    assert sign_flip_p_value(differences) == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("count", [6, 12])
def test_exact_p_value_agrees_with_scipy(count: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="needs scipy: pip install scipy")
    first, second = scores(count), scores(count, 1) - 0.1
    theirs = stats.permutation_test(
        (first, second),
        lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    ours = paired_difference(first, second)
    assert ours.mean == pytest.approx(theirs.statistic)
    assert ours.p_value == pytest.approx(theirs.pvalue)


def test_random_p_value_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="needs scipy: pip install scipy")
    first, second = scores(60), scores(60, 1) - 0.03
    theirs = stats.permutation_test(
        (first, second),
        lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        random_state=np.random.default_rng(2),
    )
    ours = paired_difference(first, second)
    assert 0.01 < theirs.pvalue < 0.9
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.02)


def test_equal_scores_differ_by_nothing() -> None:
    for count in (2, 5, 40):
        difference = paired_difference(scores(count), scores(count))
        assert (difference.mean, difference.low, difference.high) == (0, 0, 0)
        assert difference.p_value == 1


def test_difference_is_antisymmetric_and_p_is_never_zero() -> None:
    better, worse = scores(40) + 1, scores(40, 1)
    there, back = paired_difference(better, worse), paired_difference(worse, better)
    assert there.mean == -back.mean and there.low > 0 > back.high
    assert 0 < there.p_value == back.p_value < 0.001
    assert there.pairs == 40


def test_p_values_of_no_difference_are_uniform() -> None:
    generator = np.random.default_rng(0)
    p_values = [sign_flip_p_value(generator.normal(size=10)) for _ in range(300)]
    assert np.mean(np.array(p_values) <= 0.1) == pytest.approx(0.1, abs=0.05)
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.06)


def test_ties_are_counted_in_spite_of_rounding() -> None:
    # 0.1 + 0.2 - 0.3 is not exactly 0: all eight flips are as far from zero or farther.
    assert sign_flip_p_value([0.1, 0.2, -0.3]) == 1


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(ValueError, match="3 and 2 scores"):
        paired_difference([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="not finite"):
        bootstrap_interval([0.1, float("nan")])
    with pytest.raises(ValueError, match="at least one"):
        sign_flip_p_value([])
    assert paired_difference([], []) is None

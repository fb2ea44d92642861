"""Points other than PS's: counts, places and labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from s3pot.grid import Grid
from s3pot.ps.variants import OTSU, RANDOM, THRESHOLD, PointVariant, otsu_threshold
from s3pot.types import Prompts

GRID = Grid(size=48, side=6)


@pytest.fixture
def prompts() -> Prompts:
    region = torch.zeros(48, 48, dtype=torch.bool)
    region[8:40, 8:40] = True  # 16 cells
    cells = GRID.on_grid(region).flatten().nonzero()[:, 0]
    similarity = torch.linspace(1, 0.3, 36).reshape(6, 6)
    return Prompts(
        name="face",
        image_embedding=torch.zeros(4, 6, 6).half(),
        points_sam=GRID.centers(cells),
        point_labels=torch.tensor([1] * 11 + [0] * 5),
        similarity=similarity.half(),
        first_point_sam=torch.zeros(2),
        region_sam=region,
    )


def rows(points: torch.Tensor) -> set[tuple[float, ...]]:
    return {tuple(point) for point in points.tolist()}


def test_by_default_nothing_changes(prompts: Prompts) -> None:
    assert PointVariant().apply(prompts, GRID) == prompts


def test_random_labels_keep_places_and_counts(prompts: Prompts) -> None:
    changed = PointVariant(RANDOM, seed=3).apply(prompts, GRID)
    assert rows(changed.points_sam) == rows(prompts.points_sam)
    assert changed.point_labels.tolist() == [1] * 11 + [0] * 5
    assert rows(changed.points_sam[:11]) != rows(prompts.points_sam[:11])
    again = PointVariant(RANDOM, seed=3).apply(prompts, GRID)
    assert torch.equal(again.points_sam, changed.points_sam)
    other_face = PointVariant(RANDOM, seed=3).apply(replace(prompts, name="other"), GRID)
    assert not torch.equal(other_face.points_sam, changed.points_sam)


def test_labels_by_threshold_are_those_of_the_contrast(prompts: Prompts) -> None:
    changed = PointVariant(THRESHOLD, threshold=0.4).apply(prompts, GRID)
    contrast = 1 - prompts.similarity.float().flatten()
    assert rows(changed.points_sam) == rows(prompts.points_sam)
    for point, label in zip(changed.points_sam, changed.point_labels):
        cell = int(GRID.cells(point[None])[0])
        assert (float(contrast[cell]) <= 0.4) == bool(label)
    assert set(changed.point_labels.tolist()) == {0, 1}
    by_otsu = PointVariant(THRESHOLD, rule=OTSU).apply(prompts, GRID)
    assert 4 < int(by_otsu.point_labels.sum()) < 12


def test_fewer_points_are_some_of_them(prompts: Prompts) -> None:
    changed = PointVariant(count=6, seed=1).apply(prompts, GRID)
    assert len(changed.points_sam) == 6
    assert torch.equal(changed.point_labels, changed.point_labels.sort(descending=True).values)
    before = {tuple(p): v for p, v in zip(prompts.points_sam.tolist(), prompts.point_labels)}
    for point, label in zip(changed.points_sam.tolist(), changed.point_labels):
        assert before[tuple(point)] == label
    assert len(PointVariant(count=99).apply(prompts, GRID).points_sam) == 16


def test_a_face_without_points_stays_as_it_is(prompts: Prompts) -> None:
    empty = replace(prompts, points_sam=torch.zeros(0, 2), point_labels=torch.zeros(0).long())
    for kind in (RANDOM, THRESHOLD):
        assert PointVariant(kind, count=3).apply(empty, GRID) == empty


def slow_otsu(values: np.ndarray) -> float:
    """The rule, threshold by threshold, on the values themselves."""
    best, threshold = -1.0, 0.0
    for candidate in np.unique(values)[:-1]:
        low, high = values[values <= candidate], values[values > candidate]
        between = len(low) * len(high) * (low.mean() - high.mean()) ** 2
        if between > best:
            best, threshold = between, float(candidate)
    return threshold


@pytest.mark.parametrize("seed", range(4))
def test_otsu_cuts_as_the_slow_rule_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = np.concatenate((random.normal(0.2, 0.05, 300), random.normal(0.7, 0.1, 120)))
    ours = otsu_threshold(values)
    assert ours == slow_otsu(values)
    assert ((values > ours) == (np.arange(420) >= 300)).mean() > 0.99


def test_otsu_of_equal_or_no_values() -> None:
    assert otsu_threshold(np.full(5, 0.25)) == 0.25
    assert otsu_threshold(np.array([])) == 0.0
    assert 0 <= otsu_threshold(np.array([0.0, 1.0])) < 1

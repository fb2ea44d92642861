"""Property tests of the in-place contrast."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from s3pot.grid import Grid
from s3pot.ps.contrast import face_cells, near_similarity
from s3pot.ps.select import select_points

GRID = Grid(size=48, side=6)


def tokens(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    raw, ref = torch.randn(2, 8, 6, 6, generator=random)
    return raw, ref, torch.rand(6, 6, generator=random) > 0.4


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("reach", [0, 1, 2])
def test_near_similarity_equals_the_definition(seed: int, reach: int) -> None:
    raw, ref, region = tokens(seed)
    found = near_similarity(raw, ref, region, reach)
    for y in range(6):
        for x in range(6):
            near = [
                float(torch.cosine_similarity(raw[:, y, x], ref[:, v, u], dim=0))
                for v in range(max(0, y - reach), min(6, y + reach + 1))
                for u in range(max(0, x - reach), min(6, x + reach + 1))
                if region[v, u]
            ]
            assert float(found[y, x]) == pytest.approx(max(near, default=-1.0), abs=1e-6)


def test_a_face_may_be_off_by_one_token() -> None:
    raw, _, _ = tokens(9)
    everywhere = torch.ones(6, 6, dtype=torch.bool)
    one_aside = near_similarity(raw, raw.roll(1, dims=2), everywhere)
    two_aside = near_similarity(raw, raw.roll(2, dims=2), everywhere)
    assert float(one_aside[:, :-1].min()) == pytest.approx(1, abs=1e-6)
    assert float(two_aside.max()) < 0.999


@pytest.mark.parametrize("seed", range(8))
def test_threshold_equals_the_best_of_all_splits(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = np.round(np.concatenate([random.normal(0.8, 0.1, 30), random.normal(0.2, 0.1, 9)]), 2)

    def between(cut: float) -> float:
        low, high = values[values <= cut], values[values > cut]
        return len(low) * len(high) * (high.mean() - low.mean()) ** 2 if len(high) else -1.0

    best = max(sorted(set(values)), key=between)
    found = face_cells(torch.from_numpy(values), gap=0.0).numpy()
    assert np.array_equal(found, values > best)


def test_one_group_hides_nothing() -> None:
    flat = torch.linspace(0.8, 0.9, 20)
    assert face_cells(flat).all()
    assert not face_cells(flat, gap=0.0).all()
    assert face_cells(torch.full((5,), 0.3), gap=0.0).all()
    assert face_cells(torch.tensor([0.1]), gap=0.0).all()


def test_finds_what_was_covered() -> None:
    raw, _, _ = tokens(5)
    ref, region = raw.clone(), torch.ones(48, 48, dtype=torch.bool)
    raw[:, 2:4, 2:5] = -raw[:, 2:4, 2:5]
    points, labels = select_points(raw, ref, region, GRID, "contrast")
    cells = {(int(y) // 8, int(x) // 8) for x, y in points[labels == 0]}
    assert cells == {(y, x) for y in (2, 3) for x in (2, 3, 4)}
    assert len(points) == 36
    assert torch.equal(labels, labels.sort(descending=True).values)


def test_no_region_gives_no_points() -> None:
    raw, ref, _ = tokens(6)
    points, labels = select_points(
        raw, ref, torch.zeros(48, 48, dtype=torch.bool), GRID, "contrast"
    )
    assert points.shape == (0, 2)
    assert labels.dtype == torch.int64

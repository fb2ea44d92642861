from __future__ import annotations

import pytest
import torch

from s3pot.grid import Grid
from s3pot.ps.contrast import face_cells, near_similarity
from s3pot.ps.select import match_scores, select_points, unit_tokens

GRID = Grid(size=48, side=6)


def case(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    raw, ref = torch.randn(2, 8, 6, 6, generator=random)
    return raw, ref, torch.rand(48, 48, generator=random) > 0.4


def by_hand(raw: torch.Tensor, ref: torch.Tensor, region: torch.Tensor) -> tuple[set, set]:
    """The definition, pair by pair."""
    cells = [(y, x) for y in range(6) for x in range(6)]
    inside = {(y, x) for y, x in cells if region[8 * y + 4, 8 * x + 4]}

    def cosine(a: tuple[int, int], b: tuple[int, int]) -> float:
        one, two = ref[:, a[0], a[1]], raw[:, b[0], b[1]]
        return float(one @ two / (one.norm() * two.norm()))

    rows, columns = [c for c in cells if c in inside], list(cells)
    pairs = sorted(((cosine(a, b), a, b) for a in rows for b in columns), key=lambda p: -p[0])
    used, matched = set(), set()
    for _, a, b in pairs:
        if a not in used and b not in matched:
            used.add(a)
            matched.add(b)
    return inside & matched, inside - matched


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_definition(seed: int) -> None:
    raw, ref, region = case(seed)
    points, labels = select_points(raw, ref, region, GRID)
    found = [{(int(y) // 8, int(x) // 8) for x, y in points[labels == v]} for v in (1, 0)]
    assert tuple(found) == by_hand(raw, ref, region)
    assert len(points) == sum(map(len, found))
    assert torch.equal(labels, labels.sort(descending=True).values)
    assert (points % 8 == 4).all()
    assert all(bool(region[int(y), int(x)]) for x, y in points)


def test_equal_pictures_have_no_occlusion() -> None:
    raw, _, region = case(1)
    labels = select_points(raw, raw.clone(), region, GRID)[1]
    assert len(labels) == int(GRID.on_grid(region).sum())
    assert labels.all()


def test_no_region_gives_no_points() -> None:
    raw, ref, region = case(2)
    points, labels = select_points(raw, ref, torch.zeros_like(region), GRID)
    assert points.shape == (0, 2)
    assert labels.shape == (0,)
    assert labels.dtype == torch.int64


def test_scores_are_cosines_and_survive_empty_tokens() -> None:
    raw, ref, _ = case(3)
    raw[:, 0, 0] = 0
    scores = match_scores(raw, ref, torch.ones(6, 6, dtype=torch.bool))
    assert scores.shape == (36, 36)
    assert torch.isfinite(scores).all()
    assert float(scores.abs().max()) <= 1 + 1e-6
    assert not scores[:, 0].any()
    torch.testing.assert_close(unit_tokens(ref).norm(dim=1), torch.ones(36))


def test_contrast_divides_the_cells_of_the_region() -> None:
    raw, ref, region_sam = case(4)
    ref[:, :3] = raw[:, :3]
    region = GRID.on_grid(region_sam)
    is_face = face_cells(near_similarity(raw, ref, region)[region])
    assert is_face.any() and not is_face.all() and not region.all()
    points, labels = select_points(raw, ref, region_sam, GRID, "contrast")
    cells = region.nonzero()
    in_order = torch.cat((cells[is_face], cells[~is_face]))
    assert torch.equal(points, 8.0 * in_order.flip(1) + 4)
    assert labels.tolist() == [1] * int(is_face.sum()) + [0] * int((~is_face).sum())


def test_an_unknown_selection_is_refused() -> None:
    with pytest.raises(ValueError, match="selection is 'best'; it must be greedy or contrast"):
        select_points(*case(5), GRID, "best")

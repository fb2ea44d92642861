"""Greedy matching against the definition, on random inputs and on constructed hard cases."""

from __future__ import annotations

from typing import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from s3pot.ps import greedy
from s3pot.ps.greedy import greedy_match

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
SIDE = 2000


def definition(scores: Tensor) -> list[tuple[int, int]]:
    """Python's own sort and comparisons, pair by pair."""
    values = scores.tolist()
    pairs = [(r, c) for r in range(scores.shape[0]) for c in range(scores.shape[1])]
    pairs.sort(key=lambda pair: -values[pair[0]][pair[1]])  # stable: ties stay in flat order
    rows: set[int] = set()
    cols: set[int] = set()
    taken = []
    for row, col in pairs:
        if row not in rows and col not in cols:
            rows.add(row)
            cols.add(col)
            taken.append((row, col))
    return taken


def matched(scores: Tensor) -> list[tuple[int, int]]:
    rows, cols = greedy_match(scores)
    assert rows.dtype == cols.dtype == torch.int64
    assert rows.device == cols.device == scores.device
    return list(zip(rows.tolist(), cols.tolist()))


def draw(generator: torch.Generator, longest: int = 12) -> Tensor:
    """A small matrix with many ties, infinities of both signs and zeros of both signs."""
    shape = torch.randint(1, longest + 1, (2,), generator=generator).tolist()
    levels = [1, 2, 3, 10, 1000][int(torch.randint(5, (1,), generator=generator))]
    scores = torch.randint(-levels, levels + 1, shape, generator=generator).float() / 8
    for value, share in ((float("-inf"), 0.1), (float("inf"), 0.05), (-0.0, 0.1)):
        scores[torch.rand(shape, generator=generator) < share] = value
    return scores


def by_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the CPU match float32 as a GPU does."""
    monkeypatch.setattr(greedy, "_suits_rounds", lambda scores: scores.dtype == torch.float32)


@pytest.fixture(params=["usual", "scan soon", "scan at once", "as on a GPU"])
def budget(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small matrices never exhaust the usual budget of rounds, so remove it."""
    if request.param == "as on a GPU":
        by_rounds(monkeypatch)
    elif request.param != "usual":
        monkeypatch.setattr(greedy, "BUDGET", 0)
        monkeypatch.setattr(greedy, "FREE_ROUNDS", 2 if request.param == "scan soon" else 0)
        monkeypatch.setattr(greedy, "CHUNK", 7)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", FLOATS)
def test_floats(budget: None, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(11)
    for _ in range(200):
        scores = draw(generator).to(dtype)
        assert matched(scores) == definition(scores), scores


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers(budget: None, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(12)
    ends = torch.iinfo(dtype)
    for _ in range(100):
        shape = torch.randint(1, 13, (2,), generator=generator).tolist()
        scores = torch.randint(0, 4, shape, generator=generator).to(dtype)
        scores[torch.rand(shape, generator=generator) < 0.2] = ends.min
        scores[torch.rand(shape, generator=generator) < 0.2] = ends.max
        assert matched(scores) == definition(scores), scores


@pytest.mark.parametrize("width", [63, 64, 65, 128, 200])
def test_wide_matrices(budget: None, width: int) -> None:
    generator = torch.Generator().manual_seed(width)
    for levels in (2, 50, 100_000):
        scores = torch.randint(levels, (40, width), generator=generator).float()
        assert matched(scores) == definition(scores)
        assert matched(scores.T) == definition(scores.T)


def chain(side: int) -> Tensor:
    """Row 0 takes column 0 from row 1, which takes column 1 from row 2, ...: one row a round."""
    step = torch.arange(side)
    scores = torch.full((side, side), -1e6)
    scores[step, step] = -2.0 * step
    scores[step[1:], step[:-1]] = -2.0 * step[1:] + 1
    return scores


def test_short_chain(budget: None) -> None:
    for scores in (chain(60), -chain(60), chain(60).T.flip(0)):
        assert matched(scores) == definition(scores)


def test_zeros_of_both_signs_tie() -> None:
    assert matched(torch.tensor([[-0.0, 0.0], [0.0, -0.0]])) == [(0, 0), (1, 1)]
    assert matched(torch.tensor([[-0.0], [0.0]])) == [(0, 0)]
    assert matched(torch.tensor([[-1.0, -0.0], [0.0, -1.0]])) == [(0, 1), (1, 0)]


def test_double_precision_and_long_integers_are_not_rounded() -> None:
    assert matched(torch.tensor([[1.0, 1.0 + 2**-52]], dtype=torch.float64)) == [(0, 1)]
    assert matched(torch.tensor([[2**62, 2**62 + 1]])) == [(0, 1)]


def test_booleans() -> None:
    assert matched(torch.tensor([[False, True], [True, True]])) == [(0, 1), (1, 0)]


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_nothing_to_match(shape: tuple[int, int]) -> None:
    assert matched(torch.empty(shape)) == []


def test_single_row_and_single_column() -> None:
    values = torch.tensor([0.5, 2.0, 2.0, -1.0])
    assert matched(values[None]) == [(0, 1)]
    assert matched(values[:, None]) == [(1, 0)]


@pytest.mark.parametrize("place", [(0, 0), (1, 99), (2, 70)])
@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_is_refused(place: tuple[int, int], dtype: torch.dtype) -> None:
    scores = torch.full((3, 100), float("inf"), dtype=dtype)
    scores[place] = float("nan")
    for matrix in (scores, scores.T):
        with pytest.raises(ValueError, match="NaN"):
            greedy_match(matrix)


@pytest.mark.parametrize("scores", [torch.zeros(3), torch.zeros(1, 2, 2), torch.zeros(2, 2) * 1j])
def test_no_matrix_of_ordered_values(scores: Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected scores \(R, C\)"):
        greedy_match(scores)


def test_the_input_stays_as_it_is_and_needs_no_layout() -> None:
    whole = torch.rand(30, 40, generator=torch.Generator().manual_seed(3)).requires_grad_()
    before = whole.detach().clone()
    for view in (whole, whole.T, whole[::2, 3::3], whole[:1].expand(20, 40)):
        rows, cols = greedy_match(view)
        assert not rows.requires_grad
        assert list(zip(rows.tolist(), cols.tolist())) == definition(view.detach())
    assert torch.equal(whole.detach(), before)


@pytest.fixture
def cells_seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the matrices that later rounds process."""
    seen: list[int] = []
    propose = greedy._propose

    def counted(scores: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.append(scores.size)
        return propose(scores, *others)

    monkeypatch.setattr(greedy, "_propose", counted)
    return seen


def same_wishes(side: int) -> Tensor:
    """All rows prefer column 0, and row 0 scores highest there; then column 1, and so on."""
    step = torch.arange(side)
    return -(step * side + step[:, None]).double()


@pytest.mark.slow
@pytest.mark.parametrize(
    "collide",
    [
        lambda side: torch.zeros(side, side),
        lambda side: torch.zeros(side, side + 500),
        same_wishes,
        lambda side: same_wishes(side).T,
        chain,
    ],
    ids=["equal", "equal wide", "same wishes", "same wishes of columns", "chain"],
)
def test_collisions_cost_bounded_work(
    collide: Callable[[int], Tensor], cells_seen: list[int]
) -> None:
    """Rounds alone would settle one row each."""
    scores = collide(SIDE)
    rows, cols = greedy_match(scores)
    assert torch.equal(rows, torch.arange(SIDE))
    assert torch.equal(cols, torch.arange(SIDE))
    most = (greedy.BUDGET + 1) * scores.numel()
    assert 0 < sum(cells_seen) + len(cells_seen) * greedy.ROUND_CELLS < most


def test_rows_that_tie_ask_no_column_twice(cells_seen: list[int]) -> None:
    """Two rows prefer the same two columns equally: the first row keeps its column."""
    scores = torch.kron(torch.eye(50), torch.ones(2, 2))
    assert matched(scores) == [(row, row) for row in range(100)]
    assert cells_seen == [50 * 100]


def test_a_row_that_nobody_wants_asks_a_column_that_is_free(cells_seen: list[int]) -> None:
    """The last row has only the lowest value."""
    scores = torch.eye(51, 52)
    scores[50, 50] = 0
    assert matched(scores) == [(row, row) for row in range(51)]
    assert cells_seen == [52]


def test_several_at_once(budget: None) -> None:
    generator = torch.Generator().manual_seed(14)
    for _ in range(20):
        matrices = [draw(generator, longest=20) for _ in range(5)]
        matrices.insert(2, torch.empty(0, 4))
        matrices.append(matrices[0].double())
        for scores, (rows, cols) in zip(matrices, greedy.greedy_match_many(matrices)):
            assert list(zip(rows.tolist(), cols.tolist())) == definition(scores)
    assert greedy.greedy_match_many([]) == []


def test_a_gpu_matches_no_more_cells_at_once_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    by_rounds(monkeypatch)
    monkeypatch.setattr(greedy, "BATCH_CELLS", 100)
    seen: list[int] = []
    dominant = greedy._dominant_pairs

    def counted(matrices: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        seen.append(len(matrices))
        return dominant(matrices)

    monkeypatch.setattr(greedy, "_dominant_pairs", counted)
    shapes = [(5, 10), (10, 5), (5, 11), (30, 30), (2, 3), (3, 2), (1, 1)]
    generator = torch.Generator().manual_seed(15)
    matrices = [torch.rand(shape, generator=generator) for shape in shapes]
    for scores, (rows, cols) in zip(matrices, greedy.greedy_match_many(matrices)):
        assert list(zip(rows.tolist(), cols.tolist())) == definition(scores)
    assert seen == [2, 1, 1, 3]


def test_nan_in_one_of_several_is_refused(budget: None) -> None:
    matrices = [torch.rand(3, 4), torch.rand(3, 4)]
    matrices[1][2, 3] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        greedy.greedy_match_many(matrices)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [*FLOATS, torch.int64])
def test_cuda_equals_cpu(budget: None, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(13)
    for _ in range(30):
        scores = draw(generator, longest=90).clamp(-1000, 1000).to(dtype)
        assert matched(scores.cuda()) == matched(scores)


@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_a_row_that_offers_only_the_lowest_value_proposes_to_a_column_that_accepts_it(
    kind: type,
) -> None:
    lowest = -np.inf if kind is np.float32 else np.iinfo(kind).min
    scores = np.full((1, 3), lowest, kind)
    hold = np.array([5, lowest, lowest], kind)
    owner = np.array([0, 0, 3])  # only the last holds a later row
    best, offered = greedy._propose(scores, np.array([1]), hold, owner)
    assert (best.tolist(), offered.tolist()) == ([2], [lowest])

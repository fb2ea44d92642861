"""PS, the greedy one-to-one matching of tokens.

The definition visits all pairs by falling score and takes a pair when neither its row nor its
column is taken. Sorting millions of pairs for a thousand matches is waste. Both sides of a pair
rank it by the same score, so the greedy result is the one stable matching of rows and columns, and
deferred acceptance (Gale and Shapley, 1962) finds it in whatever order the rows propose: in each
round every free row proposes to its best column among those that would have it, and a column keeps
its best proposal. On SAM's tokens nine of ten rows are settled by the first round.

Scores that collide (all equal, long chains) could need a round for each row. The rounds therefore
have a budget, after which the pairs that are still possible are visited as the definition says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BUDGET = 4  # rounds may look at this many times the cells of the matrix ...
FREE_ROUNDS = 8  # ... and at this many rounds' worth of ROUND_CELLS more
ROUND_CELLS = 25_000  # cells that one could look at in the time of a round's fixed costs
CHUNK = 4096  # pairs that the scan filters at once
BLOCK = 64  # columns that are reduced to one before the maximum is located

COMPARABLE = {  # dtype to work in: every operation knows it and no order relation is lost
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.bool: torch.int64,
    torch.uint8: torch.int64,
    torch.int8: torch.int64,
    torch.int16: torch.int64,
    torch.int32: torch.int64,
    torch.int64: torch.int64,
}


@dataclass(frozen=True)
class _Proposals:
    """What the columns hold and the rows want; the tensors are updated in place.

    Args:
        hold: score of the best proposal to each column so far, (C,); the lowest value when none.
        owner: row that made it, (C,), int64; R when none.
        cap: score of each row's last proposal, (R,): its match is never better.
    """

    hold: Tensor
    owner: Tensor
    cap: Tensor


def greedy_match(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Match rows and columns one to one, best pair first.

    Pairs are visited by falling score, ties by row * C + column; a pair is taken when neither its
    row nor its column is. The same input gives the same result on every device.

    Args:
        scores: (R, C), float, integer or bool. Infinities are scores like others, -0 equals 0.

    Returns:
        Row and column indices, (min(R, C),) each, int64, in the order of taking, on the device of
        `scores`.

    Raises:
        ValueError: `scores` is no matrix, has a dtype without an order, or holds NaN.
    """
    if scores.dim() != 2 or scores.dtype not in COMPARABLE:
        found = f"{scores.dtype} of shape {tuple(scores.shape)}"
        raise ValueError(f"greedy_match: expected scores (R, C), float or integer, found {found}")
    if scores.numel() == 0:
        empty = torch.empty(0, dtype=torch.int64, device=scores.device)
        return empty, empty.clone()
    scores = scores.detach().to(COMPARABLE[scores.dtype])
    # Ties go to the smaller index on both sides, so the transposed matrix has the same matching.
    if scores.shape[0] > scores.shape[1]:
        cols, rows = _stable_pairs(scores.t().contiguous())
    else:
        rows, cols = _stable_pairs(scores.contiguous())
    order = torch.argsort(rows)  # each row has one pair
    rows, cols = rows[order], cols[order]
    order = _falling(scores[rows, cols])
    return rows[order], cols[order]


def _falling(values: Tensor) -> Tensor:
    """Indices that sort (N,) values from high to low; ties keep their order, -0 equals 0.

    Floats are compared by their bits, since integers are sorted several times faster: the bits of
    positive floats rise with the value, those of negative ones fall.
    """
    keys = values
    if values.is_floating_point():
        bits = torch.int32 if values.dtype == torch.float32 else torch.int64
        keys = (values + 0).view(bits)  # -0 + 0 = +0
        keys = torch.where(keys < 0, keys ^ torch.iinfo(bits).max, keys)
    return torch.sort(~keys, stable=True).indices


def _first_maximum(scores: Tensor) -> Tensor:
    """Column of the first maximum of each row of an (R, C) matrix; the first NaN counts as one.

    Same as argmax, which is slow: plain maxima tell in which block of columns to look for it.
    """
    width = scores.shape[1]
    last = (width - 1) // BLOCK * BLOCK
    tops = scores[:, :last].unflatten(1, (last // BLOCK, BLOCK)).amax(dim=2)
    tops = torch.cat([tops, scores[:, last:].amax(dim=1, keepdim=True)], dim=1)
    cols = tops.argmax(dim=1, keepdim=True) * BLOCK + torch.arange(BLOCK, device=scores.device)
    cols = cols.clamp(max=width - 1)
    return cols.gather(1, scores.gather(1, cols).argmax(dim=1, keepdim=True))[:, 0]


def _lowest(scores: Tensor) -> float | int:
    return float("-inf") if scores.is_floating_point() else torch.iinfo(scores.dtype).min


def _stable_pairs(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Match all rows of an (R, C) matrix with R <= C; pairs by column."""
    count, width = scores.shape
    best = _first_maximum(scores)
    value = scores.gather(1, best[:, None])[:, 0]
    if bool(value.isnan().any()):  # the maximum of a row with NaN is NaN
        raise ValueError("greedy_match: the scores hold NaN, expected values that can be ordered")
    state = _Proposals(
        hold=scores.new_full((width,), _lowest(scores)),
        owner=best.new_full((width,), count),
        cap=value.clone(),
    )
    rows = torch.arange(count, device=scores.device)
    left = BUDGET * scores.numel() + FREE_ROUNDS * ROUND_CELLS
    while True:
        _accept(state, rows, best, value)
        rows = _free_rows(state.owner, count)
        left -= len(rows) * width + ROUND_CELLS
        if len(rows) == 0 or left < 0:
            break
        best, value = _propose(scores[rows], rows, state)
        state.cap[rows] = value
    owner = state.owner if len(rows) == 0 else _scan(scores, state)
    cols = (owner < count).nonzero()[:, 0]
    return owner[cols], cols


def _free_rows(owner: Tensor, count: int) -> Tensor:
    """Rows that no column holds, ascending."""
    free = torch.ones(count + 1, dtype=torch.bool, device=owner.device)
    free[owner] = False  # the last place takes the columns without a proposal
    return free[:count].nonzero()[:, 0]


def _accept(state: _Proposals, rows: Tensor, best: Tensor, value: Tensor) -> None:
    """Let each column keep its best proposal: the highest score, then the smallest row.

    Args:
        state: updated; every proposal beats what its column holds.
        rows: proposing rows, (N,), ascending.
        best: their columns, (N,).
        value: their scores, (N,).
    """
    order = _falling(value)
    order = order[torch.sort(best[order], stable=True).indices]
    rows, best, value = rows[order], best[order], value[order]
    wins = torch.ones_like(best, dtype=torch.bool)
    wins[1:] = best[1:] != best[:-1]
    state.hold[best[wins]] = value[wins]
    state.owner[best[wins]] = rows[wins]


def _propose(scores: Tensor, rows: Tensor, state: _Proposals) -> tuple[Tensor, Tensor]:
    """Find the best column that would have each free row.

    There is always one: fewer columns hold another row than there are columns.

    Args:
        scores: the free rows of the matrix, (N, C).
        rows: their indices, (N,).
        state: what the columns hold.

    Returns:
        Column and score per row, (N,) each.
    """
    tied = (scores == state.hold) & (rows[:, None] < state.owner)
    welcome = (scores > state.hold) | tied
    lowest = _lowest(scores)
    best = _first_maximum(scores.masked_fill(~welcome, lowest))
    # A row may have nothing but the lowest value to offer, which is the filling too.
    best = torch.where(welcome.gather(1, best[:, None])[:, 0], best, welcome.byte().argmax(dim=1))
    return best, scores.gather(1, best[:, None])[:, 0]


def _scan(scores: Tensor, state: _Proposals) -> Tensor:
    """Visit the pairs that proposals left possible, as the definition says.

    A column ends with at least what it holds and a row with at most what it proposed last. Leaving
    out other pairs cannot change which are taken.

    Args:
        scores: (R, C), R <= C.
        state: after any number of rounds.

    Returns:
        Row of each column, (C,), int64; R when it stays free.
    """
    count, width = scores.shape
    possible = (scores >= state.hold) & (scores <= state.cap[:, None])
    flat = possible.flatten().nonzero()[:, 0]
    order = _falling(scores.flatten().index_select(0, flat))
    falling = flat.index_select(0, order).cpu().numpy()
    owner = np.full(width, count, dtype=np.int64)
    row_free, col_free = np.ones(count, dtype=bool), np.ones(width, dtype=bool)
    for start in range(0, len(falling), CHUNK):
        rows, cols = np.divmod(falling[start : start + CHUNK], width)
        alive = row_free[rows] & col_free[cols]
        rows, cols = rows[alive], cols[alive]
        while len(rows):
            row, col = rows[0], cols[0]
            owner[col] = row
            row_free[row] = col_free[col] = False
            alive = (rows != row) & (cols != col)
            rows, cols = rows[alive], cols[alive]
        if not row_free.any():
            break
    return torch.from_numpy(owner).to(scores.device)

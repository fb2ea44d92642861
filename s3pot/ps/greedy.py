"""PS, the greedy one-to-one matching of tokens.

By definition all pairs are visited by falling score, and one is taken when its row and column are
free. Sorting millions of pairs for a thousand matches is waste. Both sides of a pair rank it by the
same score, so the result is the one stable matching of rows and columns, and deferred acceptance
(Gale and Shapley, 1962) finds it: in each round every free row proposes to its best column among
those that would have it, and a column keeps its best proposal. On SAM's tokens the first round
settles nine of ten rows.

Scores that collide (all equal, long chains) could need a round for each row. The rounds therefore
have a budget, after which the pairs that are still possible are visited as the definition says.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

BUDGET = 4  # rounds may look at this many times the cells of the matrix ...
FREE_ROUNDS = 8  # ... and at this many rounds' worth of ROUND_CELLS more
ROUND_CELLS = 25_000  # cells that one could look at in the time of a round's fixed costs
CHUNK = 4096  # pairs that the scan filters at once


def greedy_match(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Match rows and columns one to one, best pair first; ties go to the smaller row * C + column.

    Args:
        scores: (R, C), float, integer or bool. Infinities are scores like others, -0 equals 0.

    Returns:
        Row and column indices in the order of taking, (min(R, C),) each, int64, on the same device.

    Raises:
        ValueError: `scores` is no matrix, is complex, or holds NaN.
    """
    if scores.dim() != 2 or scores.is_complex():
        found = f"{scores.dtype} of shape {tuple(scores.shape)}"
        raise ValueError(f"greedy_match: expected scores (R, C), float or integer, found {found}")
    if scores.numel() == 0:
        empty = torch.empty(0, dtype=torch.int64, device=scores.device)
        return empty, empty.clone()
    scores = scores.detach()
    if scores.dtype != torch.float64:
        scores = scores.float() if scores.is_floating_point() else scores.long()
    # Ties go to the smaller index on both sides, so the transposed matrix has the same matching.
    if scores.shape[0] > scores.shape[1]:
        cols, rows = _stable_pairs(scores.t().contiguous())
    else:
        rows, cols = _stable_pairs(scores.contiguous())
    order = torch.argsort(rows)
    rows, cols = rows[order], cols[order]
    order = _falling(scores[rows, cols])
    return rows[order], cols[order]


def _falling(values: Tensor) -> Tensor:
    """Indices that sort (N,) values from high to low; ties keep their order, -0 equals 0.

    The bits of floats are sorted, as integers sort four times faster: those of positive floats rise
    with the value, those of negative ones fall.
    """
    keys = values
    if values.is_floating_point():
        bits = torch.int32 if values.dtype == torch.float32 else torch.int64
        keys = (values + 0).view(bits)  # -0 + 0 = +0
        keys = torch.where(keys < 0, keys ^ torch.iinfo(bits).max, keys)
    return torch.sort(~keys, stable=True).indices


def _stable_pairs(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Match all rows of an (R, C) matrix with R <= C; pairs by column."""
    count, width = scores.shape
    best = scores.argmax(dim=1)
    value = scores.gather(1, best[:, None])[:, 0]
    if bool(value.isnan().any()):  # the maximum of a row with NaN is NaN
        raise ValueError("greedy_match: the scores hold NaN, expected values that can be ordered")
    hold = scores.min().repeat(width)  # best proposal to each column so far, ...
    owner = best.new_full((width,), count)  # ... the row that made it, R when none
    cap = value.clone()  # each row's last proposal: its match is never better
    rows = torch.arange(count, device=scores.device)
    left = BUDGET * scores.numel() + FREE_ROUNDS * ROUND_CELLS
    while True:
        # A column keeps the highest proposal, then the smallest row. All beat what it holds.
        order = _falling(value)
        order = order[torch.sort(best[order], stable=True).indices]
        wins = order[torch.diff(best[order], prepend=best.new_tensor([-1])) != 0]
        hold[best[wins]], owner[best[wins]] = value[wins], rows[wins]
        free = torch.ones(count + 1, dtype=torch.bool, device=scores.device)
        free[owner] = False  # the last place takes the columns without a proposal
        rows = free[:count].nonzero()[:, 0]
        left -= len(rows) * width + ROUND_CELLS
        if len(rows) == 0 or left < 0:
            break
        best, value = _propose(scores[rows], rows, hold, owner)
        cap[rows] = value
    if len(rows):
        owner = _scan(scores, hold, cap)
    cols = (owner < count).nonzero()[:, 0]
    return owner[cols], cols


def _propose(scores: Tensor, rows: Tensor, hold: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
    """Best column that would have each row, and its score: (N,) each, for scores (N, C) of rows.

    There is always one, as fewer columns hold another row than there are columns.
    """
    welcome = (scores > hold) | ((scores == hold) & (rows[:, None] < owner))
    best = scores.masked_fill(~welcome, scores.min()).argmax(dim=1)
    # A row may have nothing but the lowest value to offer, which is the filling too.
    best = torch.where(welcome.gather(1, best[:, None])[:, 0], best, welcome.byte().argmax(dim=1))
    return best, scores.gather(1, best[:, None])[:, 0]


def _scan(scores: Tensor, hold: Tensor, cap: Tensor) -> Tensor:
    """Visit the pairs that proposals left possible, as the definition says.

    A column ends with at least what it holds and a row with at most what it proposed last. Leaving
    out other pairs cannot change which are taken.

    Returns:
        Row of each column, (C,), int64; R when it stays free.
    """
    count, width = scores.shape
    flat = ((scores >= hold) & (scores <= cap[:, None])).flatten().nonzero()[:, 0]
    falling = flat[_falling(scores.flatten()[flat])].cpu().numpy()
    owner, free = np.full(width, count, dtype=np.int64), np.ones(count, dtype=bool)
    for start in range(0, len(falling), CHUNK):
        rows, cols = np.divmod(falling[start : start + CHUNK], width)
        alive = free[rows] & (owner[cols] == count)
        while alive.any():
            rows, cols = rows[alive], cols[alive]
            owner[cols[0]], free[rows[0]] = rows[0], False
            alive = (rows != rows[0]) & (cols != cols[0])
    return torch.from_numpy(owner).to(scores.device)

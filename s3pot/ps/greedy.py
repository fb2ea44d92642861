"""PS, the greedy one-to-one matching of tokens.

By definition, all pairs are visited by descending score, and a pair is accepted if its row and its
column are free. Sorting millions of pairs for a thousand matches would be wasteful. Both sides of a
pair rank it by the same score, so the result is the unique stable matching of rows and columns, and
deferred acceptance (Gale and Shapley, 1962) finds it: in each round every free row proposes to the
best column among those that would accept it, and a column keeps its best proposal. On SAM's tokens
the first round settles nine of ten rows.

Conflicting scores (all equal, long chains) could need a round for each row. The rounds therefore
have a budget, after which the pairs that are still possible are visited as in the definition.

A GPU would spend such a round waiting for the number of remaining rows, and the final scan does not
suit it. On a GPU, each round therefore accepts all pairs that are the best of both their row and
their column, for all images of a batch at once (locally dominant pairs: Preis, 1999). The best pair
of all is one of them, and accepting another such pair never changes what a later one is compared
with, so the result is the same; the device is asked only every few rounds whether rows remain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

BUDGET = 4  # rounds may visit this many times the cells of the matrix ...
FREE_ROUNDS = 8  # ... and at this many rounds' worth of ROUND_CELLS more
ROUND_CELLS = 25_000  # cells that could be visited in the time of a round's fixed cost
CHUNK = 4096  # number of pairs that the scan filters at once
ROUNDS_PER_CHECK = 4  # on a GPU, between two checks of how many rows remain
BATCH_CELLS = 2**27  # total cells that a GPU matches at once: 512 MiB, twice while copying
TAKEN = torch.iinfo(torch.int32).min  # lower than the key of any score
NAN_MESSAGE = "greedy_match: the scores hold NaN, expected values that can be ordered"


def greedy_match(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Match rows and columns one to one, best pair first; ties go to the smaller row * C + column.

    Args:
        scores: (R, C), float, integer or bool. Infinities are scores like others, -0 equals 0.

    Returns:
        Row and column indices in the order of acceptance, (min(R, C),) each, int64, on the same
        device.

    Raises:
        ValueError: ``scores`` is not a matrix, is complex, or contains NaN.
    """
    return greedy_match_many([scores])[0]


def greedy_match_many(matrices: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Match the rows and columns of several matrices, on a GPU in batches.

    Args:
        matrices: (R, C) each, of any sizes, all on one device; see ``greedy_match``.

    Returns:
        The result of ``greedy_match`` for each.

    Raises:
        ValueError: As for ``greedy_match``.
    """
    prepared = [_ordered(scores) for scores in matrices]
    pairs: list[tuple[Tensor, Tensor]] = []
    for group in _groups(prepared):
        # Ties go to the smaller index on both sides: the transposed matrix has the same matching.
        wide = [m.t().contiguous() if m.shape[0] > m.shape[1] else m.contiguous() for m in group]
        if _suits_rounds(group[0]):
            matched = _dominant_pairs(wide)
        else:
            matched = [_stable_pairs_of(scores) for scores in wide]
        for scores, (short, long) in zip(group, matched):
            rows, cols = (long, short) if scores.shape[0] > scores.shape[1] else (short, long)
            order = torch.argsort(rows)
            rows, cols = rows[order], cols[order]
            order = _falling(scores[rows, cols])
            pairs.append((rows[order], cols[order]))
    return pairs


def _suits_rounds(scores: Tensor) -> bool:
    """Whether a matrix is matched by ``_dominant_pairs``."""
    return scores.is_cuda and scores.dtype == torch.float32


def _ordered(scores: Tensor) -> Tensor:
    """Convert scores to float32, float64 or int64; ValueError if they are not a numeric matrix."""
    if scores.dim() != 2 or scores.is_complex():
        raise ValueError(
            "greedy_match: expected scores (R, C), float or integer, found "
            f"{scores.dtype} of shape {tuple(scores.shape)}"
        )
    scores = scores.detach()
    if scores.dtype != torch.float64:
        scores = scores.float() if scores.is_floating_point() else scores.long()
    return scores


def _groups(matrices: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Group consecutive matrices that a GPU can match at once: same kind, bounded total size."""
    group: list[Tensor] = []
    for scores in matrices:
        size = [max(m.shape) * min(m.shape) for m in (*group, scores)]
        if group and (len(size) * max(size) > BATCH_CELLS or scores.dtype != group[0].dtype):
            yield group
            group = []
        group.append(scores)
    if group:
        yield group


def _dominant_pairs(matrices: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Match all rows of (R, C) float32 matrices with R <= C, all at once and without a scan.

    Returns:
        Rows in ascending order and the column of each.
    """
    keys, whole = _stacked_keys(matrices)
    count, height, width = keys.shape
    # One more element than there are rows: a dummy target for entries without a match.
    column_of_row = whole.new_full((count, height + 1), -1)
    rows = whole[:height].expand(count, -1)
    cols = whole[:width].expand(count, -1)
    while rows.shape[1]:
        place = whole[: rows.shape[1]]
        for _ in range(ROUNDS_PER_CHECK):
            best_col = keys.argmax(dim=2)
            best_row = keys.argmax(dim=1)
            value = keys.gather(2, best_col[..., None])[..., 0]
            mutual = (best_row.gather(1, best_col) == place) & (value != TAKEN)
            target = torch.where(mutual, rows, height)
            column_of_row.scatter_(1, target, cols.gather(1, best_col))
            taken = torch.zeros((count, cols.shape[1] + 1), dtype=torch.bool, device=keys.device)
            taken.scatter_(1, torch.where(mutual, best_col, cols.shape[1]), True)
            keys.masked_fill_(mutual[:, :, None], TAKEN)
            keys.masked_fill_(taken[:, None, :-1], TAKEN)
        free = keys != TAKEN
        keys, rows, cols = _without_taken(keys, rows, cols, free.any(dim=2), free.any(dim=1))
    return [
        (whole[: len(scores)], columns[: len(scores)])
        for scores, columns in zip(matrices, column_of_row)
    ]


def _stacked_keys(matrices: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Convert matrices to one batch of integers in the order of the scores.

    Returns:
        int32 (B, R, C), padded with ``TAKEN``, and the integers from 0 to max(R, C) - 1.

    Raises:
        ValueError: A matrix holds NaN.
    """
    height = max(len(scores) for scores in matrices)
    width = max(scores.shape[1] for scores in matrices)
    device = matrices[0].device
    keys = torch.full((len(matrices), height, width), TAKEN, dtype=torch.int32, device=device)
    unordered = torch.zeros((), dtype=torch.bool, device=device)
    for key, scores in zip(keys, matrices):
        key[: len(scores), : scores.shape[1]] = _rising_keys(scores)
        unordered = unordered | scores.isnan().any()
    if bool(unordered):
        raise ValueError(NAN_MESSAGE)
    return keys, torch.arange(max(height, width), device=device)


def _without_taken(
    keys: Tensor, rows: Tensor, cols: Tensor, free_rows: Tensor, free_cols: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Remove matched rows and columns; as many remain as the image with the most of them has.

    Args:
        keys: (B, R, C).
        rows: Positions of the rows in the whole matrix, (B, R).
        cols: Positions of the columns, (B, C).
        free_rows: bool (B, R).
        free_cols: bool (B, C).

    Returns:
        The first three, smaller, in the same order.
    """
    counts = torch.stack((free_rows.sum(dim=1).max(), free_cols.sum(dim=1).max()))
    row_count, col_count = counts.tolist()  # the only synchronization with the device
    kept_rows = torch.sort(~free_rows, dim=1, stable=True).indices[:, :row_count]
    kept_cols = torch.sort(~free_cols, dim=1, stable=True).indices[:, :col_count]
    image = torch.arange(len(keys), device=keys.device)[:, None, None]
    keys = keys[image, kept_rows[:, :, None], kept_cols[:, None, :]]
    return keys, rows.gather(1, kept_rows), cols.gather(1, kept_cols)


def _rising_keys(values: Tensor) -> Tensor:
    """Map floats to integers in the same order, with -0 equal to 0; the smallest integer is unused.

    The bit patterns of positive floats increase with the value; those of negative floats decrease.
    """
    bits = torch.int32 if values.dtype == torch.float32 else torch.int64
    keys = (values + 0).view(bits)  # -0 + 0 = +0
    return torch.where(keys < 0, keys ^ torch.iinfo(bits).max, keys)


def _falling(values: Tensor) -> Tensor:
    """Return indices that sort (N,) values from high to low, stably; -0 equals 0.

    Floats are sorted by integers in the same order, because integers sort four times faster.
    """
    keys = _rising_keys(values) if values.is_floating_point() else values
    return torch.sort(~keys, stable=True).indices


def _stable_pairs_of(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Match the rows of a tensor on any device by ``_stable_pairs``."""
    rows, cols = _stable_pairs(scores.cpu().numpy())
    device = scores.device
    return torch.from_numpy(rows).to(device), torch.from_numpy(cols).to(device)


def _stable_pairs(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match all rows of an (R, C) matrix with R <= C; pairs by column.

    NumPy is used because its operations on a few hundred values have less overhead than PyTorch's.
    """
    count, width = scores.shape
    if not count:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    rows = np.arange(count)
    best_columns = scores.argmax(axis=1)
    proposals = scores[rows, best_columns]
    if np.isnan(proposals).any():  # the maximum of a row that contains NaN is NaN
        raise ValueError(NAN_MESSAGE)
    held_scores = np.full(width, _lowest(scores.dtype), scores.dtype)  # by column: best proposal
    owners = np.full(width, count)  # row that made it; R if there is none
    last_proposals = proposals.copy()  # by row: its match is never better
    budget = BUDGET * scores.size + FREE_ROUNDS * ROUND_CELLS
    while True:
        _accept(rows, best_columns, proposals, held_scores, owners)
        rows = _free_rows(owners, count)
        budget -= len(rows) * width + ROUND_CELLS
        if len(rows) == 0 or budget < 0:
            break
        best_columns, proposals = _propose(scores[rows], rows, held_scores, owners)
        last_proposals[rows] = proposals
    if len(rows):
        owners = _scan(scores, held_scores, last_proposals)
    cols = (owners < count).nonzero()[0]
    return owners[cols], cols


def _accept(
    rows: np.ndarray,
    columns: np.ndarray,
    proposals: np.ndarray,
    held_scores: np.ndarray,
    owners: np.ndarray,
) -> None:
    """Let each column keep the highest proposal, of equal ones that of the smallest row.

    Args:
        rows: The rows that propose, (N,), ascending.
        columns: The column that each proposes to, (N,).
        proposals: The scores of these pairs, (N,); each beats the one that its column holds.
        held_scores: The score that each column holds, (C,); changed in place.
        owners: The row of that score, (C,), R if the column holds none; changed in place.
    """
    order = np.argsort(_rising_from_best(proposals), kind="stable")
    order = order[np.argsort(columns[order], kind="stable")]
    winners = order[np.diff(columns[order], prepend=-1) != 0]  # the first ones of each column
    held_scores[columns[winners]] = proposals[winners]
    owners[columns[winners]] = rows[winners]


def _free_rows(owners: np.ndarray, count: int) -> np.ndarray:
    """List those of ``count`` rows that no column holds, ascending; owners (C,)."""
    free = np.ones(count + 1, dtype=bool)
    free[owners] = False  # the last element stands for columns without a proposal
    return free[:count].nonzero()[0]


def _lowest(dtype: np.dtype) -> float:
    """Return the lowest value of a score type."""
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _rising_from_best(values: np.ndarray) -> np.ndarray:
    """Return values that sort in the opposite order; the smallest integer is handled as well."""
    return -values if values.dtype.kind == "f" else ~values


def _propose(
    scores: np.ndarray, rows: np.ndarray, held_scores: np.ndarray, owners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find the best column that would accept each row, and its score: (N,) each; scores (N, C).

    There always is one, because fewer columns hold another row than there are columns.
    """
    welcome = (scores > held_scores) | ((scores == held_scores) & (rows[:, None] < owners))
    best = np.where(welcome, scores, _lowest(scores.dtype)).argmax(axis=1)
    place = np.arange(len(rows))
    # A row may offer only the lowest value, which also fills the masked cells.
    best = np.where(welcome[place, best], best, welcome.argmax(axis=1))
    return best, scores[place, best]


def _scan(scores: np.ndarray, held_scores: np.ndarray, last_proposals: np.ndarray) -> np.ndarray:
    """Visit the pairs that the proposals left possible, as in the definition.

    A column ends with at least the score it holds, and a row with at most the score it proposed
    last. Leaving out the other pairs cannot change which ones are accepted.

    Returns:
        Row of each column, (C,), int64; R if the column stays free.
    """
    count, width = scores.shape
    possible = (scores >= held_scores) & (scores <= last_proposals[:, None])
    flat = np.flatnonzero(possible)
    order = _falling(torch.from_numpy(scores.ravel()[flat]))  # PyTorch sorts faster
    falling = flat[order.numpy()]
    owner = np.full(width, count, dtype=np.int64)
    free = np.ones(count, dtype=bool)
    for start in range(0, len(falling), CHUNK):
        rows, cols = np.divmod(falling[start : start + CHUNK], width)
        alive = free[rows] & (owner[cols] == count)
        while alive.any():
            rows, cols = rows[alive], cols[alive]
            owner[cols[0]], free[rows[0]] = rows[0], False
            alive = (rows != rows[0]) & (cols != cols[0])
    return owner

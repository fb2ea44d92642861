"""Prompt selection beyond the paper: the reference is aligned with the photo, so compare in place.

A token of the photo is face if a reference token near it looks alike. How alike is enough is read
off each image: Otsu's threshold (1979) between the two groups of similarities. No label is used.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

REACH = 1  # tokens to each side that a generated face may be off
GAP = 0.25  # groups whose mean cosines are nearer than this are one group: nothing is hidden


def near_similarity(raw: Tensor, ref: Tensor, region_grid: Tensor, reach: int = REACH) -> Tensor:
    """Best cosine of each token with the reference tokens of the region around its place.

    Args:
        raw: Tokens of the photo, (C, G, G).
        ref: Tokens of the reference, (C, G, G).
        region_grid: bool (G, G).
        reach: Tokens to each side.

    Returns:
        (G, G) in [-1, 1]; -1 where no token of the region is near.
    """
    side = raw.shape[1]
    raw, ref = F.normalize(raw, dim=0), F.normalize(ref, dim=0)
    ref = F.pad(ref, (reach,) * 4)
    allowed = F.pad(region_grid, (reach,) * 4)
    best = raw.new_full((side, side), -1.0)
    for y in range(2 * reach + 1):
        for x in range(2 * reach + 1):
            place = (slice(y, y + side), slice(x, x + side))
            score = (raw * ref[(slice(None), *place)]).sum(0)
            best = torch.where(allowed[place], best.maximum(score), best)
    return best.clamp(-1, 1)


def face_cells(similarity: Tensor, gap: float = GAP) -> Tensor:
    """Split similarities where the variance between the two groups is largest.

    Args:
        similarity: (N,), N >= 1.
        gap: Smallest difference of the groups' means.

    Returns:
        bool (N,), the upper group; all of them if the groups are nearer than ``gap``.
    """
    values = similarity.double().sort().values
    count = len(values)
    lower = torch.arange(1, count, device=values.device, dtype=torch.float64)
    sums = values.cumsum(0)
    low, high = sums[:-1] / lower, (sums[-1] - sums[:-1]) / (count - lower)
    between = lower * (count - lower) * (high - low).square()
    between = between.masked_fill(values[1:] == values[:-1], -1)  # equals stay together
    if count < 2 or float(between.max()) < 0:
        return torch.ones_like(similarity, dtype=torch.bool)
    cut = int(between.argmax())
    if float(high[cut] - low[cut]) < gap:
        return torch.ones_like(similarity, dtype=torch.bool)
    return similarity.double() > values[cut]

"""Prompt selection beyond the paper: tokens are compared in place, because the pair is aligned.

A token of the photo is face if a reference token near it is similar. How similar it has to be is
determined for each image by Otsu's threshold (1979) between the two groups of similarities. No
label is used.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.ps.otsu import otsu

REACH = 1  # tokens by which a generated face may be displaced
GAP = 0.15  # groups whose mean cosines differ by less are one: no occlusion


def near_similarity(
    image: Tensor, reference: Tensor, region_grid: Tensor, reach: int = REACH
) -> Tensor:
    """Best cosine of each token with the region's reference tokens around its position.

    Args:
        image: Tokens of the photo, (C, G, G).
        reference: Tokens of the reference, (C, G, G).
        region_grid: bool (G, G).
        reach: Tokens to each side.

    Returns:
        (G, G) in [-1, 1]; -1 where no token of the region is within reach.
    """
    depth, side, _ = image.shape
    window = 2 * reach + 1
    around = F.unfold(F.normalize(reference, dim=0)[None], window, padding=reach)
    near = F.unfold(region_grid[None, None].to(around), window, padding=reach).view(-1, side, side)
    scores = (F.normalize(image, dim=0)[:, None] * around.view(depth, -1, side, side)).sum(0)
    return scores.clamp(-1, 1).masked_fill(near == 0, -1).amax(0)


def face_cells(similarity: Tensor, gap: float = GAP) -> Tensor:
    """Split similarities into two groups by Otsu's rule.

    Args:
        similarity: (N,), N >= 1.
        gap: Minimum difference of the groups' means.

    Returns:
        bool (N,), the upper group; all of them if the means differ by less than ``gap``.
    """
    cut = otsu(similarity)
    if cut is None or cut.gap < gap:
        return torch.ones_like(similarity, dtype=torch.bool)
    return similarity.double() > cut.threshold

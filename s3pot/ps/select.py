"""PS, prompt selection (paper section 3.3).

Tokens of the region that find a match in the reference become face points, the others occlusion
points. "greedy" is the paper's selection, which matches tokens one to one regardless of their
position; for "contrast" see ``ps/contrast.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from s3pot.grid import Grid
from s3pot.ps.contrast import face_cells, near_similarity
from s3pot.ps.greedy import greedy_match


def unit_tokens(tokens: Tensor) -> Tensor:
    """Normalize tokens to unit vectors: (C, G, G) → (T, C); lengths below 1e-8 count as 1e-8."""
    flat = tokens.flatten(1).T
    lengths: Tensor = flat.norm(dim=1, keepdim=True)
    return flat / lengths.clamp_min(1e-8)


def match_scores(image: Tensor, reference: Tensor, region_grid: Tensor) -> Tensor:
    """Compute the cosine of every reference token of the region with every token of the photo.

    Args:
        image: Tokens of the photo, (C, G, G).
        reference: Tokens of the reference, (C, G, G).
        region_grid: bool (G, G), |M| cells set.

    Returns:
        (|M|, T) in [-1, 1].
    """
    return unit_tokens(reference)[region_grid.flatten()] @ unit_tokens(image).T


def select_points(
    image: Tensor, reference: Tensor, region_sam: Tensor, grid: Grid, selection: str = "greedy"
) -> tuple[Tensor, Tensor]:
    """Select face and occlusion points.

    Args:
        image: Tokens of the photo, (C, G, G).
        reference: Tokens of the reference, (C, G, G).
        region_sam: bool (S, S).
        grid: Geometry of the SAM that computed the tokens.
        selection: "greedy" or "contrast".

    Returns:
        Points (N, 2), x, y, sam frame, positives first, each part in row-major order; labels
        int64 (N,), 1 or 0.

    Raises:
        ValueError: The selection is unknown.
    """
    region = grid.on_grid(region_sam)
    inside = region.flatten()
    matched = torch.zeros_like(inside)
    if selection == "greedy":
        matched[greedy_match(match_scores(image, reference, region))[1]] = True
    elif selection == "contrast":
        if inside.any():
            matched[inside] = face_cells(near_similarity(image, reference, region)[region])
    else:
        raise ValueError(f"selection is {selection!r}; it must be greedy or contrast")
    positive = (inside & matched).nonzero()[:, 0]
    negative = (inside & ~matched).nonzero()[:, 0]
    labels = torch.cat((torch.ones_like(positive), torch.zeros_like(negative)))
    return grid.centers(torch.cat((positive, negative))), labels

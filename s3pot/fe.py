"""FE, feature enhancement by token contrast (paper section 3.2; ALGORITHM section 2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.sam.frozen import FrozenSam
from s3pot.types import Contrast


def cosine_map(raw: Tensor, ref: Tensor) -> Tensor:
    """Compare two token grids cell by cell.

    Args:
        raw: SAM tokens of the photo, (B, C, G, G).
        ref: SAM tokens of the reference, same shape.

    Returns:
        Similarity in [-1, 1], (B, G, G).
    """
    return F.cosine_similarity(raw, ref, dim=1, eps=1e-8)


def first_token(similarity: Tensor, region_grid: Tensor, pick: str = "region") -> int:
    """The surest token of visible face.

    Args:
        similarity: (G, G) in [-1, 1].
        region_grid: bool (G, G), at least one cell set.
        pick: "region" takes the best token of the region. ``# Release:`` "product" multiplies by
            the mask and so leaves the region when no similarity inside it is positive.

    Returns:
        Flat row-major index; the smallest among equals.
    """
    if pick == "product":
        ranked = similarity * region_grid
    else:
        ranked = similarity.masked_fill(~region_grid, -torch.inf)
    return int((ranked == ranked.max()).flatten().nonzero()[0])


@torch.no_grad()
def enhance(
    sam: FrozenSam,
    raw: Tensor,
    ref: Tensor,
    region_grid: Tensor,
    *,
    anchor: str = "center",
    pick: str = "region",
    attended: bool = True,
) -> Contrast:
    """Find one sure face point and let SAM's two-way transformer enhance both token grids with it.

    Args:
        sam: Frozen SAM.
        raw: Encoder tokens of the photo, (C, G, G).
        ref: Encoder tokens of the reference, (C, G, G).
        region_grid: bool (G, G), at least one cell set.
        anchor: Pixel of the first point: the token's "center", or its "corner" as in the release.
        pick: See ``first_token``.
        attended: False leaves the encoder tokens as they are (the ablation without FE).
    """
    similarity = cosine_map(raw[None], ref[None])[0]
    token = torch.tensor([first_token(similarity, region_grid, pick)], device=raw.device)
    point = sam.grid.centres(token) if anchor == "center" else sam.grid.corners(token)
    if attended:
        prompt = sam.embed_points(point[None], torch.ones_like(token)[None]).expand(2, -1, -1)
        raw, ref = sam.attend(torch.stack((raw, ref)), prompt).image
    return Contrast(similarity, point[0], raw, ref)

"""FE, feature enhancement by token contrast (paper section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.sam.frozen import FrozenSam, stack_tokens
from s3pot.types import EnhancedTokens


def cosine_map(image_tokens: Tensor, reference_tokens: Tensor) -> Tensor:
    """Compare two token grids cell by cell.

    Args:
        image_tokens: SAM's tokens of the working image, (B, C, G, G).
        reference_tokens: SAM's tokens of the reference, same shape.

    Returns:
        Similarity in [-1, 1], (B, G, G).
    """
    return F.cosine_similarity(image_tokens, reference_tokens, dim=1, eps=1e-8)


def first_token(similarity: Tensor, region_grid: Tensor, pick: str = "region") -> Tensor:
    """Find the token that is most certainly visible face.

    Args:
        similarity: (G, G) in [-1, 1].
        region_grid: bool (G, G), at least one cell set.
        pick: "region" takes the best token of the region. ``# Release:`` "product" multiplies by
            the mask and therefore leaves the region if no similarity inside it is positive.

    Returns:
        Flat row-major index, int64 (1,); the smallest one in case of ties. (It stays on the device,
        which is not waited for.)
    """
    if pick == "product":
        ranked = similarity * region_grid
    else:
        ranked = similarity.masked_fill(~region_grid, -torch.inf)
    return (ranked == ranked.max()).flatten().int().argmax(dim=0, keepdim=True)


@torch.no_grad()
def enhance(  # noqa: PLR0913  # three inputs of the paper, three switches of its ablations
    sam: FrozenSam,
    image_tokens: Tensor,
    reference_tokens: Tensor,
    region_grid: Tensor,
    *,
    anchor: str = "center",
    pick: str = "region",
    attended: bool = True,
) -> EnhancedTokens:
    """Find one certain face point and let SAM's two-way transformer enhance both grids with it.

    Args:
        sam: Frozen SAM.
        image_tokens: Encoder tokens of the working image, (C, G, G).
        reference_tokens: Encoder tokens of the reference, (C, G, G).
        region_grid: bool (G, G), at least one cell set.
        anchor: Pixel of the first point: the token's "center", or "corner" as in the release.
        pick: See ``first_token``.
        attended: False leaves the encoder tokens as they are (the ablation without FE).
    """
    similarity = cosine_map(image_tokens[None], reference_tokens[None])[0]
    token = first_token(similarity, region_grid, pick)
    point = sam.grid.centers(token) if anchor == "center" else sam.grid.corners(token)
    if attended:
        prompt_tokens = sam.embed_points(point[None], torch.ones_like(token)[None])
        both = stack_tokens((image_tokens, reference_tokens))
        image_tokens, reference_tokens = sam.attend_image(both, prompt_tokens.expand(2, -1, -1))
    return EnhancedTokens(
        similarity=similarity,
        first_point_sam=point[0],
        image_tokens=image_tokens,
        reference_tokens=reference_tokens,
    )

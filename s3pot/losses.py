"""The three objectives, at the prompt points only, without occlusion labels (section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PointLosses:
    """Scalars of one image.

    Attributes:
        face: -mean p of the positive points, in [-1, 0].
        occlusion: mean p of the negative points, in [0, 1].
        hinge: mean shortfall of positive points below the margin.
        total: face + occlusion + weight * hinge.
    """

    face: Tensor
    occlusion: Tensor
    hinge: Tensor
    total: Tensor


def point_losses(
    logits_sam: Tensor,
    points_sam: Tensor,
    labels: Tensor,
    *,
    sharpness: float = 10.0,
    hinge_margin: float = 0.5,
    hinge_weight: float = 0.5,
) -> PointLosses:
    """Face recall, occlusion rejection and face hinge.

    Args:
        logits_sam: Visible-face logits, (S, S).
        points_sam: (N, 2), x, y, whole pixels.
        labels: 1 visible face, 0 occlusion, (N,).
        sharpness: p = sigmoid(sharpness * logit).
        hinge_margin: Positive points below it pay the hinge.
        hinge_weight: Weight of the hinge.

    Returns:
        The terms; one without points is 0 (and so has no gradient).
    """
    x, y = points_sam.long().unbind(dim=1)
    p = torch.sigmoid(sharpness * logits_sam[y, x])
    positive, negative = p[labels == 1], p[labels == 0]
    zero = logits_sam.sum() * 0
    face = -positive.mean() if len(positive) else zero
    hinge = (hinge_margin - positive).clamp_min(0).mean() if len(positive) else zero
    occlusion = negative.mean() if len(negative) else zero
    return PointLosses(face, occlusion, hinge, face + occlusion + hinge_weight * hinge)

"""The three objectives, at the prompt points only, without occlusion labels (paper section 3.4).

Only the points enter the losses, so only the low-resolution logits around each point are computed.
This gives the same numbers as upsampling the whole mask to the sam frame first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PADDING_LABEL = -1  # of points that only pad a batch; SAM's own label for "not a point"


@dataclass(frozen=True, eq=False)
class PointLosses:
    """The terms of each image, shape (...,); scalars for a single image.

    Attributes:
        face: -mean p of the positive points, in [-1, 0].
        occlusion: mean p of the negative points, in [0, 1].
        hinge: mean shortfall of positive points below the margin.
        total: Their weighted sum, in [-1, 1.25] with the default weights. It can become negative by
            construction; -1 is a perfect answer.
    """

    face: Tensor
    occlusion: Tensor
    hinge: Tensor
    total: Tensor


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The four low-resolution logits around each point, and its place between them.

    Attributes:
        places: Flat row-major indices into the logits of an image, int64 (B, N, 4): upper left,
            upper right, lower left, lower right.
        column_share: Distance from the left ones, in [0, 1], as a share of a cell, (B, N).
        row_share: Distance from the upper ones, the same way.
    """

    places: Tensor
    column_share: Tensor
    row_share: Tensor

    def interpolate(self, logits: Tensor) -> Tensor:
        """Interpolate bilinearly between logits at ``places``, (B, N, 4), at the points, (B, N)."""
        upper_left, upper_right, lower_left, lower_right = logits.unbind(dim=2)
        upper = torch.lerp(upper_left, upper_right, self.column_share)
        lower = torch.lerp(lower_left, lower_right, self.column_share)
        return torch.lerp(upper, lower, self.row_share)


def neighbors_of(points_sam: Tensor, size: int, low_side: int, align_corners: bool) -> Neighbors:
    """Find the low-resolution logits between which points of the sam frame lie.

    Args:
        points_sam: Integer pixels x, y of the sam frame, (B, N, 2).
        size: S, side of the sam frame in pixels.
        low_side: Side of the low-resolution logits.
        align_corners: As of ``torch.nn.functional.interpolate``.

    Returns:
        Neighbors whose interpolation equals ``interpolate`` to (S, S) at the points.
    """
    columns, column_share = _source(points_sam[..., 0], size, low_side, align_corners)
    rows, row_share = _source(points_sam[..., 1], size, low_side, align_corners)
    right = (columns + 1).clamp_max(low_side - 1)
    below = (rows + 1).clamp_max(low_side - 1)
    corners = ((rows, columns), (rows, right), (below, columns), (below, right))
    places = torch.stack([row * low_side + column for row, column in corners], dim=2)
    return Neighbors(places, column_share, row_share)


def _source(pixels: Tensor, size: int, low_side: int, align_corners: bool) -> tuple[Tensor, Tensor]:
    """Find the low-resolution cell at or before each pixel, and the fraction to the next one."""
    pixels = pixels.float()
    if align_corners:
        place = pixels * ((low_side - 1) / max(size - 1, 1))
    else:
        place = ((pixels + 0.5) * (low_side / size) - 0.5).clamp_min(0)
    cell = place.long().clamp_max(low_side - 1)
    return cell, place - cell


def point_losses(  # noqa: PLR0913  # one number for each key of the config's section loss
    point_logits: Tensor,
    labels: Tensor,
    *,
    sharpness: float = 10.0,
    hinge_margin: float = 0.5,
    face_weight: float = 1.0,
    occlusion_weight: float = 1.0,
    hinge_weight: float = 0.5,
) -> PointLosses:
    """Compute face recall, occlusion rejection and face hinge of one image or of a batch.

    Args:
        point_logits: Visible-face logits at the points, (..., N).
        labels: 1 visible face, 0 occlusion, ``PADDING_LABEL`` for points that do not count,
            (..., N).
        sharpness: p = sigmoid(sharpness * logit).
        hinge_margin: Positive points with a lower p pay the hinge.
        face_weight: Weight of face recall in the total.
        occlusion_weight: Weight of occlusion rejection in the total.
        hinge_weight: Weight of the hinge in the total.

    Returns:
        The terms, (...,) each; a term without points is 0 and has no gradient.
    """
    p = torch.sigmoid(sharpness * point_logits)
    positive = labels == 1
    face = -_masked_mean(p, positive)
    hinge = _masked_mean((hinge_margin - p).clamp_min(0), positive)
    occlusion = _masked_mean(p, labels == 0)
    total = face_weight * face + occlusion_weight * occlusion + hinge_weight * hinge
    return PointLosses(face, occlusion, hinge, total)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average over the last axis where ``mask`` is set; 0 if it is set nowhere."""
    return values.where(mask, values.new_zeros(())).sum(dim=-1) / mask.sum(dim=-1).clamp_min(1)

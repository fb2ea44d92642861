"""The prompts that the mini SAMs are trained with: hundreds of points, or a few clicks.

All functions work on whole batches. Pixels are (x, y) in the sam frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.grid import Grid
from s3pot_mini.pasting import random_pixel

LARGEST_NOISE = 0.15  # maximum share of dense points with the wrong label
MATCHING_ROUNDS = 5  # of the greedy matching; more rounds change hardly any point
CENTERED = 0.7  # share of the batches whose dense points are at token centers, like those of PS


@dataclass(frozen=True)
class PointPrompts:
    """Prompts of one batch with their targets.

    Attributes:
        points: (B, N, 2), x, y, sam frame.
        labels: (B, N), 1 or 0.
        target: The mask that the points describe, (B, S, S) in [0, 1].
    """

    points: Tensor
    labels: Tensor
    target: Tensor


def choose_cells(allowed: Tensor, count: int) -> Tensor:
    """Sample cells without repetition, starting over if there are too few.

    Args:
        allowed: bool (B, T); a row without allowed cells uses all of them.
        count: The number of cells to sample.

    Returns:
        Flat indices, int64 (B, count).
    """
    allowed = allowed | ~allowed.any(1, keepdim=True)
    keys = torch.rand(allowed.shape, device=allowed.device) + allowed
    order = keys.argsort(dim=1, descending=True)
    number = torch.arange(count, device=allowed.device)[None] % allowed.sum(1, keepdim=True)
    return order.gather(1, number)


def point_count() -> int:
    """Draw the number of dense points of each picture in a batch."""
    choices = (48, 96, 192, 320, 448, 600)
    return choices[int(torch.randint(len(choices), ()))]


def around(target: Tensor, grid: Grid) -> Tensor:
    """Return cells in and around each target or, half of the time, all cells, bool (B, T)."""
    cells = grid.on_grid(target > 0.5).float()
    near = largest_nearby(cells, 2 * int(torch.randint(1, 9, ())) + 1) > 0
    everywhere = torch.rand(len(target), 1, 1, device=target.device) < 0.35
    return (near | everywhere).flatten(1)


def largest_nearby(maps: Tensor, window: int) -> Tensor:
    """Return the maximum of maps (B, S, S) in a square window of odd side around each pixel.

    It is computed along columns and then along rows, which takes far fewer comparisons.
    """
    reach = window // 2
    columns = F.max_pool2d(maps[:, None], (window, 1), stride=1, padding=(reach, 0))
    return F.max_pool2d(columns, (1, window), stride=1, padding=(0, reach))[:, 0]


def dense_points(grid: Grid, target: Tensor, allowed: Tensor, count: int) -> PointPrompts:
    """Sample points in allowed cells, labeled by whether they lie in the target.

    Args:
        grid: Geometry of the SAM in training.
        target: (B, S, S) in [0, 1].
        allowed: Cells to choose from, bool (B, T).
        count: The number of points per picture.
    """
    cells = choose_cells(allowed, count)
    points = grid.centers(cells.flatten()).view(*cells.shape, 2)
    if float(torch.rand(())) > CENTERED:
        half = grid.patch / 2
        points = points + (torch.rand_like(points) * 2 - 1) * half
        points = points.floor().clamp(0, grid.size - 1)
    labels = labels_at(target, points)
    return PointPrompts(points, flipped(labels), target)


def labels_at(target: Tensor, points: Tensor) -> Tensor:
    """Label points by a target, 1 inside: (B, S, S) and (B, N, 2) to int64 (B, N)."""
    x, y = points.long().unbind(-1)
    index = y * target.shape[-1] + x
    return (target.flatten(1).gather(1, index) > 0.5).long()


def flipped(labels: Tensor) -> Tensor:
    """Flip some labels (B, N): up to LARGEST_NOISE of them, none in three of ten pictures."""
    count, device = len(labels), labels.device
    rate = torch.rand(count, 1, device=device) * LARGEST_NOISE
    rate = rate * (torch.rand(count, 1, device=device) < 0.7)
    wrong = torch.rand(labels.shape, device=device) < rate
    return torch.where(wrong, 1 - labels, labels)


def clicks(target: Tensor, count: int) -> PointPrompts:
    """Sample a few clicks: the first inside the target, the others inside or outside at random.

    Half of those outside are close to the target.

    Args:
        target: (B, S, S) in [0, 1].
        count: The number of clicks per picture.
    """
    inside = target > 0.5
    near = largest_nearby(target, 31) > 0.5
    points = []
    for number in range(count):
        positive = torch.rand(len(target), 1, 1, device=target.device) < 0.6
        close = torch.rand(len(target), 1, 1, device=target.device) < 0.5
        outside = ~inside & (near | ~close)
        places = inside if number == 0 else torch.where(positive, inside, outside)
        points.append(random_pixel(places))
    stacked = torch.stack(points, dim=1)
    return PointPrompts(stacked, labels_at(target, stacked), target)


@torch.no_grad()
def corrected(prompts: PointPrompts, logits: Tensor) -> PointPrompts:
    """Add one click to each image where the predicted mask is wrong.

    Args:
        prompts: The previous prompts.
        logits: The predicted masks, one per image, (B, 1, h, w).

    Returns:
        (B, N + 1) points; if nothing is wrong, the new point is at a random position.
    """
    size = prompts.target.shape[-2:]
    answer = F.interpolate(logits.float(), size, mode="bilinear", align_corners=True)[:, 0] > 0
    point = random_pixel(answer != (prompts.target > 0.5))[:, None]
    return PointPrompts(
        torch.cat((prompts.points, point), dim=1),
        torch.cat((prompts.labels, labels_at(prompts.target, point)), dim=1),
        prompts.target,
    )


def boxes_of(target: Tensor, wobble: float = 4.0) -> Tensor:
    """Return boxes around targets (B, S, S) with jittered sides: x0, y0, x1, y1, (B, 4)."""
    size = target.shape[-1]
    inside = target > 0.5
    index = torch.arange(size, device=target.device).expand(len(target), -1)
    sides = []
    for axis in (1, 2):  # non-empty columns, then rows
        holds = inside.any(axis)
        sides.append(torch.where(holds, index, size).amin(1).clamp_max(size - 1))
        sides.append(torch.where(holds, index, -1).amax(1).clamp_min(0))
    box = torch.stack((sides[0], sides[2], sides[1], sides[3]), dim=1).float()
    return (box + torch.randn_like(box) * wobble).clamp(0, size - 1)


def token_scores(raw: Tensor, ref: Tensor) -> Tensor:
    """Compute the cosines of all reference tokens with all photo tokens, in full precision.

    Args:
        raw: (B, C, G, G).
        ref: (B, C, G, G).

    Returns:
        (B, T of the reference, T of the photo).
    """
    with torch.autocast(raw.device.type, enabled=False):
        return unit_tokens(ref).transpose(1, 2) @ unit_tokens(raw)


def unit_tokens(tokens: Tensor) -> Tensor:
    """Scale tokens to length 1, in full precision: (B, C, G, G) to (B, C, T)."""
    return F.normalize(tokens.float().flatten(2), dim=1)


@torch.no_grad()
def matched_tokens(raw: Tensor, ref: Tensor, region: Tensor) -> Tensor:
    """Approximate PS's greedy matching on a batch by a few rounds of proposals.

    Every free reference token of the region proposes to its best token of the photo among those
    that hold no better offer; a token keeps its best offer (see ``s3pot/ps/greedy.py``).

    Args:
        raw: Tokens of the photos, (B, C, G, G).
        ref: Tokens of the references, same shape.
        region: bool (B, G, G).

    Returns:
        The photo tokens that hold an offer after MATCHING_ROUNDS, bool (B, T).
    """
    inside = region.flatten(1)
    scores = token_scores(raw, ref).masked_fill_(~inside[:, :, None], -3.0)
    hold = scores.new_full((len(scores), scores.shape[2]), -2.0)
    free = inside
    for _ in range(MATCHING_ROUNDS):
        is_welcome = (scores > hold[:, None]) & free[:, :, None]
        offer, place = scores.masked_fill(~is_welcome, -3.0).max(dim=2)
        hold = hold.scatter_reduce(1, place, offer, "amax")
        # The holder of a token: its offer is the token's best, now or from an earlier round.
        free = inside & ~(scores == hold[:, None]).any(2)
    return hold > -2

"""Prompts that the mini SAMs are trained with: points by the hundred, or a few clicks.

Everything works on whole batches. Pixels are (x, y) in the sam frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.grid import Grid
from s3pot_mini.pasting import random_pixel

LARGEST_NOISE = 0.15  # share of dense points with the wrong label, at most
MATCHING_ROUNDS = 5  # of the greedy matching; more change hardly a point
CENTERED = 0.7  # share of the batches whose dense points lie at token centers, as those of PS


@dataclass(frozen=True)
class PointPrompts:
    """Prompts of one batch with their targets.

    Attributes:
        points: (B, N, 2), x, y, sam frame.
        labels: (B, N), 1 or 0.
        target: What the points ask for, (B, S, S) in [0, 1].
    """

    points: Tensor
    labels: Tensor
    target: Tensor


def choose_cells(allowed: Tensor, count: int) -> Tensor:
    """Draw cells without repetition, and begin anew where there are too few.

    Args:
        allowed: bool (B, T); a row with no cell takes all of them.
        count: Cells wanted.

    Returns:
        Flat indices, int64 (B, count).
    """
    allowed = allowed | ~allowed.any(1, keepdim=True)
    keys = torch.rand(allowed.shape, device=allowed.device) + allowed
    order = keys.argsort(dim=1, descending=True)
    number = torch.arange(count, device=allowed.device)[None] % allowed.sum(1, keepdim=True)
    return order.gather(1, number)


def point_count() -> int:
    """How many dense points each picture of a batch gets this time."""
    choices = (48, 96, 192, 320, 448, 600)
    return choices[int(torch.randint(len(choices), ()))]


def around(target: Tensor, grid: Grid) -> Tensor:
    """Cells in and around each target, or all of them by a coin, bool (B, T)."""
    cells = grid.on_grid(target > 0.5)[:, None].float()
    reach = 2 * int(torch.randint(1, 9, ())) + 1
    near = F.max_pool2d(cells, reach, stride=1, padding=reach // 2)[:, 0] > 0
    everywhere = torch.rand(len(target), 1, 1, device=target.device) < 0.35
    return (near | everywhere).flatten(1)


def dense_points(grid: Grid, target: Tensor, allowed: Tensor, count: int) -> PointPrompts:
    """Points all over some cells that say of each place whether it belongs to the target.

    Args:
        grid: Geometry of the SAM in training.
        target: (B, S, S) in [0, 1].
        allowed: Cells to choose from, bool (B, T).
        count: Points per picture.
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
    """1 where a point lies in the target, else 0: (B, S, S) and (B, N, 2) to int64 (B, N)."""
    x, y = points.long().unbind(-1)
    index = y * target.shape[-1] + x
    return (target.flatten(1).gather(1, index) > 0.5).long()


def flipped(labels: Tensor) -> Tensor:
    """Turn some labels (B, N) over: up to LARGEST_NOISE of them, none in three of ten pictures."""
    count, device = len(labels), labels.device
    rate = torch.rand(count, 1, device=device) * LARGEST_NOISE
    rate = rate * (torch.rand(count, 1, device=device) < 0.7)
    wrong = torch.rand(labels.shape, device=device) < rate
    return torch.where(wrong, 1 - labels, labels)


def clicks(target: Tensor, count: int) -> PointPrompts:
    """A few clicks: the first inside the target, each other by a coin inside or outside.

    Half of those outside lie close to the target.

    Args:
        target: (B, S, S) in [0, 1].
        count: Clicks per picture.
    """
    inside = target > 0.5
    near = F.max_pool2d(target[:, None], 31, stride=1, padding=15)[:, 0] > 0.5
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
    """Add one click each where the answer to the prompts is wrong.

    Args:
        prompts: What was asked.
        logits: The answer, one mask per image, (B, 1, h, w).

    Returns:
        (B, N + 1) points; where nothing is wrong the new one lies anywhere.
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
    """Boxes around targets (B, S, S), their sides off by a few pixels: x0, y0, x1, y1, (B, 4)."""
    size = target.shape[-1]
    inside = target > 0.5
    index = torch.arange(size, device=target.device).expand(len(target), -1)
    sides = []
    for axis in (1, 2):  # columns that hold something, then rows
        holds = inside.any(axis)
        sides.append(torch.where(holds, index, size).amin(1).clamp_max(size - 1))
        sides.append(torch.where(holds, index, -1).amax(1).clamp_min(0))
    box = torch.stack((sides[0], sides[2], sides[1], sides[3]), dim=1).float()
    return (box + torch.randn_like(box) * wobble).clamp(0, size - 1)


def token_scores(raw: Tensor, ref: Tensor) -> Tensor:
    """Cosines of all reference tokens with all tokens of the photo, in full precision.

    Args:
        raw: (B, C, G, G).
        ref: (B, C, G, G).

    Returns:
        (B, T of the reference, T of the photo).
    """
    with torch.autocast(raw.device.type, enabled=False):
        unit_raw = F.normalize(raw.float().flatten(2), dim=1)
        unit_ref = F.normalize(ref.float().flatten(2), dim=1)
        return unit_ref.transpose(1, 2) @ unit_raw


@torch.no_grad()
def matched_tokens(raw: Tensor, ref: Tensor, region: Tensor) -> Tensor:
    """PS's greedy matching on a batch, in a few rounds of proposals.

    Every free reference token of the region proposes to its best token of the photo among those
    that hold no better offer; a token keeps its best offer (see ``s3pot/ps/greedy.py``).

    Args:
        raw: Tokens of the photos, (B, C, G, G).
        ref: Tokens of the references, same shape.
        region: bool (B, G, G).

    Returns:
        Tokens of the photo that hold an offer after MATCHING_ROUNDS, bool (B, T).
    """
    scores = token_scores(raw, ref)
    hold = scores.new_full((len(scores), scores.shape[2]), -2.0)
    free = region.flatten(1)
    for _ in range(MATCHING_ROUNDS):
        welcome = scores.masked_fill(scores <= hold[:, None], -3.0)
        welcome = welcome.masked_fill(~free[:, :, None], -3.0)
        offer, place = welcome.max(dim=2)
        hold = hold.scatter_reduce(1, place, offer, "amax")
        # Who holds a place: the offer is the place's best, now or from an earlier round.
        best = scores.masked_fill(~region.flatten(1)[:, :, None], -3.0) == hold[:, None]
        free = region.flatten(1) & ~best.any(2)
    return hold > -2

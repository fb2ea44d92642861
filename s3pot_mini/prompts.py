"""Prompts that the mini SAM is trained with: noisy points by the hundred, or a few clicks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.grid import Grid
from s3pot.ps.select import select_points
from s3pot_mini.pool import Batch

DENSE_LIMIT = 256


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


@torch.no_grad()
def dense_prompts(
    grid: Grid, batch: Batch, raw: Tensor, ref: Tensor, rng: np.random.Generator
) -> PointPrompts:
    """Many points that ask for the visible face; the same number for all.

    PS's own points for half of the batch, token centres with some labels swapped for the rest.

    Args:
        grid: Geometry of the SAM in training.
        batch: Faces.
        raw: Attended tokens of the occluded faces, (B, C, G, G).
        ref: Attended tokens of their references, same shape.
        rng: Of this step.
    """
    chosen = []
    for i, region in enumerate(batch.region):
        if not grid.on_grid(region).any():
            region = torch.ones_like(region)
        if i % 2:
            chosen.append(select_points(raw[i], ref[i], region, grid))
        else:
            chosen.append(_noisy_points(grid, region, batch.occluder[i], rng))
    count = min(DENSE_LIMIT, *(len(labels) for _, labels in chosen))
    points, labels = [], []
    for point, label in chosen:
        pick = torch.from_numpy(rng.permutation(len(label))[:count]).to(point.device)
        points.append(point[pick])
        labels.append(label[pick])
    face = (batch.region & ~batch.occluder).float()
    return PointPrompts(torch.stack(points), torch.stack(labels), face)


def _noisy_points(
    grid: Grid, region: Tensor, occluder: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Token centres of the region: some labels swapped, and some hidden ones called visible."""
    index = grid.on_grid(region).flatten().nonzero()[:, 0]
    labels = (~grid.on_grid(occluder).flatten()[index]).long()
    rate = rng.uniform(0.0, 0.15)
    wrong = torch.from_numpy(rng.random(len(index)) < rate).to(index.device)
    missed = torch.from_numpy(rng.random(len(index)) < rng.uniform(0, 0.6)).to(index.device)
    with_misses = torch.where(missed & (labels == 0), torch.ones_like(labels), labels)
    return grid.centres(index), torch.where(wrong, 1 - labels, with_misses)


def sparse_prompts(batch: Batch, rng: np.random.Generator) -> PointPrompts:
    """1 to 8 points on a part, the visible face, the occluder or the background."""
    count = int(rng.integers(1, 9))
    points, labels, targets = [], [], []
    for i in range(len(batch.raw)):
        target = _target(batch, i, rng)
        point, label = _clicks(target.cpu().numpy(), count, rng)
        points.append(point)
        labels.append(label)
        targets.append(target.float())
    device = batch.raw.device
    return PointPrompts(
        torch.from_numpy(np.stack(points)).to(device),
        torch.from_numpy(np.stack(labels)).to(device),
        torch.stack(targets),
    )


def _target(batch: Batch, i: int, rng: np.random.Generator) -> Tensor:
    """Visible face or occluder, each six times as likely as any one of the visible classes."""
    visible = ~batch.occluder[i]
    choices = [batch.region[i] & visible, batch.occluder[i]]
    choices += [(batch.labels[i] == c) & visible for c in torch.unique(batch.labels[i]).tolist()]
    choices = [c for c in choices if int(c.sum()) >= 16]
    weights = np.array([6.0 if k < 2 else 1.0 for k in range(len(choices))])
    return choices[int(rng.choice(len(choices), p=weights / weights.sum()))]


def _clicks(
    mask: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """At least one point inside; the others fall inside or outside by a coin."""
    labels = (rng.random(count) < 0.6).astype(np.int64)
    labels[0] = 1
    spots = [np.argwhere(~mask), np.argwhere(mask)]
    if not len(spots[0]):
        labels[:] = 1
    points = np.stack([spots[k][rng.integers(len(spots[k]))] for k in labels])
    return points[:, ::-1].astype(np.float32).copy(), labels


@torch.no_grad()
def corrected(prompts: PointPrompts, logits: Tensor, rng: np.random.Generator) -> PointPrompts:
    """Add one point each where the answer to the prompts is wrong.

    Args:
        prompts: What was asked.
        logits: The answer, one mask per image, (B, 1, h, w).
        rng: Of this step.

    Returns:
        (B, N + 1) points; where nothing is wrong the first point comes twice.
    """
    size = prompts.target.shape[-2:]
    answer = F.interpolate(logits.float(), size, mode="bilinear", align_corners=True)[:, 0] > 0
    wrong = (answer != (prompts.target > 0.5)).cpu().numpy()
    points, labels = prompts.points[:, :1].clone(), prompts.labels[:, :1].clone()
    for i, error in enumerate(wrong):
        spots = np.argwhere(error)
        if len(spots):
            y, x = spots[rng.integers(len(spots))].tolist()
            points[i, 0] = torch.tensor((x, y)).to(points)
            labels[i, 0] = int(prompts.target[i, y, x] > 0.5)
    return PointPrompts(
        torch.cat((prompts.points, points), 1),
        torch.cat((prompts.labels, labels), 1),
        prompts.target,
    )

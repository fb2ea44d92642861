"""Measuring a mini SAM on held-out pictures: true points, PS's points, arbitrary segments."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot_mini.augment import bearded, photographed
from s3pot_mini.generator import generate
from s3pot_mini.nets import References
from s3pot_mini.pool import FaceBatch, Pool, region_of
from s3pot_mini.prompts import labels_at, matched_tokens
from s3pot_mini.tasks import iou_of, random_target
from s3pot_mini.trainee import Trainee

BATCH = 20


@torch.no_grad()
def measure_segments(trainee: Trainee, pool: Pool, count: int = 100) -> dict[str, float]:
    """Mean IoU of random segments of held-out scenes, with true points at all token centers."""
    held_out = min(count, pool.scenes.held_out)
    torch.manual_seed(0)
    scores: list[float] = []
    for start in range(0, held_out, BATCH):
        scenes = pool.take_scenes(list(range(start, min(start + BATCH, held_out))))
        target = random_target(scenes)
        points = all_centers(trainee, len(target))
        answer = masks(trainee, trainee.encode(scenes.image), points, labels_at(target, points))
        scores += iou_of(answer, target > 0.5).tolist()
    return {"iou_segments": float(np.mean(scores))}


@torch.no_grad()
def measure_faces(
    trainee: Trainee, pool: Pool, references: References, count: int = 60
) -> dict[str, float]:
    """Measure means over held-out faces, inside the parsed region.

    Returns:
        Occlusion IoU with true points (``iou_true``) and with PS's (``iou_ps``); pooled precision
        and recall of PS's occlusion points; and, for unoccluded faces with beards and side light,
        the share of the region that PS classifies as occluded (``false_alarm_points``).
    """
    sums: dict[str, list[float]] = defaultdict(list)
    hits = picks = hidden = 0
    for start in range(0, min(count, pool.held_out), BATCH):
        indices = list(range(start, min(start + BATCH, pool.held_out)))
        faces = pool.take(indices)
        tokens, region, matched = compared(trainee, references, faces.raw)
        region_grid = trainee.grid.on_grid(region).flatten(1)
        covered = trainee.grid.on_grid(faces.occluder).flatten(1)
        picked = region_grid & ~matched
        hits += int((picked & covered).sum())
        picks += int(picked.sum())
        hidden += int((region_grid & covered).sum())
        for name, labels in (("iou_true", ~covered), ("iou_ps", matched)):
            answer = _region_masks(trainee, tokens, region_grid, labels.long())
            occluded = region & faces.occluder
            some = occluded.flatten(1).any(1)
            sums[name] += iou_of(region & ~answer, occluded)[some].tolist()
        torch.manual_seed(start)
        unoccluded = photographed(bearded(FaceBatch(faces.clean, *_rest(faces)), share=0.5))
        _, region, matched = compared(trainee, references, unoccluded.clean)
        region_grid = trainee.grid.on_grid(region).flatten(1)
        share = (region_grid & ~matched).sum(1) / region_grid.sum(1).clamp_min(1)
        sums["false_alarm_points"] += share.tolist()
    row = {key: float(np.mean(values)) for key, values in sums.items()}
    return {**row, "ps_precision": hits / max(picks, 1), "ps_recall": hits / max(hidden, 1)}


def _rest(faces: FaceBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Return the clean picture, the labels, and an empty occluder."""
    return faces.clean, faces.labels, torch.zeros_like(faces.occluder)


def compared(
    trainee: Trainee, references: References, raw: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return tokens, parsed regions, and which tokens PS classifies as face, bool (B, T)."""
    reference, predicted = generate(references.generator, references.parser, raw)
    region = region_of(predicted)
    tokens, other = trainee.encode(torch.cat((raw, reference))).chunk(2)
    region_grid = trainee.grid.on_grid(region)
    attended = trainee.enhance(tokens, other, region_grid)
    return tokens, region, matched_tokens(*attended, region_grid)


def all_centers(trainee: Trainee, count: int) -> Tensor:
    """Return the centers of all tokens for each picture, (B, T, 2)."""
    index = torch.arange(trainee.grid.side**2, device=trainee.device)
    return trainee.grid.centers(index).expand(count, -1, -1)


def masks(trainee: Trainee, tokens: Tensor, points: Tensor, labels: Tensor) -> Tensor:
    """Predict masks for point prompts, bool (B, S, S)."""
    logits = trainee.decode(tokens, trainee.embed(points, labels)).logits.float()
    size = (trainee.grid.size, trainee.grid.size)
    return F.interpolate(logits, size, mode="bilinear", align_corners=True)[:, 0] > 0


def _region_masks(trainee: Trainee, tokens: Tensor, region: Tensor, labels: Tensor) -> Tensor:
    """Predict visible faces from the labels of all tokens of each region: bool (B, S, S).

    Args:
        trainee: The SAM in training.
        tokens: (B, C, G, G).
        region: bool (B, T).
        labels: 1 or 0 for each token, (B, T).
    """
    answers = []
    for row, inside, label in zip(tokens, region, labels):
        index = inside.nonzero()[:, 0]
        if not len(index):
            index = torch.zeros(1, dtype=torch.long, device=trainee.device)
        points = trainee.grid.centers(index)[None]
        answers.append(masks(trainee, row[None], points, label[index][None])[0])
    return torch.stack(answers)

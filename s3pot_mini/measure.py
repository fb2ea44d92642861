"""How good the mini SAM is on held-back faces, with true points and with those that PS finds."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.ps.select import select_points
from s3pot_mini.pool import Pool
from s3pot_mini.trainee import Trainee


@torch.no_grad()
def measure(trainee: Trainee, pool: Pool, count: int = 60) -> dict[str, float]:
    """Mean over the occluded ones of ``count`` held-back faces, inside the predicted region.

    Args:
        trainee: The SAM in training.
        pool: Its held-back faces are read.
        count: Faces at most, in batches of ten.

    Returns:
        Occlusion IoU by true points (``iou_true``) and by PS's (``iou_ps``), visible-face IoU by
        true points (``iou_face_true``); precision and recall of PS's occlusion points, pooled.
    """
    sums: dict[str, list[float]] = defaultdict(list)
    hits = picks = hidden = 0
    for start in range(0, min(count, pool.held_back), 10):
        batch = pool.take(np.arange(start, start + 10), trainee.device)
        reference = batch.clean if batch.reference is None else batch.reference
        raw, ref = trainee.encode(torch.cat((batch.raw, reference))).chunk(2)
        region_grid = trainee.grid.on_grid(batch.region)
        if not region_grid.flatten(1).any(1).all():
            continue
        attended = trainee.enhance(raw, ref, region_grid)
        for i in range(10):
            region, occluder = batch.region[i], batch.occluder[i]
            if not (region & occluder).any():
                continue
            index = region_grid[i].flatten().nonzero()[:, 0]
            covered = trainee.grid.on_grid(occluder).flatten()
            points, labels = select_points(attended[0][i], attended[1][i], region, trainee.grid)
            chosen = trainee.grid.cells(points[labels == 0])
            hits += int(covered[chosen].sum())
            picks += len(chosen)
            hidden += int(covered[index].sum())
            true = (trainee.grid.centres(index), (~covered[index]).long())
            face_true = _face(trainee, raw[i], *true)
            face_ps = _face(trainee, raw[i], points, labels)
            sums["iou_true"].append(_iou(region & ~face_true, region & occluder))
            sums["iou_ps"].append(_iou(region & ~face_ps, region & occluder))
            sums["iou_face_true"].append(_iou(region & face_true, region & ~occluder))
    row = {k: float(np.mean(v)) for k, v in sums.items()}
    return {**row, "ps_precision": hits / max(picks, 1), "ps_recall": hits / max(hidden, 1)}


def _face(trainee: Trainee, tokens: Tensor, points: Tensor, labels: Tensor) -> Tensor:
    """Visible face by the points, bool (S, S)."""
    logits = trainee.decode(tokens[None], trainee.embed(points[None], labels[None])).logits.float()
    scale = trainee.grid.size / logits.shape[-1]
    return F.interpolate(logits, scale_factor=scale, mode="bilinear", align_corners=True)[0, 0] > 0


def _iou(got: Tensor, want: Tensor) -> float:
    return float((got & want).sum() / (got | want).sum().clamp_min(1))

"""Recipe of the mini SAM: masks from points, and tokens that tell a face from what hides it.

Two tasks share each step. *Prompts*: half dense points (what PS makes of the tokens at that
moment, or grids with wrong labels) with the visible face as target, half 1 to 8 points on any
part, occluder or background, every other time with one more where the first answer was wrong.
*Pairs*: tokens of the photo and of its reference agree where the face is visible and disagree
where it is hidden, before and after FE's attention.

Labels used, all of drawn faces: 12 classes, occluder masks. The pair task shows the encoder exact
occlusion masks, which the published SAM never saw: results with the mini set measure the code and
the method's trend, not the paper's claim.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.sam.frozen import Decoded
from s3pot.sam.mini import MiniSamSize, build_mini_sam
from s3pot_mini.loop import Losses, Schedule, export, fit
from s3pot_mini.measure import measure
from s3pot_mini.mixing import mixed
from s3pot_mini.pool import Batch, Pool
from s3pot_mini.prompts import corrected, dense_prompts, sparse_prompts
from s3pot_mini.trainee import Trainee

SIZE = MiniSamSize()
CYCLES = ((4400, 1.0), (7000, 0.5))  # step, share of the peak rate: a third full one lost ground
SCHEDULE = Schedule(steps=9400, batch=4, lr=1e-3, decay=0.2, restarts=CYCLES)
CLEAN_STEPS = 3300  # first contrast with coarsened clean faces: no generator is needed for that yet
MIXED_STEPS = 4400  # from here on with occluders of other faces and blobs laid on
RIVAL_MARGIN = 0.2  # by which a visible token's own reference token should beat its rivals
EDGE_WEIGHT = 3  # of visible tokens next to the occluder, whose window holds a part of it


def train(folder: Path, target: Path, device: torch.device, steps: int) -> None:
    """Train on the pool in ``folder``, from CLEAN_STEPS on on its pairs; export to ``target``."""
    torch.manual_seed(SCHEDULE.seed)
    trainee = Trainee(build_mini_sam(SIZE), device)
    schedule = SCHEDULE.until(steps)
    pools: dict[bool, Pool] = {}

    def pool(step: int) -> Pool:
        pairs = step >= CLEAN_STEPS
        if pairs not in pools:
            pools[pairs] = Pool(folder, pairs=pairs)
        return pools[pairs]

    def losses(rng: np.random.Generator, step: int) -> Losses:
        batch = pool(step).draw(rng, schedule.batch, device)
        return step_losses(trainee, mixed(batch, rng) if step >= MIXED_STEPS else batch, rng)

    def validate(step: int) -> dict[str, float]:
        return measure(trainee, pool(step))

    fit("sam", trainee.sam, losses, schedule, folder, device, validate)
    export("sam", dataclasses.asdict(SIZE), trainee.sam.state_dict(), target)


def step_losses(trainee: Trainee, batch: Batch, rng: np.random.Generator) -> Losses:
    """Both tasks on one batch."""
    region, grid = batch.region, trainee.grid
    usable = grid.on_grid(region).flatten(1).any(1)
    raw, ref = trainee.encode(torch.cat((batch.raw, _references(batch, rng)))).chunk(2)
    region_grid = grid.on_grid(region) | ~usable[:, None, None]
    hidden = grid.on_grid(batch.occluder)
    attended = trainee.enhance(raw, ref, region_grid)
    contrast = pair_loss(raw, ref, region_grid, hidden)
    contrast = contrast + pair_loss(*attended, region_grid, hidden)
    dense = dense_prompts(grid, batch, *attended, rng)
    sparse = sparse_prompts(batch, rng)
    if rng.random() < 0.5:
        with torch.no_grad():
            first = trainee.decode(raw, trainee.embed(sparse.points, sparse.labels)).logits
        sparse = corrected(sparse, first, rng)
    masks = [
        mask_losses(trainee.decode(raw, trainee.embed(p.points, p.labels)), p.target, weight)
        for p, weight in (
            (dense, 1 + 3 * region.float()),
            (sparse, torch.ones_like(region, dtype=torch.float32)),
        )
    ]
    total = 0.5 * contrast + masks[0] + 0.5 * masks[1]
    return {"total": total, "contrast": contrast, "dense": masks[0], "sparse": masks[1]}


def _references(batch: Batch, rng: np.random.Generator) -> Tensor:
    """Generated references, now and then the clean face, coarse so that no grain gives it away.

    Their light and colours are off a little, as a generator's are: that is no occlusion.
    """
    size = batch.clean.shape[-2:]
    coarse = F.interpolate(batch.clean, scale_factor=1 / rng.integers(1, 5), mode="area")
    coarse = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    count = len(coarse)
    if batch.reference is not None:
        true = torch.from_numpy(rng.random(count) < 0.2).to(coarse.device)
        coarse = torch.where(true[:, None, None, None], coarse, batch.reference)
    cast = rng.normal(1, 0.1, (count, 1, 1, 1)) + rng.normal(0, 0.04, (count, 3, 1, 1))
    return (coarse * torch.from_numpy(cast).to(coarse)).clamp(0, 1)


def pair_loss(raw: Tensor, ref: Tensor, region: Tensor, hidden: Tensor) -> Tensor:
    """Make visible tokens agree with their reference, and hidden ones with none of the region.

    The greedy matching loses a visible token when its reference token rather goes to one outside
    the region, or when the reference of a hidden place takes it: both rivals are kept at a
    distance. Most are lost next to the occluder, so tokens there count more.

    Args:
        raw: (B, C, G, G).
        ref: (B, C, G, G).
        region: bool (B, G, G).
        hidden: bool (B, G, G), the occluder.

    Returns:
        Scalar.
    """
    losses = []
    unit_raw, unit_ref = (F.normalize(t.flatten(2), dim=1) for t in (raw, ref))
    near = F.max_pool2d(hidden[:, None].float(), 3, stride=1, padding=1)[:, 0]
    weights = (1 + (EDGE_WEIGHT - 1) * near).flatten(1)
    for i in range(len(raw)):
        inside, covered = region[i].flatten(), hidden[i].flatten()
        same = (unit_raw[i] * unit_ref[i]).sum(0)
        scores = unit_ref[i][:, inside].T @ unit_raw[i]
        occluded, visible = inside & covered, inside & ~covered
        weight = weights[i][visible]
        loss = _mean(F.relu(0.9 - same[visible]), weight)
        rivals = [
            scores[~covered[inside]][:, ~inside & ~covered],
            scores[covered[inside]][:, visible].T,
        ]
        rival = torch.cat(rivals, 1)
        if rival.numel():
            loss = loss + _mean(F.relu(RIVAL_MARGIN + rival.amax(1) - same[visible]), weight)
        if occluded.any():
            loss = loss + _mean(F.relu(scores[:, occluded].amax(0) + 0.1))
        outside = scores[:, ~inside & ~covered].mean(0)
        losses.append(loss + 0.5 * _mean(F.relu((outside - 0.2).abs() - 0.1)))
    return torch.stack(losses).mean()


def _mean(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """Weighted mean, 0 of nothing."""
    weight = torch.ones_like(values) if weight is None else weight
    return (values * weight).sum() / weight.sum().clamp_min(1)


def mask_losses(decoded: Decoded, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy, dice of the target, and dice of the rest where the weight marks it.

    Args:
        decoded: One mask per image, (B, 1, 4G, 4G).
        target: (B, S, S) in [0, 1].
        weight: Of the pixels, (B, S, S), at least 1; all 1 marks everything.

    Returns:
        Scalar, with a tenth of the squared error of the decoder's own IoU estimate.
    """
    logits = decoded.logits[:, 0].float()
    want, weight = (
        F.interpolate(t[:, None], logits.shape[-2:], mode="area")[:, 0] for t in (target, weight)
    )
    entropy = F.binary_cross_entropy_with_logits(logits, want, reduction="none") * weight
    p = logits.sigmoid()
    focus = (weight - 1).clamp(0, 1) if float(weight.max()) > 1 else torch.ones_like(weight)
    dices = _dice(p, want) + _dice((1 - p) * focus, (1 - want) * focus)
    with torch.no_grad():
        guess = logits > 0
        union = (guess | (want > 0.5)).flatten(1).sum(1).clamp_min(1)
        iou = (guess & (want > 0.5)).flatten(1).sum(1) / union
    own = F.mse_loss(decoded.iou[:, 0].float(), iou)
    return entropy.sum() / weight.sum() + 0.5 * dices + 0.1 * own


def _dice(p: Tensor, want: Tensor) -> Tensor:
    inter = (p * want).flatten(1).sum(1)
    return (1 - (2 * inter + 20) / ((p + want).flatten(1).sum(1) + 20)).mean()

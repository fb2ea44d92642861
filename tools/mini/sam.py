"""Recipe of the mini SAM: promptable segmentation of drawn faces, and tokens that tell a face from what hides it.

Two tasks share each step. *Prompts*: half dense points (what PS makes of the tokens at that moment, or grids with wrong
labels) with the visible face as target, half 1 to 8 points on any part, occluder or background. *Pairs*: tokens of the
photo and of its reference agree where the face is visible and disagree where it is hidden, before and after FE's attention.

Labels used, all of drawn faces: 12 classes, occluder masks. The pair task shows the encoder exact occlusion masks, which the
published SAM never saw: results with the mini set measure the code and the method's trend, not the paper's claim.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mini.loop import Losses, Schedule, export, fit
from mini.pool import Batch, Pool
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F

from s3pot.fe import cosine_map, first_token
from s3pot.grid import Grid
from s3pot.ps.select import select_points
from s3pot.sam.decode import Decoded, attend, mask_from
from s3pot.sam.mini import MiniSamSize, build_mini_sam

SIZE = MiniSamSize()
SCHEDULE = Schedule(steps=2400, batch=4, lr=1e-3)
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


class Trainee:
    """The model with the few calls the recipe makes on it."""

    def __init__(self, sam: Sam, device: torch.device) -> None:
        self.sam = sam.to(device)
        self.grid = Grid(SIZE.image, SIZE.image // SIZE.patch)
        self.device = device

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] to float32 tokens (B, C, G, G)."""
        return self.sam.image_encoder((images * 255 - self.sam.pixel_mean) / self.sam.pixel_std).float()

    def embed(self, points: Tensor, labels: Tensor) -> Tensor:
        """Prompt tokens (B, N + 1, C); in full precision, or coordinates would be rounded."""
        with torch.autocast(self.device.type, enabled=False):
            return self.sam.prompt_encoder(points=(points.float(), labels.float()), boxes=None, masks=None)[0]

    def decode(self, tokens: Tensor, prompts: Tensor) -> Decoded:
        """One mask per image."""
        with torch.autocast(self.device.type, enabled=False):
            position = self.sam.prompt_encoder.get_dense_pe()
        dense = self.sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        return mask_from(self.sam.mask_decoder, attend(self.sam.mask_decoder, tokens, position, prompts, dense))

    def enhance(self, raw: Tensor, ref: Tensor, region: Tensor) -> tuple[Tensor, Tensor]:
        """FE on a batch: attended tokens of raw and reference."""
        similarity = cosine_map(raw, ref).detach()
        index = torch.tensor([first_token(s, g) for s, g in zip(similarity, region)], device=self.device)  # noqa: B905
        prompts = self.embed(self.grid.centres(index)[:, None], torch.ones_like(index)[:, None])
        with torch.autocast(self.device.type, enabled=False):
            position = self.sam.prompt_encoder.get_dense_pe()
        dense = self.sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        both = attend(self.sam.mask_decoder, torch.cat((raw, ref)), position, prompts.repeat(2, 1, 1), dense)
        return both.image.float().chunk(2)


def train(folder: Path, target: Path, device: torch.device, steps: int, pairs: bool) -> None:
    """Train on the pool in ``folder`` and export to ``target``.

    Args:
        folder: Work folder.
        target: Folder of the bundled weights.
        device: Where to train.
        steps: Optimiser steps.
        pairs: Contrast with generated references; False takes coarsened clean faces, for a run that starts before the
            generator is trained (it goes on from there with ``pairs``).
    """
    torch.manual_seed(SCHEDULE.seed)
    pool = Pool(folder, pairs=pairs)
    trainee = Trainee(build_mini_sam(SIZE), device)
    schedule = Schedule(steps, SCHEDULE.batch, SCHEDULE.lr)

    def losses(rng: np.random.Generator, step: int) -> Losses:
        return step_losses(trainee, pool.draw(rng, schedule.batch, device), rng)

    fit("sam", trainee.sam, losses, schedule, folder, device, lambda: measure(trainee, pool))
    export("sam", dataclasses.asdict(SIZE), trainee.sam.state_dict(), target)


def step_losses(trainee: Trainee, batch: Batch, rng: np.random.Generator) -> Losses:
    """Both tasks on one batch."""
    region, grid = batch.region, trainee.grid
    usable = grid.on_grid(region).flatten(1).any(1)
    raw, ref = trainee.encode(torch.cat((batch.raw, _references(batch, rng)))).chunk(2)
    region_grid = grid.on_grid(region) | ~usable[:, None, None]
    hidden = grid.on_grid(batch.occluder)
    attended_raw, attended_ref = trainee.enhance(raw, ref, region_grid)
    contrast = pair_loss(raw, ref, region_grid, hidden) + pair_loss(attended_raw, attended_ref, region_grid, hidden)
    dense = dense_prompts(trainee, batch, attended_raw, attended_ref, rng)
    sparse = sparse_prompts(batch, rng)
    masks = [
        mask_losses(trainee.decode(raw, trainee.embed(p.points, p.labels)), p.target, weight)
        for p, weight in ((dense, 1 + 3 * region.float()), (sparse, torch.ones_like(region, dtype=torch.float32)))
    ]
    total = 0.5 * contrast + masks[0] + 0.5 * masks[1]
    return {"total": total, "contrast": contrast, "dense": masks[0], "sparse": masks[1]}


def _references(batch: Batch, rng: np.random.Generator) -> Tensor:
    """Generated references, now and then the clean face, coarse enough not to be recognised by its grain."""
    coarse = F.interpolate(batch.clean, scale_factor=1 / rng.integers(1, 5), mode="area")
    coarse = F.interpolate(coarse, size=batch.clean.shape[-2:], mode="bilinear", align_corners=False)
    if batch.reference is None:
        return coarse
    true = torch.from_numpy(rng.random(len(coarse)) < 0.2).to(coarse.device)
    return torch.where(true[:, None, None, None], coarse, batch.reference)


def pair_loss(raw: Tensor, ref: Tensor, region: Tensor, hidden: Tensor) -> Tensor:
    """Visible tokens of the region agree with their reference, hidden ones with no reference token of the region.

    Args:
        raw: (B, C, G, G).
        ref: (B, C, G, G).
        region: bool (B, G, G).
        hidden: bool (B, G, G), the occluder.
    """
    losses = []
    unit_raw, unit_ref = (F.normalize(t.flatten(2), dim=1) for t in (raw, ref))
    for i in range(len(raw)):
        inside, covered = region[i].flatten(), hidden[i].flatten()
        same = (unit_raw[i] * unit_ref[i]).sum(0)
        scores = unit_ref[i][:, inside].T @ unit_raw[i]
        visible, occluded, outside = inside & ~covered, inside & covered, ~inside & ~covered
        terms = [_mean(F.relu(0.9 - same[visible]))]
        terms.append(_mean(F.relu(scores[:, occluded].amax(0) + 0.1)) if occluded.any() else same.sum() * 0)
        terms.append(0.5 * _mean(F.relu((scores[:, outside].mean(0) - 0.2).abs() - 0.1)))
        losses.append(sum(terms))
    return torch.stack(losses).mean()


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(1, values.numel())


@torch.no_grad()
def dense_prompts(
    trainee: Trainee, batch: Batch, raw: Tensor, ref: Tensor, rng: np.random.Generator
) -> PointPrompts:
    """PS's own points for half of the batch, token centres with some labels swapped for the rest; same number for all."""
    chosen = []
    for i, region in enumerate(batch.region):
        if not trainee.grid.on_grid(region).any():
            region = torch.ones_like(region)
        if i % 2:
            chosen.append(select_points(raw[i], ref[i], region, trainee.grid))
        else:
            chosen.append(_noisy_points(trainee.grid, region, batch.occluder[i], rng))
    count = min(DENSE_LIMIT, *(len(labels) for _, labels in chosen))
    points, labels = [], []
    for p, label in chosen:
        pick = torch.from_numpy(rng.permutation(len(label))[:count]).to(p.device)
        points.append(p[pick])
        labels.append(label[pick])
    face = (batch.region & ~batch.occluder).float()
    return PointPrompts(torch.stack(points), torch.stack(labels), face)


def _noisy_points(
    grid: Grid, region: Tensor, occluder: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Token centres of the region with true labels, of which blobs and single points are wrong."""
    index = grid.on_grid(region).flatten().nonzero()[:, 0]
    labels = (~grid.on_grid(occluder).flatten()[index]).long()
    rate = rng.uniform(0.0, 0.15)
    wrong = torch.from_numpy(rng.random(len(index)) < rate).to(index.device)
    missed = torch.from_numpy(rng.random(len(index)) < rng.uniform(0, 0.6)).to(index.device) & (labels == 0)
    return grid.centres(index), torch.where(wrong, 1 - labels, torch.where(missed, torch.ones_like(labels), labels))


def sparse_prompts(batch: Batch, rng: np.random.Generator) -> PointPrompts:
    """1 to 8 points on a part, the visible face, the whole face, the occluder or the background."""
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
        torch.from_numpy(np.stack(points)).to(device), torch.from_numpy(np.stack(labels)).to(device), torch.stack(targets)
    )


def _target(batch: Batch, i: int, rng: np.random.Generator) -> Tensor:
    visible = ~batch.occluder[i]
    choices = [batch.region[i] & visible, batch.occluder[i]]
    choices += [(batch.labels[i] == c) & visible for c in torch.unique(batch.labels[i]).tolist()]
    choices = [c for c in choices if int(c.sum()) >= 16]
    weights = np.array([6.0 if k < 2 else 1.0 for k in range(len(choices))])
    return choices[int(rng.choice(len(choices), p=weights / weights.sum()))]


def _clicks(mask: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """At least one point inside; the others fall inside or outside by a coin."""
    labels = (rng.random(count) < 0.6).astype(np.int64)
    labels[0] = 1
    spots = [np.argwhere(~mask), np.argwhere(mask)]
    if not len(spots[0]):
        labels[:] = 1
    points = np.stack([spots[k][rng.integers(len(spots[k]))] for k in labels])
    return points[:, ::-1].astype(np.float32).copy(), labels


def mask_losses(decoded: Decoded, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy and two dice terms (the target, and what the weight marks of the rest)."""
    logits = decoded.logits[:, 0].float()
    want, weight = (F.interpolate(t[:, None], logits.shape[-2:], mode="area")[:, 0] for t in (target, weight))
    entropy = (F.binary_cross_entropy_with_logits(logits, want, reduction="none") * weight).sum() / weight.sum()
    p = logits.sigmoid()
    focus = (weight - 1).clamp(0, 1) if float(weight.max()) > 1 else torch.ones_like(weight)
    dices = _dice(p, want) + _dice((1 - p) * focus, (1 - want) * focus)
    with torch.no_grad():
        hard = (logits > 0) & (want > 0.5)
        union = ((logits > 0) | (want > 0.5)).flatten(1).sum(1).clamp_min(1)
        iou = hard.flatten(1).sum(1) / union
    return entropy + 0.5 * dices + 0.1 * F.mse_loss(decoded.iou[:, 0].float(), iou)


def _dice(p: Tensor, want: Tensor) -> Tensor:
    inter = (p * want).flatten(1).sum(1)
    return (1 - (2 * inter + 20) / ((p + want).flatten(1).sum(1) + 20)).mean()


@torch.no_grad()
def measure(trainee: Trainee, pool: Pool, count: int = 60) -> dict[str, float]:
    """Mean occlusion IoU on held-back faces inside the predicted region: true points, PS's points; PS's precision and recall."""
    sums: dict[str, list[float]] = {"iou_true": [], "iou_ps": [], "iou_face_true": []}
    hits = picks = hidden_total = 0
    for start in range(pool.count, min(pool.count + count, pool.total), 10):
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
            hidden_total += int(covered[index].sum())
            true = (trainee.grid.centres(index), (~covered[index]).long())
            face_true = _face(trainee, raw[i], *true)
            face_ps = _face(trainee, raw[i], points, labels)
            sums["iou_true"].append(_iou(region & ~face_true, region & occluder))
            sums["iou_ps"].append(_iou(region & ~face_ps, region & occluder))
            sums["iou_face_true"].append(_iou(region & face_true, region & ~occluder))
    row = {k: float(np.mean(v)) for k, v in sums.items() if v}
    return {**row, "ps_precision": hits / max(picks, 1), "ps_recall": hits / max(hidden_total, 1)}


def _face(trainee: Trainee, tokens: Tensor, points: Tensor, labels: Tensor) -> Tensor:
    logits = trainee.decode(tokens[None], trainee.embed(points[None], labels[None])).logits.float()
    return F.interpolate(logits, scale_factor=SIZE.image / logits.shape[-1], mode="bilinear", align_corners=True)[0, 0] > 0


def _iou(got: Tensor, want: Tensor) -> float:
    return float((got & want).sum() / (got | want).sum().clamp_min(1))

"""Recipe of the tuned mini SAM: the generic one, additionally trained on occlusions.

*Segments*: as in ``sam_generic.py``, so that it keeps following prompts on any texture.
*Faces*: dense points, either PS's current ones or true ones with some wrong labels, prompt for the
visible face.
*Pairs*: tokens of the photo and of its reference agree where the face is visible and disagree where
it is hidden, before and after FE's attention.

Labels used, all of drawn faces: 12 classes, occluder masks. The pair task shows the encoder exact
occlusion masks, which the published SAM never saw: results with this SAM measure the code and the
method's trend, not the paper's claim. For that, use ``model.sam=mini_generic``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F

from s3pot.sam.mini import MiniSamSize, build_mini_sam
from s3pot_mini.loop import Losses, Schedule, export, fit
from s3pot_mini.measure import measure_faces, measure_segments
from s3pot_mini.nets import References
from s3pot_mini.pairs import PairBatch, PairBuffer
from s3pot_mini.parser import REFRESH_EVERY
from s3pot_mini.pool import FaceBatch, Pool, SceneBatch
from s3pot_mini.prompts import (
    PointPrompts,
    choose_cells,
    flipped,
    matched_tokens,
    point_count,
    token_scores,
    unit_tokens,
)
from s3pot_mini.tasks import faces_as_scenes, obey_losses, prompt_loss, training_scenes
from s3pot_mini.trainee import Trainee

SIZE = MiniSamSize()
SCHEDULE = Schedule(steps=1453, batch=48, lr=1e-3)
PAIR_CAPACITY = 12000
FIRST_REFILLS = 12  # batches of pairs drawn before the first step
REFILL_EVERY = 3  # steps
AGREEMENT = 0.9  # target cosine of a visible token
RIVAL_MARGIN = 0.2  # margin by which a visible token's own reference token should beat its rivals
EDGE_WEIGHT = 3  # weight of visible tokens next to the occluder, whose windows contain a part of it
MISSED = 0.5  # maximum share of hidden tokens that noisy points label as visible


def train(
    pool: Pool,
    folder: Path,
    target: Path,
    schedule: Schedule,
    references: References,
    start: Sam | None = None,
) -> None:
    """Train on drawn pictures and export.

    Args:
        pool: Faces and scenes; the network is trained on its device.
        folder: Work directory, for checkpoint and log.
        target: Folder of the exported weights.
        schedule: How long and how fast.
        references: Mini parser and generator, frozen, on the pool's device.
        start: SAM to start from, the generic one for the bundled set; None for fresh weights.
    """
    torch.manual_seed(schedule.seed)
    trainee = Trainee(build_mini_sam(SIZE) if start is None else start, pool.device)
    pairs = PairBuffer(pool, references.generator, references.parser, PAIR_CAPACITY, schedule.batch)

    def losses(step: int) -> Losses:
        if step % REFRESH_EVERY == 0:
            pool.refresh()
        while len(pairs) < min(FIRST_REFILLS * schedule.batch, PAIR_CAPACITY):
            pairs.refill()
        if step % REFILL_EVERY == 0:
            pairs.refill()
        scenes = training_scenes(pool, schedule.batch // 2)
        return step_losses(trainee, pairs.draw(schedule.batch), scenes)

    def validate(step: int) -> dict[str, float]:
        return {**measure_segments(trainee, pool), **measure_faces(trainee, pool, references)}

    fit("sam", trainee.sam, losses, schedule, folder, pool.device, validate)
    write(trainee.sam.state_dict(), target)


def write(state: dict[str, Tensor], target: Path) -> None:
    """Export weights in the form that the package loads."""
    export("sam", dataclasses.asdict(SIZE), state, target)


def step_losses(trainee: Trainee, pairs: PairBatch, scenes: SceneBatch) -> Losses:
    """Compute all losses on one batch of faces with references and one of scenes."""
    grid = trainee.grid
    images = torch.cat((pairs.raw, pairs.reference, scenes.image))
    count = len(pairs.raw)
    raw, ref, others = trainee.encode(images).split([count, count, len(scenes.image)])
    region_grid = grid.on_grid(pairs.region)
    region_grid = region_grid | ~region_grid.flatten(1).any(1)[:, None, None]
    hidden = grid.on_grid(pairs.occluder)
    attended = trainee.enhance(raw, ref, region_grid)
    contrast = pair_loss(raw, ref, region_grid, hidden)
    contrast = contrast + pair_loss(*attended, region_grid, hidden)
    matched = matched_tokens(*attended, region_grid)
    dense = face_points(trainee, pairs, region_grid, matched)
    face = prompt_loss(trainee, raw, dense, emphasis=pairs.region)
    obeyed = obey_losses(trainee, torch.cat((others, raw)), _joined(scenes, pairs))
    total = 0.5 * contrast + face + obeyed["obey_dense"] + 0.5 * obeyed["obey_few"]
    return {"total": total, "contrast": contrast, "face": face, **obeyed}


def _joined(scenes: SceneBatch, pairs: PairBatch) -> SceneBatch:
    """Concatenate the scenes and the faces with their segments."""
    faces = faces_as_scenes(FaceBatch(pairs.raw, pairs.raw, pairs.labels, pairs.occluder))
    return SceneBatch(
        torch.cat((scenes.image, faces.image)),
        torch.cat((scenes.parts, faces.parts)),
        torch.cat((scenes.things, faces.things)),
    )


def face_points(
    trainee: Trainee, pairs: PairBatch, region_grid: Tensor, matched: Tensor
) -> PointPrompts:
    """Sample points of the region that prompt for the visible face.

    Half of the batch uses PS's own labels; the other half uses the truth with some labels flipped
    and some hidden tokens labeled as visible.

    Args:
        trainee: The SAM in training.
        pairs: Faces with references.
        region_grid: bool (B, G, G).
        matched: Tokens that PS classifies as face, bool (B, T).
    """
    grid, device = trainee.grid, pairs.raw.device
    count = len(pairs.raw)
    cells = choose_cells(region_grid.flatten(1), point_count())
    points = grid.centers(cells.flatten()).view(*cells.shape, 2)
    hidden = grid.on_grid(pairs.occluder).flatten(1)
    rate = torch.rand(count, 1, device=device) * MISSED
    rate = rate * (torch.rand(count, 1, device=device) < 0.5)
    missed = hidden & (torch.rand(hidden.shape, device=device) < rate)
    noisy = flipped((~hidden | missed).long().gather(1, cells))
    from_ps = torch.rand(count, 1, device=device) < 0.5
    labels = torch.where(from_ps, matched.long().gather(1, cells), noisy)
    target = (pairs.region & ~pairs.occluder).float()
    return PointPrompts(points, labels, target)


def pair_loss(raw: Tensor, ref: Tensor, region: Tensor, hidden: Tensor) -> Tensor:
    """Make visible tokens agree with their reference, and hidden ones with none of the region.

    The greedy matching loses a visible token if its reference token prefers one outside the region,
    or if the reference of a hidden token takes it: both rivals are kept at a distance. Most are
    lost next to the occluder, so tokens there count more.

    Args:
        raw: (B, C, G, G).
        ref: (B, C, G, G).
        region: bool (B, G, G).
        hidden: bool (B, G, G), the occluder.

    Returns:
        Scalar.
    """
    near = F.max_pool2d(hidden[:, None].float(), 3, stride=1, padding=1)[:, 0]
    inside, covered = region.flatten(1), hidden.flatten(1)
    visible, occluded = inside & ~covered, inside & covered
    beyond = ~inside & ~covered
    with torch.no_grad():
        scores = token_scores(raw, ref)
    with torch.autocast(raw.device.type, enabled=False):
        unit_raw, unit_ref = unit_tokens(raw), unit_tokens(ref)
        same = (unit_ref * unit_raw).sum(1)
        # Only the best rivals have a gradient: each is found first, and only its cosine computed.
        outside = _best(unit_ref, unit_raw, scores, beyond[:, None])
        best_hidden = _best(unit_raw, unit_ref, scores.mT, occluded[:, None])
        like = _best(unit_raw, unit_ref, scores.mT, inside[:, None])
        share = inside.float() / inside.sum(1, keepdim=True).clamp_min(1)
        mean = ((unit_ref @ share[:, :, None]) * unit_raw).sum(1)
    weight = (1 + (EDGE_WEIGHT - 1) * near.flatten(1)) * visible
    disagree = _mean(F.relu(AGREEMENT - same), weight)
    rival = _mean(F.relu(RIVAL_MARGIN + torch.maximum(outside, best_hidden) - same), weight)
    alike = _mean(F.relu(like + 0.1), occluded.float())
    calm = _mean(F.relu((mean - 0.2).abs() - 0.1), beyond.float())
    return (disagree + rival + alike + 0.5 * calm).mean()


def _best(tokens: Tensor, others: Tensor, scores: Tensor, allowed: Tensor) -> Tensor:
    """Compute the cosine of each token with the most similar of the allowed other tokens.

    Args:
        tokens: Tokens of length 1, (B, C, T).
        others: The other tokens of length 1, (B, C, T).
        scores: Their cosines without a gradient, (B, T of ``tokens``, T of ``others``).
        allowed: The other tokens to choose from, bool (B, 1, T).

    Returns:
        (B, T); -1, the lowest cosine, without a gradient, if none is allowed.
    """
    index = scores.masked_fill(~allowed, -2.0).argmax(2)
    chosen = others.gather(2, index[:, None].expand_as(tokens))
    return torch.where(allowed.any(2), (tokens * chosen).sum(1), -1.0)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of each row, 0 for zero weights, (B,)."""
    return (values * weight).sum(1) / weight.sum(1).clamp_min(1)

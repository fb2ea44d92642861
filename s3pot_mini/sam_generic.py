"""Recipe of the generic mini SAM: trained like SAM, without any notion of occlusion.

*Masks*: all segments of drawn scenes, class-agnostic: parts, whole objects, background objects,
shapes with any surface. A drawn occluder is just one of these objects. Prompts are clean or noisy
dense points, a few clicks, and boxes.
*Tokens*: self-supervised: a position must look similar to itself in another light, through another
lens, shifted, or in a reference redrawn for an unoccluded face; and different from other positions
and other pictures.

No occlusion mask is a separate target, no pair loss sees an occluder, and no points of PS are used.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F

from s3pot.sam.mini import MiniSamSize, build_mini_sam
from s3pot_mini.augment import Tone
from s3pot_mini.loop import Losses, Schedule, export, fit
from s3pot_mini.measure import measure_segments
from s3pot_mini.nets import References, load_references
from s3pot_mini.pairs import PairBuffer, coarsened
from s3pot_mini.parser import REFRESH_EVERY
from s3pot_mini.pool import Pool
from s3pot_mini.tasks import obey_losses, training_scenes
from s3pot_mini.trainee import Trainee

SIZE = MiniSamSize()
SCHEDULE = Schedule(steps=2266, batch=48, lr=1e-3)
PLACES = 96  # number of cells of each picture that are compared
TEMPERATURE = 0.1
LARGEST_SHIFT = 4  # in cells, between the two views
PAIR_CAPACITY = 4000  # number of redrawn unoccluded faces that are kept
PAIRS_AT_A_TIME = 32
REFILL_EVERY = 4  # steps


def train(
    pool: Pool, folder: Path, target: Path, schedule: Schedule, start: Sam | None = None
) -> None:
    """Train on drawn pictures and export.

    Args:
        pool: Faces and scenes; the network is trained on its device.
        folder: Work directory, for checkpoint and log.
        target: Folder of the exported weights; parser and generator are loaded from there as soon
            as they exist, and until then there are no redrawn references.
        schedule: How long and how fast.
        start: SAM to start from; None for fresh weights.
    """
    torch.manual_seed(schedule.seed)
    trainee = Trainee(build_mini_sam(SIZE) if start is None else start, pool.device)
    redrawn = Redrawn(pool, target, schedule.batch)

    def losses(step: int) -> Losses:
        if step % REFRESH_EVERY == 0:
            pool.refresh()
        return step_losses(trainee, pool, redrawn.buffer(step), schedule.batch)

    def validate(step: int) -> dict[str, float]:
        return measure_segments(trainee, pool)

    fit("sam_generic", trainee.sam, losses, schedule, folder, pool.device, validate)
    write(trainee.sam.state_dict(), target)


def write(state: dict[str, Tensor], target: Path) -> None:
    """Export weights in the form that the package loads."""
    export("sam_generic", dataclasses.asdict(SIZE), state, target)


class Redrawn:
    """Unoccluded faces with redrawn references, available once a generator exists.

    Args:
        pool: Faces.
        weights: The folder in which parser and generator will appear.
        batch: Pictures per step.
    """

    def __init__(self, pool: Pool, weights: Path, batch: int) -> None:
        self.pool = pool
        self.weights = weights
        self.batch = batch
        self._buffer: PairBuffer | None = None

    def buffer(self, step: int) -> PairBuffer | None:
        """Return the available pairs, a few of them new; None before there is a generator."""
        if self._buffer is None and step % REFRESH_EVERY == 0:
            nets: References | None = load_references(self.weights, self.pool.faces.device)
            if nets is not None:
                self._buffer = PairBuffer(
                    self.pool, nets.generator, nets.parser, PAIR_CAPACITY, PAIRS_AT_A_TIME, True
                )
        if self._buffer is not None and (step % REFILL_EVERY == 0 or not len(self._buffer)):
            self._buffer.refill()
        return self._buffer


def step_losses(trainee: Trainee, pool: Pool, pairs: PairBuffer | None, count: int) -> Losses:
    """Compute all losses on one batch of scenes, and on redrawn faces if there are any."""
    scenes = training_scenes(pool, count)
    shift = [int(s) for s in torch.randint(-LARGEST_SHIFT, LARGEST_SHIFT + 1, (2,)).tolist()]
    second = second_view(scenes.image).roll([s * trainee.grid.patch for s in shift], (-2, -1))
    views = [scenes.image, second]
    redrawn = count // 3 if pairs is not None else 0
    if pairs is not None:
        faces = pairs.draw(redrawn)
        views += [faces.raw, faces.reference]
    tokens = trainee.encode(torch.cat(views)).split([len(view) for view in views])
    back = tokens[1].roll([-s for s in shift], (-2, -1))
    same = place_loss(tokens[0], back, kept_cells(shift, trainee.grid.side))
    losses = obey_losses(trainee, tokens[0], scenes)
    total = losses["obey_dense"] + 0.5 * losses["obey_few"] + 0.3 * same
    losses["same_place"] = same
    if pairs is not None:
        everywhere = kept_cells([0, 0], trainee.grid.side)
        losses["redrawn"] = place_loss(tokens[2], tokens[3], everywhere)
        total = total + 0.3 * losses["redrawn"]
    return {"total": total, **losses}


@torch.no_grad()
def second_view(images: Tensor) -> Tensor:
    """Show the same pictures in another light, through another lens, sometimes smoothed."""
    tone = Tone.draw(len(images), images.shape[-1], images.device)
    taken = tone.take(images)
    smooth = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.4
    return torch.where(smooth, coarsened(taken), taken)


def kept_cells(shift: list[int], side: int) -> Tensor:
    """Return the cells that are in both views, bool (G, G), on the CPU."""
    kept = torch.zeros(side, side, dtype=torch.bool)
    rows, columns = (_kept(s, side) for s in shift)
    kept[rows, columns] = True
    return kept


def _kept(shift: int, side: int) -> slice:
    return slice(max(0, -shift), side - max(0, shift))


def place_loss(first: Tensor, second: Tensor, allowed: Tensor) -> Tensor:
    """Match each position of the first view to the second (InfoNCE; Oord et al., 2018).

    The negatives are the other positions of the same picture, except the nearest, and the same
    position in the other pictures.

    Args:
        first: Tokens, (B, C, G, G).
        second: Tokens of the same positions, (B, C, G, G).
        allowed: Positions to compare, bool (G, G), on the CPU.

    Returns:
        Scalar.
    """
    count, width, side, _ = first.shape
    places = allowed.flatten().nonzero()[:, 0]
    pick = places[torch.randint(len(places), (PLACES,))].to(first.device, non_blocking=True)
    with torch.autocast(first.device.type, enabled=False):
        flat = F.normalize(second.float().flatten(2), dim=1)
        anchors = F.normalize(first.float().flatten(2)[:, :, pick], dim=1)
        inside = torch.einsum("bck,bct->bkt", anchors, flat)
        across = torch.einsum("bck,dck->bkd", anchors, flat[:, :, pick])
    rows, columns = pick // side, pick % side
    cells = torch.arange(side * side, device=pick.device)
    apart = torch.maximum(
        (rows[:, None] - cells // side).abs(), (columns[:, None] - cells % side).abs()
    )
    inside = inside.masked_fill((apart == 1)[None], -torch.inf)
    same_image = torch.eye(count, dtype=torch.bool, device=pick.device)[:, None]
    across = across.masked_fill(same_image, -torch.inf)
    logits = torch.cat((inside, across), dim=2) / TEMPERATURE
    wanted = pick.expand(count, -1)
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten())

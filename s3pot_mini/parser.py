"""Recipe of the mini parser: a BiSeNet of a quarter of the width that ignores occlusions.

Its target is always the clean face's label map, even where an occluder hides it: it therefore
labels a hand on the cheek as "skin", the failure of real face parsers that S³POT repairs, and
continues the face under any occluder. Labels used: the 12 classes of drawn faces.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.labels import CLASSES, NUM_CLASSES
from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.rg.parser import IMAGENET_MEAN, IMAGENET_STD
from s3pot_mini.augment import bearded, photographed, turned
from s3pot_mini.loop import Losses, Schedule, export, fit
from s3pot_mini.pasting import pasted
from s3pot_mini.pool import FaceBatch, Pool, constant, region_of

WIDTH = 16
INPUT = 384
SCHEDULE = Schedule(steps=987, batch=48, lr=4e-3)
OCCLUDED = 0.7  # share of the inputs that show the occluder
PASTED = 0.6
REFRESH_EVERY = 50  # steps between checks for newly drawn shards
HIDDEN_WEIGHT = 2.0  # weight of hidden face pixels, where the face is to be continued
# Rare classes count more: about one over the square root of their share of pixels, skin = 1.
# Earrings and glasses get less, or they would be predicted on anything that glitters or is dark and
# thin.
CLASS_WEIGHTS = (0.5, 3.0, 4.0, 4.0, 0.8, 2.5, 1.0, 3.5, 1.5, 5.0, 2.5, 3.0)

WEAK = ("eye_glass", "ear_rings", "eyebrows", "lip", "mouth")  # reported individually


def normalize(images: Tensor) -> Tensor:
    """Convert [0, 1] pixels to the parser's input: enlarged to INPUT, ImageNet mean and std."""
    images = F.interpolate(images, size=(INPUT, INPUT), mode="bilinear", align_corners=False)
    return standardized(images)


def standardized(images: Tensor) -> Tensor:
    """Apply ImageNet's mean and std to [0, 1] pixels, as ``s3pot.rg.parser.standardize``."""
    mean, std = (constant(v, images.device).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (images - mean) / std


def training_faces(pool: Pool, count: int, share: float = PASTED) -> FaceBatch:
    """Draw random faces with full augmentation: beard, view, further occluders, camera."""
    with torch.autocast(pool.device.type, enabled=False):  # positions would be rounded
        scenes = pool.draw_scenes(count)
        batch, _ = pasted(turned(bearded(pool.draw_faces(count))), scenes, share)
        return photographed(batch)


def shown(batch: FaceBatch, share: float) -> Tensor:
    """Return the occluded picture for a share of the faces, the clean one for the others."""
    occluded = torch.rand(len(batch.raw), 1, 1, 1, device=batch.raw.device) < share
    return torch.where(occluded, batch.raw, batch.clean)


def train(
    pool: Pool, folder: Path, target: Path, schedule: Schedule, start: BiSeNet | None = None
) -> None:
    """Train on drawn faces and export.

    Args:
        pool: Faces and scenes; the network is trained on its device.
        folder: Work directory, for checkpoint and log.
        target: Folder of the exported weights.
        schedule: How long and how fast.
        start: Network to start from; None for fresh weights.
    """
    torch.manual_seed(schedule.seed)
    net = BiSeNet(NUM_CLASSES, WIDTH) if start is None else start
    net = net.to(pool.device).to(memory_format=torch.channels_last)
    weights = torch.tensor(CLASS_WEIGHTS, device=pool.device)

    def losses(step: int) -> Losses:
        if step % REFRESH_EVERY == 0:
            pool.refresh()
        batch = training_faces(pool, schedule.batch)
        logits = net.train()(normalize(shown(batch, OCCLUDED)))
        side = (INPUT, INPUT)
        labels = F.interpolate(batch.labels[:, None].float(), side, mode="nearest-exact")
        hidden = (batch.occluder & batch.region)[:, None].float()
        emphasis = 1 + (HIDDEN_WEIGHT - 1) * F.interpolate(hidden, side, mode="nearest-exact")
        target_labels = labels[:, 0].long()
        pixel_weights = weights[target_labels] * emphasis[:, 0]
        main, *rest = (
            _cross_entropy(x.float(), target_labels, pixel_weights)
            for x in (logits.out, logits.out16, logits.out32)
        )
        return {"total": main + 0.3 * sum(rest), "main": main}

    def validate(step: int) -> dict[str, float]:
        return measure(net, pool)

    fit("parser", net, losses, schedule, folder, pool.device, validate)
    write(net.state_dict(), target)


def write(state: dict[str, Tensor], target: Path) -> None:
    """Export weights in the form that the package loads."""
    export("parser", {"classes": NUM_CLASSES, "width": WIDTH, "input": INPUT}, state, target)


def _cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Compute the weighted mean over pixels."""
    entropy = F.cross_entropy(logits, labels, reduction="none")
    return (entropy * weights).sum() / weights.sum()


@torch.no_grad()
def predict(net: BiSeNet, images: Tensor) -> Tensor:
    """Predict labels, int64 (B, S, S), from (B, 3, S, S) in [0, 1]."""
    logits = net.eval().forward_main(normalize(images))
    return F.interpolate(
        logits.argmax(1)[:, None].float(), images.shape[-2:], mode="nearest-exact"
    )[:, 0].long()


@torch.no_grad()
def measure(net: BiSeNet, pool: Pool, count: int = 100) -> dict[str, float]:
    """Measure scores on occluded held-out faces.

    Returns:
        IoU of the prompt region, and share of hidden face pixels labeled as face; over pixels
        without an occluder, because the class behind it cannot be known: mean IoU of the classes,
        and the IoU of each of the WEAK classes.
    """
    inter = union = hidden_as_face = hidden = 0
    confusion = torch.zeros(NUM_CLASSES * NUM_CLASSES, dtype=torch.int64)
    for start in range(0, min(count, pool.held_out), 10):
        batch = pool.take(list(range(start, min(start + 10, pool.held_out))))
        guess = predict(net, batch.raw)
        want, got = batch.region, region_of(guess)
        inter += int((want & got).sum())
        union += int((want | got).sum())
        hidden += int((want & batch.occluder).sum())
        hidden_as_face += int((want & batch.occluder & got).sum())
        pairs = (batch.labels * NUM_CLASSES + guess)[~batch.occluder].cpu()
        confusion += torch.bincount(pairs, minlength=NUM_CLASSES**2)
    table = confusion.view(NUM_CLASSES, NUM_CLASSES).double()
    iou = table.diag() / (table.sum(0) + table.sum(1) - table.diag()).clamp_min(1)
    return {
        "region_iou": inter / max(union, 1),
        "hidden_as_face": hidden_as_face / max(hidden, 1),
        "seen_miou": float(iou.mean()),
        **{f"seen_{name}": float(iou[CLASSES.index(name)]) for name in WEAK},
    }

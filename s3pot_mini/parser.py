"""Recipe of the mini parser: BiSeNet, a quarter as wide, that knows no occlusions.

Its target is always the clean face's label map, also where an occluder hides it: so it calls a
hand on the cheek "skin", the failure of real face parsers that S³POT repairs. Labels used: the 12
classes of drawn faces.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.labels import CLASSES, NUM_CLASSES, REGION_CLASSES
from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.rg.parser import standardize
from s3pot_mini.loop import Losses, Schedule, export, fit
from s3pot_mini.pool import Batch, Pool

WIDTH = 16
INPUT = 384
SCHEDULE = Schedule(steps=2000, batch=8, lr=3e-3, decay=0.28, restarts=((1400, 1.0),))
# Rare classes count more: about one over the square root of their share of pixels, skin = 1. Ear
# rings and glasses would by that rule be called on anything that glitters or is dark and thin.
CLASS_WEIGHTS = (0.5, 3.0, 4.0, 4.0, 0.8, 2.5, 1.0, 3.5, 1.5, 5.0, 2.5, 3.0)

WEAK = ("eye_glass", "ear_rings", "eyebrows", "lip", "mouth")  # followed one by one


def normalise(images: Tensor) -> Tensor:
    """[0, 1] pixels to the parser's input: enlarged to INPUT, ImageNet mean and std."""
    images = F.interpolate(images, size=(INPUT, INPUT), mode="bilinear", align_corners=False)
    return standardize(images)


def train(folder: Path, target: Path, device: torch.device, steps: int) -> None:
    """Train on the pool in ``folder`` and export to ``target``."""
    torch.manual_seed(SCHEDULE.seed)
    pool = Pool(folder)
    net = BiSeNet(NUM_CLASSES, WIDTH).to(device)
    weights = torch.tensor(CLASS_WEIGHTS, device=device)

    def losses(rng: np.random.Generator, step: int) -> Losses:
        batch = pool.draw(rng, SCHEDULE.batch, device)
        occluded = torch.from_numpy(rng.random(SCHEDULE.batch) < 0.6).to(device)
        images = torch.where(occluded[:, None, None, None], batch.raw, batch.clean)
        logits = net.train()(normalise(images))
        labels = F.interpolate(
            batch.labels[:, None].float(), size=(INPUT, INPUT), mode="nearest-exact"
        )[:, 0].long()
        main, *rest = (
            F.cross_entropy(x.float(), labels, weights)
            for x in (logits.out, logits.out16, logits.out32)
        )
        return {"total": main + 0.3 * sum(rest), "main": main}

    def validate(step: int) -> dict[str, float]:
        return measure(net, pool, device)

    schedule = SCHEDULE.until(steps)
    fit("parser", net, losses, schedule, folder, device, validate)
    export(
        "parser", {"classes": NUM_CLASSES, "width": WIDTH, "input": INPUT}, net.state_dict(), target
    )


@torch.no_grad()
def predict(net: BiSeNet, images: Tensor) -> Tensor:
    """(B, 3, S, S) in [0, 1] to labels, int64 (B, S, S)."""
    logits = net.eval().forward_main(normalise(images))
    return F.interpolate(
        logits.argmax(1)[:, None].float(), images.shape[-2:], mode="nearest-exact"
    )[:, 0].long()


def measure(net: BiSeNet, pool: Pool, device: torch.device, count: int = 100) -> dict[str, float]:
    """Scores on occluded held-back faces.

    Returns:
        IoU of the prompt region, share of hidden face pixels called face; over pixels without an
        occluder, as no one can tell the class behind it: mean IoU of the classes, and the IoU of
        each of the WEAK ones.
    """
    region = torch.tensor(REGION_CLASSES, device=device)
    inter = union = found = hidden = 0
    confusion = torch.zeros(NUM_CLASSES * NUM_CLASSES, dtype=torch.int64)
    for start in range(0, min(count, pool.held_back), 10):
        batch: Batch = pool.take(np.arange(start, start + 10), device)
        guess = predict(net, batch.raw)
        want, got = torch.isin(batch.labels, region), torch.isin(guess, region)
        inter += int((want & got).sum())
        union += int((want | got).sum())
        hidden += int((want & batch.occluder).sum())
        found += int((want & batch.occluder & got).sum())
        pairs = (batch.labels * NUM_CLASSES + guess)[~batch.occluder].cpu()
        confusion += torch.bincount(pairs, minlength=NUM_CLASSES**2)
    table = confusion.view(NUM_CLASSES, NUM_CLASSES).double()
    iou = table.diag() / (table.sum(0) + table.sum(1) - table.diag()).clamp_min(1)
    return {
        "region_iou": inter / union,
        "hidden_as_face": found / max(hidden, 1),
        "seen_miou": float(iou.mean()),
        **{f"seen_{name}": float(iou[CLASSES.index(name)]) for name in WEAK},
    }

"""Recipe of the mini generator: E4S with small widths, trained to remove occluders.

The input is the occluded (or clean) face with *predicted* labels; the target is the clean face in
the same light, with its beard. The region codes thereby learn to leave the occluder out and to keep
what belongs to the face. Labels used: the clean face, and its classes to weight errors inside the
region; the network itself sees only the parser's labels.

A second stage, ``generator_fine``, continues the training with many steps of small batches and a
further loss, in which small regions count as much as large ones: after the few large steps of the
first stage, colors drift, and eyes and lips are smudges.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s3pot.labels import NUM_CLASSES
from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.rg.nets.e4s import E4SNet, E4SSize
from s3pot.rg.nets.regions import Box, Level, RegionPlan, Tile, subsample
from s3pot_mini.augment import bearded, photographed
from s3pot_mini.critic import Critic, adversarial
from s3pot_mini.loop import Losses, Schedule, export, fit
from s3pot_mini.parser import REFRESH_EVERY, predict, shown, standardized, training_faces
from s3pot_mini.pool import Pool

SIZE = E4SSize(
    style_dim=48,
    channels=(64, 64, 64, 64, 48, 24, 16),
    masked_codes=10,
    encoder_input=128,
    encoder_widths=(16, 24, 32, 48, 64),
    encoder_units=(1, 1, 2, 1),
    mlp_hidden=48,
    mapping_layers=0,
)
IMAGE = 256
SCHEDULE = Schedule(steps=367, batch=48, lr=6e-3, weight_decay=0.0)
FINE_SCHEDULE = Schedule(steps=1500, batch=8, lr=1.5e-3, weight_decay=0.0, seed=778)
OCCLUDED = 0.75  # share of the inputs that show the occluder
SMALLEST_REGION = 20  # pixels; smaller ones are errors of the parser
SOFT_CELL = 16  # pixels over which light and beard are compared


class WholePlan(RegionPlan):
    """Computes every region on the whole picture; the result is the same as with tiles.

    Tiles save work, but are computed from label maps on the host and have different sizes in every
    batch. A GPU waits longer for both than the work takes.
    """

    def __init__(self, labels: Tensor, regions: int, sizes: Sequence[int]) -> None:
        self._levels = {size: whole_level(labels, regions, size) for size in sorted(set(sizes))}


def whole_level(labels: Tensor, regions: int, size: int) -> Level:
    """Return one tile per region, covering the whole picture."""
    maps = subsample(labels, size)
    box = Box(0, size, 0, size)
    tiles = tuple(Tile(region, box, (maps == region)[:, None]) for region in range(regions))
    return Level(size, maps, tiles)


def invert(net: E4SNet, images: Tensor, labels: Tensor) -> Tensor:
    """Generate the clean face from (B, 3, S, S) in [0, 1] and labels; it is not clamped."""
    if not images.is_cuda:
        return net(images * 2 - 1, labels) / 2 + 0.5
    plan = WholePlan(labels, net.size.regions, net.G.masked_sizes)
    codes = net.style_codes(net.encoder(images * 2 - 1, labels))
    return net.G(codes, plan) / 2 + 0.5


def train(
    pool: Pool,
    folder: Path,
    target: Path,
    schedule: Schedule,
    parser: BiSeNet,
    start: E4SNet | None = None,
    stage: str = "generator",
    is_balanced: bool = False,
) -> None:
    """Train on drawn faces and export.

    Args:
        pool: Faces and scenes; the network is trained on its device.
        folder: Work directory, for checkpoint and log.
        target: Folder of the exported weights.
        schedule: How long and how fast.
        parser: The mini parser.
        start: Network to start from; None for fresh weights. The critic always starts anew.
        stage: Name of the checkpoint and the log.
        is_balanced: Add ``region_error`` to the loss.
    """
    torch.manual_seed(schedule.seed)
    net = (E4SNet(SIZE) if start is None else start).to(pool.device)
    critic = Critic().to(pool.device)
    parser = parser.to(pool.device).eval().requires_grad_(False)

    def losses(step: int) -> Losses:
        if step % REFRESH_EVERY == 0:
            pool.refresh()
        batch = training_faces(pool, schedule.batch)
        images = shown(batch, OCCLUDED)
        labels = predict(parser, images)
        drawn = invert(net.train(), images, labels).float()
        terms = reconstruction(drawn, batch.clean, batch.region, parser)
        if is_balanced:
            terms["regions"] = region_error(drawn, batch.clean, labels)
            terms["total"] = terms["total"] + terms["regions"]
        fool, tell = adversarial(critic, drawn, batch.clean, terms["pixels"])
        return {**terms, "total": terms["total"] + fool + tell, "critic": tell}

    def validate(step: int) -> dict[str, float]:
        return measure(net, parser, pool)

    both = nn.ModuleDict({"net": net, "critic": critic})
    fit(stage, both, losses, schedule, folder, pool.device, validate)
    write(net.state_dict(), target)


def write(state: dict[str, Tensor], target: Path) -> None:
    """Export weights in the form that the package loads; the mean code is 0."""
    net = E4SNet(SIZE)
    export(
        "generator",
        {**dataclasses.asdict(SIZE), "input": IMAGE},
        {**state, "latent_avg": net.latent_avg},
        target,
    )


def reconstruction(drawn: Tensor, clean: Tensor, region: Tensor, parser: BiSeNet) -> Losses:
    """Absolute error (with triple weight in the region), gradients, light, and parser features."""
    weight = 1 + 2 * region[:, None]
    pixels = ((drawn - clean).abs() * weight).mean()
    rows, columns = ((drawn.diff(dim=d) - clean.diff(dim=d)).abs().mean() for d in (2, 3))
    edges = rows + columns
    features = perceptual(drawn, clean, parser)
    light = soft_error(drawn, clean, region)
    return {
        "total": pixels + edges + 0.2 * features + light,
        "pixels": pixels,
        "edges": edges,
        "features": features,
        "light": light,
    }


def soft_error(drawn: Tensor, clean: Tensor, region: Tensor) -> Tensor:
    """Absolute error of the region's light and color, averaged over cells of SOFT_CELL pixels.

    It measures side light and beards; misaligned details do not count.
    """
    inside = region[:, None].float()
    share = F.avg_pool2d(inside, SOFT_CELL)
    difference = F.avg_pool2d((drawn - clean) * inside, SOFT_CELL).abs().mean(1, keepdim=True)
    return difference.sum() / share.sum().clamp_min(1)


def region_error(drawn: Tensor, clean: Tensor, labels: Tensor) -> Tensor:
    """Mean over the regions of all images of the absolute error, and of that of the mean color.

    Args:
        drawn: Generated images, (B, 3, S, S), with gradient.
        clean: True images, same shape.
        labels: Regions that the images were generated with, (B, S, S).
    """
    masks = F.one_hot(labels, NUM_CLASSES).permute(0, 3, 1, 2).to(drawn.dtype)
    areas = masks.sum((2, 3))  # (B, regions)
    difference = drawn - clean
    errors = torch.einsum("byx,bryx->br", difference.abs().mean(1), masks) / areas.clamp_min(1)
    shifts = torch.einsum("bcyx,bryx->brc", difference, masks) / areas.clamp_min(1)[..., None]
    counted = areas >= SMALLEST_REGION
    return ((errors + shifts.abs().mean(2)) * counted).sum() / counted.sum()


def perceptual(drawn: Tensor, clean: Tensor, parser: BiSeNet) -> Tensor:
    """Distance of the parser trunk's normalized features at strides 8 and 16."""
    with torch.no_grad():
        want = parser.cp.resnet(standardized(clean))
    got = parser.cp.resnet(standardized(drawn))
    return _distance(got.f8, want.f8) + _distance(got.f16, want.f16)


def _distance(got: Tensor, want: Tensor) -> Tensor:
    got, want = (F.normalize(t.float(), dim=1) for t in (got, want))
    return (got - want).square().sum(1).mean()


@torch.no_grad()
def measure(net: E4SNet, parser: BiSeNet, pool: Pool, count: int = 60) -> dict[str, float]:
    """Measure how close references are to the clean face, on held-out faces.

    Returns:
        PSNR inside the visible and the hidden part of the region; ``own_error``: on unoccluded
        faces with beards and side light, the mean absolute error of light and color in the region;
        ``own_spread``: the same error of the region's mean color, for comparison.
    """
    errors = {"psnr_visible": [0.0, 0], "psnr_hidden": [0.0, 0]}
    kept: list[float] = []
    plain: list[float] = []
    for start in range(0, min(count, pool.held_out), 10):
        batch = pool.take(list(range(start, min(start + 10, pool.held_out))))
        square = (generate(net, parser, batch.raw)[0] - batch.clean).square().mean(1)
        for key, mask in (("psnr_visible", ~batch.occluder), ("psnr_hidden", batch.occluder)):
            inside = batch.region & mask
            errors[key][0] += float(square[inside].sum())
            errors[key][1] += int(inside.sum())
        torch.manual_seed(start)
        unoccluded = photographed(bearded(batch, share=0.7))
        drawn = generate(net, parser, unoccluded.clean)[0]
        kept.append(float(soft_error(drawn, unoccluded.clean, unoccluded.region)))
        inside = unoccluded.region[:, None].float()
        color_sum = (unoccluded.clean * inside).sum((2, 3), keepdim=True)
        mean = color_sum / inside.sum((2, 3), keepdim=True)
        plain.append(float(soft_error(mean.expand_as(drawn), unoccluded.clean, unoccluded.region)))
    psnr = {k: float(-10 * np.log10(total / max(n, 1))) for k, (total, n) in errors.items()}
    return {**psnr, "own_error": float(np.mean(kept)), "own_spread": float(np.mean(plain))}


@torch.no_grad()
def generate(net: E4SNet, parser: BiSeNet, raw: Tensor) -> tuple[Tensor, Tensor]:
    """Generate references (B, 3, S, S) in [0, 1] and predicted labels of faces."""
    labels = predict(parser, raw)
    return invert(net.eval(), raw, labels).float().clamp(0, 1), labels

"""Recipe of the mini generator: E4S with small widths, trained to remove what hides a face.

Input: occluded (or clean) face under *predicted* labels; target: the clean face. So the region
codes learn to leave the occluder out. Labels used: the clean face, and its classes to weigh errors
inside the region; the net itself sees the parser's labels only.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.rg.nets.e4s import E4SNet, E4SSize
from s3pot.rg.parser import standardize
from s3pot_mini.critic import Critic, adversarial
from s3pot_mini.loop import Losses, Schedule, export, fit
from s3pot_mini.parser import predict
from s3pot_mini.pool import SHARD, Batch, Pool, save_array

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
SCHEDULE = Schedule(steps=1400, batch=8, lr=6e-3, weight_decay=0.0)


def invert(net: E4SNet, images: Tensor, labels: Tensor) -> Tensor:
    """(B, 3, S, S) in [0, 1] and labels to the clean face, nominally in [0, 1], not clamped."""
    return net(images * 2 - 1, labels) / 2 + 0.5


def train(folder: Path, target: Path, device: torch.device, steps: int, parser: BiSeNet) -> None:
    """Train on the pool in ``folder`` and export to ``target``."""
    torch.manual_seed(SCHEDULE.seed)
    pool = Pool(folder)
    net = E4SNet(SIZE).to(device)
    critic = Critic().to(device)
    parser = parser.to(device).eval().requires_grad_(False)

    def losses(rng: np.random.Generator, step: int) -> Losses:
        batch = pool.draw(rng, SCHEDULE.batch, device)
        occluded = torch.from_numpy(rng.random(SCHEDULE.batch) < 0.75).to(device)
        images = torch.where(occluded[:, None, None, None], batch.raw, batch.clean)
        drawn = invert(net.train(), images, predict(parser, images)).float()
        terms = reconstruction(drawn, batch.clean, batch.region, parser)
        fool, tell = adversarial(critic, drawn, batch.clean, terms["pixels"])
        return {**terms, "total": terms["total"] + fool + tell, "critic": tell}

    def validate(step: int) -> dict[str, float]:
        return measure(net, parser, pool, device)

    schedule = SCHEDULE.until(steps)
    both = nn.ModuleDict({"net": net, "critic": critic})
    fit("generator", both, losses, schedule, folder, device, validate)
    state = {**net.state_dict(), "latent_avg": net.latent_avg}
    export("generator", {**dataclasses.asdict(SIZE), "input": IMAGE}, state, target)


def reconstruction(drawn: Tensor, clean: Tensor, region: Tensor, parser: BiSeNet) -> Losses:
    """Absolute error (the region counts three times), gradients, and the parser's own features."""
    weight = 1 + 2 * region[:, None]
    pixels = ((drawn - clean).abs() * weight).mean()
    rows, columns = ((drawn.diff(dim=d) - clean.diff(dim=d)).abs().mean() for d in (2, 3))
    edges = rows + columns
    features = perceptual(drawn, clean, parser)
    return {
        "total": pixels + edges + 0.2 * features,
        "pixels": pixels,
        "edges": edges,
        "features": features,
    }


def perceptual(drawn: Tensor, clean: Tensor, parser: BiSeNet) -> Tensor:
    """Distance of the parser trunk's unit features at strides 8 and 16."""
    with torch.no_grad():
        want = parser.cp.resnet(standardize(clean))
    got = parser.cp.resnet(standardize(drawn))
    return _distance(got.f8, want.f8) + _distance(got.f16, want.f16)


def _distance(got: Tensor, want: Tensor) -> Tensor:
    got, want = (F.normalize(t.float(), dim=1) for t in (got, want))
    return (got - want).square().sum(1).mean()


@torch.no_grad()
def measure(
    net: E4SNet, parser: BiSeNet, pool: Pool, device: torch.device, count: int = 60
) -> dict[str, float]:
    """PSNR against the clean face, inside the visible and inside the hidden part of the region."""
    errors = {"psnr_visible": [0.0, 0], "psnr_hidden": [0.0, 0]}
    for start in range(0, min(count, pool.held_back), 10):
        batch = pool.take(np.arange(start, start + 10), device)
        square = (generate(net, parser, batch.raw)[0] - batch.clean).square().mean(1)
        for key, mask in (("psnr_visible", ~batch.occluder), ("psnr_hidden", batch.occluder)):
            inside = batch.region & mask
            errors[key][0] += float(square[inside].sum())
            errors[key][1] += int(inside.sum())
    return {k: float(-10 * np.log10(total / max(count, 1))) for k, (total, count) in errors.items()}


@torch.no_grad()
def generate(net: E4SNet, parser: BiSeNet, raw: Tensor) -> tuple[Tensor, Tensor]:
    """Reference (B, 3, S, S) in [0, 1] and predicted labels of occluded faces."""
    labels = predict(parser, raw)
    return invert(net.eval(), raw, labels).float().clamp(0, 1), labels


def write_pairs(
    folder: Path, net: E4SNet, parser: BiSeNet, shards: int, device: torch.device
) -> None:
    """Generated references for the first shards of the pool; finished shards are kept."""
    pool = Pool(folder, holdout=0)
    for shard in tqdm(range(min(shards, pool.total // SHARD)), desc="reference shards"):
        path = folder / f"pairs_{shard:04d}.npy"
        if not path.exists():
            batches = _batches(pool, shard, device)
            save_array(path, np.concatenate([_pair_planes(net, parser, b) for b in batches]))


def _batches(pool: Pool, shard: int, device: torch.device) -> list[Batch]:
    first = shard * SHARD
    return [pool.take(np.arange(i, i + 10), device) for i in range(first, first + SHARD, 10)]


def _pair_planes(net: E4SNet, parser: BiSeNet, batch: Batch) -> np.ndarray:
    reference, labels = generate(net, parser, batch.raw)
    planes = torch.cat(((reference * 255).to(torch.uint8), labels[:, None].to(torch.uint8)), dim=1)
    return planes.permute(0, 2, 3, 1).cpu().numpy()

"""Training on tensors: a step and a later epoch, compared with the authors' plain loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch.optim import AdamW
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import plain
from benchmarks.clock import Row
from benchmarks.models import new_prompts, new_sam
from benchmarks.stages import Bench
from s3pot.adapter import PromptAdapter
from s3pot.config import Config
from s3pot.distributed import Process
from s3pot.grid import Grid
from s3pot.losses import point_losses
from s3pot.pipeline import OcclusionSegmenter, batch_prompts
from s3pot.sam.frozen import FrozenSam
from s3pot.training.trainer import AdapterTrainer
from s3pot.types import SamInputs


def adapter_step(bench: Bench) -> None:
    """Measure one optimizer step: forward, losses at the points, backward, AdamW."""
    sam = FrozenSam(bench.sam)
    points = bench.sizes.points
    faces = [new_prompts(bench.sam, points - 50 * seed, seed) for seed in range(3)]
    adapter = PromptAdapter(bench.sam.prompt_encoder.embed_dim).to(bench.device)
    optimizer = AdamW(adapter.parameters(), 1e-4)
    segmenter = OcclusionSegmenter(sam)

    def step(count: int) -> None:
        batch = batch_prompts(faces[:count])
        optimizer.zero_grad()
        point_logits = segmenter.predict_point_logits(adapter, batch)
        point_losses(point_logits, batch.point_labels).total.mean().backward()
        optimizer.step()

    for count in (1, 3):
        with FlopCounterMode(display=False) as counter:
            plain.training_step(sam, adapter, optimizer, faces[:count])
        operations = float(counter.get_total_flops())
        note = f"up to {points} points"
        calls: dict[str, Callable[[], object]] = {
            "exact": partial(step, count),
            "plain loop": partial(plain.training_step, sam, adapter, optimizer, faces[:count]),
        }
        for variant, call in calls.items():
            timing = bench.clock.measure(call)
            share = bench.limits.share(operations, timing.seconds, "exact")
            bench.report.add(Row("adapter step", variant, count, timing, share, note))


def later_epoch(bench: Bench) -> None:
    """Measure a later epoch of one batch, for which only our code has kept the frozen results."""
    sam = FrozenSam(new_sam(bench.sizes.name, bench.device))  # faster encoders are rounded ones
    segmenter = OcclusionSegmenter(sam)
    count = 3 if bench.on_gpu or bench.sizes.name == "mini" else 1
    faces = [_new_face(bench, sam.grid, seed) for seed in range(count)]
    adapter = PromptAdapter(sam.sam.prompt_encoder.embed_dim).to(bench.device)
    optimizer = AdamW(adapter.parameters(), 1e-4)
    kept = segmenter.select_prompts(faces)
    trainer = AdapterTrainer(segmenter, adapter, Config(), 2, Process(bench.device))
    order = list(range(count))
    calls: dict[str, Callable[[], object]] = {
        "exact": lambda: trainer.train_epoch(kept.__getitem__, order),
        "plain loop": partial(plain.training_epoch, sam, adapter, optimizer, faces),
    }
    for variant, call in calls.items():
        timing = bench.clock.measure(call)
        note = f"{len(kept[0].points_sam)} points each"
        bench.report.add(Row("epoch after the first", variant, count, timing, note=note))


def _new_face(bench: Bench, grid: Grid, seed: int) -> SamInputs:
    """Use noise as image and reference; the region has as many cells as a face has points."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(3, grid.size, grid.size, generator=generator)
    noise = torch.rand(3, grid.size, grid.size, generator=generator)
    cells = torch.zeros(grid.side * grid.side, dtype=torch.bool)
    first = (len(cells) - bench.sizes.points) // 2
    cells[first : first + bench.sizes.points] = True
    region = cells.view(grid.side, grid.side)
    region = region.repeat_interleave(grid.patch, 0).repeat_interleave(grid.patch, 1)
    return SamInputs(
        name=f"face {seed}",
        image_sam=image.to(bench.device),
        reference_sam=torch.lerp(image, noise, 0.2).to(bench.device),
        region_sam=region.to(bench.device),
    )

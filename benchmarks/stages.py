"""Benchmarks of the pipeline's stages on tensors, each beside the authors' plain loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT, Sam
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import plain
from benchmarks.clock import Clock, Limits, Report, Row, Timing
from benchmarks.models import (
    Sizes,
    class_map,
    new_inverter,
    new_parser,
    new_prompts,
)
from s3pot.adapter import PromptAdapter
from s3pot.fe import enhance
from s3pot.pipeline import OcclusionSegmenter, batch_prompts
from s3pot.ps.greedy import greedy_match_many
from s3pot.ps.select import match_scores
from s3pot.sam.encoder_attention import fuse_image_encoder
from s3pot.sam.frozen import FrozenSam

WAYS = ("bias", "channels")
OFFICIAL_SIDE = 64  # side of the published models' token grid
OFFICIAL_POINTS = (984, 1500)  # numbers of points of a face in that grid


@dataclass
class Bench:
    """The objects that every group of rows uses.

    Attributes:
        sizes: Of the models and pictures.
        clock: Times calls.
        limits: Of the device.
        report: Where rows go.
        operations: Of the image encoder for one picture.
        sam: Random weights; its image encoder becomes faster (and stays so) from group to group.
        ways: Fastest ways to say relative positions, for windows and for whole images.
    """

    sizes: Sizes
    clock: Clock
    limits: Limits
    report: Report
    operations: float
    sam: Sam
    ways: tuple[str, str] = ("auto", "auto")

    @property
    def device(self) -> torch.device:
        """The device of the benchmark."""
        return self.clock.device

    @property
    def on_gpu(self) -> bool:
        """Whether batches pay off."""
        return self.device.type == "cuda"


def encode_exact(bench: Bench) -> None:
    """Measure the image encoder in float32: pip's, and ours with both relative-position ways."""
    batch = 4 if bench.on_gpu else 1
    if isinstance(bench.sam.image_encoder, ImageEncoderViT):
        images = _images(bench, batch)
        with torch.no_grad():
            timing = bench.clock.measure(lambda: bench.sam.image_encoder(images))
        share = bench.limits.share(batch * bench.operations, timing.seconds, "exact")
        bench.report.add(Row("encode", "pip's segment-anything", batch, timing, share))
    sam = FrozenSam(bench.sam, speed="exact")
    for way in WAYS if bench.on_gpu else ("auto",):
        _encode(bench, sam, batch, (way, way))


def encode_fast(bench: Bench) -> None:
    """Measure the image encoder in bfloat16: all ways, then the best one at other batch sizes."""
    sam = FrozenSam(bench.sam, speed="fast")
    if not isinstance(bench.sam.image_encoder, ImageEncoderViT):
        _encode(bench, sam, 1, ("auto", "auto"))
        return
    batch = 8 if bench.on_gpu else 1
    pairs = [(window, whole) for window in WAYS for whole in WAYS]
    seconds = {ways: _encode(bench, sam, batch, ways).seconds for ways in pairs}
    bench.ways = min(pairs, key=lambda ways: seconds[ways])
    for other in (1, 16, 32) if bench.on_gpu else ():
        _encode(bench, sam, other, bench.ways)


def encode_max(bench: Bench) -> None:
    """Measure the compiled image encoder; the compile time is in the note."""
    sam = FrozenSam(bench.sam, speed="max")
    batch = 16 if bench.on_gpu else 1
    fuse_image_encoder(bench.sam.image_encoder, *bench.ways)
    images = _images(bench, batch)
    start = bench.clock.now()
    sam.encode(images)
    compiling = f"compiled in {bench.clock.now() - start:.0f} s"
    _encode(bench, sam, batch, bench.ways, note=compiling)


def _encode(
    bench: Bench,
    sam: FrozenSam,
    batch: int,
    ways: tuple[str, str],
    note: str = "",
) -> Timing:
    fuse_image_encoder(bench.sam.image_encoder, *ways)
    images = _images(bench, batch)
    timing = bench.clock.measure(lambda: sam.encode(images), 1.0, 10)
    share = bench.limits.share(batch * bench.operations, timing.seconds, sam.speed)
    vit = isinstance(bench.sam.image_encoder, ImageEncoderViT)
    variant = f"{sam.speed}: windows {ways[0]}, whole {ways[1]}" if vit else sam.speed
    bench.report.add(Row("encode", variant, batch, timing, share, note))
    return timing


def _images(bench: Bench, batch: int) -> Tensor:
    size = bench.sam.image_encoder.img_size
    return torch.rand(batch, 3, size, size, device=bench.device)


def match(bench: Bench) -> None:
    """Measure greedy matching of SAM-like tokens, and of scores with a maximum of conflicts."""
    side = bench.sam.prompt_encoder.image_embedding_size[0]
    likely = [_token_scores(side, bench.sizes.points, seed).to(bench.device) for seed in range(8)]
    for matrices in (likely[:1], likely):
        timing = bench.clock.measure(partial(greedy_match_many, matrices))
        note = f"{bench.sizes.points} x {side * side}"
        bench.report.add(Row("match", "tokens", len(matrices), timing, note=note))
    _match_by_loop(bench, "tokens", likely[0])
    if bench.sizes.name == "mini":
        for points in OFFICIAL_POINTS:
            _match_official_size(bench, points)

    step = torch.arange(bench.sizes.points, dtype=torch.float64)
    chain = torch.full((len(step), len(step)), -1e6, dtype=torch.float64)
    chain.diagonal().copy_(-2 * step)
    chain.diagonal(-1).copy_(1 - 2 * step[1:])
    awkward = {
        "all equal": torch.zeros_like(chain),
        "all rows want one column": -(step * len(step) + step[:, None]),
        "a chain of rivals": chain,
    }
    for name, scores in awkward.items():
        scores = scores.float().to(bench.device)
        timing = bench.clock.measure(partial(greedy_match_many, [scores]), 0.5, 5)
        note = f"{len(step)} x {len(step)}"
        bench.report.add(Row("match", name, 1, timing, note=note))
        if not bench.on_gpu:
            _match_by_loop(bench, name, scores)


def _match_official_size(bench: Bench, points: int) -> None:
    """Measure a matrix as large as those of the published models."""
    scores = _token_scores(OFFICIAL_SIDE, points, 0).to(bench.device)
    timing = bench.clock.measure(partial(greedy_match_many, [scores]))
    note = f"{points} x {OFFICIAL_SIDE**2}"
    bench.report.add(Row("match", "tokens", 1, timing, note=note))
    _match_by_loop(bench, "tokens", scores)


def _match_by_loop(bench: Bench, name: str, scores: Tensor) -> None:
    timing = bench.clock.measure(partial(plain.sorted_loop, scores), 0.5, 3)
    want, got = plain.sorted_loop(scores), greedy_match_many([scores])[0]
    same = all(torch.equal(wanted, pairs.cpu()) for wanted, pairs in zip(want, got))
    size = " x ".join(str(side) for side in scores.shape)
    note = f"{size}; same pairs: {'yes' if same else 'NO'}"
    bench.report.add(Row("match", f"{name}, plain loop", 1, timing, note=note))


def _token_scores(side: int, points: int, seed: int) -> Tensor:
    """Compute cosines of noisy tokens of two images, a fifth of which differ."""
    generator = torch.Generator().manual_seed(seed)
    region = torch.zeros(side * side, dtype=torch.bool)
    region[torch.randperm(side * side, generator=generator)[:points]] = True

    def tokens() -> Tensor:
        return torch.randn(256, side, side, generator=generator)

    reference = tokens()
    hidden = torch.rand(side, side, generator=generator) < 0.2
    image = torch.where(hidden, tokens(), reference + 0.5 * tokens())
    return match_scores(image, reference, region.view(side, side))


def invert(bench: Bench) -> None:
    """Measure E4S: references of drawn class maps."""
    side = 256 if bench.sizes.name == "mini" else 512
    labels = torch.from_numpy(class_map(side))[None].to(bench.device)
    image = torch.rand(1, 3, bench.sizes.image, bench.sizes.image, device=bench.device)
    for half in (False, True):
        inverter = new_inverter(bench.sizes.name, bench.device, half)
        for batch in (1, 4) if bench.on_gpu else (1,):
            images = image.expand(batch, -1, -1, -1)
            maps = labels.expand(batch, -1, -1)
            timing = bench.clock.measure(lambda i=images, m=maps: inverter.invert(i, m))  # type: ignore[misc]  # noqa: B023
            variant = "bfloat16" if half else "float32"
            bench.report.add(Row("invert", f"tiles, {variant}", batch, timing))
        if not half:
            with plain.every_region_everywhere(inverter.net):
                with FlopCounterMode(display=False) as counter:
                    inverter.invert(image, labels)
                timing = bench.clock.measure(lambda: inverter.invert(image, labels))  # noqa: B023
            share = bench.limits.share(counter.get_total_flops(), timing.seconds, "exact")
            bench.report.add(Row("invert", "plain loop over regions", 1, timing, share))


def parse(bench: Bench) -> None:
    """Measure the face parser, including preprocessing and postprocessing."""
    parser = new_parser(bench.sizes.name, bench.device)
    for batch in (1, 8) if bench.on_gpu else (1,):
        side = bench.sizes.image
        images = torch.rand(batch, 3, side, side, device=bench.device)
        timing = bench.clock.measure(lambda images=images: parser.parse(images))  # type: ignore[misc]
        bench.report.add(Row("parse", "float32", batch, timing))


def enhance_tokens(bench: Bench) -> None:
    """Measure FE on one pair."""
    sam = FrozenSam(bench.sam)
    raw, reference = (new_prompts(bench.sam, 10, seed).image_embedding.float() for seed in range(2))
    region = torch.ones(raw.shape[1:], dtype=torch.bool, device=bench.device)
    timing = bench.clock.measure(lambda: enhance(sam, raw, reference, region))
    bench.report.add(Row("FE", "one pair", 1, timing))


def decode(bench: Bench) -> None:
    """Measure adapter and mask prediction, without gradients."""
    sam = FrozenSam(bench.sam)
    segmenter = OcclusionSegmenter(sam)
    faces = [new_prompts(bench.sam, bench.sizes.points - 50 * seed, seed) for seed in range(4)]
    adapter = PromptAdapter(bench.sam.prompt_encoder.embed_dim).to(bench.device).eval()
    model = bench.sam

    def by_sam() -> None:
        prompts = faces[0]
        points = (prompts.points_sam[None], prompts.point_labels[None].float())
        tokens, dense = model.prompt_encoder(points=points, boxes=None, masks=None)
        low, _ = model.mask_decoder(
            prompts.image_embedding[None].float(),
            model.prompt_encoder.get_dense_pe(),
            adapter(tokens)[0],
            dense,
            False,
        )
        F.interpolate(low, (sam.grid.size,) * 2, mode="bilinear", align_corners=True)

    def low_res_logits() -> None:
        prompts = batch_prompts(faces)
        segmenter.decode(prompts, segmenter.refine_prompts(adapter, prompts)[0])

    calls: list[tuple[str, int, Callable[[], object]]] = [
        ("one by one", 1, lambda: segmenter.predict_visible_face(adapter, faces[0])),
        ("one batch, low resolution", 4, low_res_logits),
        ("pip's segment-anything", 1, by_sam),
    ]
    with torch.no_grad():
        for variant, batch, call in calls:
            timing = bench.clock.measure(call)
            note = f"up to {bench.sizes.points} points"
            bench.report.add(Row("decode", variant, batch, timing, note=note))

"""Measure E4S's regional layers on tiles against the plain loop over all regions, side by side.

    python -m benchmarks.e4s_regions                                  # published size, drawn face
    python -m benchmarks.e4s_regions --size mini --batch 8 --repeats 9
    python -m benchmarks.e4s_regions --labels some_parsing_mask.npy --device cuda

Weights are random: speed does not depend on them. Both ways run in one process by turns, on the
same inputs; medians are shown. "masked" sums the layers that read a per-region code and, for
the tiles also the making of the plan. "picture" is the largest difference of the two pictures as a
share of the largest value.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from s3pot.rg.nets.e4s import E4SNet, E4SSize
from s3pot.rg.nets.regions import RegionPlan
from s3pot.rg.nets.stylegan2 import ModulatedConv, ModulatedToRGB

MINI = E4SSize(
    style_dim=64,
    channels=(64, 64, 64, 64, 48, 24, 16),
    masked_codes=14,
    encoder_widths=(16, 24, 32, 48, 64),
    encoder_units=(1, 1, 2, 1),
    mlp_hidden=128,
    mapping_layers=0,
)
SIZES = {"official": E4SSize(), "mini": MINI}
# label, centre x, y, radius x, y in 1/512 of the side; later ones cover earlier ones
ELLIPSES = (
    (4, 256, 220, 170, 200),
    (8, 256, 520, 110, 130),
    (7, 134, 285, 22, 40),
    (7, 378, 285, 22, 40),
    (6, 256, 280, 122, 160),
    (2, 204, 218, 34, 9),
    (2, 308, 218, 34, 9),
    (3, 204, 248, 24, 12),
    (3, 308, 248, 24, 12),
    (5, 256, 302, 24, 46),
    (1, 256, 376, 48, 22),
    (9, 256, 376, 32, 8),
    (11, 144, 336, 6, 6),
    (11, 368, 336, 6, 6),
)


def drawn_face(size: int) -> np.ndarray:
    """A face of ellipses: uint8 (size, size), 11 of the 12 classes."""
    y, x = np.mgrid[:size, :size] * (512 / size)
    labels = np.zeros((size, size), dtype=np.uint8)
    for label, cx, cy, rx, ry in ELLIPSES:
        labels[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1] = label
    return labels


def with_specks(labels: np.ndarray) -> np.ndarray:
    """Put one block of every class that is there into two opposite corners, side by side."""
    labels, step = labels.copy(), max(1, labels.shape[0] // 32)
    for i, label in enumerate(np.unique(labels)):
        labels[:step, i * step : (i + 1) * step] = label
        labels[-step:, -(i + 1) * step : len(labels) - i * step] = label
    return labels


def loop_conv(layer: ModulatedConv, x: Tensor, codes: Tensor, plan: RegionPlan) -> Tensor:
    """Every region on the whole map, times its mask, summed."""
    maps = plan.level(x.shape[-1] * (2 if layer.up else 1)).labels[:, None]
    first, *rest = (layer(x, codes[:, r]) * (maps == r) for r in range(codes.shape[1]))
    return sum(rest, first)


def loop_rgb(
    layer: ModulatedToRGB, x: Tensor, codes: Tensor, plan: RegionPlan | None = None
) -> Tensor:
    """The same for a to-RGB layer."""
    forward = ModulatedToRGB.forward
    if plan is None:
        return forward(layer, x, codes, None)
    maps = plan.level(x.shape[-1]).labels[:, None]
    regions = range(codes.shape[1])
    first, *rest = (forward(layer, x, codes[:, r : r + 1], None) * (maps == r) for r in regions)
    return sum(rest, first)


@contextmanager
def plain_loop(net: E4SNet, wanted: bool) -> Iterator[None]:
    """Swap the tiled layers for the plain loop inside the block."""
    changed: list[tuple[nn.Module, str]] = []
    for module in net.modules() if wanted else ():
        if isinstance(module, ModulatedConv):
            module.regional = partial(loop_conv, module)  # type: ignore[method-assign]
            changed.append((module, "regional"))
        elif isinstance(module, ModulatedToRGB):
            module.forward = partial(loop_rgb, module)  # type: ignore[method-assign]
            changed.append((module, "forward"))
    yield
    for module, name in changed:
        delattr(module, name)


class Stopwatch:
    """Sum of the time spent in some modules."""

    def __init__(self, device: torch.device) -> None:
        """Start at zero, on one device."""
        self.device, self.total, self._start = device, 0.0, 0.0

    def now(self) -> float:
        """Seconds, after all work on the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def watch(self, module: nn.Module) -> None:
        """Count this module."""
        module.register_forward_pre_hook(lambda *_: setattr(self, "_start", self.now()))
        module.register_forward_hook(
            lambda *_: setattr(self, "total", self.total + self.now() - self._start)
        )


def masked_layers(net: E4SNet) -> list[nn.Module]:
    """The layers that read a per-region code."""
    masked = net.size.masked_codes
    convs = [net.G.conv1, *net.G.convs][:masked]
    to_rgbs = [
        layer for i, layer in enumerate([net.G.to_rgb1, *net.G.to_rgbs]) if 2 * i + 1 < masked
    ]
    return [*convs, *to_rgbs]


def measure(
    net: E4SNet, labels: Tensor, watch: Stopwatch, loop: bool, image: Tensor
) -> tuple[Tensor, list[float]]:
    """One forward pass: the picture and the seconds of masked layers, generator and whole."""
    with plain_loop(net, loop), torch.inference_mode():
        start = watch.now()
        codes = net.style_codes(net.style_vectors(image, labels))
        encoded = watch.now()
        if not loop:
            RegionPlan(labels, net.size.regions, net.G.masked_sizes, watch.device)
        plan = watch.now() - encoded
        encoded = watch.now()
        watch.total = 0.0
        picture = net.generate(codes, labels)
        end = watch.now()
    return picture, [watch.total + plan, end - encoded, end - start - plan]


def compare(net: E4SNet, labels: Tensor, watch: Stopwatch, repeats: int) -> str:
    """One table row: medians of loop and tiles and their ratios."""
    image = torch.rand(len(labels), 3, 256, 256, device=watch.device) * 2 - 1
    times: dict[bool, list[list[float]]] = {True: [], False: []}
    pictures = {}
    for repeat in range(repeats + 1):
        for loop in (True, False):
            pictures[loop], seconds = measure(net, labels, watch, loop, image)
            if repeat:  # the first round warms up
                times[loop].append(seconds)
    loop_s, tile_s = ([statistics.median(c) for c in zip(*times[k])] for k in (True, False))
    cells = [f"{a:.3f} / {b:.3f} = {a / b:.1f}x" for a, b in zip(loop_s, tile_s)]
    error = (pictures[True] - pictures[False]).abs().max() / pictures[True].abs().max()
    return " | ".join([*cells, f"{float(error):.1e}"])


def main(argv: list[str] | None = None) -> int:
    """Print the table (Markdown)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", choices=tuple(SIZES), default="official")
    parser.add_argument("--labels", type=Path, help="12-class map (.npy) instead of the drawn face")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    watch = Stopwatch(torch.device(options.device))
    net = E4SNet(SIZES[options.size]).eval().to(watch.device)
    for layer in masked_layers(net):
        watch.watch(layer)
    side = 512 if options.size == "official" else 256
    face = np.load(options.labels) if options.labels else drawn_face(side)
    sys.stdout.write("| labels | masked, loop / tiles, s | generator | whole | picture |\n")
    sys.stdout.write("|---|---|---|---|---|\n")
    for name, labels in (("face", face), ("face and specks", with_specks(face))):
        batch = torch.from_numpy(labels.astype(np.int64)).expand(options.batch, -1, -1)
        sys.stdout.write(f"| {name} | {compare(net, batch, watch, options.repeats)} |\n")
        sys.stdout.flush()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sys.stdout.write(f"peak memory of the process, both ways and the weights: {peak:.1f} GiB\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

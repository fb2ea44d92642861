"""Region tiles cover the map exactly, and regional layers equal the plain loop over regions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.rg.nets.regions import Cut, Paste, RegionPlan, check_labels, cover, subsample
from s3pot.rg.nets.stylegan2 import DEMODULATION_EPS, ModulatedConv, ModulatedToRGB

REGIONS = 5


def blobs(seed: int, batch: int, size: int, specks: int) -> Tensor:
    """Label maps of random rectangles (region 3 never occurs) with scattered stray pixels."""
    rng = np.random.default_rng(seed)
    maps = np.zeros((batch, size, size), dtype=np.int64)
    for sample in maps:
        for region in (1, 2, 4):
            (y0, x0), (h, w) = rng.integers(0, size, 2), rng.integers(1, size // 2, 2)
            sample[y0 : y0 + h, x0 : x0 + w] = region
        for _ in range(specks):
            sample[tuple(rng.integers(0, size, 2))] = rng.choice([0, 1, 2, 4])
    return torch.from_numpy(maps)


def plan_for(labels: Tensor, *sizes: int) -> RegionPlan:
    return RegionPlan(labels, REGIONS, sizes, torch.device("cpu"))


def plain_conv(layer: ModulatedConv, x: Tensor, code: Tensor) -> Tensor:
    """The modulated convolution as the paper writes it: one weight per sample, one at a time."""
    out = []
    for sample, style in zip(x, layer.modulation(code)):
        weight = layer.scale * layer.weight[0] * style[None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        if layer.up:
            big = F.conv_transpose2d(sample[None], weight.transpose(0, 1), stride=2)
            out.append(layer.blur(F.pad(big, (1, 1, 1, 1))))
        else:
            out.append(F.conv2d(sample[None], weight, padding=1))
    return torch.cat(out)


def plain_regional(layer: ModulatedConv, x: Tensor, codes: Tensor, labels: Tensor) -> Tensor:
    """The slow, obvious way: every region on the whole map, times its mask, summed."""
    size = x.shape[-1] * (2 if layer.up else 1)
    small = subsample(labels, size)[:, None]
    return sum(plain_conv(layer, x, codes[:, r]) * (small == r) for r in range(REGIONS))


@pytest.mark.parametrize("specks", [0, 12])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("up", [False, True])
def test_regional_conv_equals_plain_loop(up: bool, batch: int, specks: int) -> None:
    torch.manual_seed(specks + batch)
    layer = ModulatedConv(6, 7, 8, up)
    labels = blobs(batch + specks, batch, 64, specks)
    x, codes = torch.randn(batch, 6, 32, 32), torch.randn(batch, REGIONS, 8)
    x.requires_grad_()
    codes.requires_grad_()
    inputs = (x, codes, layer.weight, layer.modulation.weight)
    fast = layer.regional(x, codes, plan_for(labels, 32, 64))
    slow = plain_regional(layer, x, codes, labels)
    assert (fast - slow).abs().max() <= 1e-5 * slow.abs().max()
    probe = torch.randn_like(slow)
    for got, want in zip(
        torch.autograd.grad(fast, inputs, probe), torch.autograd.grad(slow, inputs, probe)
    ):
        assert (got - want).abs().max() <= 1e-5 * want.abs().max()


@pytest.mark.parametrize("up", [False, True])
def test_every_tile_position_is_exact(up: bool) -> None:
    """A small region moves over the map: odd and even starts and ends, and all borders."""
    torch.manual_seed(0)
    layer = ModulatedConv(3, 2, 4, up)
    size = 12 if up else 6
    x, codes = torch.randn(1, 3, 6, 6), torch.randn(1, REGIONS, 4)
    with torch.no_grad():
        for y in range(0, size - 1):
            for width in (1, 2, 5):
                labels = torch.zeros(1, size, size, dtype=torch.int64)
                labels[:, y : y + 2, size - y - width : size - y] = 1
                fast = layer.regional(x, codes, plan_for(labels, size))
                slow = plain_regional(layer, x, codes, labels)
                assert (fast - slow).abs().max() <= 1e-5 * slow.abs().max()


def test_demodulation_is_summed_in_float32_even_under_autocast() -> None:
    torch.manual_seed(0)
    layer = ModulatedConv(64, 8, 16, up=False)
    with torch.autocast("cpu", torch.bfloat16):
        style, demodulation = layer.styles(torch.randn(1, 1, 16))
    power = (layer.scale * layer.weight[0]).square().sum(dim=(2, 3))
    energy = style.float().square() @ power.T
    assert style.dtype == torch.bfloat16
    assert torch.equal(demodulation, torch.rsqrt(energy + DEMODULATION_EPS).bfloat16())


def test_one_code_everywhere() -> None:
    torch.manual_seed(0)
    for up in (False, True):
        layer = ModulatedConv(3, 2, 4, up)
        x, code = torch.randn(2, 3, 9, 9), torch.randn(2, 4)
        torch.testing.assert_close(layer(x, code), plain_conv(layer, x, code))


def test_regional_to_rgb_equals_plain_loop() -> None:
    torch.manual_seed(0)
    layer = ModulatedToRGB(6, 8)
    labels, x, codes = blobs(1, 2, 16, 9), torch.randn(2, 6, 16, 16), torch.randn(2, REGIONS, 8)
    slow = torch.zeros(2, 3, 16, 16)
    for region in range(REGIONS):
        style = layer.modulation(codes[:, region])[:, :, None, None]
        rgb = F.conv2d(x * style, layer.weight[0] * layer.scale)
        slow += rgb * (labels == region)[:, None]
    torch.testing.assert_close(layer(x, codes, plan_for(labels, 16)), slow)


@pytest.mark.parametrize("seed", range(20))
def test_cover_is_disjoint_and_complete(seed: int) -> None:
    rng = np.random.default_rng(seed)
    region = rng.random((int(rng.integers(1, 60)), int(rng.integers(1, 60)))) < rng.choice(
        [0.0, 0.002, 0.02, 0.3, 1.0]
    )
    hits = np.zeros(region.shape, dtype=int)
    for box in cover(region):
        hits[box.slices] += 1
    assert hits.max(initial=0) <= 1
    assert (hits[region] == 1).all()
    assert bool(cover(region)) == bool(region.any())


def test_specks_do_not_blow_a_region_up() -> None:
    region = np.zeros((200, 200), dtype=bool)
    region[20:60, 30:80] = True
    region[199, 199] = region[0, 199] = True
    boxes = cover(region)
    assert sorted((b.y0, b.y1, b.x0, b.x1) for b in boxes) == [
        (0, 1, 199, 200),
        (20, 60, 30, 80),
        (199, 200, 199, 200),
    ]


def test_cut_and_paste_are_adjoint() -> None:
    labels = blobs(3, 2, 24, 10)
    level = plan_for(labels, 24).level(24)
    x = torch.randn(2, 3, 24, 24, dtype=torch.float64, requires_grad=True)
    pieces = Cut.apply(x, tuple(tile.box for tile in level.tiles))
    out = Paste.apply(level, *pieces)
    assert torch.equal(out, x)
    (grad,) = torch.autograd.grad(out.square().sum(), x)
    torch.testing.assert_close(grad, 2 * x)


def test_subsample_takes_floor() -> None:
    row = torch.arange(512)
    maps = row[None, :, None] * 1000 + row[None, None, :]
    assert torch.equal(subsample(maps, 16), maps[:, ::32, ::32])
    assert torch.equal(
        subsample(maps[:, :4, :4], 8),
        maps[:, :4, :4].repeat_interleave(2, 1).repeat_interleave(2, 2),
    )


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (torch.zeros(1, 4, 4), "float32"),
        (torch.zeros(4, 4, dtype=torch.int64), "label maps"),
        (torch.zeros(1, 4, 5, dtype=torch.int64), "label maps"),
        (torch.full((1, 4, 4), 12), "0 to 4"),
        (torch.full((1, 4, 4), -1), "0 to 4"),
    ],
)
def test_bad_labels(labels: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_labels(labels, REGIONS)

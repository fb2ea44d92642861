"""The regional encoder."""

from __future__ import annotations

import torch
from torch import nn

from s3pot.rg.nets.encoder import IRSEUnit, RegionEncoder, SqueezeExcitation, region_means


def test_region_means_equal_a_loop() -> None:
    torch.manual_seed(0)
    features, labels = torch.randn(2, 6, 8, 8), torch.randint(0, 4, (2, 8, 8))
    labels[1][labels[1] == 2] = 3
    got = region_means(features, labels, 5)
    assert got.shape == (2, 5, 6)
    for sample in range(2):
        for region in range(5):
            inside = features[sample][:, labels[sample] == region]
            want = inside.mean(1) if inside.numel() else torch.zeros(6)
            torch.testing.assert_close(got[sample, region], want)


def test_region_means_are_summed_in_float32_even_under_autocast() -> None:
    torch.manual_seed(0)
    features, labels = torch.rand(1, 6, 32, 32), torch.zeros(1, 32, 32, dtype=torch.int64)
    with torch.autocast("cpu", torch.bfloat16):
        got = region_means(features, labels, 1)
    assert torch.equal(got, region_means(features, labels, 1))


def test_gate_of_a_normalized_map_is_one_half() -> None:
    torch.manual_seed(0)
    x = nn.InstanceNorm2d(32)(torch.randn(2, 32, 8, 8))
    torch.testing.assert_close(SqueezeExcitation(32)(x), x / 2, rtol=1e-4, atol=1e-5)


def test_gate_follows_the_global_mean() -> None:
    gate = SqueezeExcitation(16)
    with torch.no_grad():
        gate.fc1.weight.fill_(1.0)
        gate.fc2.weight.fill_(0.5)
    x = torch.rand(1, 16, 4, 4)
    pooled = x.mean((2, 3)).sum()
    torch.testing.assert_close(gate(x), x * torch.sigmoid(0.5 * pooled))


def test_shortcut_is_subsampling_where_the_width_stays() -> None:
    unit = IRSEUnit(8, 8, 2)
    nn.init.zeros_(unit.res_layer[3].weight)
    x = torch.randn(1, 8, 6, 6)
    torch.testing.assert_close(unit(x), x[..., ::2, ::2])


def test_taps_and_sizes() -> None:
    encoder = RegionEncoder((4, 4, 6, 8, 10), (1, 2, 1, 2), regions=3, size=64)
    assert encoder.taps == (2, 3, 5)
    labels = torch.zeros(2, 128, 128, dtype=torch.uint8)
    labels[:, 40:60, 40:60] = 1
    labels[:, 0, 1] = 2  # missed by all sampling grids of the encoder
    vectors = encoder(torch.randn(2, 3, 96, 96), labels)
    assert vectors.shape == (2, 3, 24)
    assert (vectors[:, 2] == 0).all() and (vectors[:, :2].abs().sum(2) > 0).all()

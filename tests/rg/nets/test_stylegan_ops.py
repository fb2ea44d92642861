"""The blocks against their definitions."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from s3pot.rg.nets.stylegan_ops import Blur, EqualLinear, NoiseInjection, PixelNorm


def test_upsample_is_zero_stuffing_and_filter() -> None:
    torch.manual_seed(0)
    blur, x = Blur(), torch.randn(2, 3, 5, 7)
    stuffed = torch.zeros(2, 3, 10, 14)
    stuffed[..., ::2, ::2] = x
    kernel = blur.kernel.expand(3, 1, 4, 4)
    want = F.conv2d(F.pad(stuffed, (2, 1, 2, 1)), kernel, groups=3)
    torch.testing.assert_close(blur.upsample(x), want)


def test_blur_has_gain_4() -> None:
    assert math.isclose(float(Blur().kernel.sum()), 4.0)
    torch.testing.assert_close(Blur()(torch.ones(1, 2, 6, 6)), torch.full((1, 2, 3, 3), 4.0))


def test_equal_linear_scales_at_run_time() -> None:
    torch.manual_seed(0)
    layer = EqualLinear(9, 4, bias=2.0, learning_rate=0.01, activate=True)
    x = torch.randn(5, 9)
    plain = x @ (layer.weight * 0.01 / 3.0).T + 2.0 * 0.01
    want = torch.where(plain > 0, plain, 0.2 * plain) * math.sqrt(2)
    torch.testing.assert_close(layer(x), want)
    assert 50 < layer.weight.std() < 200


def test_pixel_norm() -> None:
    x = PixelNorm()(torch.randn(4, 64))
    torch.testing.assert_close(x.square().mean(1), torch.ones(4))


def test_noise_is_the_same_for_all_channels() -> None:
    layer, noise = NoiseInjection(), torch.randn(1, 1, 4, 4)
    with torch.no_grad():
        layer.weight.fill_(0.5)
    added = layer(torch.ones(2, 3, 4, 4), noise) - 1
    torch.testing.assert_close(added, (0.5 * noise).expand(2, 3, 4, 4))

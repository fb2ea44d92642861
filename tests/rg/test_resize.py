"""The resize filters against slow, obvious versions of themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from s3pot.rg.resize import bicubic_reduce, cubic_weights, pil_bilinear


def test_halving_equals_a_strided_convolution() -> None:
    """E4S's filter as its text says it: 8 taps at (i - 3.5) / 2, reflect padding of 3, stride 2."""
    distance = ((torch.arange(8, dtype=torch.float64) - 3.5) / 2).abs()
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    taps = torch.where(distance <= 1, near, far)
    taps = taps / taps.sum()
    torch.manual_seed(0)
    image = torch.rand(2, 3, 40, 40, dtype=torch.float64)
    padded = F.pad(image, (3, 3, 3, 3), mode="reflect").flatten(0, 1)[:, None]
    slow = F.conv2d(F.conv2d(padded, taps.view(1, 1, 8, 1), stride=(2, 1)), taps.view(1, 1, 1, 8))
    slow = slow[..., ::2].view(2, 3, 20, 20)
    torch.testing.assert_close(bicubic_reduce(image, 20), slow)


@pytest.mark.parametrize(("source", "target"), [(7, 7), (100, 33), (33, 100), (1, 4), (5, 2)])
def test_cubic_weights_keep_a_constant(source: int, target: int) -> None:
    matrix = cubic_weights(source, target)
    assert matrix.shape == (target, source)
    torch.testing.assert_close(matrix.sum(1), torch.ones(target, dtype=torch.float64))
    if source == target:
        torch.testing.assert_close(matrix, torch.eye(source, dtype=torch.float64))


def test_cubic_has_no_shift() -> None:
    ramp = (torch.arange(96, dtype=torch.float64) + 0.5) / 96
    want = (torch.arange(36, dtype=torch.float64) + 0.5) / 36
    error = (cubic_weights(96, 36) @ ramp - want)[4:-4].abs().max()
    assert error < 0.01 / 96  # a hundredth of a pixel


def test_pil_bilinear_is_pillow() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 50, 90, 3), dtype=np.uint8)
    image = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    got = pil_bilinear(image, 32)
    for one, source in zip(got, pixels):
        want = np.asarray(Image.fromarray(source).resize((32, 32), Image.Resampling.BILINEAR))
        assert np.array_equal(one.mul(255).round().byte().permute(1, 2, 0).numpy(), want)
    assert pil_bilinear(got, 32) is got

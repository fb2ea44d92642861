"""Conversions are exact, and the resize filters equal slow, obvious versions of themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from s3pot.data.pixels import bicubic_reduce, pil_bilinear, to_tensor, to_uint8


def test_halving_equals_a_strided_convolution() -> None:
    """E4S's filter as documented: 8 taps at (i - 3.5) / 2, reflect padding of 3, stride 2."""
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


@pytest.mark.parametrize("sides", [(7, 7), (100, 90), (14, 21), (5, 50)])
def test_bicubic_keeps_a_constant(sides: tuple[int, int]) -> None:
    image = torch.full((1, 3, *sides), 0.3, dtype=torch.float64)
    got = bicubic_reduce(image, 7)
    torch.testing.assert_close(got, torch.full((1, 3, 7, 7), 0.3, dtype=torch.float64))


def test_bicubic_of_the_same_size_changes_nothing() -> None:
    image = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(bicubic_reduce(image, 9), image)


@pytest.mark.parametrize("source", [96, 72, 100])
def test_bicubic_has_no_shift(source: int) -> None:
    ramp = ((torch.arange(source, dtype=torch.float64) + 0.5) / source).expand(1, 3, source, -1)
    want = (torch.arange(36, dtype=torch.float64) + 0.5) / 36
    for image in (ramp, ramp.transpose(2, 3)):
        got = bicubic_reduce(image, 36)
        line = got[0, 0, 18] if image is ramp else got[0, 0, :, 18]
        assert (line - want)[4:-4].abs().max() < 0.01 / source  # a hundredth of a pixel


def test_pil_bilinear_is_pillow() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 50, 90, 3), dtype=np.uint8)
    image = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    got = pil_bilinear(image, 32)
    for one, source in zip(got, pixels):
        want = np.asarray(Image.fromarray(source).resize((32, 32), Image.Resampling.BILINEAR))
        assert np.array_equal(one.mul(255).round().byte().permute(1, 2, 0).numpy(), want)
    assert pil_bilinear(got, 32) is got


def test_tensor_round_trip_is_exact() -> None:
    want = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    tensor = to_tensor(want)
    assert tensor.shape == (3, 16, 16) and tensor.dtype == torch.float32
    assert tensor.min() == 0 and tensor.max() == 1 and tensor[0, 0, 1] == np.float32(1) / 255
    np.testing.assert_array_equal(to_uint8(tensor), want)
    np.testing.assert_array_equal(to_uint8(to_tensor(want[::-1, ::-1])), want[::-1, ::-1])
    assert to_uint8(torch.tensor([-1.0, 0.5, 2.0]).reshape(3, 1, 1)).tolist() == [[[0, 128, 255]]]

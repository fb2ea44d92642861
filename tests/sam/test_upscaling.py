from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from torch import nn

from s3pot.sam.upscaling import mask_logits, mask_logits_at


def random_upscaling() -> nn.Sequential:
    """The upscaling of a small decoder with random weights, in double precision."""
    transformer = TwoWayTransformer(depth=1, embedding_dim=32, num_heads=8, mlp_dim=16)
    upscaling = MaskDecoder(transformer_dim=32, transformer=transformer).output_upscaling.double()
    for parameter in upscaling.parameters():  # the norm's own start at 1 and 0
        nn.init.normal_(parameter)
    return upscaling


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 8, 8), (3, 4, 6)])
def test_equals_the_transposed_convolutions(batch: int, height: int, width: int) -> None:
    torch.manual_seed(batch)
    upscaling = random_upscaling()
    tokens = torch.randn(batch, 32, height, width, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(batch, 4, dtype=torch.float64, requires_grad=True)
    want = (upscaling(tokens) * kernel[:, :, None, None]).sum(dim=1)
    got = mask_logits(upscaling, tokens, kernel)
    assert got.shape == (batch, 4 * height, 4 * width)
    torch.testing.assert_close(got, want)
    weights = torch.randn_like(want)
    wanted = torch.autograd.grad((want * weights).sum(), (tokens, kernel))
    for gradient, expected in zip(
        torch.autograd.grad((got * weights).sum(), (tokens, kernel)), wanted
    ):
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 8, 8), (3, 4, 6)])
def test_some_logits_equal_those_of_the_whole_mask(batch: int, height: int, width: int) -> None:
    torch.manual_seed(batch)
    upscaling = random_upscaling()
    tokens = torch.randn(batch, 32, height, width, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(batch, 4, dtype=torch.float64, requires_grad=True)
    places = torch.randint(16 * height * width, (batch, 50))
    places[:, :4] = places[:, 4:8]  # some twice
    want = mask_logits(upscaling, tokens, kernel).flatten(1).gather(1, places)
    got = mask_logits_at(upscaling, tokens, kernel, places)
    torch.testing.assert_close(got, want)
    weights = torch.randn_like(want)
    wanted = torch.autograd.grad((want * weights).sum(), (tokens, kernel))
    for gradient, expected in zip(
        torch.autograd.grad((got * weights).sum(), (tokens, kernel)), wanted
    ):
        torch.testing.assert_close(gradient, expected)

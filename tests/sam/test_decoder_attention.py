"""Fused attention of the mask decoder against the forward of pip's package."""

from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import TwoWayTransformer
from segment_anything.modeling.transformer import Attention as DecoderAttention
from torch.nn import functional

from s3pot.sam.decoder_attention import attend_to, decoder_attention, two_way
from tests.sam.attention_checks import random_weights, relative_error


@pytest.mark.parametrize("count", [1, 7, 300])
def test_two_way_transformer_equals_pips(count: int) -> None:
    transformer = random_weights(TwoWayTransformer(2, 64, num_heads=8, mlp_dim=96))
    random = torch.Generator().manual_seed(count)
    image = torch.randn(2, 64, 12, 12, generator=random)
    position = torch.randn(1, 64, 12, 12, generator=random)
    tokens = torch.randn(2, count, 64, generator=random)
    want = transformer(image, position.expand_as(image), tokens)
    flat = [x.flatten(2).transpose(1, 2) for x in (image, position)]
    for got, expected in zip(two_way(transformer, flat[0], flat[1], tokens), want):
        assert relative_error(got, expected) < 1e-4
    first, keys = two_way(transformer, flat[0], flat[1], tokens, tokens_wanted=1)
    assert first.shape == (2, 1, 64)
    assert relative_error(first, want[0][:, :1]) < 1e-4
    assert relative_error(keys, want[1]) < 1e-4


@pytest.mark.parametrize(
    ("queries", "keys"), [(1, 90), (3, 90), (90, 1), (90, 3), (3, 3), (90, 60)]
)
def test_attention_of_few_tokens_equals_pips(queries: int, keys: int) -> None:
    attention = random_weights(DecoderAttention(64, num_heads=4, downsample_rate=2)).double()
    random = torch.Generator().manual_seed(queries + keys)
    counts = (queries, keys, keys)
    q, k, v = (
        torch.randn(2, count, 64, generator=random, dtype=torch.float64, requires_grad=True)
        for count in counts
    )
    got, want = decoder_attention(attention, q, k, v), attention(q, k, v)
    torch.testing.assert_close(got, want)
    weights = torch.randn(want.shape, generator=random, dtype=torch.float64)
    wanted = torch.autograd.grad((want * weights).sum(), (q, k, v))
    for gradient, expected in zip(torch.autograd.grad((got * weights).sum(), (q, k, v)), wanted):
        torch.testing.assert_close(gradient, expected)


def test_masked_tokens_change_nothing() -> None:
    transformer = random_weights(TwoWayTransformer(2, 32, num_heads=4, mlp_dim=48))
    random = torch.Generator().manual_seed(5)
    image, position, tokens = (torch.randn(1, n, 32, generator=random) for n in (49, 49, 11))
    want_tokens, want_image = two_way(transformer, image, position, tokens)
    filled = torch.cat((tokens[:, :4], 50 * torch.ones(1, 6, 32), tokens[:, 4:]), dim=1)
    mask = torch.ones(1, 17, dtype=torch.bool)
    mask[:, 4:10] = False
    got_tokens, got_image = two_way(transformer, image, position, filled, mask)
    assert relative_error(got_tokens[mask][None], want_tokens) < 1e-4
    assert relative_error(got_image, want_image) < 1e-4


def test_training_in_bfloat16_on_a_cpu_attends_in_float32() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, 9, 8, dtype=torch.bfloat16) for _ in range(3))
    want = functional.scaled_dot_product_attention(q.float(), k.float(), v.float())
    q.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = attend_to(q, k, v)
    assert mixed.dtype == torch.bfloat16
    assert mixed.equal(want.bfloat16())
    mixed.sum().backward()
    assert q.grad is not None
    assert q.grad.dtype == torch.bfloat16

"""Fused attention against the forward of pip's package."""

from __future__ import annotations

import copy

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT, TwoWayTransformer
from segment_anything.modeling.transformer import Attention as DecoderAttention
from torch import nn

from s3pot.sam.attention import (
    FusedEncoderAttention,
    attend_to,
    decoder_attention,
    fuse_image_encoder,
    relative_table,
    two_way,
)
from s3pot.sam.mini import MiniSamSize, build_mini_sam

WAYS = ["bias", "channels"]


def random_weights(module: nn.Module, seed: int = 0) -> nn.Module:
    """Make all parameters random, including the relative positions, which start at zero."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return module.eval().requires_grad_(False)


def vit(width: int, heads: int, side: int, window: int, blocks: int = 2) -> ImageEncoderViT:
    """An image encoder whose last block attends to everything."""
    encoder = ImageEncoderViT(
        img_size=side * 16,
        embed_dim=width,
        depth=blocks,
        num_heads=heads,
        use_rel_pos=True,
        window_size=window,
        global_attn_indexes=(blocks - 1,),
        out_chans=32,
    )
    return random_weights(encoder)


def relative_error(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got - want).abs().max() / want.abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("width", "heads", "side", "window"),
    [(768, 12, 30, 14), (64, 4, 15, 4), (80, 1, 8, 3)],
    ids=["ViT-B's width, heads and windows", "windows that do not fit", "ViT-H's head"],
)
def test_image_encoder_equals_pips(
    way: str, width: int, heads: int, side: int, window: int
) -> None:
    encoder = vit(width, heads, side, window)
    picture = torch.randn(1, 3, side * 16, side * 16, generator=torch.Generator().manual_seed(1))
    fused = copy.deepcopy(encoder)
    assert fuse_image_encoder(fused, way, way) == 2
    with torch.inference_mode():
        assert relative_error(fused(picture), encoder(picture)) < 1e-4


def test_weights_keep_their_names() -> None:
    encoder = vit(64, 4, 8, 3)
    fused = copy.deepcopy(encoder)
    fuse_image_encoder(fused, "bias", "channels")
    assert list(fused.state_dict()) == list(encoder.state_dict())
    assert [block.attn.way for block in fused.blocks] == ["bias", "channels"]
    assert all(isinstance(block.attn, FusedEncoderAttention) for block in fused.blocks)
    again = copy.deepcopy(fused)
    again.load_state_dict(encoder.state_dict(), strict=True)
    assert again.blocks[1].attn.way == "channels"


def test_relative_table_is_the_embedding_of_the_distance() -> None:
    embeddings = torch.arange(7.0)[:, None]
    table = relative_table(embeddings, 4)[..., 0]
    assert all(table[i, j] == i - j + 3 for i in range(4) for j in range(4))
    with pytest.raises(ValueError, match="7 distances do not fit 5 tokens"):
        relative_table(embeddings, 5)


def test_an_encoder_without_such_blocks_is_left_alone() -> None:
    size = MiniSamSize(image=64, widths=(8, 8, 8), depths=(1, 1, 1), tokens=32, decoder_mlp=32)
    assert fuse_image_encoder(build_mini_sam(size).image_encoder) == 0


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


def test_heads_taken_some_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = vit(64, 4, 8, 4)
    picture = torch.randn(3, 3, 128, 128, generator=torch.Generator().manual_seed(2))
    fuse_image_encoder(encoder, "bias", "bias")
    with torch.inference_mode():
        want = encoder(picture)
        for cells in (1, 2 * 16**2, 5 * 16**2, 9 * 64**2):
            monkeypatch.setattr("s3pot.sam.attention.CPU_MASK_CELLS", cells)
            assert relative_error(encoder(picture), want) < 1e-5


def test_training_in_bfloat16_on_a_cpu_attends_in_float32() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, 9, 8, dtype=torch.bfloat16) for _ in range(3))
    want = nn.functional.scaled_dot_product_attention(q.float(), k.float(), v.float())
    q.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = attend_to(q, k, v)
    assert mixed.dtype == torch.bfloat16
    assert mixed.equal(want.bfloat16())
    mixed.sum().backward()
    assert q.grad is not None
    assert q.grad.dtype == torch.bfloat16

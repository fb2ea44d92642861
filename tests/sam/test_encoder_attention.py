"""Fused attention of the image encoder against the forward of pip's package."""

from __future__ import annotations

import copy

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT

from s3pot.sam.encoder_attention import FusedEncoderAttention, fuse_image_encoder, relative_table
from s3pot.sam.mini import MiniSamSize, build_mini_sam
from tests.sam.attention_checks import random_weights, relative_error

WAYS = ["bias", "channels"]


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


def test_heads_taken_some_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = vit(64, 4, 8, 4)
    picture = torch.randn(3, 3, 128, 128, generator=torch.Generator().manual_seed(2))
    fuse_image_encoder(encoder, "bias", "bias")
    with torch.inference_mode():
        want = encoder(picture)
        for cells in (1, 2 * 16**2, 5 * 16**2, 9 * 64**2):
            monkeypatch.setattr("s3pot.sam.encoder_attention.CPU_MASK_CELLS", cells)
            assert relative_error(encoder(picture), want) < 1e-5

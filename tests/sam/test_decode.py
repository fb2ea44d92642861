from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import MaskDecoder, TwoWayTransformer

from benchmarks.tiny import TINY_SAM
from s3pot.sam.frozen import FrozenSam, attend, mask_from, stack_tokens
from s3pot.sam.mini import build_mini_sam


@pytest.mark.parametrize("masks", [0, 3])
@pytest.mark.parametrize("count", [2, 40])
def test_equals_sams_own_forward(masks: int, count: int) -> None:
    torch.manual_seed(count + masks)
    decoder = MaskDecoder(
        transformer_dim=32,
        transformer=TwoWayTransformer(depth=2, embedding_dim=32, num_heads=8, mlp_dim=64),
        num_multimask_outputs=masks,
    ).eval()
    image, position = torch.randn(1, 32, 8, 8), torch.randn(1, 32, 8, 8)
    prompts, dense = torch.randn(1, count, 32), torch.randn(1, 32, 1, 1)
    with torch.no_grad():
        got = mask_from(decoder, attend(decoder, image, position, prompts, dense))
        logits, iou = decoder(
            image_embeddings=image,
            image_pe=position,
            sparse_prompt_embeddings=prompts,
            dense_prompt_embeddings=dense.expand(1, 32, 8, 8),
            multimask_output=False,
        )
    torch.testing.assert_close(got.logits, logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got.iou, iou, rtol=1e-5, atol=1e-5)
    assert got.attended.image.shape == image.shape


def test_a_batch_equals_its_parts() -> None:
    torch.manual_seed(0)
    transformer = TwoWayTransformer(depth=2, embedding_dim=32, num_heads=8, mlp_dim=64)
    decoder = MaskDecoder(transformer_dim=32, transformer=transformer).eval()
    images, position = torch.randn(3, 32, 8, 8), torch.randn(1, 32, 8, 8)
    prompts, dense = torch.randn(3, 5, 32), torch.randn(1, 32, 1, 1)
    with torch.no_grad():
        whole = mask_from(decoder, attend(decoder, images, position, prompts, dense)).logits
        for i in range(3):
            part = attend(decoder, images[i : i + 1], position, prompts[i : i + 1], dense)
            torch.testing.assert_close(
                mask_from(decoder, part).logits[0], whole[i], rtol=1e-4, atol=1e-5
            )


@pytest.mark.parametrize("speed", ["exact", "fast"])
def test_image_tokens_alone_are_the_same(speed: str) -> None:
    torch.manual_seed(0)
    sam = FrozenSam(build_mini_sam(TINY_SAM), speed=speed)
    images, prompts = torch.randn(2, 32, 8, 8), torch.randn(2, 3, 32)
    with torch.no_grad():
        alone = sam.attend_image(images, prompts)
        assert torch.equal(alone, sam.attend(images, prompts).image)
    assert alone.dtype == torch.float32
    assert alone.shape == images.shape


@pytest.mark.parametrize("by_token", [False, True])
def test_stacked_grids_have_the_channels_of_a_token_side_by_side(by_token: bool) -> None:
    grids = [torch.randn(5, 4, 3) for _ in range(2)]
    if by_token:
        grids = [grid.permute(1, 2, 0).contiguous().permute(2, 0, 1) for grid in grids]
    stacked = stack_tokens(grids)
    assert torch.equal(stacked, torch.stack(grids))
    assert stacked.flatten(2).transpose(1, 2).is_contiguous()

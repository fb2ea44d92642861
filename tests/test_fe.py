from __future__ import annotations

import pytest
import torch
from torch import Tensor

from s3pot.fe import cosine_map, enhance, first_token
from s3pot.sam.frozen import FrozenSam


@pytest.fixture
def tokens() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(32, 8, 8, generator=random), torch.randn(32, 8, 8, generator=random)


def test_cosine_of_each_cell(tokens: Tensor) -> None:
    raw, ref = tokens
    found = cosine_map(raw[None], ref[None])[0]
    for y in range(8):
        for x in range(8):
            a, b = raw[:, y, x], ref[:, y, x]
            assert float(found[y, x]) == pytest.approx(
                float(a @ b / (a.norm() * b.norm())), abs=1e-5
            )


def test_cosine_of_nothing_is_finite() -> None:
    zeros = torch.zeros(1, 4, 2, 2)
    assert not cosine_map(zeros, zeros).any()


def test_first_token_is_the_best_of_the_region() -> None:
    similarity = torch.tensor([[0.9, 0.1], [0.5, 0.5]])
    region = torch.tensor([[False, True], [True, True]])
    assert first_token(similarity, region) == 2  # the smaller index among equals


@pytest.mark.parametrize("pick", ["region", "product"])
def test_first_token_of_many_ties_is_the_smallest_index(pick: str) -> None:
    random = torch.Generator().manual_seed(0)
    for _ in range(50):
        similarity = torch.randint(-1, 2, (8, 8), generator=random) / 2
        region = torch.rand(8, 8, generator=random) < 0.5
        ranked = similarity * region if pick == "product" else similarity[region]
        best = (similarity * region if pick == "product" else similarity) == ranked.max()
        among = best.flatten() if pick == "product" else (best & region).flatten()
        token = first_token(similarity, region, pick)
        assert token.tolist() == among.nonzero()[0].tolist()


def test_negative_similarities_stay_in_the_region() -> None:
    similarity = torch.tensor([[-0.9, -0.1], [0.5, -0.5]])
    region = torch.tensor([[True, True], [False, False]])
    assert first_token(similarity, region) == 1
    assert first_token(similarity, region, "product") == 2  # Release: a zero outside wins


def test_the_point_is_a_center_or_a_corner(tiny_sam: FrozenSam, tokens: Tensor) -> None:
    region = torch.zeros(8, 8, dtype=torch.bool)
    region[5, 2] = True
    center = enhance(tiny_sam, *tokens, region)
    corner = enhance(tiny_sam, *tokens, region, anchor="corner")
    assert center.first_point_sam.tolist() == [20, 44]
    assert corner.first_point_sam.tolist() == [16, 40]


def test_attended_tokens_are_those_of_sams_transformer(tiny_sam: FrozenSam, tokens: Tensor) -> None:
    region = torch.ones(8, 8, dtype=torch.bool)
    found = enhance(tiny_sam, *tokens, region)
    decoder, encoder = tiny_sam.sam.mask_decoder, tiny_sam.sam.prompt_encoder
    prompt = tiny_sam.embed_points(found.first_point_sam[None, None], torch.ones(1, 1))
    queries = torch.cat((decoder.iou_token.weight, decoder.mask_tokens.weight, prompt[0]))[None]
    for source, got in zip(tokens, (found.image_tokens, found.reference_tokens)):
        dense = source[None] + encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        want = decoder.transformer(dense, encoder.get_dense_pe(), queries)[1][0].T.reshape(32, 8, 8)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_without_attention_the_tokens_stay(tiny_sam: FrozenSam, tokens: Tensor) -> None:
    found = enhance(tiny_sam, *tokens, torch.ones(8, 8, dtype=torch.bool), attended=False)
    assert torch.equal(found.image_tokens, tokens[0])
    assert torch.equal(found.reference_tokens, tokens[1])

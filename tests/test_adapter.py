from __future__ import annotations

import pytest
import torch

from s3pot.adapter import PromptAdapter, from_authors

PARAMETERS = {
    "self_attn.in_proj_weight": (768, 256),
    "self_attn.in_proj_bias": (768,),
    "self_attn.out_proj.weight": (256, 256),
    "self_attn.out_proj.bias": (256,),
    "norm.weight": (256,),
    "norm.bias": (256,),
}


def test_every_trainable_parameter() -> None:
    found = {
        name: tuple(p.shape) for name, p in PromptAdapter().named_parameters() if p.requires_grad
    }
    assert found == PARAMETERS


@pytest.mark.parametrize(("name", "fans"), [("in_proj_weight", 1024), ("out_proj.weight", 512)])
def test_a_fresh_adapter_fills_the_range_of_xavier(name: str, fans: int) -> None:
    torch.manual_seed(0)
    largest = float(PromptAdapter().self_attn.get_parameter(name).abs().max())
    limit = (6 / fans) ** 0.5
    assert 0.99 * limit < largest <= limit


def test_weights_are_a_mean_over_heads_whose_rows_sum_to_one() -> None:
    torch.manual_seed(0)
    tokens, weights = PromptAdapter(32)(torch.randn(2, 9, 32))
    assert tokens.shape == (2, 9, 32)
    assert weights.shape == (2, 9, 9)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, 9))


def test_equals_attention_written_out() -> None:
    torch.manual_seed(1)
    net, x = PromptAdapter(32), torch.randn(1, 7, 32)
    attention = net.self_attn
    q, k, v = (x[0] @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=1)
    heads = []
    for h in range(4):
        part = slice(8 * h, 8 * h + 8)
        weights = torch.softmax(q[:, part] @ k[:, part].T / 8**0.5, dim=1)
        heads.append(weights @ v[:, part])
    mixed = torch.cat(heads, dim=1) @ attention.out_proj.weight.T + attention.out_proj.bias
    want = torch.nn.functional.layer_norm(x[0] + mixed, (32,), net.norm.weight, net.norm.bias)
    torch.testing.assert_close(net(x)[0][0], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_order_of_the_prompts_does_not_matter(seed: int) -> None:
    torch.manual_seed(seed)
    net, x, order = PromptAdapter(32), torch.randn(1, 11, 32), torch.randperm(11)
    tokens, weights = net(x)
    moved, moved_weights = net(x[:, order])
    torch.testing.assert_close(moved, tokens[:, order], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(moved_weights, weights[:, order][:, :, order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("need_weights", [True, False])
def test_prompts_that_fill_up_a_batch_change_nothing(need_weights: bool) -> None:
    torch.manual_seed(4)
    net, x = PromptAdapter(32), torch.randn(1, 5, 32)
    filled = torch.cat((x, 100 * torch.randn(1, 3, 32)), dim=1)
    mask = torch.tensor([[True] * 5 + [False] * 3])
    tokens, weights = net(filled, mask, need_weights)
    torch.testing.assert_close(tokens[:, :5], net(x)[0], rtol=1e-5, atol=1e-5)
    assert (weights is None) == (not need_weights)
    if weights is not None:
        torch.testing.assert_close(weights[0, :5, 5:], torch.zeros(5, 3))


def test_authors_keys_are_translated_and_ours_left() -> None:
    own = PromptAdapter().state_dict()
    used = "transformer_decoder.transformer_self_attention_layers_0.0."
    other = "transformer_decoder.transformer_cross_attention_layers.0.norm.weight"
    authors = {f"module.{used}{key}": value for key, value in own.items()}
    authors[f"module.{other}"] = torch.zeros(256)
    assert from_authors(authors).keys() == own.keys()
    assert from_authors(own).keys() == own.keys()

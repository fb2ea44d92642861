"""The attention of SAM's mask decoder through PyTorch's fused kernels.

pip's ``segment-anything`` multiplies, takes the softmax and multiplies again, with a matrix of
tokens x tokens in memory after every step. The functions here compute the same result, on its
modules and weights, with ``scaled_dot_product_attention``. For a few tokens, as in FE, they project
these tokens instead of the image, because a product of matrices may be computed in any order.
"""

from __future__ import annotations

import torch
from segment_anything.modeling import TwoWayTransformer
from segment_anything.modeling.transformer import Attention as DecoderAttention
from torch import Tensor
from torch.nn import functional as F


def two_way(  # noqa: PLR0913  # those of TwoWayTransformer.forward, and two more
    transformer: TwoWayTransformer,
    image: Tensor,
    image_position: Tensor,
    tokens: Tensor,
    token_mask: Tensor | None = None,
    tokens_wanted: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Let tokens and image attend to each other, as ``TwoWayTransformer.forward`` does.

    Args:
        transformer: The transformer of SAM's mask decoder.
        image: Image tokens, (B, T, C).
        image_position: Their positional encoding, (1 or B, T, C).
        tokens: Output and prompt tokens, (B, N, C).
        token_mask: bool (B, N), False for tokens that only pad the batch: nothing attends to them.
            None if there is no padding.
        tokens_wanted: Return only this many tokens, the first ones, with less work; None for all.

    Returns:
        Tokens (B, N or ``tokens_wanted``, C) and image tokens (B, T, C). Rows of padding tokens are
        meaningless.
    """
    queries, keys = two_way_layers(transformer, image, image_position, tokens, token_mask)
    queries = queries[:, :tokens_wanted]
    placed = queries + tokens[:, :tokens_wanted]
    last = transformer.final_attn_token_to_image
    queries = queries + decoder_attention(last, placed, keys + image_position, keys)
    return transformer.norm_final_attn(queries), keys


def two_way_layers(
    transformer: TwoWayTransformer,
    image: Tensor,
    image_position: Tensor,
    tokens: Tensor,
    token_mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run ``two_way`` without its last step, which changes only the tokens."""
    mask = None if token_mask is None else token_mask[:, None, None, :]
    queries, keys = tokens, image
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            queries = decoder_attention(layer.self_attn, queries, queries, queries, mask)
        else:
            placed = queries + tokens
            queries = queries + decoder_attention(layer.self_attn, placed, placed, queries, mask)
        queries = layer.norm1(queries)

        placed_keys = keys + image_position
        to_image = layer.cross_attn_token_to_image
        queries = queries + decoder_attention(to_image, queries + tokens, placed_keys, keys)
        queries = layer.norm2(queries)
        queries = layer.norm3(queries + layer.mlp(queries))

        to_tokens = layer.cross_attn_image_to_token
        placed = queries + tokens
        keys = layer.norm4(keys + decoder_attention(to_tokens, placed_keys, placed, queries, mask))
    return queries, keys


def decoder_attention(
    module: DecoderAttention, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Compute ``DecoderAttention.forward`` with a fused kernel.

    Args:
        module: Provides the projections and the number of heads.
        q: (B, N, C).
        k: (B, M, C).
        v: (B, M, C).
        mask: bool, broadcastable to (B, heads, N, M), True where a key is attended to.

    Returns:
        (B, N, C).
    """
    if mask is None and _are_few(module, q, k):
        return _attend_from_few(module, q, k, v)
    if mask is None and _are_few(module, k, q):
        return _attend_to_few(module, q, k, v)
    queries = _by_head(module, module.q_proj(q))
    keys = _by_head(module, module.k_proj(k))
    values = _by_head(module, module.v_proj(v))
    mixed = attend_to(queries, keys, values, mask)
    return module.out_proj(mixed.transpose(1, 2).flatten(2))


def attend_to(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Compute PyTorch's fused attention: in float32 on a CPU if gradients are needed.

    There, the backward pass of the fused kernel takes 2 to 5 times as long in bfloat16.

    Args:
        q: (B, heads, N, D).
        k: (B, heads, M, D).
        v: (B, heads, M, D).
        mask: bool, broadcastable to (B, heads, N, M), True where a key is attended to.
        scale: Factor of the scores; None for the inverse of the square root of D.

    Returns:
        (B, heads, N, D).
    """
    is_slow = q.dtype == torch.bfloat16 and q.device.type == "cpu" and q.requires_grad
    if not is_slow:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    with torch.autocast("cpu", enabled=False):
        mixed = F.scaled_dot_product_attention(
            q.float(), k.float(), v.float(), attn_mask=mask, scale=scale
        )
    return mixed.to(q.dtype)


def _by_head(module: DecoderAttention, x: Tensor) -> Tensor:
    """Split projected tokens (B, N, heads * D) into heads, (B, heads, N, D)."""
    return x.unflatten(2, (module.num_heads, -1)).transpose(1, 2)


def _are_few(module: DecoderAttention, tokens: Tensor, others: Tensor) -> bool:
    """Whether there are so few tokens that projecting them for the others is less work."""
    few = module.num_heads * tokens.shape[1]
    return 2 * few < module.internal_dim and few < others.shape[1]


def _attend_from_few(module: DecoderAttention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute ``decoder_attention`` for few queries: ``(q Wq) (k Wk)' = (q Wq Wk') k'``.

    The bias of the keys adds the same number to all scores of a query and so changes nothing; that
    of the values is added once, because the weights of a query sum to 1.
    """
    heads = (module.num_heads, -1)
    key_weight = module.k_proj.weight.unflatten(0, heads)  # (heads, D, C)
    value_weight = module.v_proj.weight.unflatten(0, heads)
    queries = _by_head(module, module.q_proj(q)) @ key_weight
    scale = key_weight.shape[1] ** -0.5
    # All heads see the same keys and values: to the kernel, they are more queries of one head.
    mixed = attend_to(queries.flatten(1, 2)[:, None], k[:, None], v[:, None], scale=scale)
    mixed = mixed.view_as(queries) @ value_weight.transpose(1, 2)
    return module.out_proj(mixed.transpose(1, 2).flatten(2) + module.v_proj.bias)


def _attend_to_few(module: DecoderAttention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute ``decoder_attention`` for few keys: ``(q Wq) (k Wk)' = q (k Wk Wq')'``.

    The bias of the result is added to the values, because the weights of a query sum to 1.
    """
    heads = (module.num_heads, -1)
    query_weight = module.q_proj.weight.unflatten(0, heads)  # (heads, D, C)
    query_bias = module.q_proj.bias.unflatten(0, heads)[..., None]  # (heads, D, 1)
    out_weight = module.out_proj.weight.unflatten(1, heads).permute(1, 2, 0)  # (heads, D, C)
    keys = _by_head(module, module.k_proj(k)) * query_weight.shape[1] ** -0.5
    values = _by_head(module, module.v_proj(v)) @ out_weight
    values = values + module.out_proj.bias / module.num_heads
    scores = (keys @ query_weight).flatten(1, 2) @ q.transpose(1, 2)  # (B, heads * M, N)
    offset = (keys @ query_bias).flatten(1, 2)
    # The softmax over few numbers is faster if these are not adjacent in memory.
    weights = (scores + offset).unflatten(1, (module.num_heads, -1)).softmax(dim=2)
    return weights.flatten(1, 2).transpose(1, 2) @ values.flatten(1, 2)

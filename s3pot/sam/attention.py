"""SAM's attention through PyTorch's fused kernels, on the modules and weights of pip's package.

pip's ``segment-anything`` multiplies, adds its relative positions, takes the softmax and multiplies
again, with a tokens x tokens matrix in memory after every step. The functions here compute the same
result with ``scaled_dot_product_attention``. For a few tokens, as in FE, they project these tokens
instead of the image, because a product of matrices may be computed in any order.

The image encoder's blocks add a decomposed relative position to each score: query i and key j get
``q_i . Rh[row_j] + q_i . Rw[column_j]``. There are two exact ways to pass this to a fused kernel:

* ``bias``: the sum as an attention mask, (batch, heads, tokens, tokens);
* ``channels``: ``[q . Rh, q . Rw]`` appended to each query and a one-hot row and column appended to
  each key, so that the plain product contains the sum. This needs no large matrix and works with
  kernels that take no mask, but the heads become wider.
"""

from __future__ import annotations

import torch
from segment_anything.modeling import TwoWayTransformer
from segment_anything.modeling.image_encoder import Attention as EncoderAttention
from segment_anything.modeling.image_encoder import ImageEncoderViT, PatchEmbed
from segment_anything.modeling.transformer import Attention as DecoderAttention
from torch import Tensor, nn
from torch.nn import functional as F

# Largest attention mask held in memory, in elements; heads that do not fit are processed in turn.
CPU_MASK_CELLS = 2**26
GPU_MASK_CELLS = 2**29
WHOLE_IMAGE_TOKENS = 1024  # with this many tokens it is not a window
HEAD_MULTIPLE = 8  # fused GPU kernels take head widths that are multiples of this


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


class ContiguousPatchEmbed(PatchEmbed):
    """pip's patch embedding with channels last in memory, not only in shape.

    The blocks add to its output and thereby keep its layout, in which every norm would make a copy.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Embed the patches of images (B, 3, H, W) as (B, H / P, W / P, C)."""
        return super().forward(x).contiguous()


class FusedEncoderAttention(EncoderAttention):
    """pip's attention of an image encoder block with a fused ``forward``.

    It is never constructed directly; ``fuse_image_encoder`` turns a loaded module into one.

    Attributes:
        way: "bias", "channels" or "auto", see ``fuse_image_encoder``.
    """

    way: str

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each window (or the whole image).

        Args:
            x: (B, H, W, C).

        Returns:
            (B, H, W, C).
        """
        _, height, width, _ = x.shape
        qkv = self.qkv(x).flatten(1, 2).unflatten(2, (3, self.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, heads, H * W, C / heads) each
        if not self.use_rel_pos:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            by_row, by_column = self._relative(q, height, width)
            way = fastest_way(q) if self.way == "auto" else self.way
            mixed = WAYS[way](q, k, v, by_row, by_column)
        return self.proj(mixed.transpose(1, 2).flatten(2).unflatten(1, (height, width)))

    def _relative(self, q: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Compute scores of each query with each row, (B, heads, H * W, H), and column, (.., W)."""
        places = q.unflatten(2, (height, width))
        rows = relative_table(self.rel_pos_h, height)
        columns = relative_table(self.rel_pos_w, width)
        by_row = torch.einsum("bnhwc,hkc->bnhwk", places, rows)
        by_column = torch.einsum("bnhwc,wkc->bnhwk", places, columns)
        return by_row.flatten(2, 3), by_column.flatten(2, 3)


def relative_table(embeddings: Tensor, length: int) -> Tensor:
    """Return the relative embedding of key j for query i along one axis.

    Args:
        embeddings: One vector for each distance from 1 - length to length - 1, (2 * length - 1, C).
        length: Tokens along the axis.

    Returns:
        (length, length, C).

    Raises:
        ValueError: The number of embeddings does not fit.
    """
    if len(embeddings) != 2 * length - 1:
        raise ValueError(
            f"relative positions for {len(embeddings)} distances do not fit {length} tokens, "
            f"which have {2 * length - 1}"
        )
    place = torch.arange(length, device=embeddings.device)
    return embeddings[place[:, None] - place[None, :] + length - 1]


def attend_with_bias(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """Compute attention with the relative positions as a mask, a few heads at a time.

    Args:
        q: (B, heads, H * W, D).
        k: Same shape.
        v: Same shape.
        by_row: Score of each query with each row of keys, (B, heads, H * W, H).
        by_column: Score of each query with each column of keys, (B, heads, H * W, W).

    Returns:
        (B, heads, H * W, D).
    """
    batch, heads, count, _ = q.shape
    largest = GPU_MASK_CELLS if q.is_cuda else CPU_MASK_CELLS
    step = max(1, largest // count**2)
    if step >= heads:
        parts = [slice(start, start + step // heads) for start in range(0, batch, step // heads)]
        mixed = [_masked_attention(q[p], k[p], v[p], by_row[p], by_column[p]) for p in parts]
        return torch.cat(mixed) if len(mixed) > 1 else mixed[0]
    parts = [slice(start, start + step) for start in range(0, heads, step)]
    mixed = [
        _masked_attention(q[:, p], k[:, p], v[:, p], by_row[:, p], by_column[:, p]) for p in parts
    ]
    return torch.cat(mixed, dim=1)


def _masked_attention(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    bias = (by_row[..., :, None] + by_column[..., None, :]).flatten(3)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def attend_with_channels(
    q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor
) -> Tensor:
    """Compute attention with relative positions as extra channels; see ``attend_with_bias``."""
    depth, height, width = q.shape[-1], by_row.shape[-1], by_column.shape[-1]
    place = torch.arange(height * width, device=q.device)
    rows = F.one_hot(place // width, height)
    columns = F.one_hot(place % width, width)
    ones = torch.cat((rows, columns), dim=1).to(k).expand(*k.shape[:2], -1, -1)
    padding = -(depth + height + width) % HEAD_MULTIPLE
    # The kernel's own scaling is disabled (1), because the appended channels must not be scaled.
    queries = F.pad(torch.cat((q * depth**-0.5, by_row, by_column), dim=-1), (0, padding))
    keys = F.pad(torch.cat((k, ones), dim=-1), (0, padding))
    values = F.pad(v, (0, queries.shape[-1] - depth))
    mixed = F.scaled_dot_product_attention(queries, keys, values, scale=1.0)
    return mixed[..., :depth]


WAYS = {"bias": attend_with_bias, "channels": attend_with_channels}


def fastest_way(q: Tensor) -> str:
    """Return which of ``WAYS`` is faster for queries (B, heads, T, D).

    Measured with ViT-H on an H200: "channels" wins for whole images in bfloat16, because a kernel
    that takes no mask can be used; in windows and in float32 "bias" wins, as on a CPU.
    """
    whole_image = q.shape[2] >= WHOLE_IMAGE_TOKENS
    return "channels" if q.is_cuda and q.dtype != torch.float32 and whole_image else "bias"


def fuse_image_encoder(encoder: nn.Module, window: str = "auto", whole: str = "auto") -> int:
    """Give every block of a ViT image encoder fused attention, and its patches a better layout.

    Weights, modules and their names are kept; an encoder without such blocks is left unchanged.

    Args:
        encoder: Image encoder of a ``Sam``; changed in place.
        window: How relative positions are passed in blocks with window attention: "bias" or
            "channels" (see the module), or "auto", the faster one for device and precision.
        whole: The same for blocks with global attention.

    Returns:
        The number of blocks that were changed.
    """
    if not isinstance(encoder, ImageEncoderViT):
        return 0
    # The subclasses add no parameter, so a loaded module can become one.
    encoder.patch_embed.__class__ = ContiguousPatchEmbed
    for block in encoder.blocks:
        block.attn.__class__ = FusedEncoderAttention
        block.attn.way = window if block.window_size else whole
    return len(encoder.blocks)

"""The attention of SAM's image encoder through PyTorch's fused kernels.

Each block adds a decomposed relative position to each score: query i and key j get
``q_i . Rh[row_j] + q_i . Rw[column_j]``. pip's ``segment-anything`` keeps the matrix of tokens x
tokens in memory and changes it step by step. There are two exact ways to pass the sum to a fused
kernel, on pip's modules and weights:

* ``bias``: as an attention mask, (batch, heads, tokens, tokens);
* ``channels``: ``[q . Rh, q . Rw]`` appended to each query and a one-hot row and column appended to
  each key, so that the plain product contains the sum. This needs no large matrix and works with
  kernels that take no mask, but the heads become wider.
"""

from __future__ import annotations

import torch
from segment_anything.modeling.image_encoder import Attention as EncoderAttention
from segment_anything.modeling.image_encoder import ImageEncoderViT, PatchEmbed
from torch import Tensor, nn
from torch.nn import functional as F

# Largest attention mask held in memory, in elements; heads that do not fit are processed in turn.
CPU_MASK_CELLS = 2**26
GPU_MASK_CELLS = 2**29
WHOLE_IMAGE_TOKENS = 1024  # with this many tokens it is not a window
HEAD_MULTIPLE = 8  # fused GPU kernels take head widths that are multiples of this


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

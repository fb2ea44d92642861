"""The mask decoder's upscaling: each image token becomes 4 x 4 mask logits.

segment-anything uses two transposed convolutions whose stride equals their kernel size. Cells
therefore do not depend on their neighbors, and matrix products on tokens compute the same values
without rearranging channels. If only some logits are needed, only their tokens are upscaled.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CELLS = 4  # cells that each convolution makes of a token or cell, in 2 rows of 2
SIDE = 4  # mask logits along the side of a token


def mask_logits(upscaling: nn.Sequential, image_tokens: Tensor, kernel: Tensor) -> Tensor:
    """Upscale image tokens and compute the mask logits.

    Args:
        upscaling: ``MaskDecoder.output_upscaling``: convolution, norm, GELU, convolution, GELU.
        image_tokens: (B, C, G, G).
        kernel: Weights of the upscaled channels for one mask, (B, C / 8).

    Returns:
        Logits, (B, 4G, 4G).
    """
    height, width = image_tokens.shape[-2:]
    cells = _upscaled(upscaling, image_tokens.flatten(2).transpose(1, 2))
    logits = _last_activation(upscaling)(cells) @ kernel[..., None]
    # The cells of a token: row and column in the first convolution, then in the second.
    logits = logits.unflatten(1, (height, width, 2, 2, 2, 2))[..., 0]
    return logits.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, SIDE * height, SIDE * width)


def mask_logits_at(
    upscaling: nn.Sequential, image_tokens: Tensor, kernel: Tensor, places: Tensor
) -> Tensor:
    """Compute some logits of ``mask_logits``, upscaling only the tokens that they lie in.

    A GPU upscales all tokens, because it would have to wait for the number of needed ones.

    Args:
        upscaling: See ``mask_logits``.
        image_tokens: (B, C, G, G).
        kernel: See ``mask_logits``.
        places: Flat row-major indices into the logits, int64 (B, K).

    Returns:
        (B, K).
    """
    if image_tokens.is_cuda:
        return mask_logits(upscaling, image_tokens, kernel).flatten(1).gather(1, places)
    batch, _, height, width = image_tokens.shape
    rows = places // (SIDE * width)
    columns = places % (SIDE * width)
    image = torch.arange(batch, device=places.device)[:, None]
    token = (image * height + rows // SIDE) * width + columns // SIDE
    needed, position = token.unique(return_inverse=True)
    tokens = image_tokens.permute(0, 2, 3, 1).flatten(0, 2)[needed]
    cells = _upscaled(upscaling, tokens[None])[0]
    first = rows // 2 % 2 * 2 + columns // 2 % 2  # the cell of the first convolution
    second = rows % 2 * 2 + columns % 2
    chosen = _last_activation(upscaling)(cells[(position * CELLS + first) * CELLS + second])
    return (chosen @ kernel[..., None])[..., 0]


def _upscaled(upscaling: nn.Sequential, tokens: Tensor) -> Tensor:
    """Apply all layers but the last activation: (B, T, C) to (B, 16 T, C / 8)."""
    parts: list[Any] = list(upscaling)
    first, norm, activation, second, _ = parts
    cells = _grow(first, tokens)
    cells = F.layer_norm(cells, cells.shape[-1:], norm.weight, norm.bias, norm.eps)
    return _grow(second, activation(cells))


def _last_activation(upscaling: nn.Sequential) -> nn.Module:
    return upscaling[-1]


def _grow(convolution: nn.ConvTranspose2d, tokens: Tensor) -> Tensor:
    """Turn each token into 2 x 2 adjacent cells: (B, T, C) to (B, 4T, D)."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    bias = None if convolution.bias is None else convolution.bias.repeat(CELLS)
    cells = F.linear(tokens, weight, bias)
    return cells.unflatten(2, (CELLS, -1)).flatten(1, 2)

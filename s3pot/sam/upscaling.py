"""The mask decoder's upscaling: each image token becomes 4 x 4 mask logits.

segment-anything uses two transposed convolutions whose stride equals their kernel size. Cells
therefore do not depend on their neighbors, and matrix products on tokens compute the same values
without rearranging channels.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

CELLS = 4  # cells that each convolution makes of a token or cell, in 2 rows of 2


def mask_logits(upscaling: nn.Sequential, image_tokens: Tensor, kernel: Tensor) -> Tensor:
    """Upscale image tokens and compute the mask logits.

    Args:
        upscaling: ``MaskDecoder.output_upscaling``: convolution, norm, GELU, convolution, GELU.
        image_tokens: (B, C, G, G).
        kernel: Weights of the upscaled channels for one mask, (B, C / 8).

    Returns:
        Logits, (B, 4G, 4G).
    """
    parts: list[Any] = list(upscaling)
    first, norm, first_activation, second, second_activation = parts
    height, width = image_tokens.shape[-2:]
    tokens = image_tokens.flatten(2).transpose(1, 2)
    cells = _grow(first, tokens)
    cells = F.layer_norm(cells, cells.shape[-1:], norm.weight, norm.bias, norm.eps)
    cells = second_activation(_grow(second, first_activation(cells)))
    logits = cells @ kernel[..., None]
    # The cells of a token: row and column in the first convolution, then in the second.
    logits = logits.unflatten(1, (height, width, 2, 2, 2, 2))[..., 0]
    return logits.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, CELLS * height, CELLS * width)


def _grow(convolution: nn.ConvTranspose2d, tokens: Tensor) -> Tensor:
    """Turn each token into 2 x 2 adjacent cells: (B, T, C) to (B, 4T, D)."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    bias = None if convolution.bias is None else convolution.bias.repeat(CELLS)
    cells = F.linear(tokens, weight, bias)
    return cells.unflatten(2, (CELLS, -1)).flatten(1, 2)

"""Random weights and the error measure of the attention tests."""

from __future__ import annotations

import torch
from torch import nn


def random_weights(module: nn.Module, seed: int = 0) -> nn.Module:
    """Make all parameters random, including the relative positions, which start at zero."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return module.eval().requires_grad_(False)


def relative_error(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got - want).abs().max() / want.abs().max())

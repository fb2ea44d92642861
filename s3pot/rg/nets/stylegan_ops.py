"""Building blocks of StyleGAN2 (Karras et al., 2020) in plain PyTorch: no compiled kernels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLUR_TAPS = (1.0, 3.0, 3.0, 1.0)


def scaled_leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU with slope 0.2, times sqrt(2) to keep the variance."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2.0)


class PixelNorm(nn.Module):
    """Scales each vector (last axis) to unit mean square."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (B, D)."""
        return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + 1e-8)


class EqualLinear(nn.Module):
    """Linear layer whose weight is scaled at run time by 1 / sqrt(fan_in).

    Args:
        inputs: Input width.
        outputs: Output width.
        bias: Initial value of the bias.
        learning_rate: Factor on the learning rate of weight and bias.
        activate: Whether to apply the scaled leaky ReLU.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        bias: float = 0.0,
        learning_rate: float = 1.0,
        activate: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / learning_rate)
        self.bias = nn.Parameter(torch.full((outputs,), float(bias)))
        self.scale = learning_rate / math.sqrt(inputs)
        self.learning_rate = learning_rate
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        out = F.linear(x * self.scale, self.weight, self.bias * self.learning_rate)
        return scaled_leaky_relu(out) if self.activate else out


class Blur(nn.Module):
    """Low-pass filter (1, 3, 3, 1) x (1, 3, 3, 1) of the up-sampling layers, with gain 4.

    ``kernel`` is part of the official checkpoints, so it is a buffer.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor(BLUR_TAPS)
        kernel = taps[:, None] * taps[None, :]
        self.register_buffer("kernel", kernel / kernel.sum() * 4.0)

    def _depthwise(self, x: Tensor) -> Tensor:
        return self.kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)

    def forward(self, x: Tensor) -> Tensor:
        """Filter (B, C, H, W) without padding: the sides shrink by 3."""
        return F.conv2d(x, self._depthwise(x), groups=x.shape[1])

    def upsample(self, x: Tensor) -> Tensor:
        """Enlarge (B, C, H, W) by 2: zeros between the pixels, then the filter."""
        return F.conv_transpose2d(x, self._depthwise(x), stride=2, padding=1, groups=x.shape[1])


class NoiseInjection(nn.Module):
    """Adds noise, the same for all channels, with a learned strength."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Add noise (1 or B, 1, H, W) to (B, C, H, W)."""
        return x + self.weight.to(x.dtype) * noise.to(x.dtype)


class BiasActivation(nn.Module):
    """Per-channel bias, then the scaled leaky ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, C, H, W)."""
        return scaled_leaky_relu(x + self.bias.to(x.dtype).view(1, -1, 1, 1))

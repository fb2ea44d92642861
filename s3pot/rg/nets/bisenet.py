"""BiSeNet face parser (Yu et al., 2018, with the spatial path replaced by the trunk's 1/8 map).

The default size loads the published ``79999_iter.pth`` with strict keys; with a smaller ``width``,
every number of channels is scaled.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s3pot.rg.nets.resnet18 import ResNet18

STRIDE = 32


class ParserLogits(NamedTuple):
    """Logits of the three heads, each (B, classes, H, W) at the input's size.

    Attributes:
        out: Main head, which reads the fused features.
        out16: Auxiliary head on the 1/8 context map (training only).
        out32: Auxiliary head on the 1/16 context map (training only).
    """

    out: Tensor
    out16: Tensor
    out32: Tensor


class ConvBNReLU(nn.Module):
    """Convolution without bias, batch norm, ReLU; keeps the size."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        return F.relu(self.bn(self.conv(x)))


def _global_mean(x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3), keepdim=True)


class AttentionRefinement(nn.Module):
    """A 3x3 block whose channels are gated by their own global mean."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(inputs, outputs)
        self.conv_atten = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        x = self.conv(x)
        return x * torch.sigmoid(self.bn_atten(self.conv_atten(_global_mean(x))))


class ContextPath(nn.Module):
    """Trunk and top-down refinement."""

    def __init__(self, width: int) -> None:
        super().__init__()
        context = 2 * width
        self.resnet = ResNet18(width)
        self.arm16 = AttentionRefinement(4 * width, context)
        self.arm32 = AttentionRefinement(8 * width, context)
        self.conv_head32 = ConvBNReLU(context, context)
        self.conv_head16 = ConvBNReLU(context, context)
        self.conv_avg = ConvBNReLU(8 * width, context, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the trunk's 1/8 map, the context at 1/8 and the context at 1/16."""
        taps = self.resnet(x)
        c32 = self.arm32(taps.f32) + self.conv_avg(_global_mean(taps.f32))
        u32 = self.conv_head32(F.interpolate(c32, scale_factor=2, mode="nearest"))
        c16 = self.arm16(taps.f16) + u32
        u16 = self.conv_head16(F.interpolate(c16, scale_factor=2, mode="nearest"))
        return taps.f8, u16, u32


class FeatureFusion(nn.Module):
    """Joins detail and context, then adds the channels once more, scaled by a learned gate."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convblk = ConvBNReLU(inputs, outputs, 1)
        self.conv1 = nn.Conv2d(outputs, outputs // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs // 4, outputs, 1, bias=False)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        """Fuse two maps of one size into (B, outputs, H, W)."""
        x = self.convblk(torch.cat([detail, context], dim=1))
        gate = torch.sigmoid(self.conv2(F.relu(self.conv1(_global_mean(x)))))
        return x + x * gate


class Head(nn.Module):
    """3x3 block and a 1x1 classifier without bias."""

    def __init__(self, inputs: int, middle: int, classes: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(inputs, middle)
        self.conv_out = nn.Conv2d(middle, classes, 1, bias=False)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Return (B, classes, *size) logits."""
        x = self.conv_out(self.conv(x))
        return F.interpolate(x, size, mode="bilinear", align_corners=True)


class BiSeNet(nn.Module):
    """Face parser.

    Args:
        classes: Number of label classes; the official model has 19.
        width: Base width; the official model has 64 (trunk 64 to 512, context 128, fusion 256).
    """

    def __init__(self, classes: int = 19, width: int = 64) -> None:
        super().__init__()
        self.cp = ContextPath(width)
        self.ffm = FeatureFusion(4 * width, 4 * width)
        self.conv_out = Head(4 * width, 4 * width, classes)
        self.conv_out16 = Head(2 * width, width, classes)
        self.conv_out32 = Head(2 * width, width, classes)

    def forward(self, x: Tensor) -> ParserLogits:
        """Run all three heads.

        Args:
            x: RGB normalized with ImageNet's mean and std, (B, 3, H, W), sides multiples of 32.

        Returns:
            Logits at the input's size.

        Raises:
            ValueError: A side is not a multiple of 32.
        """
        size = _checked_size(x)
        f8, u16, u32 = self.cp(x)
        out = self.conv_out(self.ffm(f8, u16), size)
        return ParserLogits(out, self.conv_out16(u16, size), self.conv_out32(u32, size))

    def forward_main(self, x: Tensor) -> Tensor:
        """Run only the main head: ``forward(x).out``, with less work."""
        size = _checked_size(x)
        f8, u16, _ = self.cp(x)
        return self.conv_out(self.ffm(f8, u16), size)


def _checked_size(x: Tensor) -> tuple[int, int]:
    height, width = int(x.shape[-2]), int(x.shape[-1])
    if height % STRIDE or width % STRIDE or not height or not width:
        raise ValueError(
            f"BiSeNet got {height} x {width} pixels; both sides must be multiples of {STRIDE}"
        )
    return height, width

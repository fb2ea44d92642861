"""SegNeXt (Guo et al., 2022): MSCAN backbone and the light Hamburger head, E4S's second parser.

``SegNeXt("small")`` loads the published face parsing checkpoint with strict keys.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MLP_RATIOS = (8, 8, 4, 4)
STRIPS = (7, 11, 21)
GROUPS = 32


@dataclass(frozen=True)
class SegNeXtSize:
    """Widths and depths.

    Attributes:
        widths: Channels of the four stages.
        depths: Blocks of the four stages.
        head: Channels of the head.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    head: int


SIZES = {
    "tiny": SegNeXtSize((32, 64, 160, 256), (3, 3, 5, 2), 256),
    "small": SegNeXtSize((64, 128, 320, 512), (2, 2, 4, 2), 256),
    "base": SegNeXtSize((64, 128, 320, 512), (3, 3, 12, 3), 512),
    "large": SegNeXtSize((64, 128, 320, 512), (3, 5, 27, 3), 1024),
}


def _depthwise(channels: int, height: int, width: int) -> nn.Conv2d:
    padding = (height // 2, width // 2)
    return nn.Conv2d(channels, channels, (height, width), padding=padding, groups=channels)


class SpatialGate(nn.Module):
    """Multi-scale strip convolutions whose sum gates the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0 = _depthwise(channels, 5, 5)
        for i, length in enumerate(STRIPS):
            self.add_module(f"conv{i}_1", _depthwise(channels, 1, length))
            self.add_module(f"conv{i}_2", _depthwise(channels, length, 1))
        self.conv3 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, C, H, W)."""
        # PyTorch 2.2 never returns from a strip of 21 in channels-last memory (CPUs with AVX-512).
        local = self.conv0(x).contiguous()
        total = local
        for i in range(len(STRIPS)):
            strip = self.get_submodule(f"conv{i}_1")(local)
            total = total + self.get_submodule(f"conv{i}_2")(strip)
        return self.conv3(total) * x


class Attention(nn.Module):
    """The gate between two 1x1 convolutions, with its own shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj_1 = nn.Conv2d(channels, channels, 1)
        self.spatial_gating_unit = SpatialGate(channels)
        self.proj_2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, C, H, W)."""
        return x + self.proj_2(self.spatial_gating_unit(F.gelu(self.proj_1(x))))


class DepthwiseConv(nn.Module):
    """3x3 depthwise convolution (a separate module in the checkpoint's keys)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = _depthwise(channels, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, C, H, W)."""
        return self.dwconv(x)


class ConvMLP(nn.Module):
    """1x1 up, depthwise 3x3, GELU, 1x1 down."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.dwconv = DepthwiseConv(hidden)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, C, H, W)."""
        return self.fc2(F.gelu(self.dwconv(self.fc1(x))))


class Block(nn.Module):
    """Attention and MLP, each with a norm before and a scale after it."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.norm2 = nn.BatchNorm2d(channels)
        self.attn = Attention(channels)
        self.mlp = ConvMLP(channels, channels * ratio)
        self.layer_scale_1 = nn.Parameter(torch.full((channels,), 1e-2))
        self.layer_scale_2 = nn.Parameter(torch.full((channels,), 1e-2))

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, C, H, W)."""
        x = x + self.layer_scale_1.view(-1, 1, 1) * self.attn(self.norm1(x))
        return x + self.layer_scale_2.view(-1, 1, 1) * self.mlp(self.norm2(x))


class Stem(nn.Module):
    """Two strided convolutions that compute the first stage's input at 1/4 of the size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.Conv2d(3, channels // 2, 3, 2, 1),
            nn.BatchNorm2d(channels // 2),
            nn.GELU(),
            nn.Conv2d(channels // 2, channels, 3, 2, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, C, H / 4, W / 4)."""
        return self.proj(x)


class Downsample(nn.Module):
    """Strided convolution between two stages."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, outputs, 3, 2, 1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / 2, W / 2)."""
        return self.norm(self.proj(x))


class MSCAN(nn.Module):
    """Four-stage backbone."""

    def __init__(self, size: SegNeXtSize) -> None:
        super().__init__()
        for i, (width, depth, ratio) in enumerate(zip(size.widths, size.depths, MLP_RATIOS)):
            entry = Stem(width) if i == 0 else Downsample(size.widths[i - 1], width)
            self.add_module(f"patch_embed{i + 1}", entry)
            blocks = nn.ModuleList(Block(width, ratio) for _ in range(depth))
            self.add_module(f"block{i + 1}", blocks)
            self.add_module(f"norm{i + 1}", nn.LayerNorm(width))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the four stages' maps at 1/4, 1/8, 1/16, 1/32, after their LayerNorm."""
        stages = []
        for i in range(1, len(MLP_RATIOS) + 1):
            x = self.get_submodule(f"patch_embed{i}")(x)
            for block in self.get_submodule(f"block{i}").children():
                x = block(x)
            x = self.get_submodule(f"norm{i}")(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            stages.append(x)
        return stages


class NormedConv(nn.Module):
    """1x1 convolution without bias, then GroupNorm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.gn = nn.GroupNorm(GROUPS, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        return self.gn(self.conv(x))


class BareConv(nn.Module):
    """1x1 convolution with bias (a separate module in the checkpoint's keys)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, C, H, W)."""
        return self.conv(x)


class Hamburger(nn.Module):
    """Low-rank reconstruction of the features by non-negative matrix factorization.

    Args:
        channels: Number of channels.
        rank: Number of bases.
        steps: Multiplicative updates, followed by one more of the coefficients.
    """

    bases: Tensor

    def __init__(self, channels: int, rank: int = 16, steps: int = 7) -> None:
        super().__init__()
        self.ham_in = BareConv(channels)
        self.ham_out = NormedConv(channels, channels)
        self.steps = steps
        # Release: draws new bases at every call, so two runs on one image differ. Here they are
        # drawn once, always the same, and are not part of the checkpoint.
        generator = torch.Generator("cpu").manual_seed(0)
        drawn = torch.rand(1, channels, rank, generator=generator, device="cpu")
        self.register_buffer("bases", F.normalize(drawn, dim=1), persistent=False)

    def factorize(self, x: Tensor) -> Tensor:
        """Approximate non-negative (B, C, N) by rank-16 factors; returns the same shape."""
        eps = 1e-6
        bases = self.bases.to(x.dtype).expand(len(x), -1, -1)
        coefficients = torch.softmax(x.transpose(1, 2) @ bases, dim=-1)
        for step in range(self.steps + 1):
            target = x.transpose(1, 2) @ bases
            coefficients = coefficients * target / (coefficients @ _gram(bases) + eps)
            if step < self.steps:
                bases = bases * (x @ coefficients) / (bases @ _gram(coefficients) + eps)
        return bases @ coefficients.transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, C, H, W)."""
        low_rank = self.factorize(F.relu(self.ham_in(x)).flatten(2)).view_as(x)
        return F.relu(x + self.ham_out(low_rank))


def _gram(factor: Tensor) -> Tensor:
    return factor.transpose(1, 2) @ factor


class LightHamHead(nn.Module):
    """The head, which reads stages 2 to 4."""

    def __init__(self, size: SegNeXtSize, classes: int) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(size.head, classes, 1)
        self.squeeze = NormedConv(sum(size.widths[1:]), size.head)
        self.hamburger = Hamburger(size.head)
        self.align = NormedConv(size.head, size.head)

    def forward(self, stages: list[Tensor]) -> Tensor:
        """Return (B, classes, H / 8, W / 8)."""
        side = stages[1].shape[-2:]
        maps = [F.interpolate(x, side, mode="bilinear") for x in stages[1:]]
        x = F.relu(self.squeeze(torch.cat(maps, dim=1)))
        return self.conv_seg(F.relu(self.align(self.hamburger(x))))


class SegNeXt(nn.Module):
    """Face parser.

    Args:
        size: A key of ``SIZES``, or other sizes.
        classes: Number of label classes; E4S's parser has 19, in the order of CelebAMask-HQ.

    Raises:
        ValueError: Unknown size.
    """

    def __init__(self, size: str | SegNeXtSize = "small", classes: int = 19) -> None:
        super().__init__()
        if isinstance(size, str):
            if size not in SIZES:
                raise ValueError(f"SegNeXt size is {size!r}, expected one of {', '.join(SIZES)}")
            size = SIZES[size]
        self.backbone = MSCAN(size)
        self.decode_head = LightHamHead(size, classes)

    def forward_main(self, x: Tensor) -> Tensor:
        """Run the network.

        Args:
            x: RGB normalized with ImageNet's mean and std, (B, 3, H, W), any size.

        Returns:
            Logits (B, classes, ceil(H / 8), ceil(W / 8)), to be enlarged before the argmax.
        """
        return self.decode_head(self.backbone(x))

    def forward(self, x: Tensor) -> Tensor:
        """Do the same as ``forward_main``."""
        return self.forward_main(x)

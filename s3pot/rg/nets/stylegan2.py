"""StyleGAN2 generator whose early layers take one style per face region (E4S, section 3.2).

The input is scaled by the style, and the output by the demodulation. This equals the paper's
modulated convolution, but all samples and regions share the weights, so that a batch needs only one
convolution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s3pot.rg.nets.regions import Box, Cut, Paste, RegionPlan
from s3pot.rg.nets.stylegan_ops import BiasActivation, Blur, EqualLinear, NoiseInjection, PixelNorm

DEMODULATION_EPS = 1e-8
FIRST_SIZE = 4


class ModulatedConv(nn.Module):
    """3x3 convolution with style modulation and demodulation, optionally up-sampling by 2.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        style_dim: Width of a style code.
        up: Use a transposed convolution of stride 2 and a blur instead of a plain convolution.
    """

    def __init__(self, inputs: int, outputs: int, style_dim: int, up: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, 3, 3))
        self.modulation = EqualLinear(style_dim, inputs, bias=1.0)
        self.scale = 1.0 / math.sqrt(inputs * 9)
        self.up = up
        if up:
            self.blur = Blur()

    def styles(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Turn codes (B, R, D) into input scales (B, R, I) and output scales (B, R, O)."""
        style = self.modulation(codes)
        power = (self.scale * self.weight[0].float()).square().sum(dim=(2, 3))
        with torch.autocast(style.device.type, enabled=False):  # sums of many squares need float32
            energy = style.float().square() @ power.T
        return style, torch.rsqrt(energy + DEMODULATION_EPS).to(style.dtype)

    def forward(self, x: Tensor, codes: Tensor) -> Tensor:
        """Apply one code (B, D) everywhere: (B, I, H, W) to (B, O, H', W')."""
        style, demodulation = self.styles(codes[:, None])
        x = F.pad(x, (1, 1, 1, 1))
        whole = Box(0, self._out(x.shape[2] - 2), 0, self._out(x.shape[3] - 2))
        return self._convolve(x, style[:, 0], demodulation[:, 0], whole)

    def regional(self, x: Tensor, codes: Tensor, plan: RegionPlan) -> Tensor:
        """Apply each region's code (B, R, D) under its mask: (B, I, H, W) to (B, O, H', W')."""
        style, demodulation = self.styles(codes)
        level = plan.level(self._out(x.shape[2]))
        boxes = tuple(self._source(tile.box) for tile in level.tiles)
        cuts = Cut.apply(F.pad(x, (1, 1, 1, 1)), boxes)
        pieces = [
            self._convolve(cut, style[:, tile.region], demodulation[:, tile.region], tile.box)
            for cut, tile in zip(cuts, level.tiles)
        ]
        return Paste.apply(level, *pieces)

    def _out(self, side: int) -> int:
        return side * 2 if self.up else side

    def _source(self, box: Box) -> Box:
        """Return the pixels of the input, padded by 1, that a box of the output needs."""
        if not self.up:
            return Box(box.y0, box.y1 + 2, box.x0, box.x1 + 2)
        # Blurred row y reads rows y-1..y+2 of the transposed convolution, whose row t reads input
        # rows ceil((t-2)/2)..floor(t/2); +1 for the padding. Beyond the border all of it is 0.
        return Box(box.y0 // 2, (box.y1 + 1) // 2 + 2, box.x0 // 2, (box.x1 + 1) // 2 + 2)

    def _convolve(self, x: Tensor, style: Tensor, demodulation: Tensor, box: Box) -> Tensor:
        weight = self.weight[0] * self.scale
        x = x * style[:, :, None, None].to(x.dtype)
        if self.up:
            x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
            # Row t of the whole map is row t - first of this piece.
            row = box.y0 + 1 - 2 * (box.y0 // 2)
            column = box.x0 + 1 - 2 * (box.x0 // 2)
            height = box.y1 - box.y0 + 3
            width = box.x1 - box.x0 + 3
            x = self.blur(x[:, :, row : row + height, column : column + width])
        else:
            x = F.conv2d(x, weight)
        return x * demodulation[:, :, None, None].to(x.dtype)


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias, activation."""

    def __init__(self, inputs: int, outputs: int, style_dim: int, up: bool) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, style_dim, up)
        self.noise = NoiseInjection()
        self.activate = BiasActivation(outputs)

    def forward(self, x: Tensor, codes: Tensor, plan: RegionPlan | None, noise: Tensor) -> Tensor:
        """Run the layer.

        Args:
            x: (B, I, H, W).
            codes: One code per region, (B, R, D).
            plan: The regions; None uses the code of region 0 everywhere.
            noise: (1 or B, 1, H', W').

        Returns:
            (B, O, H', W').
        """
        x = self.conv(x, codes[:, 0]) if plan is None else self.conv.regional(x, codes, plan)
        return self.activate(self.noise(x, noise))


class ModulatedToRGB(nn.Module):
    """1x1 convolution to RGB with modulation, without demodulation."""

    def __init__(self, inputs: int, style_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, 3, inputs, 1, 1))
        self.modulation = EqualLinear(style_dim, inputs, bias=1.0)
        self.scale = 1.0 / math.sqrt(inputs)

    def forward(self, x: Tensor, codes: Tensor, plan: RegionPlan | None) -> Tensor:
        """Map (B, I, H, W) to (B, 3, H, W), each pixel with its region's code (B, R, D)."""
        batch, _, height, width = x.shape
        style = self.modulation(codes if plan is not None else codes[:, :1])
        # All regions at once: 3 channels per region cost less than cutting boxes.
        weight = style[:, :, None, :] * (self.weight[0, :, :, 0, 0] * self.scale)
        flat = torch.bmm(weight.flatten(1, 2).to(x.dtype), x.flatten(2))
        rgb = flat.view(batch, -1, 3, height, width)
        if plan is None:
            return rgb[:, 0]
        index = plan.level(height).labels[:, None, None].expand(-1, 1, 3, -1, -1)
        return rgb.gather(1, index)[:, 0]


class ToRGB(nn.Module):
    """Adds this resolution's RGB to the enlarged image of the lower ones."""

    def __init__(self, inputs: int, style_dim: int, up: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        if up:
            self.upsample = Blur()
        self.conv = ModulatedToRGB(inputs, style_dim)

    def forward(
        self, x: Tensor, codes: Tensor, plan: RegionPlan | None, skip: Tensor | None
    ) -> Tensor:
        """Return (B, 3, H, W) from features (B, I, H, W) and the image at half the size."""
        rgb = self.conv(x, codes, plan) + self.bias.to(x.dtype)
        return rgb if skip is None else rgb + self.upsample.upsample(skip)


class ConstantInput(nn.Module):
    """The learned map (1, C, 4, 4) that every image starts from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, FIRST_SIZE, FIRST_SIZE))

    def forward(self, batch: int) -> Tensor:
        """Return (B, C, 4, 4)."""
        return self.input.expand(batch, -1, -1, -1)


class Noises(nn.Module):
    """The stored noise, as buffers: ``noise_0`` (4 px), then two for each resolution."""

    def __init__(self, resolutions: int) -> None:
        super().__init__()
        self.sizes = tuple(FIRST_SIZE * 2 ** ((i + 1) // 2) for i in range(2 * resolutions - 1))
        for i, size in enumerate(self.sizes):
            self.register_buffer(f"noise_{i}", torch.randn(1, 1, size, size))

    def stored(self, index: int) -> Tensor:
        """Return the stored noise of one layer, (1, 1, s, s)."""
        return self.get_buffer(f"noise_{index}")


class Generator(nn.Module):
    """StyleGAN2 synthesis network with regional styles.

    Args:
        channels: Feature channels at 4, 8, 16, ... px, up to the image's size.
        style_dim: Width of a style code.
        masked_codes: Codes with an index below this one are read per region.
        mapping_layers: Depth of the z -> w network, which inversion never runs; 0 leaves it out.
    """

    def __init__(
        self, channels: Sequence[int], style_dim: int, masked_codes: int, mapping_layers: int
    ) -> None:
        super().__init__()
        self.masked_codes = masked_codes
        mapping = [
            EqualLinear(style_dim, style_dim, learning_rate=0.01, activate=True)
            for _ in range(mapping_layers)
        ]
        self.style = nn.Sequential(PixelNorm(), *mapping)
        self.input = ConstantInput(channels[0])
        self.conv1 = StyledConv(channels[0], channels[0], style_dim, up=False)
        self.to_rgb1 = ToRGB(channels[0], style_dim, up=False)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for below, here in zip(channels, channels[1:]):
            self.convs.append(StyledConv(below, here, style_dim, up=True))
            self.convs.append(StyledConv(here, here, style_dim, up=False))
            self.to_rgbs.append(ToRGB(here, style_dim))
        self.noises = Noises(len(channels))

    @property
    def masked_sizes(self) -> tuple[int, ...]:
        """Output sides of the layers that read a masked code, in ascending order."""
        # Convolution i reads code i; the to-RGB of its resolution reads one that is not lower.
        return tuple(sorted(set(self.noises.sizes[: self.masked_codes])))

    def _noise(self, x: Tensor, random: bool) -> Iterator[Tensor]:
        for index, size in enumerate(self.noises.sizes):
            if random:
                yield torch.randn(x.shape[0], 1, size, size, device=x.device, dtype=x.dtype)
            else:
                yield self.noises.stored(index)

    def forward(self, codes: Tensor, plan: RegionPlan, random_noise: bool = False) -> Tensor:
        """Generate images.

        Args:
            codes: One W+ code per region, (B, R, codes, D). Code 0 feeds the first convolution, 1
                the first to-RGB; every resolution then reads i, i + 1 (convolutions) and i + 2
                (to-RGB), i = 1, 3, 5, ...
            plan: Regions at ``masked_sizes``.
            random_noise: Use fresh noise instead of the stored noise.

        Returns:
            (B, 3, S, S), nominally in [-1, 1], not clamped.
        """

        def at(index: int) -> tuple[Tensor, RegionPlan | None]:
            return codes[:, :, index], plan if index < self.masked_codes else None

        noise = self._noise(codes, random_noise)
        x = self.conv1(self.input(len(codes)).to(codes.dtype), *at(0), next(noise))
        picture = self.to_rgb1(x, *at(1), None)
        for level, to_rgb in enumerate(self.to_rgbs):
            code = 2 * level + 1
            x = self.convs[2 * level](x, *at(code), next(noise))
            x = self.convs[2 * level + 1](x, *at(code + 1), next(noise))
            picture = to_rgb(x, *at(code + 2), picture)
        return picture

"""A small one-stage face detector with five landmarks.

Every cell of three grids (strides 8, 16, 32) predicts whether the center of a face lies in it, and
the box and landmarks of this face: without anchors, as in FCOS (Tian et al., 2019), and with
depthwise separable convolutions and a feature pyramid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = (8, 16, 32)
MULTIPLE = STRIDES[-1]  # sides of an input are multiples of this
LANDMARKS = 5
UNIT = 4  # strides in which boxes and landmarks are measured
_OUTPUTS = 1 + 4 + 2 * LANDMARKS
_LARGEST_LOG = 4.0  # sides of boxes stay within exp(4) units: no overflow early in training


@dataclass(frozen=True)
class FaceDetectorSize:
    """Widths of the network.

    Attributes:
        stem: Channels at strides 2 and 4.
        widths: Channels at strides 8, 16 and 32.
        depths: Blocks at strides 8, 16 and 32.
        neck: Channels of the pyramid and of the heads.
    """

    stem: tuple[int, int] = (16, 32)
    widths: tuple[int, int, int] = (64, 96, 128)
    depths: tuple[int, int, int] = (2, 3, 3)
    neck: int = 64


@dataclass(frozen=True, eq=False)
class CellFaces:
    """The predictions of all cells, one face each, in pixels of the network's input.

    Attributes:
        logits: Confidence before the sigmoid, (B, N).
        boxes: x, y, width, height, (B, N, 4).
        landmarks: (B, N, 5, 2), x, y.
    """

    logits: Tensor
    boxes: Tensor
    landmarks: Tensor


class ConvUnit(nn.Sequential):
    """Convolution, batch norm and, if ``active``, ReLU."""

    def __init__(  # noqa: PLR0913  # those of nn.Conv2d
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        active: bool = True,
    ) -> None:
        convolution = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        layers: list[nn.Module] = [convolution, nn.BatchNorm2d(outputs)]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if active else []))


class SeparableBlock(nn.Module):
    """Depthwise 5 x 5, then pointwise convolution; with a shortcut if the shape stays the same."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.shortcut = stride == 1 and inputs == outputs
        self.spatial = ConvUnit(inputs, inputs, 5, stride, groups=inputs)
        self.mix = ConvUnit(inputs, outputs, 1, active=not self.shortcut)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        mixed: Tensor = self.mix(self.spatial(features))
        return F.relu(mixed + features) if self.shortcut else mixed


class FaceDetectorNet(nn.Module):
    """Backbone, feature pyramid and a head for each of its levels."""

    def __init__(self, size: FaceDetectorSize | None = None) -> None:
        super().__init__()
        size = size or FaceDetectorSize()
        self.stem = nn.Sequential(
            ConvUnit(3, size.stem[0], 3, 2),
            SeparableBlock(size.stem[0], size.stem[1], 2),
            SeparableBlock(size.stem[1], size.stem[1]),
        )
        stages, inputs = [], size.stem[1]
        for width, depth in zip(size.widths, size.depths):
            blocks = [SeparableBlock(inputs, width, 2)]
            blocks += [SeparableBlock(width, width) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
            inputs = width
        self.stages = nn.ModuleList(stages)
        self.lateral = nn.ModuleList([ConvUnit(width, size.neck, 1) for width in size.widths])
        self.merge = nn.ModuleList([SeparableBlock(size.neck, size.neck) for _ in STRIDES])
        # A head for each level: batch norm keeps one set of statistics, and the levels differ.
        self.heads = nn.ModuleList([_head(size.neck) for _ in STRIDES])

    def forward(self, images: Tensor) -> CellFaces:
        """Predict the faces of images.

        Args:
            images: RGB in [0, 1], (B, 3, H, W), sides multiples of MULTIPLE.
        """
        features: Tensor = self.stem((images - 0.5) * 4)
        levels = []
        for stage in self.stages:
            features = stage(features)
            levels.append(features)
        above: Tensor | None = None
        grids: list[Tensor] = []
        for level in reversed(range(len(STRIDES))):
            merged: Tensor = self.lateral[level](levels[level])
            if above is not None:
                merged = merged + F.interpolate(above, scale_factor=2.0, mode="nearest")
            above = self.merge[level](merged)
            grids.insert(0, self.heads[level](above).float())
        decoded = [_decode(grid, stride) for grid, stride in zip(grids, STRIDES)]
        return CellFaces(
            torch.cat([faces.logits for faces in decoded], dim=1),
            torch.cat([faces.boxes for faces in decoded], dim=1),
            torch.cat([faces.landmarks for faces in decoded], dim=1),
        )


def _head(width: int) -> nn.Sequential:
    """Create the layers from a level's features to its outputs."""
    blocks = [SeparableBlock(width, width) for _ in range(2)]
    return nn.Sequential(*blocks, _output_layer(width))


def _output_layer(inputs: int) -> nn.Conv2d:
    """Create the last layer, which at first predicts hardly any face, and boxes of medium size."""
    layer = nn.Conv2d(inputs, _OUTPUTS, 1)
    bias = torch.zeros(_OUTPUTS)
    bias[0] = -4.0
    nn.init.normal_(layer.weight, std=0.01)
    layer.bias = nn.Parameter(bias)
    return layer


def cell_centers(height: int, width: int, stride: int) -> Tensor:
    """Return the centers of a grid's cells, row by row: pixels x, y, (height * width, 2)."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (torch.stack((columns, rows), dim=-1).reshape(-1, 2) + 0.5) * stride - 0.5


def _decode(grid: Tensor, stride: int) -> CellFaces:
    """Convert a level's outputs, (B, 15, H, W), to boxes and landmarks in pixels."""
    batch, _, height, width = grid.shape
    values = grid.permute(0, 2, 3, 1).reshape(batch, height * width, _OUTPUTS)
    centers = cell_centers(height, width, stride).to(grid)
    unit = stride * UNIT
    middle = centers + values[..., 1:3] * unit
    sides = values[..., 3:5].clamp(-_LARGEST_LOG, _LARGEST_LOG).exp() * unit
    offsets = values[..., 5:].reshape(batch, height * width, LANDMARKS, 2) * unit
    boxes = torch.cat((middle - sides / 2, sides), dim=-1)
    return CellFaces(values[..., 0], boxes, centers[:, None] + offsets)

"""E4S's image encoder: an IR-SE body whose features are averaged under each face region."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s3pot.rg.nets.regions import subsample

SQUEEZE = 16


class SqueezeExcitation(nn.Module):
    """Gates the channels by their global mean.

    After an InstanceNorm without learned scale, the mean is 0 and the gate 0.5 for all weights.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = max(1, channels // SQUEEZE)
        self.fc1 = nn.Conv2d(channels, middle, 1, bias=False)
        self.fc2 = nn.Conv2d(middle, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Gate the channels of (B, C, H, W)."""
        pooled = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(pooled))))


class IRSEUnit(nn.Module):
    """Improved residual unit with squeeze-excitation; the second convolution has the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.shortcut_layer: nn.Module | None = None
        if inputs != outputs:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.InstanceNorm2d(outputs)
            )
        self.res_layer = nn.Sequential(
            nn.InstanceNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.InstanceNorm2d(outputs),
            SqueezeExcitation(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        if self.shortcut_layer is None:
            shortcut = x[..., :: self.stride, :: self.stride]
        else:
            shortcut = self.shortcut_layer(x)
        return self.res_layer(x) + shortcut


class RegionEncoder(nn.Module):
    """Encodes the face regions of an image as style vectors.

    Args:
        widths: Channels of the input layer and of the four stages.
        units: Units per stage; each stage halves the size.
        regions: Number of regions.
        size: Side to which the image is resized.
    """

    def __init__(
        self, widths: Sequence[int], units: Sequence[int], regions: int, size: int
    ) -> None:
        super().__init__()
        self.regions = regions
        self.size = size
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, 1, 1, bias=False),
            nn.InstanceNorm2d(widths[0]),
            nn.PReLU(widths[0]),
        )
        body: list[nn.Module] = []
        last_units = []
        for inputs, outputs, count in zip(widths, widths[1:], units):
            body.append(IRSEUnit(inputs, outputs, 2))
            body.extend(IRSEUnit(outputs, outputs, 1) for _ in range(count - 1))
            last_units.append(len(body) - 1)
        self.body = nn.Sequential(*body)
        self.taps = tuple(last_units[1:])

    def forward(self, image: Tensor, labels: Tensor) -> Tensor:
        """Encode.

        Args:
            image: (B, 3, H, W) in [-1, 1].
            labels: Integer (B, M, M), values in 0..regions-1.

        Returns:
            (B, regions, sum of the tapped widths): the mean features under each region's mask in
            the last three stages; zero where the region is empty at that stage's size.
        """
        if image.shape[-2:] != (self.size, self.size):
            image = F.interpolate(image, (self.size, self.size), mode="bilinear")
        x = self.input_layer(image)
        means = []
        for index, unit in enumerate(self.body):
            x = unit(x)
            if index in self.taps:
                means.append(region_means(x, subsample(labels, x.shape[-1]), self.regions))
        return torch.cat(means, dim=2)


def region_means(features: Tensor, labels: Tensor, regions: int) -> Tensor:
    """Average features under each region.

    Args:
        features: (B, C, H, W).
        labels: Integer (B, H, W).
        regions: Number of regions.

    Returns:
        (B, regions, C); zero for an empty region.
    """
    index = torch.arange(regions, device=labels.device)[None, :, None]
    masks = (labels.flatten(1)[:, None] == index).float()
    with torch.autocast(features.device.type, enabled=False):  # sums of many pixels need float32
        sums = torch.bmm(masks, features.float().flatten(2).transpose(1, 2))
    means = sums / masks.sum(dim=2, keepdim=True).clamp(min=1.0)
    return means.to(features.dtype)

"""Augmentation of drawn pictures by camera, light and pose, for whole batches.

The occluded face and the clean one get the same light: it belongs to the face, and a reference has
to keep it. Random numbers come from PyTorch's generator of the pictures' device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.labels import CLASSES
from s3pot_mini.pool import FaceBatch, SceneBatch, constant

SKIN, NOSE = CLASSES.index("skin"), CLASSES.index("nose")
GRAY = (0.299, 0.587, 0.114)
BROWN = (0.17, 0.12, 0.09)
JPEG_BLOCK = 8
BLUR_REACH = 4  # in pixels to each side


def uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    """Draw one uniform number per picture, (B, 1, 1, 1)."""
    return torch.rand(count, 1, 1, 1, device=device) * (high - low) + low


def chance(count: int, share: float, device: torch.device) -> Tensor:
    """Draw True for a share of the pictures, bool (B, 1, 1, 1)."""
    return torch.rand(count, 1, 1, 1, device=device) < share


def normal(count: int, spread: float, device: torch.device, channels: int = 1) -> Tensor:
    """Draw normal numbers with mean 0, (B, channels, 1, 1)."""
    return torch.randn(count, channels, 1, 1, device=device) * spread


def coordinates(size: int, device: torch.device) -> Tensor:
    """Return pixel centers from -1 to 1, (S, S, 2), x and y."""
    axis = (torch.arange(size, device=device) + 0.5) * 2 / size - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack((x, y), dim=-1)


# --- geometry ---------------------------------------------------------------------------------


def random_view(count: int, size: int, device: torch.device) -> Tensor:
    """Sampling grids with random rotation, scale, shift, flip and tilt, (B, S, S, 2)."""
    small = torch.randn(count, device=device) * 0.12
    large = (torch.rand(count, device=device) * 2 - 1) * 0.6
    angle = torch.where(torch.rand(count, device=device) < 0.25, large, small)
    scale = torch.exp((torch.rand(count, device=device) - 0.45) * 0.45)
    stretch = torch.exp(torch.randn(count, device=device) * 0.05)
    mirror = torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    matrix = torch.stack((cos * mirror * stretch, -sin, sin * mirror * stretch, cos), dim=1)
    shift = torch.randn(count, 1, 1, 2, device=device) * 0.06
    tilt = torch.randn(count, 1, 1, 2, device=device) * 0.06
    flat = coordinates(size, device)
    moved = torch.einsum("bij,hwj->bhwi", matrix.view(count, 2, 2), flat) + shift
    depth = 1 + (flat * tilt).sum(-1, keepdim=True)
    return moved / depth.clamp_min(0.5)


def look(image: Tensor, grid: Tensor) -> Tensor:
    """Sample pictures (B, C, S, S) at a grid; the outside is filled by reflection."""
    return F.grid_sample(image, grid, "bilinear", "reflection", align_corners=False)


def look_at_labels(labels: Tensor, grid: Tensor) -> Tensor:
    """Sample integer or bool maps (B, S, S) at a grid, same type."""
    sampled = F.grid_sample(
        labels[:, None].float(), grid, "nearest", "reflection", align_corners=False
    )
    return sampled[:, 0].to(labels.dtype)


def turned(batch: FaceBatch) -> FaceBatch:
    """Show each face from a random view, the same for all its planes."""
    grid = random_view(len(batch.raw), batch.raw.shape[-1], batch.raw.device)
    images = look(torch.cat((batch.raw, batch.clean), dim=1), grid)
    return FaceBatch(
        raw=images[:, :3],
        clean=images[:, 3:],
        labels=look_at_labels(batch.labels, grid),
        occluder=look_at_labels(batch.occluder, grid),
    )


def turned_scene(batch: SceneBatch) -> SceneBatch:
    """Show each scene from a random view."""
    grid = random_view(len(batch.image), batch.image.shape[-1], batch.image.device)
    return SceneBatch(
        image=look(batch.image, grid),
        parts=look_at_labels(batch.parts, grid),
        things=look_at_labels(batch.things, grid),
    )


# --- properties of the face -------------------------------------------------------------------


def bearded(batch: FaceBatch, share: float = 0.25) -> FaceBatch:
    """Darken the lower part of the skin of some faces, like stubble or a beard."""
    count, device = len(batch.raw), batch.raw.device
    size = batch.raw.shape[-1]
    rows = torch.arange(size, device=device).view(1, size, 1)
    nose_end = torch.where(batch.labels == NOSE, rows, 0).flatten(1).amax(1)
    skin_end = torch.where(batch.labels == SKIN, rows, 0).flatten(1).amax(1)
    height = (skin_end - nose_end).clamp_min(1)
    place = (rows - nose_end.view(-1, 1, 1)) / height.view(-1, 1, 1)
    start = uniform(count, -0.15, 0.35, device)
    ramp = torch.sigmoid((place[:, None] - start) / uniform(count, 0.03, 0.15, device))
    coarse = torch.rand(count, 1, size // 16, size // 16, device=device)
    patches = F.interpolate(coarse, (size, size), mode="bilinear", align_corners=False)
    grain = torch.rand(count, 1, size, size, device=device)
    density = uniform(count, 0.15, 0.85, device) * (0.55 + 0.3 * patches + 0.3 * grain)
    strength = density * ramp * (batch.labels == SKIN)[:, None] * chance(count, share, device)
    strength = F.avg_pool2d(strength, 3, stride=1, padding=1).clamp(0, 1)
    brown = constant(BROWN, device).view(1, 3, 1, 1)
    hair = (brown * uniform(count, 0.3, 2.2, device) + normal(count, 0.03, device, 3)).clamp(0, 1)
    visible = (~batch.occluder)[:, None]
    clean = batch.clean + strength * (hair - batch.clean)
    raw = torch.where(visible, batch.raw + strength * (hair - batch.raw), batch.raw)
    return replace(batch, raw=raw, clean=clean)


# --- lamp, lens, sensor and file --------------------------------------------------------------


@dataclass(frozen=True)
class Tone:
    """One lamp and one camera for each picture; values are (B, 1, 1, 1) unless stated otherwise.

    Attributes:
        lamp: Factor for each pixel from a lamp at the side, (B, 1, S, S).
        gain: Exposure and white balance, (B, 3, 1, 1).
        gamma: Gamma of the tone curve.
        contrast: Share of an S-shaped curve, -0.5 to 0.8.
        saturation: 0 is gray.
        blur: Standard deviation of the lens blur, in pixels; 0 is sharp.
        noise: Standard deviation of the sensor noise, [0, 1].
        coarseness: Share of the noise that is clumped like film grain.
        jpeg: Quantization step, [0, 1]; 0 disables it.
    """

    lamp: Tensor
    gain: Tensor
    gamma: Tensor
    contrast: Tensor
    saturation: Tensor
    blur: Tensor
    noise: Tensor
    coarseness: Tensor
    jpeg: Tensor

    @classmethod
    def draw(cls, count: int, size: int, device: torch.device) -> Tone:
        """Draw lamps and cameras at random."""
        gray = chance(count, 0.06, device)
        exposure = normal(count, 0.16, device) + normal(count, 0.06, device, 3)
        exposure = exposure + chance(count, 0.08, device) * uniform(count, 0.2, 0.7, device)
        return cls(
            lamp=side_lamp(count, size, device),
            gain=exposure.exp(),
            gamma=normal(count, 0.14, device).exp(),
            contrast=uniform(count, -0.5, 0.8, device) * chance(count, 0.6, device),
            saturation=uniform(count, 0.45, 1.3, device) * ~gray,
            blur=uniform(count, 0.4, 1.8, device) * chance(count, 0.5, device),
            noise=uniform(count, 0.0, 0.04, device) * chance(count, 0.7, device),
            coarseness=uniform(count, 0.0, 1.0, device),
            jpeg=uniform(count, 0.01, 0.12, device) * chance(count, 0.5, device),
        )

    def take(self, image: Tensor) -> Tensor:
        """Apply the effects to pictures (B, 3, S, S) in [0, 1], with new noise in each call."""
        image = (image * self.lamp * self.gain).clamp(1e-4, 1) ** self.gamma
        curve = image * image * (3 - 2 * image)
        image = image + self.contrast * (curve - image)
        weights = constant(GRAY, image.device).view(1, 3, 1, 1)
        gray = (image * weights).sum(1, keepdim=True)
        image = gray + self.saturation * (image - gray)
        image = gaussian_blur(image, self.blur)
        fine = torch.randn_like(image)
        coarse = F.avg_pool2d(torch.randn_like(image), 3, stride=1, padding=1) * 3
        grain = fine + self.coarseness * (coarse - fine)
        return quantized((image + self.noise * grain).clamp(0, 1), self.jpeg).clamp(0, 1)


def side_lamp(count: int, size: int, device: torch.device, share: float = 0.4) -> Tensor:
    """Draw light that falls off across the picture, softly or with a hard edge, (B, 1, S, S)."""
    flat = coordinates(size, device)
    angle = torch.rand(count, device=device) * 2 * math.pi
    way = torch.stack((angle.cos(), angle.sin()), dim=-1).view(count, 1, 1, 2)
    bend = (torch.rand(count, 1, 1, device=device) - 0.5) * 1.2
    along = (flat * way).sum(-1)
    across = (flat * way.flip(-1) * constant((-1.0, 1.0), device)).sum(-1)
    offset = torch.randn(count, 1, 1, device=device) * 0.3
    width = torch.exp(torch.rand(count, 1, 1, device=device) * 2.3 - 2.7)
    shade = torch.sigmoid((along + bend * across.square() - offset) / width)[:, None]
    depth = uniform(count, 0.15, 0.75, device) * chance(count, share, device)
    return 1 - depth * shade


def gaussian_blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Blur each picture by its own standard deviation, (B, 1, 1, 1) pixels; 0 keeps it sharp."""
    count, channels, height, width = image.shape
    reach = torch.arange(-BLUR_REACH, BLUR_REACH + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (reach / sigma.view(-1, 1).clamp_min(0.05)).square())
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None, None]
    groups = count * channels
    flat = F.pad(image, (BLUR_REACH,) * 4, mode="replicate").flatten(0, 1)[None]
    with torch.autocast(image.device.type, enabled=False):
        flat = F.conv2d(flat, kernel, groups=groups)
        flat = F.conv2d(flat, kernel.transpose(2, 3), groups=groups)
    return flat.view(count, channels, height, width)


def dct_matrix(device: torch.device) -> Tensor:
    """Return the orthonormal cosine transform of JPEG_BLOCK values."""
    index = torch.arange(JPEG_BLOCK, device=device, dtype=torch.float32)
    matrix = torch.cos(math.pi / JPEG_BLOCK * (index[None] + 0.5) * index[:, None])
    matrix[0] /= math.sqrt(2)
    return matrix * math.sqrt(2 / JPEG_BLOCK)


def quantized(image: Tensor, step: Tensor) -> Tensor:
    """Round the cosine coefficients of blocks as JPEG does, with coarser steps for finer detail.

    Args:
        image: (B, C, S, S), S a multiple of JPEG_BLOCK.
        step: Step for the lowest frequencies, (B, 1, 1, 1); with 0, nothing is rounded.
    """
    count, channels, height, width = image.shape
    block, matrix = JPEG_BLOCK, dct_matrix(image.device)
    with torch.autocast(image.device.type, enabled=False):
        blocks = image.reshape(count, channels, height // block, block, width // block, block)
        blocks = blocks.permute(0, 1, 2, 4, 3, 5)
        spectrum = matrix @ blocks @ matrix.T
        index = torch.arange(block, device=image.device, dtype=torch.float32)
        coarser = 1 + 0.35 * (index[:, None] + index[None])
        steps = step.view(-1, 1, 1, 1, 1, 1) * coarser
        rounded = (spectrum / steps.clamp_min(1e-6)).round() * steps
        spectrum = torch.where(steps > 0, rounded, spectrum)
        blocks = matrix.T @ spectrum @ matrix
        return blocks.permute(0, 1, 2, 4, 3, 5).reshape(image.shape)


def photographed(batch: FaceBatch) -> FaceBatch:
    """Apply lamp and camera to each face, with the same ones for the occluded and clean picture."""
    tone = Tone.draw(len(batch.raw), batch.raw.shape[-1], batch.raw.device)
    return replace(batch, raw=tone.take(batch.raw), clean=tone.take(batch.clean))


def photographed_scene(batch: SceneBatch) -> SceneBatch:
    """Apply lamp and camera to each scene."""
    tone = Tone.draw(len(batch.image), batch.image.shape[-1], batch.image.device)
    return replace(batch, image=tone.take(batch.image))

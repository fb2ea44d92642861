"""Pasting segments of other pictures onto faces: occluders of any shape and any surface.

Occluders in photographs are not of the drawn kinds, so shape and surface are varied independently:
a random segment of a random scene provides the shape; its own surface, another face, or skin from
elsewhere on the same face provides the surface.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot_mini.augment import chance, coordinates, look, uniform
from s3pot_mini.pool import SEGMENT_LIMIT, FaceBatch, SceneBatch, region_of

SMALLEST_PART = 40  # minimum pixels of a segment that can be pasted
LARGEST_SHARE = 0.65  # of the region that may be hidden in total
OWN_SURFACE, OTHER_FACE = 0.6, 0.25  # shares; the rest is the face's own skin from elsewhere
HARD_EDGES = 0.45
SEE_THROUGH = 0.15


@dataclass(frozen=True)
class Patch:
    """The patch pasted onto each face.

    Attributes:
        mask: bool (B, 1, S, S).
        surface: (B, 3, S, S) in [0, 1].
        opacity: (B, 1, S, S), 1 hides everything; 0 outside the mask, in between at soft edges.
        shadow: Factor for the surroundings, (B, 1, S, S).
    """

    mask: Tensor
    surface: Tensor
    opacity: Tensor
    shadow: Tensor


def random_segment(numbers: Tensor, smallest: int = SMALLEST_PART) -> Tensor:
    """Pick one segment of each picture with equal probabilities.

    Args:
        numbers: int64 (B, S, S) below SEGMENT_LIMIT.
        smallest: Pixels that a segment must have, or it is picked only for want of another.

    Returns:
        The number of a segment that is there, (B, 1, 1).
    """
    flat = numbers.flatten(1)
    counts = torch.zeros(len(flat), SEGMENT_LIMIT, device=flat.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=counts.dtype))
    weights = (counts >= smallest).float() + 1e-6 * (counts > 0)
    return weighted_choice(weights)[:, None, None]


def weighted_choice(weights: Tensor) -> Tensor:
    """Sample one position of each row (B, N) by its weights, int64 (B,).

    It is like ``torch.multinomial``, without its checks, which synchronize with the GPU.
    """
    return (weights / torch.empty_like(weights).exponential_()).argmax(dim=1)


def random_pixel(weights: Tensor) -> Tensor:
    """Sample one pixel of each map (B, S, S) by its weights: x, y, float (B, 2).

    If all weights are 0, all pixels are equally likely.
    """
    flat = weights.flatten(1).float()
    flat = flat + 1e-12 + (flat.sum(1, keepdim=True) == 0)
    index = weighted_choice(flat)
    side = weights.shape[-1]
    return torch.stack((index % side, index // side), dim=-1).float()


def draw_patch(batch: FaceBatch, scenes: SceneBatch) -> Patch:
    """Crop a segment from each scene and fit it onto the corresponding face."""
    count, device = len(batch.raw), batch.raw.device
    size = batch.raw.shape[-1]
    chosen = scenes.parts == random_segment(scenes.parts)
    area = chosen.flatten(1).sum(1).clamp_min(1)
    wanted = uniform(count, 0.08, 0.36, device).view(-1) * size
    scale = (area.sqrt() / wanted).clamp(0.15, 6.0)
    angle = torch.rand(count, device=device) * 6.2832
    cos, sin = angle.cos() * scale, angle.sin() * scale
    matrix = torch.stack((cos, -sin, sin, cos), dim=1).view(count, 2, 2)
    source = random_pixel(chosen) * 2 / size - 1
    target = random_pixel(batch.region) * 2 / size - 1
    flat = coordinates(size, device)
    offset = flat - target.view(count, 1, 1, 2)
    grid = torch.einsum("bij,bhwj->bhwi", matrix, offset) + source.view(count, 1, 1, 2)
    cut = F.grid_sample(chosen[:, None].float(), grid, "bilinear", "zeros", align_corners=False)
    mask = cut > 0.5
    soft = F.avg_pool2d(mask.float(), 3, stride=1, padding=1)
    edge = torch.where(chance(count, HARD_EDGES, device), mask.float(), soft)
    clear = uniform(count, 0.45, 0.9, device)
    opacity = edge * torch.where(chance(count, SEE_THROUGH, device), clear, 1.0)
    return Patch(mask, _surface(batch, scenes, grid), opacity, _shadow(mask))


def _surface(batch: FaceBatch, scenes: SceneBatch, grid: Tensor) -> Tensor:
    """Return the scene's surface, another face, or the same face from elsewhere, (B, 3, S, S)."""
    count, device = len(batch.raw), batch.raw.device
    surface = look(scenes.image, grid)
    other = look(batch.raw.roll(1, 0), grid)
    skin = random_pixel(batch.region & ~batch.occluder) * 2 / batch.raw.shape[-1] - 1
    middle = grid.mean((1, 2), keepdim=True)
    turned = (grid - middle) * 0.4 + skin.view(count, 1, 1, 2)
    itself = look(batch.clean, turned)
    kind = torch.rand(count, 1, 1, 1, device=device)
    content = torch.where(kind < OWN_SURFACE, surface, other)
    content = torch.where(kind < OWN_SURFACE + OTHER_FACE, content, itself)
    level = uniform(count, 0.75, 1.25, device)
    return (content * level).clamp(0, 1)


def _shadow(mask: Tensor) -> Tensor:
    """Cast a soft shadow to one side on about a third of the faces, (B, 1, S, S)."""
    count, device = len(mask), mask.device
    shift = [int(s) for s in torch.randint(-6, 7, (2,)).tolist()]
    dark = F.avg_pool2d(mask.float().roll(shift, (-2, -1)), 9, stride=1, padding=4)
    depth = uniform(count, 0.1, 0.55, device) * chance(count, 0.35, device)
    return 1 - depth * dark


def pasted(batch: FaceBatch, scenes: SceneBatch, share: float = 0.6) -> tuple[FaceBatch, Tensor]:
    """Paste a segment of a scene onto some faces.

    Args:
        batch: Faces.
        scenes: The same number of scenes.
        share: Share of the faces that get one, before excluding faces that would be hidden too
            much.

    Returns:
        The faces, with ``raw`` and ``occluder`` changed where something was pasted, and the mask of
        these pixels, bool (B, S, S).
    """
    patch = draw_patch(batch, scenes)
    region = region_of(batch.labels)
    both = batch.occluder | patch.mask[:, 0]
    hidden = (both & region).flatten(1).sum(1) / region.flatten(1).sum(1).clamp_min(1)
    use = (hidden < LARGEST_SHARE).view(-1, 1, 1, 1)
    use = use & chance(len(batch.raw), share, batch.raw.device)
    shaded = batch.raw * patch.shadow
    raw = torch.where(use, shaded + patch.opacity * (patch.surface - shaded), batch.raw)
    laid = patch.mask[:, 0] & use[:, 0]
    return replace(batch, raw=raw, occluder=batch.occluder | laid), laid

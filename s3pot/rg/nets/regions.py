"""The tiles on which a regional layer computes: those of each region at each resolution.

A masked StyleGAN layer runs once per region and keeps only the pixels of that region, so computing
each region on rectangles around its pixels gives the same picture for a fraction of the work. The
rectangles ("tiles") of one region are disjoint and cover it; with a batch they cover the union over
the samples, so no loop over samples is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

MARGIN = 2  # pixels that a 3x3 convolution reads beyond a tile, both sides together
TILE_COST = 96  # fixed cost of one more tile, in pixels of convolution (measured, not critical)


@dataclass(frozen=True)
class Box:
    """Half-open pixel rectangle: rows [y0, y1), columns [x0, x1)."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slice."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


@dataclass(frozen=True, eq=False)
class Tile:
    """One rectangle of one region.

    Attributes:
        region: Index of the region.
        box: The rectangle, in pixels of the layer's output.
        mask: The region inside the box, bool (B, 1, h, w).
    """

    region: int
    box: Box
    mask: Tensor


@dataclass(frozen=True, eq=False)
class Level:
    """The label map at one output size.

    Attributes:
        size: Side in pixels.
        labels: int64 (B, size, size) on the network's device.
        tiles: The tiles of all regions, in order of the regions' indices.
    """

    size: int
    labels: Tensor
    tiles: tuple[Tile, ...]


class RegionPlan:
    """Tiles for a batch of label maps, computed once per forward pass and shared by all layers.

    Args:
        labels: Integer (B, M, M), values in 0..regions-1; best on the CPU, which cuts the tiles.
        regions: Number of regions.
        sizes: Output sides of the masked layers.
        device: Device of the masks. A GPU is waited for only after all tiles are cut.

    Raises:
        ValueError: The labels are not square maps or a value is out of range.
    """

    def __init__(
        self, labels: Tensor, regions: int, sizes: Sequence[int], device: torch.device
    ) -> None:
        on_host = labels.detach().cpu()
        check_labels(on_host, regions)
        boxes = {
            size: _boxes_of_regions(subsample(on_host, size).numpy()) for size in sorted(set(sizes))
        }
        on_device = on_host.to(device, torch.int64)
        self._levels = {size: _level(on_device, size, boxes[size]) for size in boxes}

    def level(self, size: int) -> Level:
        """Return the tiles for one output side."""
        return self._levels[size]


def _boxes_of_regions(maps: np.ndarray) -> list[tuple[int, Box]]:
    """List the boxes that cover the regions of label maps (B, size, size), each with its region."""
    return [
        (region, box)
        for region in np.unique(maps).tolist()
        for box in cover((maps == region).any(axis=0))
    ]


def _level(labels: Tensor, size: int, boxes: Sequence[tuple[int, Box]]) -> Level:
    """Cut the masks of boxes out of label maps (B, M, M), reduced to ``size``."""
    labels = subsample(labels, size)
    tiles = []
    for region, box in boxes:
        mask = (labels[(slice(None), *box.slices)] == region).unsqueeze(1)
        tiles.append(Tile(region, box, mask))
    return Level(size, labels, tuple(tiles))


def check_labels(labels: Tensor, regions: int) -> None:
    """Raise ValueError unless these are integer (B, M, M) maps with values below ``regions``."""
    if labels.ndim != 3 or labels.shape[1] != labels.shape[2] or labels.is_floating_point():
        raise ValueError(
            f"expected integer label maps (B, M, M), got {labels.dtype} {tuple(labels.shape)}"
        )
    low = int(labels.min())
    high = int(labels.max())
    if low < 0 or high >= regions:
        raise ValueError(f"labels run from {low} to {high}; the network knows 0 to {regions - 1}")


def subsample(labels: Tensor, size: int) -> Tensor:
    """Resize label maps by the rule of E4S's own layers: pixel i reads ``floor(i * M / size)``.

    Args:
        labels: (B, M, M).
        size: Side of the result.

    Returns:
        (B, size, size), same dtype.
    """
    index = torch.arange(size, device=labels.device) * labels.shape[-1] // size
    return labels[:, index][:, :, index]


def cover(region: np.ndarray) -> list[Box]:
    """Cover the true pixels of a bool (H, W) map with disjoint boxes.

    The bounding box is cut in two wherever the bounding boxes of the two halves are cheaper to
    convolve than the whole, so that stray specks do not enlarge a region.

    Returns:
        The boxes, in the order of the recursion; empty for an empty map.
    """
    box = _bounds(region)
    if box is None:
        return []
    inner = region[box.slices]
    row_cost, row = _best_cut(inner)
    column_cost, column = _best_cut(inner.T)
    if min(row_cost, column_cost) >= _cost(box.y1 - box.y0, box.x1 - box.x0):
        return [box]
    if row_cost <= column_cost:
        parts = [(0, 0, inner[:row]), (row, 0, inner[row:])]
    else:
        parts = [(0, 0, inner[:, :column]), (0, column, inner[:, column:])]
    return [
        Box(b.y0 + box.y0 + dy, b.y1 + box.y0 + dy, b.x0 + box.x0 + dx, b.x1 + box.x0 + dx)
        for dy, dx, part in parts
        for b in cover(part)
    ]


def _bounds(region: np.ndarray) -> Box | None:
    rows = np.flatnonzero(region.any(1))
    columns = np.flatnonzero(region.any(0))
    if not rows.size:
        return None
    return Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def _cost(height: Any, width: Any) -> Any:
    return (height + MARGIN) * (width + MARGIN) + TILE_COST


def _best_cut(region: np.ndarray) -> tuple[float, int]:
    """Find the cheapest cut of a tight (H, W) region into rows [0, i) and [i, H): cost and i."""
    if len(region) < 2:
        return np.inf, 0
    before = _prefix_cost(region)[:-1]
    after = _prefix_cost(region[::-1])[:-1][::-1]
    total = before + after
    best = int(total.argmin())
    return float(total[best]), best + 1


def _prefix_cost(region: np.ndarray) -> np.ndarray:
    """Compute the cost of the bounding box of rows [0, i] for every i; row 0 is not empty."""
    height, width = region.shape
    filled = region.any(1)
    left = np.minimum.accumulate(np.where(filled, region.argmax(1), width))
    right = np.maximum.accumulate(np.where(filled, width - region[:, ::-1].argmax(1), 0))
    last = np.maximum.accumulate(np.where(filled, np.arange(1, height + 1), 0))
    return _cost(last, right - left)


class Cut(torch.autograd.Function):
    """Cuts boxes out of a map; the backward pass adds into one buffer, not one for each box."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, boxes: Sequence[Box]) -> tuple[Tensor, ...]:
        """Return the (B, C, h, w) piece of every box of ``x`` (B, C, H, W)."""
        ctx.boxes = boxes
        ctx.shape = x.shape
        return tuple(x[(..., *box.slices)].clone() for box in boxes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Add each piece's gradient where the piece was cut out."""
        total = grads[0].new_zeros(ctx.shape)
        for box, grad in zip(ctx.boxes, grads):
            total[(..., *box.slices)] += grad
        return total, None


class Paste(torch.autograd.Function):
    """Puts the masked pieces of all tiles into one map; without masks, the adjoint of ``Cut``."""

    @staticmethod
    def forward(ctx: Any, level: Level, *pieces: Tensor) -> Tensor:
        """Return (B, C, size, size) from the (B, C, h, w) pieces of ``level.tiles``."""
        ctx.level = level
        shape = (*pieces[0].shape[:2], level.size, level.size)
        out = pieces[0].new_zeros(shape)
        for tile, piece in zip(level.tiles, pieces):
            out[(..., *tile.box.slices)].addcmul_(piece, tile.mask.to(piece.dtype))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Cut the pieces' gradients out of that of the map."""
        pieces = [grad[(..., *tile.box.slices)] * tile.mask for tile in ctx.level.tiles]
        return (None, *pieces)

"""Sizes, strides and the half-cell shift between SAM's input square and its token grid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Geometry of one SAM: ``side`` x ``side`` tokens over a ``size`` x ``size`` square.

    Attributes:
        size: S, pixels of the sam frame (1024 for the published models).
        side: G, token cells (64 for the published models).
    """

    size: int
    side: int

    def __post_init__(self) -> None:
        if self.size % self.side:
            raise ValueError(
                f"SAM input {self.size} is not a multiple of its token grid {self.side}"
            )

    @property
    def patch(self) -> int:
        """P, pixels per token."""
        return self.size // self.side

    @property
    def low_res_side(self) -> int:
        """4G, side of the mask decoder's logits."""
        return 4 * self.side

    def on_grid(self, mask_sam: Tensor) -> Tensor:
        """Sample a mask at the token centers.

        Args:
            mask_sam: (..., S, S), any dtype.

        Returns:
            (..., G, G).
        """
        half = self.patch // 2
        return mask_sam[..., half :: self.patch, half :: self.patch]

    def centers(self, index: Tensor) -> Tensor:
        """Pixel at the center of each token.

        Args:
            index: Flat row-major token indices, int64 (N,).

        Returns:
            Points in the sam frame, float (N, 2), x, y: ``index * P + P // 2``.
        """
        return self.corners(index) + self.patch // 2

    def corners(self, index: Tensor) -> Tensor:
        """Top-left pixel of each token, float (N, 2), x, y; see ``centers``."""
        cells = torch.stack((index % self.side, index // self.side), dim=-1)
        return (cells * self.patch).to(torch.float32)

    def cells(self, points_sam: Tensor) -> Tensor:
        """Find the token that contains each point.

        Args:
            points_sam: (N, 2), x, y.

        Returns:
            Flat row-major token indices, int64 (N,).
        """
        cells = points_sam.to(torch.int64) // self.patch
        return cells[:, 1] * self.side + cells[:, 0]

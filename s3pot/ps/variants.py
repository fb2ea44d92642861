"""Other points than PS's, for tables that show what PS is worth.

Each function takes the prompts of a face and gives the same prompts with other points: face points
first, then occlusion points, as ``ps/select.py`` orders them.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from s3pot.grid import Grid
from s3pot.ps.otsu import otsu
from s3pot.types import Prompts

SELECTED = "selected"
RANDOM = "random"
THRESHOLD = "threshold"
POINT_KINDS = (SELECTED, RANDOM, THRESHOLD)
FIXED = "fixed"
OTSU = "otsu"
THRESHOLD_RULES = (FIXED, OTSU)


@dataclass(frozen=True)
class PointVariant:
    """What is done to the points of each face; by default nothing.

    Attributes:
        kind: "selected": as PS chose them; "random": PS's labels are dealt out at random among the
            region's tokens; "threshold": a token is occluded where its contrast to the reference
            token at the same place is above the threshold.
        count: How many points are kept, drawn at random; 0 keeps all.
        threshold: Of the contrast ``1 - cosine``, in [0, 2], for kind "threshold".
        rule: "fixed" takes ``threshold``; "otsu" finds one for each face.
        seed: Of all that is random; each face draws from a stream of its own.
    """

    kind: str = SELECTED
    count: int = 0
    threshold: float = 0.0
    rule: str = FIXED
    seed: int = 0

    @property
    def changes_nothing(self) -> bool:
        """Whether prompts stay as they are."""
        return self.kind == SELECTED and self.count == 0

    def apply(self, prompts: Prompts, grid: Grid) -> Prompts:
        """Give prompts with the points of this variant; those without points stay as they are."""
        if not prompts.has_points:
            return prompts
        generator = np.random.default_rng([self.seed, zlib.crc32(prompts.name.encode("utf-8"))])
        if self.kind == RANDOM:
            prompts = with_random_labels(prompts, generator)
        elif self.kind == THRESHOLD:
            prompts = with_labels_by_threshold(prompts, grid, self.threshold, self.rule)
        if self.count:
            prompts = with_fewer_points(prompts, self.count, generator)
        return prompts


def with_random_labels(prompts: Prompts, generator: np.random.Generator) -> Prompts:
    """Deal the labels out anew: as many face and occlusion points as before, at random tokens."""
    order = torch.from_numpy(generator.permutation(len(prompts.point_labels)))
    labels = prompts.point_labels[order.to(prompts.point_labels.device)]
    return _with_points(prompts, prompts.points_sam, labels)


def with_labels_by_threshold(
    prompts: Prompts, grid: Grid, threshold: float, rule: str = FIXED
) -> Prompts:
    """Label each token of the region by its contrast to the reference token at the same place.

    Args:
        prompts: Their ``similarity`` and ``region_sam`` count.
        grid: Geometry of the SAM behind the tokens.
        threshold: See ``PointVariant``.
        rule: See ``PointVariant``.
    """
    inside = grid.on_grid(prompts.region_sam).flatten()
    contrast = 1 - prompts.similarity.float().flatten()[inside]
    if rule == OTSU:
        threshold = otsu_threshold(contrast.cpu().numpy())
    labels = (contrast <= threshold).long()
    return _with_points(prompts, grid.centers(inside.nonzero()[:, 0]), labels)


def with_fewer_points(prompts: Prompts, count: int, generator: np.random.Generator) -> Prompts:
    """Keep ``count`` points drawn without replacement; all of them if there are no more."""
    number = len(prompts.point_labels)
    kept = np.sort(generator.choice(number, size=min(count, number), replace=False))
    index = torch.from_numpy(kept).to(prompts.point_labels.device)
    return _with_points(prompts, prompts.points_sam[index], prompts.point_labels[index])


def otsu_threshold(values: np.ndarray) -> float:
    """Find a threshold for finite numbers of any shape, without a label.

    Returns:
        Numbers above it form the upper part; without two different numbers, the largest one, so
        that nothing is above.
    """
    flat = torch.from_numpy(np.asarray(values, dtype=np.float64).ravel())
    cut = otsu(flat)
    if cut is not None:
        return cut.threshold
    return float(flat.max()) if len(flat) else 0.0


def _with_points(prompts: Prompts, points_sam: Tensor, labels: Tensor) -> Prompts:
    """Replace the points, face points first, each part in the order given."""
    order = torch.sort(labels, descending=True, stable=True).indices
    return replace(prompts, points_sam=points_sam[order], point_labels=labels[order])

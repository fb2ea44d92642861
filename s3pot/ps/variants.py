"""Alternatives to the points of PS, for tables that measure the contribution of PS.

Each function takes the prompts of a face and returns the same prompts with other points: first face
points, then occlusion points, in the order of ``ps/select.py``.
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
    """A change of the points of each face; by default there is none.

    Attributes:
        kind: "selected": as PS selected them; "random": PS's labels are assigned at random to the
            region's tokens; "threshold": a token is occluded if its contrast to the reference token
            at the same position is above the threshold.
        count: The number of points to keep, drawn at random; 0 keeps all.
        threshold: Threshold of the contrast ``1 - cosine``, in [0, 2], for kind "threshold".
        rule: "fixed" uses ``threshold``; "otsu" finds one for each face.
        seed: Seed of all random draws; each face has its own random stream.
    """

    kind: str = SELECTED
    count: int = 0
    threshold: float = 0.0
    rule: str = FIXED
    seed: int = 0

    def apply(self, prompts: Prompts, grid: Grid) -> Prompts:
        """Return prompts with the points of this variant; prompts without points are unchanged."""
        if not prompts.has_points:
            return prompts
        # A file name that is not UTF-8 has surrogates, which stand for its bytes.
        name = prompts.name.encode("utf-8", "surrogateescape")
        generator = np.random.default_rng([self.seed, zlib.crc32(name)])
        if self.kind == RANDOM:
            prompts = with_random_labels(prompts, generator)
        elif self.kind == THRESHOLD:
            prompts = with_labels_by_threshold(prompts, grid, self.threshold, self.rule)
        if self.count:
            prompts = with_fewer_points(prompts, self.count, generator)
        return prompts


def with_random_labels(prompts: Prompts, generator: np.random.Generator) -> Prompts:
    """Assign the labels at random: as many face and occlusion points as before, anywhere."""
    order = torch.from_numpy(generator.permutation(len(prompts.point_labels)))
    labels = prompts.point_labels[order.to(prompts.point_labels.device)]
    return _with_points(prompts, prompts.points_sam, labels)


def with_labels_by_threshold(
    prompts: Prompts, grid: Grid, threshold: float, rule: str = FIXED
) -> Prompts:
    """Label each token of the region by its contrast to the reference token at the same position.

    Args:
        prompts: Their ``similarity`` and ``region_sam`` are used.
        grid: Geometry of the SAM that computed the tokens.
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
    """Keep ``count`` points, drawn without replacement; all of them if there are not more."""
    number = len(prompts.point_labels)
    kept = np.sort(generator.choice(number, size=min(count, number), replace=False))
    index = torch.from_numpy(kept).to(prompts.point_labels.device)
    return _with_points(prompts, prompts.points_sam[index], prompts.point_labels[index])


def otsu_threshold(values: np.ndarray) -> float:
    """Find a threshold for finite numbers of any shape, without labels.

    Returns:
        The threshold: numbers above it form the upper part. If all numbers are equal, it is the
        largest one, so that nothing is above it.
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

"""The simple methods that tables compare with.

A baseline is a function from a ``Case``, one face, to a mask of what it takes for occluded. To add
one, write the function and name it in ``BASELINES``; then ``method: <name>`` in a table's YAML runs
it (``configs/tables``). What a mask marks outside the region is cut off by the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from s3pot.labels import resize_labels
from s3pot.pipeline import OcclusionSegmenter, split_region
from s3pot.types import AlignedFace, Prompts


@dataclass(frozen=True)
class Case:
    """What a baseline may look at.

    Attributes:
        face: Image, parsing and reference.
        prompts: What FE and PS made of the face, on SAM's device.
        segmenter: For baselines that are parts of the method.
        threshold: The row's, in [0, 1], for baselines that need one.
    """

    face: AlignedFace
    prompts: Prompts
    segmenter: OcclusionSegmenter
    threshold: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the working image, and so of the mask."""
        height, width = self.face.image.shape[:2]
        return height, width


# From one face to its occlusion, bool (H, W).
Baseline = Callable[[Case], np.ndarray]


def nothing(case: Case) -> np.ndarray:
    """The parser alone: all that it calls face is taken for visible."""
    return np.zeros(case.size, dtype=bool)


def whole_region(case: Case) -> np.ndarray:
    """Everything is taken for occluded."""
    return np.ones(case.size, dtype=bool)


def pixel_threshold(case: Case) -> np.ndarray:
    """Where image and reference differ much in color."""
    return pixel_contrast(case.face) > case.threshold


def token_threshold(case: Case) -> np.ndarray:
    """Where SAM's encodings of image and reference differ much."""
    return token_contrast(case.prompts, case.size) > case.threshold


def single_point(case: Case) -> np.ndarray:
    """SAM with FE's first point alone, without PS and adapter."""
    prompts = case.prompts
    prediction = None
    if prompts.has_points:
        first_point_only = replace(
            prompts,
            points_sam=prompts.first_point_sam[None],
            point_labels=prompts.point_labels.new_ones(1),
        )
        with torch.no_grad():
            prediction = case.segmenter.predict_visible_face(None, first_point_only)
    decision = case.segmenter.settings.decision
    return split_region(prediction, case.face.parsing, case.size, decision).occlusion


def negative_cells(case: Case) -> np.ndarray:
    """The token cells of PS's occlusion points, without adapter and mask decoder."""
    grid = case.segmenter.sam.grid
    negative = case.prompts.points_sam[case.prompts.point_labels == 0]
    cells = np.zeros(grid.side * grid.side, dtype=bool)
    cells[grid.cells(negative).cpu().numpy()] = True
    return resize_labels(cells.reshape(grid.side, grid.side), case.size)


BASELINES: dict[str, Baseline] = {
    "parser": nothing,
    "region": whole_region,
    "pixel": pixel_threshold,
    "token": token_threshold,
    "single_point": single_point,
    "greedy": negative_cells,
}


def pixel_contrast(face: AlignedFace) -> np.ndarray:
    """Mean absolute difference of image and reference over the channels: (H, W) in [0, 1]."""
    difference = face.image.astype(np.float32) - face.reference.astype(np.float32)
    return np.asarray(np.abs(difference).mean(axis=2) / 255)


def token_contrast(prompts: Prompts, size: tuple[int, ...]) -> np.ndarray:
    """1 - cosine of encoder tokens at the same place, by nearest: ``size``, in [0, 2]."""
    return resize_labels(1 - prompts.similarity.float().cpu().numpy(), size)

"""The rows of a table: what each method marks as occluded, from nothing to the whole model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s3pot.adapter import PromptAdapter
from s3pot.build import build_adapter
from s3pot.config import Config
from s3pot.data.layout import FaceFiles
from s3pot.engine.per_image import fit_adapter
from s3pot.engine.results import masks_from
from s3pot.pipeline import PipelineSettings, segment
from s3pot.rg.reference import resize_labels
from s3pot.sam.frozen import FrozenSam
from s3pot.types import Prompts, Reference, S3potError


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: First column.
        method: Key of ``METHODS``.
        reference: generated, or oracle: the true clean face.
        adapter: For method model: none, bundled, per_image or the path of a checkpoint.
        init: Per image starts from fresh or general, which is the bundled adapter.
        faces: Only the first ones; 0 means all.
        threshold: For methods pixel and token, in [0, 1].
        overrides: ``section.key`` → value.
    """

    name: str
    method: str = "model"
    reference: str = "generated"
    adapter: str = "none"
    init: str = "fresh"
    faces: int = 0
    threshold: float = 0.0
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the words."""
        _one_of(self.name, "method", self.method, tuple(METHODS))
        _one_of(self.name, "reference", self.reference, ("generated", "oracle"))
        _one_of(self.name, "init", self.init, ("fresh", "general"))


@dataclass(frozen=True)
class Case:
    """What a method sees of one face.

    Attributes:
        files: Its paths.
        made: Photo, reference (of the row's kind) and parsing.
        prompts: FE and PS of them.
    """

    files: FaceFiles
    made: Reference
    prompts: Prompts


@dataclass(frozen=True)
class Bench:
    """What a method may use.

    Attributes:
        sam: Frozen SAM.
        row: The row, for its numbers.
        config: With the row's overrides.
        settings: Of the pipeline.
        adapter: The row's adapter, or where per-image training starts; None for none.
    """

    sam: FrozenSam
    row: Row
    config: Config
    settings: PipelineSettings
    adapter: PromptAdapter | None


def _nothing(bench: Bench, case: Case) -> np.ndarray:
    return np.zeros(case.made.raw.shape[:2], dtype=bool)


def _everything(bench: Bench, case: Case) -> np.ndarray:
    return np.ones(case.made.raw.shape[:2], dtype=bool)


def pixel_contrast(made: Reference) -> np.ndarray:
    """Mean absolute difference of photo and reference over the channels: (H, W) in [0, 1]."""
    difference = np.abs(made.raw.astype(np.float32) - made.reference.astype(np.float32))
    return np.asarray(difference.mean(axis=2) / 255)


def token_contrast(prompts: Prompts, size: tuple[int, ...]) -> np.ndarray:
    """1 - cosine of encoder tokens at the same place, by nearest: ``size``, in [0, 2]."""
    return resize_labels(1 - prompts.similarity.float().cpu().numpy(), size)


def _pixel(bench: Bench, case: Case) -> np.ndarray:
    return np.asarray(pixel_contrast(case.made) > bench.row.threshold)


def _token(bench: Bench, case: Case) -> np.ndarray:
    contrast = token_contrast(case.prompts, case.made.raw.shape[:2])
    return np.asarray(contrast > bench.row.threshold)


def _greedy(bench: Bench, case: Case) -> np.ndarray:
    side = bench.sam.grid.side
    cells = np.zeros(side * side, dtype=np.uint8)
    negative = case.prompts.points_sam[case.prompts.labels == 0]
    cells[bench.sam.grid.cells(negative).cpu().numpy()] = 1
    return resize_labels(cells.reshape(side, side), case.made.raw.shape[:2]) > 0


def _single_point(bench: Bench, case: Case) -> np.ndarray:
    prompts = case.prompts
    if len(prompts.labels):
        first = prompts.first_point_sam[None]
        prompts = replace(prompts, points_sam=first, labels=prompts.labels.new_ones(1))
    return _decode(bench, case, prompts, None)


def _model(bench: Bench, case: Case) -> np.ndarray:
    adapter = bench.adapter
    if bench.row.adapter == "per_image" and adapter is not None and len(case.prompts.labels):
        start = adapter.state_dict()
        adapter = build_adapter(bench.sam)
        adapter.load_state_dict(start)
        fit_adapter(bench.sam, case.prompts, adapter, bench.config)
    return _decode(bench, case, case.prompts, adapter)


def _decode(
    bench: Bench, case: Case, prompts: Prompts, adapter: PromptAdapter | None
) -> np.ndarray:
    logits: Tensor | None = None
    if len(prompts.labels):
        with torch.no_grad():
            logits = segment(bench.sam, adapter, prompts, bench.settings).logits_sam
    size = (case.made.raw.shape[0], case.made.raw.shape[1])
    return masks_from(logits, case.made.labels, size).occlusion


# Each gives an occlusion mask (H, W); what lies outside the region is cut off afterwards.
METHODS: dict[str, Callable[[Bench, Case], np.ndarray]] = {
    "parser": _nothing,
    "region": _everything,
    "pixel": _pixel,
    "token": _token,
    "single_point": _single_point,
    "greedy": _greedy,
    "model": _model,
}


def _one_of(row: str, key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise S3potError(f"row {row!r}: {key} is {value!r}; expected one of {', '.join(allowed)}")

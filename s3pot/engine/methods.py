"""The rows of a table: what each method marks as occluded, from nothing to the whole model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from s3pot.adapter import PromptAdapter
from s3pot.build import build_adapter, settings
from s3pot.config import Config
from s3pot.engine.per_image import fit_adapter
from s3pot.engine.results import masks_from
from s3pot.pipeline import segment
from s3pot.rg.reference import resize_labels
from s3pot.sam.frozen import FrozenSam
from s3pot.types import Prompts, Reference, S3potError


@dataclass(frozen=True)
class Row:
    """One line of a table; S3potError for a word that is not known."""

    name: str  # first column
    method: str = "model"  # key of METHODS
    reference: str = "generated"  # or oracle: the true clean face
    adapter: str = "none"  # of method model: none, bundled, per_image or the path of a checkpoint
    init: str = "fresh"  # where per_image starts; general: from the bundled adapter
    faces: int = 0  # only the first ones; 0: all
    threshold: float = 0.0  # of methods pixel and token, in [0, 1]
    overrides: Mapping[str, Any] = field(default_factory=dict)  # section.key → value

    def __post_init__(self) -> None:
        references, inits = ("generated", "oracle"), ("fresh", "general")
        for word, known in (self.method, METHODS), (self.reference, references), (self.init, inits):
            if word not in known:
                raise S3potError(f"row {self.name!r}: {word!r} is none of {', '.join(known)}")


@dataclass(frozen=True)
class Bench:
    """What a method may use."""

    sam: FrozenSam
    row: Row
    config: Config  # with the row's overrides
    adapter: PromptAdapter | None  # the row's, or where per-image training starts


def pixel_contrast(made: Reference) -> np.ndarray:
    """Mean absolute difference of photo and reference over the channels: (H, W) in [0, 1]."""
    difference = made.raw.astype(np.float32) - made.reference.astype(np.float32)
    return np.asarray(np.abs(difference).mean(axis=2) / 255)


def token_contrast(prompts: Prompts, size: tuple[int, ...]) -> np.ndarray:
    """1 - cosine of encoder tokens at the same place, by nearest: ``size``, in [0, 2]."""
    return resize_labels(1 - prompts.similarity.float().cpu().numpy(), size)


def _greedy(bench: Bench, made: Reference, prompts: Prompts) -> np.ndarray:
    side = bench.sam.grid.side
    negative = bench.sam.grid.cells(prompts.points_sam[prompts.labels == 0]).cpu().numpy()
    cells = np.isin(np.arange(side * side), negative).reshape(side, side)
    return resize_labels(cells, made.raw.shape[:2])


def _single_point(bench: Bench, made: Reference, prompts: Prompts) -> np.ndarray:
    if len(prompts.labels):
        first = prompts.first_point_sam[None]
        prompts = replace(prompts, points_sam=first, labels=prompts.labels.new_ones(1))
    return _model(replace(bench, adapter=None), made, prompts)


def _model(bench: Bench, made: Reference, prompts: Prompts) -> np.ndarray:
    adapter, logits = bench.adapter, None
    if len(prompts.labels):
        if adapter is not None and bench.row.adapter == "per_image":
            start, adapter = adapter.state_dict(), build_adapter(bench.sam)
            adapter.load_state_dict(start)
            fit_adapter(bench.sam, prompts, adapter, bench.config)
        with torch.no_grad():
            logits = segment(bench.sam, adapter, prompts, settings(bench.config)).logits_sam
    return masks_from(logits, made.labels, made.raw.shape[:2]).occlusion


# Each gives an occlusion mask (H, W); what lies outside the region is cut off afterwards.
METHODS: dict[str, Callable[[Bench, Reference, Prompts], np.ndarray]] = {
    "parser": lambda bench, made, prompts: np.zeros(made.raw.shape[:2], dtype=bool),
    "region": lambda bench, made, prompts: np.ones(made.raw.shape[:2], dtype=bool),
    "pixel": lambda bench, made, prompts: pixel_contrast(made) > bench.row.threshold,
    "token": lambda bench, made, prompts: (
        token_contrast(prompts, made.raw.shape[:2]) > bench.row.threshold
    ),
    "single_point": _single_point,
    "greedy": _greedy,
    "model": _model,
}

"""The rows of a table with the models and settings that they need."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s3pot.adapter import PromptAdapter
from s3pot.baselines import BASELINES, Case
from s3pot.build import build_segmenter, model_hashes, pipeline_settings, weights_path
from s3pot.config import Config, config_from_dict, config_to_dict
from s3pot.data.truth import TruthPolicy
from s3pot.device import pick_device
from s3pot.io import file_sha256
from s3pot.pipeline import OcclusionSegmenter, split_region
from s3pot.runs.prompt_store import PromptStore
from s3pot.runs.shard import local_rank
from s3pot.runs.suite_file import MODEL, Row, Suite
from s3pot.training.checkpoint import new_adapter
from s3pot.training.per_image import fit_adapter
from s3pot.types import AlignedFace, Prompts


@dataclass(frozen=True)
class LoadedRow:
    """A row with all that it needs.

    Attributes:
        row: What the file says.
        config: With the row's overrides.
        segmenter: With the row's settings.
        store: Its prompts, shared with the rows that have the same ones.
        adapter: The row's, or where fitting starts; None for rows without one.
        hashes: SHA-256 of SAM, and of the adapter if it was read from a file.
    """

    row: Row
    config: Config
    segmenter: OcclusionSegmenter
    store: PromptStore
    adapter: PromptAdapter | None
    hashes: Mapping[str, str]

    @property
    def truth_policy(self) -> TruthPolicy:
        """What of a truth counts."""
        truth = self.config.truth
        return TruthPolicy.from_text(truth.labels, truth.ignore, truth.glasses)

    def predict(self, face: AlignedFace, prompts: Prompts) -> np.ndarray:
        """Mark the occlusion of a face, bool (H, W)."""
        if self.row.method != MODEL:
            case = Case(face, prompts, self.segmenter, self.row.threshold)
            return BASELINES[self.row.method](case)
        prediction = None
        if prompts.has_points:
            adapter = self.adapter
            if adapter is not None and self.row.is_fitted:
                adapter = deepcopy(adapter)
                fit_adapter(self.segmenter, prompts, adapter, self.config)
            with torch.no_grad():
                prediction = self.segmenter.predict_visible_face(adapter, prompts)
        decision = self.segmenter.settings.decision
        return split_region(prediction, face.parsing, face.image.shape[:2], decision).occlusion


def load_rows(config: Config, suite: Suite) -> list[LoadedRow]:
    """Load what the rows of a suite need; what is the same for several of them, once.

    Raises:
        S3potError: Missing weights, or an override that cannot be used.
    """
    segmenters: dict[Any, OcclusionSegmenter] = {}
    stores: dict[Any, PromptStore] = {}
    loaded = []
    for row in suite.rows:
        row_config = _with_overrides(config, row.overrides)
        sam_key = (row_config.model, row_config.sam, row_config.run)
        if sam_key not in segmenters:
            device = pick_device(row_config.run.device, local_rank())
            segmenters[sam_key] = build_segmenter(row_config, device)
        segmenter = segmenters[sam_key].with_settings(pipeline_settings(row_config))
        prompt_key = (sam_key, row_config.prompt)
        if prompt_key not in stores:
            stores[prompt_key] = PromptStore(segmenter, row_config, suite.datapath)
        adapter_path = _adapter_path(row_config, row)
        adapter = None
        hashes = model_hashes(row_config, ["sam"])
        if row.adapter != "none":
            adapter = new_adapter(row_config, segmenter.sam, adapter_path).eval()
        if adapter_path is not None:
            hashes["adapter"] = file_sha256(adapter_path)
        loaded.append(LoadedRow(row, row_config, segmenter, stores[prompt_key], adapter, hashes))
    return loaded


def _with_overrides(config: Config, overrides: Mapping[str, Any]) -> Config:
    tree = config_to_dict(config)
    for key, value in overrides.items():
        section, _, name = str(key).partition(".")
        tree.setdefault(section, {})[name] = value
    return config_from_dict(tree)


def _adapter_path(config: Config, row: Row) -> Path | None:
    """Find the file of a row's adapter; None for a fresh one or none."""
    starts_fresh = row.adapter == "per_image" and row.init == "fresh"
    if row.adapter == "none" or starts_fresh:
        return None
    if row.adapter in ("bundled", "per_image"):
        return weights_path(config, "adapter")
    return Path(row.adapter)

"""Loading the rows of a table: their models, adapters and prompt stores, each loaded once."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path

from s3pot.build import build_segmenter, model_hashes, pipeline_settings, weights_path
from s3pot.config import Config, config_from_dict, config_to_dict
from s3pot.data.mask_folder import MaskFolder
from s3pot.device import pick_device
from s3pot.io import file_sha256
from s3pot.pipeline import Encodings, OcclusionSegmenter
from s3pot.ps.variants import PointVariant
from s3pot.report.before_after import FRESH
from s3pot.runs.prompt_store import PromptStore
from s3pot.runs.shard import local_rank
from s3pot.runs.suite_file import BUNDLED, FOLDER, NO_ADAPTER, PER_IMAGE, Row, Suite
from s3pot.runs.suite_prompts import store_for
from s3pot.runs.suite_rows import FolderRow, LoadedRow, MethodRow
from s3pot.runs.suite_training import SuiteTraining, train_adapter
from s3pot.training.checkpoint import new_adapter
from s3pot.typed_yaml import ConfigError
from s3pot.types import S3potError

# Rows with other prompts or references need some of the same images of a face again.
IMAGES_REMEMBERED = 8


def load_rows(config: Config, suite: Suite, output_dir: Path) -> list[LoadedRow]:
    """Load what the rows of a suite need; what several rows share is loaded once.

    Args:
        config: The config that the rows override.
        suite: The rows.
        output_dir: Folder for the adapters that rows train; existing ones are used.

    Raises:
        S3potError: Weights are missing, an override cannot be used, or faces cannot be trained on.
    """
    loader = _Loader(suite, output_dir)
    return [loader.load(row, row_config(config, row)) for row in suite.rows]


class _Loader:
    """Loads rows one after the other; see ``load_rows``."""

    def __init__(self, suite: Suite, output_dir: Path) -> None:
        self.suite = suite
        self.output_dir = output_dir
        self.segmenters: dict[Hashable, OcclusionSegmenter] = {}
        self.stores: dict[Hashable, PromptStore] = {}

    def load(self, row: Row, config: Config) -> LoadedRow:
        """Load a row; its config contains its overrides."""
        if row.method == FOLDER:
            return FolderRow(row, config, {}, MaskFolder(Path(row.path), row.polarity, row.size))
        segmenter = self._segmenter(config)
        variant = row.point_variant(config.train.seed)
        hashes = model_hashes(config, ["sam"])
        adapter_path = self._adapter_path(row, config, segmenter, variant)
        adapter = None
        if row.adapter != NO_ADAPTER:
            adapter = new_adapter(config, segmenter.sam, adapter_path).eval()
        if adapter_path is not None:
            hashes["adapter"] = file_sha256(adapter_path)
        return MethodRow(
            row=row,
            config=config,
            hashes=hashes,
            segmenter=segmenter,
            store=self._store(row, config, segmenter, self.suite.datapath),
            variant=variant,
            adapter=adapter,
        )

    def _segmenter(self, config: Config) -> OcclusionSegmenter:
        key = _sam_key(config)
        if key not in self.segmenters:
            device = pick_device(config.run.device, local_rank())
            encodings = Encodings(IMAGES_REMEMBERED)
            self.segmenters[key] = build_segmenter(config, device, encodings)
        return self.segmenters[key].with_settings(pipeline_settings(config))

    def _store(
        self, row: Row, config: Config, segmenter: OcclusionSegmenter, datapath: Path
    ) -> PromptStore:
        new_store = store_for(row.reference, segmenter, config, datapath)
        key = (_sam_key(config), config.prompt, new_store.settings.get("reference"), datapath)
        return self.stores.setdefault(key, new_store)

    def _adapter_path(
        self, row: Row, config: Config, segmenter: OcclusionSegmenter, variant: PointVariant
    ) -> Path | None:
        """Find the file of a row's adapter, or train it; None for a fresh one or none."""
        starts_fresh = row.adapter == PER_IMAGE and row.init == FRESH
        if row.adapter == NO_ADAPTER or starts_fresh:
            return None
        if not row.is_trained or self.suite.train is None:
            is_bundled = row.adapter in (BUNDLED, PER_IMAGE)
            return weights_path(config, "adapter") if is_bundled else Path(row.adapter)
        training = SuiteTraining(
            name=row.name,
            datapath=self.suite.train,
            limit=self.suite.train_limit,
            reference=row.reference,
            config=replace(config, train=replace(config.train, val_fraction=0.0)),
            store=self._store(row, config, segmenter, self.suite.train),
            segmenter=segmenter,
            variant=variant,
        )
        return train_adapter(training, self.output_dir)


def _sam_key(config: Config) -> Hashable:
    """Return the values that determine a loaded SAM."""
    return config.model, config.sam, config.run


def row_config(config: Config, row: Row) -> Config:
    """Return the config with a row's overrides.

    Raises:
        ConfigError: One of them cannot be used.
    """
    tree = config_to_dict(config)
    for key, value in row.overrides.items():
        section, _, name = str(key).partition(".")
        tree.setdefault(section, {})[name] = value
    try:
        return config_from_dict(tree)
    except S3potError as error:
        raise ConfigError(f"row {row.name!r}: {error}") from error

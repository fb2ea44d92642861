"""Tables of variants and baselines: a YAML list of rows, run over the same faces."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from s3pot.adapter import PromptAdapter
from s3pot.build import build_adapter, build_sam, model_hashes, weights_path
from s3pot.config import (
    Config,
    ConfigError,
    build_dataclass,
    config_from_dict,
    config_to_dict,
    save_config,
)
from s3pot.data.layout import FaceFiles, load_reference
from s3pot.engine.checkpoint import restore_adapter
from s3pot.engine.device import pick_device
from s3pot.engine.evaluate import (
    Evaluation,
    FaceScore,
    faces_with_truth,
    save,
    table_row,
    truth_and_region,
)
from s3pot.engine.methods import METHODS, Bench, Row
from s3pot.engine.prompts import PromptStore
from s3pot.engine.seed import seed_everything
from s3pot.metrics import mask_scores
from s3pot.sam.frozen import FrozenSam
from s3pot.types import S3potError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Suite:
    """A whole table."""

    datapath: Path  # faces with truth
    rows: Sequence[Row]
    limit: int = 0  # only the first faces; 0: all


def read_suite(path: Path) -> Suite:
    """Read a table's YAML; S3potError for an unknown key or a value that cannot be used."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise S3potError(f"cannot read the suite {path}: {error}") from error
    tree = tree if isinstance(tree, dict) else {}
    rows, limit = tree.get("rows"), tree.get("limit", 0)
    known = {"datapath", "rows"} <= set(tree) <= {"datapath", "rows", "limit"}
    if not known or not isinstance(rows, list) or not rows or not isinstance(limit, int):
        found = ", ".join(map(str, tree)) or "no keys"
        raise S3potError(
            f"the suite {path} holds {found}; expected datapath, rows (a list) and perhaps limit"
        )
    try:
        built = [_row(values, f"rows.{number}.") for number, values in enumerate(rows, 1)]
    except (ConfigError, TypeError, ValueError) as error:
        raise S3potError(f"the suite {path}: {error}") from error
    return Suite(Path(str(tree["datapath"])), built, limit)


def _row(values: Any, prefix: str) -> Row:
    if not isinstance(values, dict) or "name" not in values:
        raise ConfigError(f"{prefix.rstrip('.')} is {values!r}; expected keys and values, and name")
    plain = {key: value for key, value in values.items() if key != "overrides"}
    return replace(build_dataclass(Row, plain, prefix), overrides=dict(values.get("overrides", {})))


def evaluate_suite(config: Config, suite: Suite, output_dir: Path) -> Evaluation:
    """Run all rows; table and scores are saved in the output folder anew after each.

    Raises:
        S3potError: No face with truth, missing weights, or a row that no face passes.
    """
    faces = faces_with_truth(suite.datapath)[: suite.limit or None]
    save_config(config, output_dir)
    sams: dict[Any, FrozenSam] = {}
    result = Evaluation([], [])
    for row in tqdm(suite.rows, desc="table", unit="row", disable=None):
        bench, own = _bench(config, row, sams), faces[: row.faces or None]
        entries = list(_run_row(bench, suite.datapath, own))
        if not entries:
            raise S3potError(f"row {row.name!r}: no face could be scored")
        rows = [*result.rows, table_row(row.name, entries)]
        failed = result.failed + len(own) - len(entries)
        result = Evaluation(rows, [*result.faces, *entries], failed)
        save(output_dir, result)
    return result


def _bench(config: Config, row: Row, sams: dict[Any, FrozenSam]) -> Bench:
    tree = config_to_dict(config)
    for key, value in row.overrides.items():
        section, _, name = str(key).partition(".")
        tree.setdefault(section, {})[name] = value
    own = config_from_dict(tree)
    models = (own.model, own.sam, own.run)
    if models not in sams:
        sams[models] = build_sam(own, pick_device(own.run.device))
    return Bench(sams[models], row, own, _adapter(own, row, sams[models]))


def _adapter(config: Config, row: Row, sam: FrozenSam) -> PromptAdapter | None:
    if row.adapter == "none":
        return None
    seed_everything(config.train.seed, config.run.deterministic)
    adapter = build_adapter(sam)
    if row.adapter != "per_image" or row.init == "general":
        bundled = row.adapter in ("bundled", "per_image")
        path = weights_path(config, "adapter") if bundled else Path(row.adapter)
        restore_adapter(adapter, path, model_hashes(config, ("sam",))["sam"])
    return adapter.eval()


def _run_row(bench: Bench, datapath: Path, faces: Sequence[FaceFiles]) -> Iterator[FaceScore]:
    """Predict and score; faces that cannot be are named in the log and left out."""
    store, row = PromptStore(bench.sam, bench.config, datapath), bench.row
    oracle = row.reference == "oracle"
    for face in faces:
        try:
            truth, region = truth_and_region(face)
            made, prompts = load_reference(face, oracle), store.get(face, oracle)
            start = time.perf_counter()
            occlusion = METHODS[row.method](bench, made, prompts) & region
            seconds = time.perf_counter() - start
            yield FaceScore(row.name, face.name, mask_scores(occlusion, truth, region), seconds)
        except S3potError as error:
            logger.error("failed: %s: %s: %s", row.name, face.name, error)

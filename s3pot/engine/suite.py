"""Tables of variants and baselines: a YAML list of rows, run over the same faces."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from s3pot.build import build_adapter, build_sam, model_hashes, weights_path
from s3pot.config import Config, build_dataclass, config_from_dict, config_to_dict, save_config
from s3pot.data.layout import FaceFiles, load_reference
from s3pot.engine import evaluate
from s3pot.engine.checkpoint import restore_adapter
from s3pot.engine.device import pick_device, seed_everything
from s3pot.engine.evaluate import Evaluation, FaceScore
from s3pot.engine.items import each
from s3pot.engine.methods import METHODS, Bench, Row
from s3pot.engine.prompts import PromptStore
from s3pot.metrics import mask_scores
from s3pot.sam.frozen import FrozenSam
from s3pot.types import S3potError


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
        rows = [_row(values, number) for number, values in enumerate(tree.pop("rows"), 1)]
        if not rows:
            raise ValueError("there are no rows")
        return Suite(Path(tree.pop("datapath")), rows, **{"limit": 0, **tree})
    except (OSError, yaml.YAMLError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise S3potError(
            f"cannot use the suite {path} ({type(error).__name__}: {error}); "
            "expected datapath, rows (a list) and perhaps limit (a number)"
        ) from error


def _row(values: Any, number: int) -> Row:
    if not isinstance(values, dict) or "name" not in values:
        raise S3potError(f"row {number} is {values!r}; expected keys and values, and name")
    overrides = dict(values.pop("overrides", {}))
    return replace(build_dataclass(Row, values, f"rows.{number}."), overrides=overrides)


def evaluate_suite(config: Config, suite: Suite, output_dir: Path) -> Evaluation:
    """Run all rows; table and scores are saved in the output folder anew after each.

    Raises:
        S3potError: No face with truth, missing weights, or a row that no face passes.
    """
    faces = evaluate.faces_with_truth(suite.datapath)[: suite.limit or None]
    save_config(config, output_dir)
    sams: dict[Any, FrozenSam] = {}
    result = Evaluation([], [])
    for row in suite.rows:
        score = _scorer(_bench(config, row, sams), suite.datapath)
        own = {face.name: face for face in faces[: row.faces or None]}
        entries = list(each(own, score, f"faces of {row.name!r}"))
        result = Evaluation(
            [*result.rows, evaluate.table_row(row.name, entries)],
            [*result.faces, *entries],
            result.failed + len(own) - len(entries),
        )
        evaluate.save(output_dir, result)
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
    if row.adapter == "none":
        return Bench(sams[models], row, own, None)
    seed_everything(own.train.seed, own.run.deterministic)
    adapter = build_adapter(sams[models])
    if row.adapter != "per_image" or row.init == "general":
        bundled = row.adapter in ("bundled", "per_image")
        path = weights_path(own, "adapter") if bundled else Path(row.adapter)
        restore_adapter(adapter, path, model_hashes(own, ("sam",))["sam"])
    return Bench(sams[models], row, own, adapter.eval())


def _scorer(bench: Bench, datapath: Path) -> Callable[[FaceFiles], FaceScore]:
    """How a row predicts and scores one face."""
    store, row = PromptStore(bench.sam, bench.config, datapath), bench.row
    oracle = row.reference == "oracle"

    def score(face: FaceFiles) -> FaceScore:
        truth, region = evaluate.truth_and_region(face)
        made, prompts = load_reference(face, oracle), store.get(face, oracle)
        start = time.perf_counter()
        occlusion = METHODS[row.method](bench, made, prompts) & region
        seconds = time.perf_counter() - start
        return FaceScore(row.name, face.name, mask_scores(occlusion, truth, region), seconds)

    return score

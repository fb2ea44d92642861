"""Tables of variants and baselines: a YAML list of rows, run over the same faces."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from s3pot.adapter import PromptAdapter
from s3pot.build import build_adapter, build_sam, model_hashes, settings, weights_path
from s3pot.config import Config, config_from_dict, config_to_dict, save_config
from s3pot.data.layout import FaceFiles, find_faces, load_reference
from s3pot.engine.checkpoint import restore_adapter
from s3pot.engine.device import pick_device
from s3pot.engine.evaluate import Evaluation, FaceScore, save, table_row, truth_and_region
from s3pot.engine.methods import METHODS, Bench, Case, Row
from s3pot.engine.prompts import PromptStore
from s3pot.engine.seed import seed_everything
from s3pot.metrics import mask_scores
from s3pot.sam.frozen import FrozenSam
from s3pot.types import S3potError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Suite:
    """A whole table.

    Attributes:
        datapath: Faces with truth.
        rows: In order.
        limit: Only the first faces; 0 means all.
    """

    datapath: Path
    rows: Sequence[Row]
    limit: int = 0


def read_suite(path: Path) -> Suite:
    """Read a table's YAML.

    Raises:
        S3potError: Unreadable, an unknown key, or a value that cannot be used.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise S3potError(f"cannot read the suite {path}: {error}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("rows"), list) or not tree["rows"]:
        raise S3potError(f"the suite {path} needs keys datapath and rows, a list")
    rows = [_build(Row, row, f"{path}, row {number}") for number, row in enumerate(tree["rows"], 1)]
    suite = _build(Suite, {**tree, "rows": rows}, str(path))
    return replace(suite, datapath=Path(suite.datapath))


def evaluate_suite(config: Config, suite: Suite, output_dir: Path) -> Evaluation:
    """Run all rows; the table is written anew after each.

    Args:
        config: Models and numbers; rows override them.
        suite: What to run.
        output_dir: Where ``table.csv``, ``table.md`` and ``per_image.csv`` go.

    Raises:
        S3potError: No face with truth, missing weights, or a row that no face passes.
    """
    truths = [face for face in find_faces(suite.datapath) if face.occlusion_truth is not None]
    truths = truths[: suite.limit or None]
    if not truths:
        raise S3potError(
            f"{suite.datapath} has no face with a truth <stem>_occlusion.png; "
            "generate_reference.py --truth_dir carries it along"
        )
    save_config(config, output_dir)
    sams: dict[Any, FrozenSam] = {}
    result = Evaluation([], [], 0)
    for row in tqdm(suite.rows, desc="table", unit="row", disable=None):
        bench = _bench(config, row, sams)
        failures: list[str] = []
        entries = list(_run_row(bench, suite.datapath, truths[: row.faces or None], failures))
        if not entries:
            raise S3potError(f"row {row.name!r}: no face could be scored")
        rows = [*result.rows, table_row(row.name, entries)]
        result = Evaluation(rows, [*result.faces, *entries], result.failed + len(failures))
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
    sam = sams[models]
    return Bench(sam, row, own, settings(own), _adapter(own, row, sam))


def _adapter(config: Config, row: Row, sam: FrozenSam) -> PromptAdapter | None:
    if row.adapter == "none":
        return None
    seed_everything(config.train.seed, config.run.deterministic)
    adapter = build_adapter(sam)
    if row.adapter == "per_image" and row.init == "fresh":
        return adapter
    bundled = row.adapter in ("bundled", "per_image")
    path = weights_path(config, "adapter") if bundled else Path(row.adapter)
    restore_adapter(adapter, path, model_hashes(config, ("sam",))["sam"])
    return adapter.eval()


def _run_row(
    bench: Bench, datapath: Path, faces: Sequence[FaceFiles], failures: list[str]
) -> Iterator[FaceScore]:
    """Predict and score; faces that cannot be are named and appended to ``failures``."""
    store = PromptStore(bench.sam, bench.config, datapath)
    for files in faces:
        try:
            oracle = bench.row.reference == "oracle"
            truth, region = truth_and_region(files)
            case = Case(files, load_reference(files, oracle), store.get(files, oracle))
            start = time.perf_counter()
            occlusion = METHODS[bench.row.method](bench, case) & region
            seconds = time.perf_counter() - start
            scores = mask_scores(occlusion, truth, region)
            yield FaceScore(bench.row.name, files.name, scores, seconds)
        except S3potError as error:
            failures.append(files.name)
            logger.error("failed: %s: %s: %s", bench.row.name, files.name, error)


def _build(kind: type, tree: Any, where: str) -> Any:
    """A dataclass from YAML values, keys checked, numbers converted."""
    known = {entry.name: entry for entry in fields(kind)}
    if not isinstance(tree, dict) or set(tree) - set(known):
        found = ", ".join(map(str, tree)) if isinstance(tree, dict) else repr(tree)
        raise S3potError(f"{where} holds {found}; known keys: {', '.join(known)}")
    required = [e.name for e in known.values() if e.default is e.default_factory is MISSING]
    missing = [name for name in required if name not in tree]
    if missing:
        raise S3potError(f"{where} lacks {', '.join(missing)}")
    for key, value in tree.items():
        kinds: dict[type, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float)}
        wanted = kinds.get(type(known[key].default), (object,))
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise S3potError(f"{where}: {key} is {value!r}; expected another kind of value")
    return kind(**tree)

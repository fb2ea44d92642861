"""Tables of variants and baselines: a YAML list of rows, run over the same faces.

A row says what marks the occlusion, from nothing to the whole model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from s3pot.adapter import PromptAdapter
from s3pot.baselines import pixel_contrast, token_contrast
from s3pot.build import build_segmenter, model_hashes, pipeline_settings, weights_path
from s3pot.config import Config, build_dataclass, config_from_dict, config_to_dict, save_config
from s3pot.data.face_folder import FaceFiles, load_aligned_face
from s3pot.data.truth import faces_with_truth, truth_and_region
from s3pot.device import pick_device
from s3pot.io import file_sha256
from s3pot.labels import resize_labels
from s3pot.metrics import mask_scores
from s3pot.pipeline import OcclusionSegmenter, split_region
from s3pot.report.rows import Evaluation, FaceScore, Provenance, TableRow, make_row
from s3pot.report.tables import save, save_plot
from s3pot.runs.folder_run import run_each
from s3pot.runs.prompt_store import PromptStore
from s3pot.runs.provenance import provenance_of
from s3pot.training.checkpoint import new_adapter
from s3pot.training.per_image import fit_adapter
from s3pot.types import AlignedFace, Prompts, S3potError


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

    segmenter: OcclusionSegmenter
    row: Row
    config: Config  # with the row's overrides
    adapter: PromptAdapter | None  # the row's, or where per-image training starts
    adapter_file: Path | None = None  # what it was read from


def _token(bench: Bench, face: AlignedFace, prompts: Prompts) -> np.ndarray:
    return token_contrast(prompts, face.image.shape[:2]) > bench.row.threshold


def _greedy(bench: Bench, face: AlignedFace, prompts: Prompts) -> np.ndarray:
    grid = bench.segmenter.sam.grid
    negative = grid.cells(prompts.points_sam[prompts.point_labels == 0]).cpu().numpy()
    cells = np.isin(np.arange(grid.side * grid.side), negative).reshape(grid.side, grid.side)
    return resize_labels(cells, face.image.shape[:2])


def _single_point(bench: Bench, face: AlignedFace, prompts: Prompts) -> np.ndarray:
    if prompts.has_points:
        first = prompts.first_point_sam[None]
        prompts = replace(prompts, points_sam=first, point_labels=prompts.point_labels.new_ones(1))
    return _model(replace(bench, adapter=None), face, prompts)


def _model(bench: Bench, face: AlignedFace, prompts: Prompts) -> np.ndarray:
    adapter, prediction = bench.adapter, None
    if prompts.has_points:
        if adapter is not None and bench.row.adapter == "per_image":
            adapter = deepcopy(adapter)
            fit_adapter(bench.segmenter, prompts, adapter, bench.config)
        with torch.no_grad():
            prediction = bench.segmenter.predict_visible_face(adapter, prompts)
    return split_region(prediction, face.parsing, face.image.shape[:2]).occlusion


# Each gives an occlusion mask (H, W); what lies outside the region is cut off afterwards.
METHODS: dict[str, Callable[[Bench, AlignedFace, Prompts], np.ndarray]] = {
    "parser": lambda bench, face, prompts: np.zeros(face.image.shape[:2], dtype=bool),
    "region": lambda bench, face, prompts: np.ones(face.image.shape[:2], dtype=bool),
    "pixel": lambda bench, face, prompts: pixel_contrast(face) > bench.row.threshold,
    "token": _token,
    "single_point": _single_point,
    "greedy": _greedy,
    "model": _model,
}


@dataclass(frozen=True)
class Suite:
    """A whole table."""

    datapath: Path  # faces with truth
    rows: Sequence[Row]
    limit: int = 0  # only the first faces; 0: all
    main: str = ""  # name of the row that the others are compared with; empty: none


def read_suite(path: Path) -> Suite:
    """Read a table's YAML; S3potError for an unknown key or a value that cannot be used."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        rows = [_row(values, number) for number, values in enumerate(tree.pop("rows"), 1)]
        if not rows:
            raise ValueError("there are no rows")
        names = [row.name for row in rows]
        if len(set(names)) < len(names):
            raise ValueError("two rows have the same name")
        suite = Suite(Path(tree.pop("datapath")), rows, **{"limit": 0, **tree})
        if suite.main and suite.main not in names:
            raise ValueError(f"main is {suite.main!r}, which is no row")
        return suite
    except (OSError, yaml.YAMLError, LookupError, AttributeError, TypeError, ValueError) as error:
        wanted = "expected datapath, rows (a list) and perhaps limit (a number) and main (a row)"
        raise S3potError(f"cannot use the suite {path} ({error!r}); {wanted}") from error


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
    faces = faces_with_truth(suite.datapath)[: suite.limit or None]
    save_config(config, output_dir)
    segmenters: dict[Any, OcclusionSegmenter] = {}
    scores: dict[str, list[FaceScore]] = {}
    provenances: dict[str, Provenance] = {}
    failed = 0
    evaluation = Evaluation([], [])
    for row in suite.rows:
        bench = _bench(config, row, segmenters)
        score = _scorer(bench, suite.datapath)
        own = {face.name: face for face in faces[: row.faces or None]}
        scores[row.name] = run_each(own, score, f"faces of {row.name!r}")
        provenances[row.name] = provenance_of(bench.config, _weight_hashes(bench))
        failed += len(own) - len(scores[row.name])
        evaluation = Evaluation(
            rows=_table_rows(suite, scores, provenances),
            faces=[entry for entries in scores.values() for entry in entries],
            failed=failed,
        )
        save(output_dir, evaluation)
    save_plot(output_dir, evaluation)
    return evaluation


def _table_rows(
    suite: Suite,
    scores: Mapping[str, Sequence[FaceScore]],
    provenances: Mapping[str, Provenance],
) -> list[TableRow]:
    """The rows that are done, compared with the main one as soon as that is."""
    return [
        make_row(
            row.name,
            scores[row.name],
            main=() if row.name == suite.main else scores.get(suite.main, ()),
            provenance=provenances[row.name],
            oracle=row.reference == "oracle",
        )
        for row in suite.rows
        if row.name in scores
    ]


def _weight_hashes(bench: Bench) -> dict[str, str]:
    """SHA-256 of the SAM, and of the adapter where one was read from a file."""
    hashes = model_hashes(bench.config, ["sam"])
    if bench.adapter_file is not None:
        hashes["adapter"] = file_sha256(bench.adapter_file)
    return hashes


def _bench(config: Config, row: Row, segmenters: dict[Any, OcclusionSegmenter]) -> Bench:
    tree = config_to_dict(config)
    for key, value in row.overrides.items():
        section, _, name = str(key).partition(".")
        tree.setdefault(section, {})[name] = value
    own = config_from_dict(tree)
    models = (own.model, own.sam, own.run)
    if models not in segmenters:
        segmenters[models] = build_segmenter(own, pick_device(own.run.device))
    segmenter = OcclusionSegmenter(
        segmenters[models].sam, pipeline_settings(own), segmenters[models].images_at_once
    )
    if row.adapter == "none":
        return Bench(segmenter, row, own, None)
    path = None
    if row.adapter != "per_image" or row.init == "general":
        bundled = row.adapter in ("bundled", "per_image")
        path = weights_path(own, "adapter") if bundled else Path(row.adapter)
    return Bench(segmenter, row, own, new_adapter(own, segmenter.sam, path).eval(), path)


def _scorer(bench: Bench, datapath: Path) -> Callable[[FaceFiles], FaceScore]:
    """How a row predicts and scores one face."""
    store, row = PromptStore(bench.segmenter, bench.config, datapath), bench.row
    oracle = row.reference == "oracle"

    def score(face: FaceFiles) -> FaceScore:
        truth, region = truth_and_region(face)
        aligned, prompts = load_aligned_face(face, oracle), store.get(face, oracle)
        start = time.perf_counter()
        occlusion = METHODS[row.method](bench, aligned, prompts) & region
        seconds = time.perf_counter() - start
        return FaceScore(row.name, face.name, mask_scores(occlusion, truth, region), seconds)

    return score

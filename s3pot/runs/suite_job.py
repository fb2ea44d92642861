"""The work behind a table: one row marks the occlusion of one face, and is scored."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from typing_extensions import override

from s3pot.data.face_folder import FaceFiles, load_aligned_face
from s3pot.data.truth import FaceTruth, require_truth, truth_files
from s3pot.io import file_sha256
from s3pot.metrics import MaskScores, mask_scores
from s3pot.runs.folder_job import FolderJob, Written
from s3pot.runs.folder_run import AHEAD
from s3pot.runs.prompt_store import PromptSource
from s3pot.runs.records import ItemProvenance, code_sha256
from s3pot.runs.suite_rows import LoadedRow
from s3pot.types import AlignedFace, Prompts, SamInputs

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True)
class RowFace:
    """One face in one row."""

    loaded: LoadedRow
    files: FaceFiles


def plan_items(rows: Sequence[LoadedRow], faces: Sequence[FaceFiles]) -> list[list[RowFace]]:
    """List every row's faces, in a list for all rows that share prompts and reference.

    In it these rows meet at each face, so that it has to be prepared only once.
    """
    groups: dict[tuple[int, bool], list[LoadedRow]] = {}
    for loaded in rows:
        groups.setdefault((id(loaded.store), loaded.row.is_oracle), []).append(loaded)
    plan = []
    for group in groups.values():
        items = []
        for position, files in enumerate(faces):
            for loaded in group:
                if loaded.row.faces == 0 or position < loaded.row.faces:
                    items.append(RowFace(loaded, files))
        plan.append(items)
    return plan


@dataclass(frozen=True)
class FaceData:
    """A face that is read.

    Attributes:
        face: Image, parsing and the reference of the row.
        source: Its prompts, if they were kept, or what they are computed from.
        truth: What is truly occluded, and the region.
    """

    face: AlignedFace
    source: PromptSource
    truth: FaceTruth


@dataclass(frozen=True)
class RowFaceInput:
    """An item that is read; the data is shared with other rows."""

    item: RowFace
    data: FaceData


@dataclass(frozen=True)
class RowFaceOutput:
    """The scores of one face in one row, and the time of the prediction in seconds."""

    item: RowFace
    scores: MaskScores
    seconds: float


class SuiteJob(FolderJob[RowFace, RowFaceInput, RowFaceOutput]):
    """Score each face in each row; the scores are the content of the item's record.

    Args:
        folder: Where the records go, ``<folder>/<row>/<face>.json``.
    """

    unit = "faces of all rows"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code_sha256 = code_sha256()
        self._hashes: dict[Path, str] = {}
        self._faces: ReadOnce[Any, FaceData] = ReadOnce(2 * AHEAD)
        self._prompts: dict[Any, Prompts] = {}  # of the latest face only

    @override
    def name(self, item: RowFace) -> str:
        return f"{item.files.name} in row {item.loaded.row.name!r}"

    @override
    def record_path(self, item: RowFace) -> Path:
        return self.folder / row_folder(item.loaded.row.name) / f"{item.files.name}.json"

    @override
    def provenance(self, item: RowFace) -> ItemProvenance:
        loaded = item.loaded
        files = item.files
        inputs = {
            "image": files.raw,
            "reference": files.clean if loaded.row.is_oracle else files.reference,
            "parsing": files.parsing,
            **truth_files(files),
        }
        settings: dict[str, Any] = {
            "code": self.code_sha256,
            "method": loaded.row.method,
            "adapter": loaded.row.adapter,
            "init": loaded.row.init,
            "threshold": loaded.row.threshold,
            "prompts": loaded.store.settings,
            "pipeline": asdict(loaded.segmenter.settings),
            "truth": asdict(loaded.config.truth),
        }
        if loaded.row.is_fitted:
            settings["loss"] = asdict(loaded.config.loss)
            settings["train"] = asdict(loaded.config.train)
            settings["per_image"] = asdict(loaded.config.per_image)
        return ItemProvenance(
            inputs={role: self._hash(path) for role, path in inputs.items()},
            models=loaded.hashes,
            settings=settings,
        )

    @override
    def read(self, item: RowFace) -> RowFaceInput:
        key = (*_face_key(item), item.loaded.truth_policy)
        return RowFaceInput(item, self._faces.get(key, lambda: _read_face(item)))

    @override
    def compute(self, inputs: Sequence[RowFaceInput]) -> list[RowFaceOutput]:
        return [self._score(entry) for entry in inputs]

    def _score(self, entry: RowFaceInput) -> RowFaceOutput:
        prompts = self._prompts_of(entry)
        data = entry.data
        start = time.perf_counter()
        truth = data.truth
        occlusion = entry.item.loaded.predict(data.face, prompts) & truth.region
        seconds = time.perf_counter() - start
        scores = mask_scores(occlusion, truth.occlusion, truth.region, truth.ignored)
        return RowFaceOutput(entry.item, scores, seconds)

    def _prompts_of(self, entry: RowFaceInput) -> Prompts:
        """Give the prompts of a face, computed once for all rows that come after each other."""
        key = _face_key(entry.item)
        if key not in self._prompts:
            loaded = entry.item.loaded
            prompts = loaded.store.compute([entry.data.source])[0]
            if isinstance(entry.data.source, SamInputs):
                loaded.store.keep(entry.item.files, prompts, loaded.row.is_oracle)
            self._prompts = {key: prompts}
        return self._prompts[key]

    @override
    def write(self, output: RowFaceOutput, provenance: ItemProvenance) -> Written:
        content = {
            "row": output.item.loaded.row.name,
            "face": output.item.files.name,
            "seconds": output.seconds,
            "scores": asdict(output.scores),
        }
        return Written(content=content)

    def _hash(self, path: Path | None) -> str:
        """Hash a file once, however many rows it is part of; empty if it is not there."""
        if path is None or not path.is_file():
            return ""
        if path not in self._hashes:
            self._hashes[path] = file_sha256(path)
        return self._hashes[path]


def row_folder(name: str) -> str:
    """Name the folder of a row's records: readable, and different for different names."""
    readable = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:40]
    return f"{readable}-{hashlib.sha256(name.encode('utf-8')).hexdigest()[:8]}"


def _face_key(item: RowFace) -> tuple[int, bool, FaceFiles]:
    """What decides a face's data and prompts."""
    return id(item.loaded.store), item.loaded.row.is_oracle, item.files


def _read_face(item: RowFace) -> FaceData:
    is_oracle = item.loaded.row.is_oracle
    truth = require_truth(item.files, item.loaded.truth_policy)
    face = load_aligned_face(item.files, is_oracle)
    source: PromptSource | None = item.loaded.store.find(item.files, is_oracle)
    if source is None:
        source = item.loaded.segmenter.prepare(face)
    return FaceData(face, source, truth)


class ReadOnce(Generic[Key, Value]):
    """Remembers the latest values; threads that ask for the same one wait for the first.

    Args:
        size: How many values are remembered.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self._values: OrderedDict[Key, Future[Value]] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """Give the value of a key; an error of ``make`` goes to all who ask."""
        with self._lock:
            is_first = key not in self._values
            if is_first:
                self._values[key] = Future()
                if len(self._values) > self.size:
                    self._values.popitem(last=False)
            future = self._values[key]
        if is_first:
            try:
                future.set_result(make())
            except BaseException as error:
                future.set_exception(error)
        return future.result()

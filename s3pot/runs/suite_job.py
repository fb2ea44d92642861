"""The work behind a table: one row predicts the occlusion of one face and is scored."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

from s3pot.data.face_folder import FaceFiles
from s3pot.io import file_sha256
from s3pot.metrics import MaskScores, mask_scores
from s3pot.read_once import ReadOnce
from s3pot.runs.folder_job import FolderJob, Written
from s3pot.runs.folder_run import AHEAD
from s3pot.runs.records import ItemProvenance, code_sha256
from s3pot.runs.suite_rows import FaceData, LoadedRow
from s3pot.types import Prompts


@dataclass(frozen=True)
class RowFace:
    """One face in one row."""

    loaded: LoadedRow
    files: FaceFiles


def plan_items(rows: Sequence[LoadedRow], faces: Sequence[FaceFiles]) -> list[list[RowFace]]:
    """List every row's faces, with one list for all rows whose images the same SAM encodes.

    In a list, the rows of one face are adjacent, and among them those that share prompts, so that
    images are encoded and prompts selected only once.
    """
    plan = []
    for of_encoder in _grouped(rows, lambda loaded: loaded.encoder):
        groups = _grouped(of_encoder, lambda loaded: loaded.group)
        files_of_groups = [group[0].files_of(faces) for group in groups]
        blocks = []
        for position in range(len(faces)):
            for group, files in zip(groups, files_of_groups):
                block = [
                    RowFace(loaded, files[position])
                    for loaded in group
                    if loaded.row.faces == 0 or position < loaded.row.faces
                ]
                blocks.append(block)
        plan.append(_overlapped(blocks))
    return plan


def _grouped(
    rows: Sequence[LoadedRow], key: Callable[[LoadedRow], Hashable]
) -> list[list[LoadedRow]]:
    """Group rows with equal keys, in the order of their first rows."""
    groups: dict[Hashable, list[LoadedRow]] = {}
    for loaded in rows:
        groups.setdefault(key(loaded), []).append(loaded)
    return list(groups.values())


def _overlapped(blocks: Iterable[Sequence[RowFace]]) -> list[RowFace]:
    """Start each block's first item before the rest of the previous block.

    The items of a block share prompts, which its first item computes. They are thus computed while
    other threads still work on the previous block.
    """
    items: list[RowFace] = []
    others: Sequence[RowFace] = ()
    for block in blocks:
        items += block[:1]
        items += others
        others = block[1:]
    return [*items, *others]


@dataclass(frozen=True)
class RowFaceInput:
    """The data read for an item; it is shared with other rows."""

    item: RowFace
    data: FaceData


@dataclass(frozen=True)
class RowFaceOutput:
    """The scores of one face in one row, and the time of the prediction if it is measured."""

    item: RowFace
    scores: MaskScores
    seconds: float | None


class SuiteJob(FolderJob[RowFace, RowFaceInput, RowFaceOutput]):
    """Score each face in each row; the scores are the content of the item's record.

    Args:
        folder: Folder for the records, ``<folder>/<row>/<face>.json``.
        workers: The number of threads in which rows may be computed at once.
    """

    unit = "faces of all rows"

    def __init__(self, folder: Path, workers: int = 1) -> None:
        self.folder = folder
        self.workers = workers
        self._settings: dict[str, dict[str, Any]] = {}  # by row, for all of its faces
        self._hashes: dict[Path, str] = {}
        self._faces: ReadOnce[Any, FaceData] = ReadOnce(2 * (AHEAD + workers))
        self._prompts: ReadOnce[Any, Prompts | None] = ReadOnce(workers + 2)

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
        return ItemProvenance(
            inputs={role: self._hash(path) for role, path in loaded.inputs(files).items()},
            models=loaded.hashes,
            settings=self._settings_of(loaded),
        )

    @override
    def read(self, item: RowFace) -> RowFaceInput:
        loaded = item.loaded
        data = self._faces.get((loaded.group, item.files), lambda: loaded.read(item.files))
        return RowFaceInput(item, data)

    @override
    def compute(self, inputs: Sequence[RowFaceInput]) -> list[RowFaceOutput]:
        return [self._score(entry) for entry in inputs]

    def _score(self, entry: RowFaceInput) -> RowFaceOutput:
        loaded = entry.item.loaded
        prompts = self._prompts_of(entry)
        data = entry.data
        truth = data.truth
        start = time.perf_counter()
        occlusion = loaded.predict(data, prompts) & truth.region
        seconds = time.perf_counter() - start if loaded.is_timed else None
        scores = mask_scores(occlusion, truth.occlusion, truth.region, truth.ignored)
        return RowFaceOutput(entry.item, scores, seconds)

    def _prompts_of(self, entry: RowFaceInput) -> Prompts | None:
        """Return the prompts of a face, computed once for all consecutive rows."""
        loaded = entry.item.loaded
        files = entry.item.files
        return self._prompts.get((loaded.group, files), lambda: loaded.prompts(files, entry.data))

    @override
    def write(self, output: RowFaceOutput, provenance: ItemProvenance) -> Written:
        content = {
            "row": output.item.loaded.row.name,
            "face": output.item.files.name,
            "seconds": output.seconds,
            "scores": asdict(output.scores),
        }
        return Written(content=content)

    def _settings_of(self, loaded: LoadedRow) -> dict[str, Any]:
        """Return what the numbers of a row depend on besides files and models."""
        name = loaded.row.name
        if name not in self._settings:
            self._settings[name] = {"code": code_sha256(), **loaded.settings()}
        return self._settings[name]

    def _hash(self, path: Path | None) -> str:
        """Hash a file once, however many rows use it; empty if it does not exist."""
        if path is None or not path.is_file():
            return ""
        if path not in self._hashes:
            self._hashes[path] = file_sha256(path)
        return self._hashes[path]


def row_folder(name: str) -> str:
    """Return the folder name for a row's records: readable, and unique for each row name."""
    readable = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:40]
    return f"{readable}-{hashlib.sha256(name.encode('utf-8')).hexdigest()[:8]}"

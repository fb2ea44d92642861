"""Validation of a data set, by reading all of it; ``dataset_report.py`` lists what is wrong."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from typing_extensions import override

from s3pot.data.datasets.faces_folder import FacesFolder
from s3pot.data.datasets.formats import SourceOptions, open_dataset
from s3pot.data.datasets.item import (
    DatasetAdapter,
    DatasetError,
    DatasetItem,
    ItemLabels,
)
from s3pot.data.image import MAX_PIXELS, read_rgb
from s3pot.data.output_guard import refuse_other_kinds
from s3pot.io import file_sha256
from s3pot.labels import CLASSES
from s3pot.report.contact_sheet import Cell, labeled_picture
from s3pot.runs.convert_dataset import known_labels, suspicions_of
from s3pot.runs.dataset_report import ImageFacts, Problem, Report, problems_of, write_report
from s3pot.runs.folder_job import FolderJob, Written
from s3pot.runs.folder_run import run_folder
from s3pot.runs.outdated_faces import outdated_faces
from s3pot.runs.records import ItemProvenance

logger = logging.getLogger(__name__)

_OUTDATED = "Its files are those of an earlier result, because its photo failed in the last run."
SHEET_IMAGES = 48  # at most, evenly spaced


def validate_dataset(
    root: Path,
    format_name: str,
    output_dir: Path,
    source: SourceOptions | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Report:
    """Validate a data set and write ``report.json``, tables and a contact sheet.

    Everything is read again each time, because that is the purpose.

    Args:
        root: Folder of the data set.
        format_name: One of ``formats.READERS``, or "auto".
        output_dir: Folder for the files.
        source: Further details of the data set.
        max_pixels: Larger images are refused.

    Raises:
        S3potError: The folder has another layout, or holds no images, or the output folder holds
            something of another command.
    """
    refuse_other_kinds(output_dir, "data validate")
    adapter = open_dataset(root, format_name, source or SourceOptions())
    items = adapter.items()
    for caution in adapter.cautions():
        logger.warning("%s", caution)
    job = ValidateJob(adapter, _evenly(items), max_pixels)
    outcome = run_folder(job, items)
    facts = [content["facts"] for content in outcome.contents]
    problems = [
        *(Problem(failure.name, "image or labels", failure.reason) for failure in outcome.failures),
        *(Problem("", "layout", reason) for reason in adapter.problems()),
        *(Problem(name, "outdated", _OUTDATED) for name in _outdated_names(adapter)),
        *problems_of(facts),
    ]
    report = Report(adapter.format_name, len(items), facts, problems)
    write_report(output_dir, report, job.cells_in_order(items))
    return report


class ValidateJob(FolderJob[DatasetItem, ImageFacts, ImageFacts]):
    """Read each image and its labels, and keep what is counted.

    Args:
        adapter: The data set.
        shown: Names of the images on the contact sheet.
        max_pixels: Larger images are refused.
    """

    unit = "images"

    def __init__(self, adapter: DatasetAdapter, shown: frozenset[str], max_pixels: int) -> None:
        self.adapter = adapter
        self.shown = shown
        self.max_pixels = max_pixels
        self._cells: dict[str, Cell] = {}
        self._lock = threading.Lock()

    @override
    def name(self, item: DatasetItem) -> str:
        return item.name

    @override
    def read(self, item: DatasetItem) -> ImageFacts:
        if item.problem is not None:
            raise DatasetError(item.problem)
        image = read_rgb(item.image, self.max_pixels)
        size = (image.shape[0], image.shape[1])
        labels = self.adapter.labels(item, size)
        if item.name in self.shown:
            self._show(item, image, labels)
        parsing = labels.parsing if labels.parsing is not None else labels.parsed
        pixels = hashlib.sha256(repr(size).encode() + image.tobytes())
        return ImageFacts(
            item=item,
            size=size,
            file_sha256=file_sha256(item.image),
            pixels_sha256=pixels.hexdigest(),
            known_labels=tuple(known_labels(labels)),
            occluded_share=_share(labels.occlusion),
            visible_face_share=_share(labels.visible_face),
            ignored_share=_share(labels.ignored),
            class_pixels={} if parsing is None else _class_pixels(parsing),
            shapes=dict(labels.shapes),
            has_empty_face=labels.visible_face is not None and not labels.visible_face.any(),
            suspicions=(
                *(f"{item.image}: {text}" for text in suspicions_of(labels)),
                *labels.oddities,
            ),
        )

    def _show(self, item: DatasetItem, image: np.ndarray, labels: ItemLabels) -> None:
        picture = labeled_picture(
            image,
            occlusion=labels.occlusion,
            visible_face=labels.visible_face,
            ignored=labels.ignored,
            parsing=labels.parsing if labels.parsing is not None else labels.parsed,
        )
        with self._lock:
            self._cells[item.name] = Cell(picture, item.name)

    def cells_in_order(self, items: Sequence[DatasetItem]) -> list[Cell]:
        """Return the pictures of the contact sheet in the order of the images."""
        return [self._cells[item.name] for item in items if item.name in self._cells]

    @override
    def compute(self, inputs: Sequence[ImageFacts]) -> Sequence[ImageFacts]:
        return inputs

    @override
    def write(self, output: ImageFacts, provenance: ItemProvenance) -> Written:
        return Written(content={"facts": output})


def _evenly(items: Sequence[DatasetItem]) -> frozenset[str]:
    """Return the names of at most ``SHEET_IMAGES`` images, evenly spaced."""
    step = max(1, -(-len(items) // SHEET_IMAGES))
    return frozenset(item.name for item in items[::step])


def _outdated_names(adapter: DatasetAdapter) -> list[str]:
    return outdated_faces(adapter.root) if isinstance(adapter, FacesFolder) else []


def _share(mask: np.ndarray | None) -> float | None:
    return None if mask is None else round(float(mask.mean()), 6)


def _class_pixels(parsing: np.ndarray) -> dict[str, int]:
    counts = np.bincount(parsing.ravel(), minlength=len(CLASSES))
    return {name: int(count) for name, count in zip(CLASSES, counts)}

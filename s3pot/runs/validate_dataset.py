"""Validation of a data set: what it contains, and what is wrong with it."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from s3pot.data.datasets.formats import SourceOptions, open_dataset
from s3pot.data.datasets.item import (
    DatasetAdapter,
    DatasetError,
    DatasetItem,
    ItemLabels,
)
from s3pot.data.image import MAX_PIXELS, read_rgb, write_png
from s3pot.io import file_sha256, write_csv, write_json
from s3pot.labels import CLASSES
from s3pot.report.contact_sheet import Cell, contact_sheet, labeled_picture
from s3pot.runs.convert_dataset import known_labels, suspicions_of
from s3pot.runs.folder_job import FolderJob, Written
from s3pot.runs.folder_run import run_folder
from s3pot.runs.records import ItemProvenance
from s3pot.wording import brief, counted

logger = logging.getLogger(__name__)

REPORT = "report.json"
PROBLEMS = "problems.csv"
IMAGES = "images.csv"
CONTACT_SHEET = "contact_sheet.png"
SHEET_IMAGES = 48  # at most, evenly spaced
_SHARES = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)  # bin edges of the area histograms


@dataclass(frozen=True)
class Problem:
    """A problem of the data set.

    Attributes:
        name: The name of the image; empty if several are concerned.
        kind: image or labels, unlabeled, empty, suspicious, layout, same file, same pixels, or
            splits.
        reason: What is wrong, with file and key.
    """

    name: str
    kind: str
    reason: str


@dataclass(frozen=True)
class ImageFacts:
    """The facts about one image.

    Attributes:
        item: The image.
        size: Height and width.
        file_sha256: Hash of its bytes.
        pixels_sha256: Hash of its pixels and size, regardless of the file's format.
        known: Kinds of labels that are known.
        occluded_share: Share of the image, in [0, 1]; None if it is not known.
        visible_face_share: As above.
        ignored_share: As above.
        class_pixels: Pixels of each class, if the image has a class map.
        shapes: Number of shapes by label.
        has_empty_face: Whether the mask of the visible face is empty.
        suspicions: What was probably not meant as it is, with the file.
    """

    item: DatasetItem
    size: tuple[int, int]
    file_sha256: str
    pixels_sha256: str
    known: tuple[str, ...]
    occluded_share: float | None
    visible_face_share: float | None
    ignored_share: float | None
    class_pixels: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, int] = field(default_factory=dict)
    has_empty_face: bool = False
    suspicions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The contents of a data set, and what is wrong with it.

    Attributes:
        format_name: The format of the data set.
        images: The number of images, including bad ones.
        facts: The facts about the readable images, in their order.
        problems: All problems.
    """

    format_name: str
    images: int
    facts: Sequence[ImageFacts]
    problems: Sequence[Problem]

    def to_dict(self) -> dict[str, Any]:
        """Return the counts and histograms as plain values."""
        sizes = Counter(f"{facts.size[1]} x {facts.size[0]}" for facts in self.facts)
        splits = Counter(split for facts in self.facts for split in facts.item.splits)
        return {
            "format": self.format_name,
            "images": self.images,
            "readable": len(self.facts),
            "sizes": dict(sizes.most_common()),
            "labels": dict(Counter(kind for facts in self.facts for kind in facts.known)),
            "splits": dict(splits),
            "occluded_share": _histogram(facts.occluded_share for facts in self.facts),
            "visible_face_share": _histogram(facts.visible_face_share for facts in self.facts),
            "ignored_share": _histogram(facts.ignored_share for facts in self.facts),
            "classes": _class_shares(self.facts),
            "shapes": dict(sum((Counter(facts.shapes) for facts in self.facts), Counter())),
            "problems": dict(Counter(problem.kind for problem in self.problems)),
        }


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
        S3potError: The folder has another layout, or holds no images.
    """
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
        *_problems_of_labels(facts),
        *_duplicates(facts),
        *_problems_of_splits(facts),
    ]
    report = Report(adapter.format_name, len(items), facts, problems)
    _write(output_dir, report, job.cells_in_order(items))
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
            known=tuple(known_labels(labels)),
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


def report_text(report: Report, output_dir: Path) -> str:
    """Summarize a report in a few lines."""
    values = report.to_dict()
    images = counted(report.images, "image")
    lines = [f"{report.format_name}: {len(report.facts)} of {images} can be read"]
    for key in ("sizes", "labels", "splits", "shapes"):
        if values[key]:
            counts = [f"{name} ({count})" for name, count in values[key].items()]
            lines.append(f"{key}: {brief(counts)}")
    for key in ("occluded_share", "visible_face_share"):
        if values[key]:
            bins = ", ".join(f"{name}: {count}" for name, count in values[key].items())
            lines.append(f"images by {key.replace('_', ' ')} of the image: {bins}")
    if values["classes"]:
        shares = [f"{name} {entry['pixels']:.1%}" for name, entry in values["classes"].items()]
        lines.append(f"classes: {', '.join(shares)}")
    for problem in report.problems:
        name = f"{problem.name}: " if problem.name else ""
        lines.append(f"problem ({problem.kind}): {name}{problem.reason}")
    problems = counted(len(report.problems), "problem")
    verdict = problems if report.problems else "nothing is wrong"
    lines.append(f"{verdict}; {output_dir / CONTACT_SHEET} shows the images")
    return "".join(f"{line}\n" for line in lines)


def _write(output_dir: Path, report: Report, cells: Sequence[Cell]) -> None:
    write_json(output_dir / REPORT, report.to_dict())
    rows = [
        {"name": problem.name, "kind": problem.kind, "reason": problem.reason}
        for problem in report.problems
    ]
    if rows:
        write_csv(output_dir / PROBLEMS, rows)
    else:
        (output_dir / PROBLEMS).unlink(missing_ok=True)
    write_csv(output_dir / IMAGES, [_row(facts) for facts in report.facts])
    if cells:
        write_png(output_dir / CONTACT_SHEET, contact_sheet(cells))


def _row(facts: ImageFacts) -> dict[str, Any]:
    return {
        "name": facts.item.name,
        "file": str(facts.item.image),
        "height": facts.size[0],
        "width": facts.size[1],
        "splits": " ".join(facts.item.splits),
        "labels": " ".join(facts.known),
        "occluded_share": facts.occluded_share,
        "visible_face_share": facts.visible_face_share,
        "ignored_share": facts.ignored_share,
        "sha256": facts.file_sha256,
    }


def _problems_of_labels(facts: Sequence[ImageFacts]) -> Iterable[Problem]:
    for entry in facts:
        if not set(entry.known) - {"ignore"}:
            yield Problem(entry.item.name, "unlabeled", f"{entry.item.image} has no labels.")
        if entry.has_empty_face:
            reason = f"the visible face of {entry.item.image} has no pixel."
            yield Problem(entry.item.name, "empty", reason)
        for reason in entry.suspicions:
            yield Problem(entry.item.name, "suspicious", reason)


def _duplicates(facts: Sequence[ImageFacts]) -> Iterable[Problem]:
    """Find images with the same bytes, and others with the same pixels."""
    by_file: dict[str, list[ImageFacts]] = defaultdict(list)
    by_pixels: dict[str, dict[str, ImageFacts]] = defaultdict(dict)
    for entry in facts:
        by_file[entry.file_sha256].append(entry)
        by_pixels[entry.pixels_sha256].setdefault(entry.file_sha256, entry)
    for group in by_file.values():
        if len(group) > 1:
            yield Problem("", "same file", f"{_named(group)} are the same file.")
    for files in by_pixels.values():
        if len(files) > 1:
            yield Problem("", "same pixels", f"{_named(files.values())} show the same pixels.")


def _named(group: Iterable[ImageFacts]) -> str:
    """List the files of a group, and the splits that they are in."""
    names = []
    for entry in group:
        splits = f" ({', '.join(entry.item.splits)})" if entry.item.splits else ""
        names.append(f"{entry.item.image}{splits}")
    return brief(names)


def _problems_of_splits(facts: Sequence[ImageFacts]) -> Iterable[Problem]:
    for entry in facts:
        if len(entry.item.splits) > 1:
            reason = f"it is in several lists: {', '.join(entry.item.splits)}."
            yield Problem(entry.item.name, "splits", reason)


def _evenly(items: Sequence[DatasetItem]) -> frozenset[str]:
    """Return the names of at most ``SHEET_IMAGES`` images, evenly spaced."""
    step = max(1, -(-len(items) // SHEET_IMAGES))
    return frozenset(item.name for item in items[::step])


def _share(mask: np.ndarray | None) -> float | None:
    return None if mask is None else round(float(mask.mean()), 6)


def _class_pixels(parsing: np.ndarray) -> dict[str, int]:
    counts = np.bincount(parsing.ravel(), minlength=len(CLASSES))
    return {name: int(count) for name, count in zip(CLASSES, counts)}


def _class_shares(facts: Sequence[ImageFacts]) -> dict[str, dict[str, float]]:
    """Return each class's share of all pixels, and the number of images that have it."""
    mapped = [entry for entry in facts if entry.class_pixels]
    total = sum(sum(entry.class_pixels.values()) for entry in mapped)
    shares = {}
    for name in CLASSES if mapped else ():
        pixels = [entry.class_pixels[name] for entry in mapped]
        images = sum(count > 0 for count in pixels)
        shares[name] = {"pixels": sum(pixels) / total, "images": images}
    return shares


def _histogram(shares: Iterable[float | None]) -> dict[str, int]:
    """Count shares of the image by bin; empty if none is known."""
    known = [share for share in shares if share is not None]
    if not known:
        return {}
    bins = {"nothing": sum(share == 0 for share in known)}
    for low, high in zip(_SHARES, _SHARES[1:]):
        label = f"to {high:.0%}"
        bins[label] = sum(low < share <= high for share in known)
    return bins

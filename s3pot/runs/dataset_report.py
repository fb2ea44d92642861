"""The report on a data set: counts and histograms of its images, and what is wrong with them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3pot.data.datasets.item import DatasetItem
from s3pot.data.image import write_png
from s3pot.io import write_csv, write_json
from s3pot.labels import CLASSES
from s3pot.report.contact_sheet import Cell, contact_sheet
from s3pot.wording import brief, counted

REPORT = "report.json"
PROBLEMS = "problems.csv"
IMAGES = "images.csv"
CONTACT_SHEET = "contact_sheet.png"
_SHARES = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)  # bin edges of the area histograms


@dataclass(frozen=True)
class Problem:
    """A problem of the data set.

    Attributes:
        name: The name of the image; empty if several are concerned.
        kind: image or labels, unlabeled, empty, suspicious, layout, outdated, same file, same
            pixels, or splits.
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
        known_labels: Kinds of labels that are known.
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
    known_labels: tuple[str, ...]
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
            "labels": dict(Counter(kind for facts in self.facts for kind in facts.known_labels)),
            "splits": dict(splits),
            "occluded_share": _histogram(facts.occluded_share for facts in self.facts),
            "visible_face_share": _histogram(facts.visible_face_share for facts in self.facts),
            "ignored_share": _histogram(facts.ignored_share for facts in self.facts),
            "classes": _class_shares(self.facts),
            "shapes": dict(sum((Counter(facts.shapes) for facts in self.facts), Counter())),
            "problems": dict(Counter(problem.kind for problem in self.problems)),
        }


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
        shares = [f"{name} {entry['pixel_share']:.1%}" for name, entry in values["classes"].items()]
        lines.append(f"classes: {', '.join(shares)}")
    for problem in report.problems:
        name = f"{problem.name}: " if problem.name else ""
        lines.append(f"problem ({problem.kind}): {name}{problem.reason}")
    problems = counted(len(report.problems), "problem")
    verdict = problems if report.problems else "nothing is wrong"
    lines.append(f"{verdict}; {output_dir / CONTACT_SHEET} shows the images")
    return "".join(f"{line}\n" for line in lines)


def write_report(output_dir: Path, report: Report, cells: Sequence[Cell]) -> None:
    """Write ``report.json``, tables and a contact sheet.

    Args:
        output_dir: The folder; the table of problems exists only if there are any.
        report: The report.
        cells: The pictures of the contact sheet, in order.
    """
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
        "labels": " ".join(facts.known_labels),
        "occluded_share": facts.occluded_share,
        "visible_face_share": facts.visible_face_share,
        "ignored_share": facts.ignored_share,
        "sha256": facts.file_sha256,
    }


def problems_of(facts: Sequence[ImageFacts]) -> list[Problem]:
    """Find what is wrong with the readable images."""
    return [*_problems_of_labels(facts), *_duplicates(facts), *_problems_of_splits(facts)]


def _problems_of_labels(facts: Sequence[ImageFacts]) -> Iterable[Problem]:
    for entry in facts:
        if not set(entry.known_labels) - {"ignore"}:
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


def _class_shares(facts: Sequence[ImageFacts]) -> dict[str, dict[str, float]]:
    """Return each class's share of all pixels, and the number of images that have it."""
    mapped = [entry for entry in facts if entry.class_pixels]
    total = sum(sum(entry.class_pixels.values()) for entry in mapped)
    shares = {}
    for name in CLASSES if mapped else ():
        pixels = [entry.class_pixels[name] for entry in mapped]
        images = sum(count > 0 for count in pixels)
        shares[name] = {"pixel_share": sum(pixels) / total, "images": images}
    return shares


def _histogram(shares: Iterable[float | None]) -> dict[str, int]:
    """Count shares of the image by bin; empty if none is known."""
    known_shares = [share for share in shares if share is not None]
    if not known_shares:
        return {}
    bins = {"nothing": sum(share == 0 for share in known_shares)}
    for low, high in zip(_SHARES, _SHARES[1:]):
        label = f"to {high:.0%}"
        bins[label] = sum(low < share <= high for share in known_shares)
    return bins

"""Conversion of a data set from one layout to another, image by image.

``records/`` in the output folder holds a record for each finished image, and the summary.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from typing_extensions import override

from s3pot.data.datasets.dataset_file import DATASET_FILE, read_dataset_file, recorded_layout
from s3pot.data.datasets.faces_folder import FacesFolder
from s3pot.data.datasets.formats import WRITERS, SourceOptions, open_dataset
from s3pot.data.datasets.item import DatasetAdapter, DatasetError, DatasetItem, ItemLabels
from s3pot.data.datasets.writers import DatasetWriter, LabeledImage
from s3pot.data.folder_kinds import MOST_RECORDS, RECORDS_FOLDER, refuse_folder_of_a_run
from s3pot.data.image import MAX_PIXELS, read_rgb
from s3pot.data.truth import suspicion_of
from s3pot.io import file_sha256, leads_outside, write_json
from s3pot.report.summary import Summary, write_summary_files
from s3pot.runs.folder_job import FolderJob, Outcome, Written
from s3pot.runs.outdated_faces import warn_of_outdated_faces
from s3pot.runs.records import ItemProvenance, read_record
from s3pot.runs.selection import Selection, complete_summary, run_selected, warn_of_others
from s3pot.types import S3potError
from s3pot.version import __version__

logger = logging.getLogger(__name__)

CONVERSION_RECORD = "_record.json"


@dataclass(frozen=True)
class ConvertOptions:
    """The options of a conversion.

    Attributes:
        input_dir: Folder of the data set.
        output_dir: Folder for the converted data set.
        source_format: One of ``formats.READERS``.
        target_format: One of ``formats.WRITERS``.
        source: Further details of the data set.
        as_polygons: Write COCO polygons instead of run lengths where they are exact.
        overwrite: Also convert finished images again.
        selection: Which images are converted.
        max_pixels: Larger images are refused.
    """

    input_dir: Path
    output_dir: Path
    source_format: str
    target_format: str = "s3pot"
    source: SourceOptions = field(default_factory=SourceOptions)
    as_polygons: bool = False
    overwrite: bool = False
    selection: Selection = field(default_factory=Selection)
    max_pixels: int = MAX_PIXELS


def convert_dataset(options: ConvertOptions) -> int:
    """Convert a data set.

    Returns:
        The number of images that failed and of damages of the data set itself, such as annotations
        of no image; each is named in the log.

    Raises:
        S3potError: The data set has another layout, holds no images, or all of them failed; or the
            output folder holds a data set in another layout.
    """
    output_dir = options.output_dir.resolve()
    input_dir = options.input_dir.resolve()
    if output_dir == input_dir or input_dir in output_dir.parents:
        raise S3potError(
            f"--output_dir {options.output_dir} lies inside the data set {options.input_dir}; "
            "choose a folder outside it, so that the two do not mix."
        )
    if options.as_polygons and options.target_format != "coco":
        raise S3potError(
            f"--polygons is about COCO files, but --to is {options.target_format}; pass --to coco, "
            "or leave it out."
        )
    refuse_folder_of_a_run(options.output_dir)
    _refuse_other_layout(options.output_dir, options.target_format)
    adapter = open_dataset(options.input_dir, options.source_format, options.source)
    writer = WRITERS[options.target_format](options.output_dir, adapter, options.as_polygons)
    items = adapter.items()
    damage = adapter.damage()
    for problem in adapter.problems():
        logger.log(logging.ERROR if problem in damage else logging.WARNING, "%s", problem)
    if isinstance(adapter, FacesFolder):
        warn_of_outdated_faces(options.input_dir)
    for caution in adapter.cautions():
        logger.warning("%s", caution)
    outcome = run_selected(
        ConvertJob(options, adapter, writer),
        items,
        options.selection,
        output_dir=options.output_dir / RECORDS_FOLDER,
        keep_finished=not options.overwrite,
    )
    return len(outcome.failures) + len(damage)


def _refuse_other_layout(output_dir: Path, target_format: str) -> None:
    """Make sure that a folder does not hold two layouts; only one of them would be read.

    Raises:
        S3potError: It would.
    """
    layout = recorded_layout(output_dir)
    mark = output_dir / DATASET_FILE
    if layout is None:  # the file is written last; records come before it
        records = (output_dir / RECORDS_FOLDER).rglob(f"*{CONVERSION_RECORD}")
        for mark in islice(records, MOST_RECORDS):
            record = read_record(mark)
            if record is not None and "to" in record.provenance["settings"]:
                layout = str(record.provenance["settings"]["to"])
                break
    if layout is not None and layout != target_format:
        raise S3potError(
            f"--output_dir {output_dir} holds a data set in the layout {layout} "
            f"({mark.relative_to(output_dir).as_posix()}), with which the files of "
            f"--to {target_format} would mix; choose another --output_dir, or delete this one "
            "first."
        )


def read_item(
    adapter: DatasetAdapter, item: DatasetItem, max_pixels: int = MAX_PIXELS
) -> LabeledImage:
    """Read an image's size and its labels.

    Raises:
        S3potError: The image has a problem, or it or its labels cannot be read.
    """
    if item.problem is not None:
        raise DatasetError(item.problem)
    height, width = read_rgb(item.image, max_pixels).shape[:2]
    labels = adapter.labels(item, (height, width))
    return LabeledImage(item, (height, width), labels, adapter.companions(item))


class ConvertJob(FolderJob[DatasetItem, LabeledImage, LabeledImage]):
    """Write each image and its labels in the target layout.

    Args:
        options: The options of the conversion.
        adapter: Reads the source layout.
        writer: Writes the target layout.
    """

    unit = "images"

    def __init__(
        self, options: ConvertOptions, adapter: DatasetAdapter, writer: DatasetWriter
    ) -> None:
        self.options = options
        self.adapter = adapter
        self.writer = writer
        self.files_folder = options.output_dir

    @override
    def name(self, item: DatasetItem) -> str:
        return item.name

    @override
    def record_path(self, item: DatasetItem) -> Path | None:
        if item.problem is not None:
            return None
        return self.options.output_dir / RECORDS_FOLDER / f"{item.name}{CONVERSION_RECORD}"

    @override
    def provenance(self, item: DatasetItem) -> ItemProvenance:
        policy = self.options.source.policy
        settings = {
            "from": self.adapter.format_name,
            "to": self.writer.format_name,
            "polarity": self.options.source.polarity,
            "labels": sorted(policy.labels),
            "ignore": sorted(policy.ignore),
            "as_polygons": self.options.as_polygons,
            "splits": list(item.splits),
        }
        inputs = {} if item.problem is not None else self.adapter.fingerprint(item)
        return ItemProvenance(inputs, settings=settings)

    @override
    def read(self, item: DatasetItem) -> LabeledImage:
        image = read_item(self.adapter, item, self.options.max_pixels)
        for suspicion in suspicions_of(image.labels):
            logger.warning("%s: %s", item.image, suspicion)
        return image

    @override
    def compute(self, inputs: Sequence[LabeledImage]) -> Sequence[LabeledImage]:
        return inputs

    @override
    def write(self, output: LabeledImage, provenance: ItemProvenance) -> Written:
        written = self.writer.write(output)
        row = {
            "name": output.item.name,
            "source": output.item.image.name,
            "height": output.size[0],
            "width": output.size[1],
            "splits": " ".join(output.item.splits),
            "labels": " ".join(known_labels(output.labels)),
        }
        content = {
            "name": output.item.name,
            "row": row,
            "part": dict(written.content),
            "left_out": self.writer.left_out(output),
        }
        return Written(written.files, content)

    @override
    def summarize(self, outcome: Outcome) -> None:
        records = self.options.output_dir / RECORDS_FOLDER
        summary = complete_summary(records, outcome, CONVERSION_RECORD, dict)
        contents = sorted(summary.rows, key=lambda content: str(content["name"]))
        rows = [content["row"] for content in contents]
        write_summary_files(records, Summary(rows, summary.failures))
        files = self._finish([content["part"] for content in contents])
        labels = [row["labels"] for row in rows]
        dataset: dict[str, Any] = {
            "from": self.adapter.format_name,
            "to": self.writer.format_name,
            "source": self.options.input_dir.resolve().name,
            "s3pot": __version__,
            "images": len(rows),
            "failed": len(summary.failures),
            "labels": {names or "none": labels.count(names) for names in sorted(set(labels))},
            "files": files,
        }
        write_json(self.options.output_dir / DATASET_FILE, dataset)
        logger.info("%s converted into %s", outcome.done("image"), self.options.output_dir)
        self._warn_of_left_out(outcome.contents)
        done = {content["name"] for content in outcome.contents} | outcome.left_out
        others = [str(content["name"]) for content in contents if content["name"] not in done]
        warn_of_others(self.options.output_dir, others, "image")

    def _finish(self, contents: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Write the files that concern all images, and remove those that only an earlier run wrote.

        Args:
            contents: As for ``DatasetWriter.finish``.

        Returns:
            File, relative to the output folder → SHA-256.
        """
        folder = self.options.output_dir
        written = self.writer.finish(contents)
        files = {path.relative_to(folder).as_posix(): file_sha256(path) for path in written}
        earlier = read_dataset_file(folder).get("files")
        for name, sha256 in earlier.items() if isinstance(earlier, dict) else ():
            path = folder / name
            is_lost = name not in files and not leads_outside(name) and path.is_file()
            if is_lost and file_sha256(path) == sha256:
                path.unlink()
                logger.info("removed because it belongs to an earlier result: %s", path)
        return files

    def _warn_of_left_out(self, contents: Sequence[Mapping[str, Any]]) -> None:
        """Name the kinds of files that the target layout cannot hold, with their numbers.

        Args:
            contents: Those of the images that this run converted, or found finished.
        """
        # Records of earlier versions do not say what was left out.
        counts = Counter(ending for content in contents for ending in content.get("left_out", ()))
        if counts:
            logger.warning(
                "The layout %s has no place for these files, which were left out: %s.",
                self.writer.format_name,
                ", ".join(f"{counts[ending]:,} x {ending}" for ending in sorted(counts)),
            )


def suspicions_of(labels: ItemLabels) -> list[str]:
    """List what looks wrong about the masks of an image: inverted or full ones."""
    suspicion = None if labels.occlusion is None else suspicion_of(float(labels.occlusion.mean()))
    suspicions = [] if suspicion is None else [suspicion]
    if labels.visible_face is not None and labels.visible_face.all():
        suspicions.append("the visible face covers the whole image.")
    return suspicions


def known_labels(labels: ItemLabels) -> list[str]:
    """List the kinds of labels that are known for an image."""
    labels_by_kind = {
        "occlusion": labels.occlusion,
        "visible_face": labels.visible_face,
        "ignore": labels.ignored,
        "true_parsing": labels.parsing,
    }
    return [kind for kind, label in labels_by_kind.items() if label is not None]

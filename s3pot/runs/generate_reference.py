"""Reference generation for every photo in a folder: alignment, parsing and clean reference.

This is RG (paper section 3.1).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from typing_extensions import override

from s3pot.build import (
    build_aligner,
    build_reference_generator,
    model_hashes,
    models_of_references,
    quality_limits,
    weights_path,
)
from s3pot.config import Config, save_config
from s3pot.data.face_folder import (
    ALIGN,
    TRUE_PARSING,
    output_files,
)
from s3pot.data.image import read_rgb, write_png
from s3pot.data.label_policy import LabelPolicy
from s3pot.data.output_guard import refuse_other_kinds
from s3pot.data.photo_search import find_photos
from s3pot.data.photos import Photo, PhotoFolder, face_name
from s3pot.device import pick_device, side_by_side
from s3pot.geometry import Alignment
from s3pot.io import write_npy
from s3pot.pipeline import ReferenceGenerator
from s3pot.quality import Evidence, judge
from s3pot.report.summary import write_summary_files
from s3pot.rg.align import FaceAligner
from s3pot.rg.warp import crop
from s3pot.runs.folder_job import FolderJob, Outcome, Written
from s3pot.runs.folder_run import ITEM_ERRORS
from s3pot.runs.outdated_faces import warn_of_outdated_faces
from s3pot.runs.photo_truths import PhotoTruths, cropped_truths
from s3pot.runs.records import ItemProvenance, hash_inputs, write_record
from s3pot.runs.selection import Selection, complete_summary, run_selected, warn_of_others
from s3pot.runs.shard import local_rank
from s3pot.seeding import use_determinism
from s3pot.types import AlignedFace, S3potError

logger = logging.getLogger(__name__)
Value = TypeVar("Value")

COMMAND = "generate_reference"  # by which its folders are recognized


@dataclass(frozen=True)
class ReferenceOptions:
    """The options of reference generation.

    Attributes:
        input_dir: A folder of photos, including its sub-folders, or one photo.
        output_dir: Folder for the files of the folder contract.
        truth_dir: Holds masks ``<stem>_occlusion.png`` or ``<stem>.png`` or LabelMe files
            ``<stem>.json``, ``<stem>_visible_face.png``, ``<stem>_ignore.png``,
            ``<stem>_true_parsing.npy`` and ``<stem>_clean.png``, as far as they exist; None if
            there is no ground truth.
        all_faces: Process every face of a photo instead of only the largest.
        overwrite: Also process finished photos again.
        selection: Which items are processed.
    """

    input_dir: Path
    output_dir: Path
    truth_dir: Path | None = None
    all_faces: bool = False
    overwrite: bool = False
    selection: Selection = field(default_factory=Selection)


def run_generate_reference(config: Config, options: ReferenceOptions) -> int:
    """Process every photo that is not finished.

    Returns:
        The number of photos that failed; each is named in the log.

    Raises:
        S3potError: Nothing can be done: there are no photos, weights are missing, or files that
            s3pot did not write, or those of another command, would be replaced.
    """
    if options.truth_dir is not None and not options.truth_dir.is_dir():
        raise S3potError(
            f"--truth_dir {options.truth_dir} is not a folder; give the folder that holds "
            "<stem>_occlusion.png, <stem>.json or <stem>_visible_face.png, or leave the option out"
        )
    photos = find_photos(
        options.input_dir, options.output_dir, options.truth_dir, config.run.max_pixels
    )
    refuse_other_kinds(options.output_dir, COMMAND)
    job = ReferenceJob(config, options, photos)
    save_config(config, options.output_dir, COMMAND)
    outcome = run_selected(
        job,
        photos.photos,
        options.selection,
        output_dir=options.output_dir,
        keep_finished=not options.overwrite,
    )
    return len(outcome.failures)


@dataclass(frozen=True, eq=False)
class PhotoInput:
    """The data read for a photo.

    Attributes:
        photo: The photo.
        pixels: uint8 (H, W, 3), RGB, upright.
        truths: Its ground truth, see ``PhotoTruths.read``.
    """

    photo: Photo
    pixels: np.ndarray
    truths: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class PlacedFace:
    """A face with its reference, and its position in the photo.

    Attributes:
        face: The result of RG.
        alignment: The transform back to the photo.
        quality: "ok", or "doubtful: " followed by the reasons.
    """

    face: AlignedFace
    alignment: Alignment
    quality: str


@dataclass(frozen=True)
class PhotoOutput:
    """A photo and its faces, the largest first."""

    input: PhotoInput
    faces: Sequence[PlacedFace]


class ReferenceJob(FolderJob[Photo, PhotoInput, PhotoOutput]):
    """Produce the files of the folder contract for each photo.

    Several faces of one photo are one item, which the record of the first face completes.

    Args:
        config: Models and settings.
        options: What to do.
        photos: All photos of the folder.
        judged_later: Whether the faces are segmented next, and their quality is judged then.
    """

    unit = "photos"

    def __init__(
        self,
        config: Config,
        options: ReferenceOptions,
        photos: PhotoFolder,
        judged_later: bool = False,
    ) -> None:
        self.options = options
        self.judged_later = judged_later
        self.photos = photos
        self.max_pixels = config.run.max_pixels
        labels = LabelPolicy.from_text(config.truth.labels, config.truth.ignore)
        self.truths = PhotoTruths(options.truth_dir, labels, self.max_pixels)
        self.output_dir = options.output_dir
        self.models = model_hashes(config, models_of_references(config))
        self.aligner: FaceAligner = build_aligner(config)
        self.model_names = {role: weights_path(config, role).name for role in self.models}
        self.model_names["set"] = config.model.set
        self.settings: dict[str, Any] = {
            "align": asdict(config.align),
            "reference": asdict(config.reference),
            "all_faces": options.all_faces,
            "quality": asdict(config.quality),
        }
        self.limits = quality_limits(config)
        self.looked_for_face = config.align.mode != "never"
        if options.truth_dir is not None:
            truth = config.truth  # except the rule for glasses, which only affects scores
            self.settings["truth"] = {"labels": truth.labels, "ignore": truth.ignore}
        use_determinism(config.run.deterministic)
        device = pick_device(config.run.device, local_rank())
        self.generator: ReferenceGenerator = build_reference_generator(config, device)
        self.batch_size = self.generator.images_at_once
        # OpenCV's detector takes one photo at a time, and random noise has one source.
        if config.model.set == "mini" and config.reference.noise == "stored":
            self.workers = side_by_side(device, self.generator.inverter.input_size)

    @override
    def name(self, item: Photo) -> str:
        return item.name

    @override
    def label(self, item: Photo) -> str:
        return str(item.path)

    @override
    def record_path(self, item: Photo) -> Path:
        return self.output_dir / (item.name + ALIGN)

    @override
    def provenance(self, item: Photo) -> ItemProvenance:
        self.photos.check(item)  # a photo added later may have the name of a finished one
        paths = {"photo": item.path, **self.truths.paths(item)}
        settings = self.settings
        if self.options.all_faces:  # a photo added later may take the name of a further face
            settings = {**settings, "rivals": self.photos.rivals(item)}
        return ItemProvenance(hash_inputs(paths), self.models, settings)

    @override
    def read(self, item: Photo) -> PhotoInput:
        self.photos.check(item)
        pixels = read_rgb(item.path, self.max_pixels)
        truths = self.truths.read(item, pixels.shape)
        if self.options.truth_dir is not None and not truths:
            logger.warning("%s: no ground truth in %s", item.name, self.options.truth_dir)
        return PhotoInput(item, pixels, truths)

    @override
    def compute(self, inputs: Sequence[PhotoInput]) -> list[PhotoOutput | Exception]:
        alignments = [_result_or_error(partial(self._align, entry)) for entry in inputs]
        names = []
        crops = []
        for entry, alignments_of_photo in zip(inputs, alignments):
            if isinstance(alignments_of_photo, Exception):
                continue
            for number, alignment in enumerate(alignments_of_photo, 1):
                names.append(face_name(entry.photo.name, number))
                crops.append(crop(entry.pixels, alignment))
        faces = iter(self.generator.generate_batch(crops, names))
        outputs: list[PhotoOutput | Exception] = []
        for entry, alignments_of_photo in zip(inputs, alignments):
            if isinstance(alignments_of_photo, Exception):
                outputs.append(alignments_of_photo)
                continue
            faces_of_photo = [(next(faces), alignment) for alignment in alignments_of_photo]
            outputs.append(_result_or_error(partial(self._output, entry, faces_of_photo)))
        return outputs

    def _align(self, entry: PhotoInput) -> list[Alignment]:
        """Find the faces of a photo, the largest first."""
        alignments = self.aligner.align(
            entry.pixels, self.options.all_faces, name=str(entry.photo.path)
        )
        self.photos.check(entry.photo, len(alignments))
        return alignments

    def _output(
        self, entry: PhotoInput, faces: Iterable[tuple[AlignedFace, Alignment]]
    ) -> PhotoOutput:
        placed = [PlacedFace(face, place, self._quality(face, place)) for face, place in faces]
        return PhotoOutput(entry, placed)

    def _quality(self, face: AlignedFace, alignment: Alignment) -> str:
        """Judge a face by its alignment and region; SAM has not run yet."""
        evidence = Evidence(face, alignment=alignment, looked_for_face=self.looked_for_face)
        return judge(evidence, self.limits, quiet=self.judged_later)

    @override
    def write(self, output: PhotoOutput, provenance: ItemProvenance) -> Written:
        first, *others = output.faces
        files = self._write_face(output.input, first)
        for placed in others:
            files_of_face = self._write_face(output.input, placed)
            record = self.output_dir / (placed.face.name + ALIGN)
            write_record(record, provenance, files_of_face, self._content(output.input, placed))
            files += [*files_of_face, record]
        return Written(files, content=self._content(output.input, first))

    def _content(self, entry: PhotoInput, placed: PlacedFace) -> dict[str, Any]:
        """Return what the record of a face says about it."""
        return {
            **placed.alignment.to_dict(),
            "name": placed.face.name,
            "source": entry.photo.path.name,
            "quality": placed.quality,
            "models": self.model_names,
        }

    def _write_face(self, entry: PhotoInput, placed: PlacedFace) -> list[Path]:
        """Write a face's files, except its record."""
        face = placed.face
        files = output_files(self.output_dir, face.name)
        pictures = {files.raw: face.image, files.reference: face.reference}
        arrays = {files.parsing: face.parsing}
        for ending, truth in cropped_truths(entry.truths, placed.alignment).items():
            path = self.output_dir / f"{face.name}{ending}"
            if ending == TRUE_PARSING:
                arrays[path] = truth
            else:
                pictures[path] = truth
        for path, array in arrays.items():
            write_npy(path, array)
        for path, pixels in pictures.items():
            write_png(path, pixels)
        return [*arrays, *pictures]

    @override
    def summarize(self, outcome: Outcome) -> None:
        summary = complete_summary(self.output_dir, outcome, ALIGN, _summary_row)
        write_summary_files(self.output_dir, summary)
        logger.info("%s in %s", outcome.done("photo"), self.output_dir)
        files = {photo.file for photo in self.photos.photos}
        others = [str(row["name"]) for row in summary.rows if row["photo"] not in files]
        warn_of_others(self.output_dir, others, "face")
        warn_of_outdated_faces(self.output_dir)


def _result_or_error(function: Callable[[], Value]) -> Value | Exception:
    """Call a function for one photo of a batch, the others of which go on if it fails."""
    try:
        return function()
    except ITEM_ERRORS as error:
        return error


def _summary_row(record: Mapping[str, Any]) -> dict[str, Any]:
    name = str(record["name"])
    return {
        "name": name,
        "photo": (PurePosixPath(name).parent / PurePosixPath(record["source"]).name).as_posix(),
        "quality": record["quality"],
        "detector_score": record["score"],
        "turn": record["turn"],
    }

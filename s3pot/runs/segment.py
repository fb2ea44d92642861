"""Segmentation of photos in one run: reference generation and inference, photo by photo."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from typing_extensions import override

from s3pot.build import models_of_photos, require_weights
from s3pot.config import Config, save_config
from s3pot.data.face_folder import output_files
from s3pot.data.folder_kinds import FACES_FOLDER, RESULT_RECORD, refuse_folder_of_a_run
from s3pot.data.image import write_png
from s3pot.data.output_guard import (
    reference_files,
    refuse_leak_into_faces,
    refuse_other_kinds,
    result_files,
)
from s3pot.data.photo_search import find_given_photos
from s3pot.data.photos import Photo
from s3pot.report.coco import PhotoPlace, refuse_foreign_coco, write_coco_folder
from s3pot.report.summary import Row
from s3pot.report.vis import overlay
from s3pot.report.writer import ResultOptions, write_summary
from s3pot.rg.warp import to_photo
from s3pot.runs.folder_job import FolderJob, Outcome, Written
from s3pot.runs.generate_reference import (
    PhotoInput,
    PhotoOutput,
    PlacedFace,
    ReferenceJob,
    ReferenceOptions,
)
from s3pot.runs.inference import InferenceJob, InferenceOptions, build_inference_job
from s3pot.runs.records import ItemProvenance, write_record
from s3pot.runs.segment_faces import FaceInput, FaceOutput, row_of_content
from s3pot.runs.selection import Selection, complete_summary, run_selected

logger = logging.getLogger(__name__)

MOST_LOGGED = 20  # with more photos, only the summary reports the results
COMMAND = "segment"  # by which its results are recognized


@dataclass(frozen=True)
class SegmentOptions:
    """The options of the segmentation of photos.

    Attributes:
        inputs: Photos, folders and patterns.
        output_dir: Folder for the results.
        checkpoint: Trained adapter; None uses that of the mini set.
        all_faces: Process every face of a photo instead of only the largest.
        save_vis: Also write pictures and the gallery.
        save_coco: Also write the masks as one COCO file.
        overwrite: Also process finished photos again.
        selection: Which photos are processed.
    """

    inputs: Sequence[str]
    output_dir: Path
    checkpoint: Path | None = None
    all_faces: bool = False
    save_vis: bool = False
    save_coco: bool = False
    overwrite: bool = False
    selection: Selection = field(default_factory=Selection)


def run_segment(config: Config, options: SegmentOptions) -> int:
    """Segment the faces of every photo that is not finished.

    Returns:
        The number of photos that failed; each is named in the log.

    Raises:
        S3potError: Nothing can be done: there are no photos, weights are missing, or files that
            s3pot did not write would be replaced.
    """
    faces_dir = options.output_dir / FACES_FOLDER
    outputs = [
        result_files(options.output_dir, RESULT_RECORD),
        reference_files(faces_dir, with_truth=False),
    ]
    photos = find_given_photos(options.inputs, options.output_dir, outputs, config.run.max_pixels)
    refuse_other_kinds(options.output_dir, COMMAND)
    refuse_foreign_coco(options.output_dir)
    refuse_folder_of_a_run(faces_dir)  # its own faces have no config
    refuse_leak_into_faces(faces_dir)
    reference_options = ReferenceOptions(
        input_dir=Path(),
        output_dir=faces_dir,
        all_faces=options.all_faces,
    )
    inference_options = InferenceOptions(
        datapath=faces_dir,
        output_dir=options.output_dir,
        checkpoint=options.checkpoint,
        results=ResultOptions(
            save_vis=options.save_vis, to_photo=True, save_coco=options.save_coco
        ),
    )
    require_weights(config, models_of_photos(config))
    inference = build_inference_job(config, inference_options)
    reference = ReferenceJob(config, reference_options, photos, judged_later=True)
    save_config(config, options.output_dir, COMMAND)
    outcome = run_selected(
        SegmentJob(reference, inference),
        photos.photos,
        options.selection,
        output_dir=options.output_dir,
        keep_finished=not options.overwrite,
    )
    return len(outcome.failures)


@dataclass(frozen=True)
class SegmentedPhoto:
    """A photo with its references and masks; ``faces`` are in the order of ``photo.faces``."""

    photo: PhotoOutput
    faces: Sequence[FaceOutput]


class SegmentJob(FolderJob[Photo, PhotoInput, SegmentedPhoto]):
    """Apply ``ReferenceJob`` to a photo, then ``InferenceJob`` to its faces.

    Several faces of one photo are one item, which the record of the first face completes.
    """

    unit = "photos"

    def __init__(self, reference: ReferenceJob, inference: InferenceJob) -> None:
        self.reference = reference
        self.inference = inference
        self.workers = min(reference.workers, inference.workers)
        self.output_dir = inference.output_dir
        self.files_folder = inference.output_dir  # files of a photo in a/ are in faces/a/ too

    @override
    def name(self, item: Photo) -> str:
        return self.reference.name(item)

    @override
    def label(self, item: Photo) -> str:
        return self.reference.label(item)

    @override
    def record_path(self, item: Photo) -> Path:
        return self.output_dir / f"{item.name}{RESULT_RECORD}"

    @override
    def provenance(self, item: Photo) -> ItemProvenance:
        of_reference = self.reference.provenance(item)
        settings = {
            "command": COMMAND,
            "reference": of_reference.settings,
            "masks": self.inference.settings(),
        }
        models = {**of_reference.models, **self.inference.adapter_provenance().models}
        extras = self.inference.options.extras()
        return ItemProvenance(of_reference.inputs, models, settings, extras)

    @override
    def read(self, item: Photo) -> PhotoInput:
        return self.reference.read(item)

    @override
    def compute(self, inputs: Sequence[PhotoInput]) -> list[SegmentedPhoto]:
        return [self._segment(entry) for entry in inputs]

    def _segment(self, entry: PhotoInput) -> SegmentedPhoto:
        start = time.perf_counter()
        (photo,) = self.reference.compute([entry])
        if isinstance(photo, Exception):
            raise photo
        seconds = (time.perf_counter() - start) / len(photo.faces)
        faces = []
        for placed in photo.faces:
            face_input = self._face_input(placed, entry.photo.path.name, seconds)
            faces += self.inference.compute([face_input])
        return SegmentedPhoto(photo, faces)

    def _face_input(self, placed: PlacedFace, file_name: str, seconds: float) -> FaceInput:
        """Convert a face of a photo from RG to an input of inference; RG took ``seconds``."""
        return FaceInput(
            files=output_files(self.reference.output_dir, placed.face.name),
            face=placed.face,
            source=self.inference.segmenter.prepare(placed.face),
            truth=None,
            place=PhotoPlace(file_name, placed.alignment),
            looked_for_face=self.reference.looked_for_face,
            seconds=seconds,
        )

    @override
    def write(self, output: SegmentedPhoto, provenance: ItemProvenance) -> Written:
        # First, because a strict run writes nothing of a photo with a doubtful face.
        qualities = [self.inference.judge(face) for face in output.faces]
        of_reference = ItemProvenance(
            inputs=provenance.inputs,
            models=self.reference.models,
            settings=provenance.settings["reference"],
        )
        references = self.reference.write(output.photo, of_reference)
        align_record = self.reference.record_path(output.photo.input.photo)
        write_record(align_record, of_reference, references.files, references.content)
        files = [*references.files, align_record]
        rows = []
        pixels = output.photo.input.pixels
        all_occlusions = np.zeros(pixels.shape[:2], bool)
        for number, (face, quality) in enumerate(zip(output.faces, qualities)):
            written = self.inference.write_judged(face, quality)
            files += written.files
            rows.append(written.content["row"])
            occlusion = _occlusion_in_photo(face)
            all_occlusions |= occlusion
            if number > 0:
                path = self._write_overlay(face, pixels, occlusion)
                record = self.output_dir / f"{face.result.face.name}{RESULT_RECORD}"
                of_face = [*written.files, path]
                write_record(record, provenance, of_face, written.content, self.files_folder)
                files += [path, record]
        files.append(self._write_overlay(output.faces[0], pixels, all_occlusions))
        return Written(files, content={"row": rows[0], "rows": rows})

    def _write_overlay(self, face: FaceOutput, photo: np.ndarray, occlusion: np.ndarray) -> Path:
        """Write the picture of a photo on which occlusions, bool (H, W), are marked."""
        path = self.output_dir / f"{face.result.face.name}_overlay_photo.png"
        write_png(path, overlay(photo, occlusion))
        return path

    @override
    def summarize(self, outcome: Outcome) -> None:
        summary = complete_summary(self.output_dir, outcome, RESULT_RECORD, row_of_content)
        options = self.inference.options
        write_summary(self.output_dir, summary.rows, options.save_vis, summary.failures)
        write_coco_folder(self.output_dir, summary.rows, options.save_coco)
        logger.info("%s in %s", outcome.done("photo"), self.output_dir)
        if len(outcome.contents) <= MOST_LOGGED:
            for content in outcome.contents:
                for row in content["rows"]:
                    logger.info(_sentence(row))


def _occlusion_in_photo(face: FaceOutput) -> np.ndarray:
    """Return the occlusion of a face in the frame of its photo, bool (H, W)."""
    if face.input.place is None:
        raise ValueError(f"the position of {face.result.face.name} in its photo is not known")
    return to_photo(face.result.masks.occlusion, face.input.place.alignment)


def _sentence(row: Row) -> str:
    """Return the sentence about a face that is logged at the end of a run."""
    if row["occluded"] == "yes":
        verdict = f"{row['occluded_share']:.0%} of the face is occluded"
    else:
        verdict = "the face is not occluded"
    doubt = "" if row["quality"] == "ok" else f" ({row['quality']})"
    return f"{row['name']}: {verdict}{doubt}"

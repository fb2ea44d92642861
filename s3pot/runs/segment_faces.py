"""The common part of inference and per-image training: segmenting and writing faces."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from s3pot.adapter import PromptAdapter
from s3pot.build import truth_policy
from s3pot.config import TruthConfig
from s3pot.data.face_folder import FaceFiles
from s3pot.data.folder_kinds import RESULT_RECORD
from s3pot.data.output_guard import refuse_data_folder, refuse_other_kinds, result_files
from s3pot.data.truth import FaceTruth, try_truth
from s3pot.data.truth_paths import truth_files
from s3pot.geometry import Alignment
from s3pot.io import read_json
from s3pot.pipeline import Adapter
from s3pot.quality import Evidence, QualityLimits, judge
from s3pot.report.coco import PhotoPlace, refuse_foreign_coco, write_coco_face, write_coco_folder
from s3pot.report.summary import Row
from s3pot.report.writer import ResultOptions, result_row, write_result, write_summary
from s3pot.runs.folder_job import FolderJob, Outcome, Written
from s3pot.runs.prompt_store import PromptSource, PromptStore
from s3pot.runs.records import ItemProvenance, hash_inputs
from s3pot.runs.selection import complete_summary
from s3pot.training.per_image import Fit
from s3pot.types import AlignedFace, Prediction, Prompts, S3potError, SamInputs, SegmentedFace
from s3pot.wording import counted

logger = logging.getLogger(__name__)


def refuse_to_replace(
    output_dir: Path, datapath: Path, faces: Sequence[FaceFiles], command: str
) -> None:
    """Make sure that the results of faces replace neither ground truths nor files of others.

    Raises:
        S3potError: The result folder is that of the faces, or holds such a file or something of
            another command.
    """
    refuse_data_folder(output_dir, [datapath, *(face.raw.parent for face in faces)])
    result_files(output_dir, RESULT_RECORD).require_written_by_s3pot(face.name for face in faces)
    refuse_other_kinds(output_dir, command)
    refuse_foreign_coco(output_dir)


@dataclass(frozen=True)
class FaceInput:
    """The data read for a face.

    Attributes:
        files: Its files.
        face: Image, parsing and reference.
        source: Its prompts, if they were cached, or the data they are computed from.
        truth: Its ground truth; None if it is not known.
        place: The position of the face in its photo; None if it is not known.
        looked_for_face: Whether a detector looked for it there.
        seconds: The time that reading took.
    """

    files: FaceFiles
    face: AlignedFace
    source: PromptSource
    truth: FaceTruth | None
    place: PhotoPlace | None
    looked_for_face: bool
    seconds: float

    @property
    def alignment(self) -> Alignment | None:
        """The transform to its photo; None if it is not known."""
        return None if self.place is None else self.place.alignment


@dataclass(frozen=True)
class OtherAdapter:
    """The result of an adapter that was not fitted to the face.

    Attributes:
        name: The name of the adapter, see ``before_after``.
        prediction: Its prediction of the visible face, on the CPU.
        loss: Total loss at the face's prompt points.
    """

    name: str
    prediction: Prediction
    loss: float


@dataclass(frozen=True)
class FittedAdapter:
    """An adapter that was fitted to one face.

    Attributes:
        adapter: The adapter.
        fit: How it was fitted.
        others: The adapters that it is compared with.
    """

    adapter: PromptAdapter
    fit: Fit
    others: Sequence[OtherAdapter] = ()


@dataclass(frozen=True)
class FaceOutput:
    """A segmented face.

    Attributes:
        input: The data it was computed from.
        result: The result of the pipeline: its prompts on the CPU; of its prediction, the attention
            only for pictures, and the logits on the CPU only if pictures or logits are written.
        fitted: The adapter fitted to this face; None if a trained one was used, or none.
        seconds_prompts: Time to read the face and to find or compute its prompts.
        seconds_segment: Time of adapter and mask, and of fitting.
    """

    input: FaceInput
    result: SegmentedFace
    fitted: FittedAdapter | None
    seconds_prompts: float
    seconds_segment: float


@dataclass(frozen=True)
class AdapterFiles:
    """The files of an adapter fitted to one face, and the hash of the adapter that was used."""

    files: Sequence[Path]
    sha256: str | None


class SegmentFaces(FolderJob[FaceFiles, FaceInput, FaceOutput]):
    """Segment the faces of a folder and write ``<output_dir>/<name>_*`` and a summary.

    Args:
        store: Provides the prompts.
        output_dir: Folder for the results.
        options: What is written besides the masks.
        quality: When a result is marked doubtful.
        truth: Which parts of a ground truth count.

    Attributes:
        command: The name of the command, by which its results are recognized.
    """

    command: str

    def __init__(
        self,
        store: PromptStore,
        output_dir: Path,
        options: ResultOptions,
        quality: QualityLimits,
        truth: TruthConfig,
    ) -> None:
        self.store = store
        self.truth = truth
        self.truth_policy = truth_policy(truth)
        self.segmenter = store.segmenter
        self.output_dir = output_dir
        self.options = options
        self.quality = quality
        self.batch_size = store.batch_size
        self.workers = store.workers

    @abstractmethod
    def adapter_provenance(self) -> ItemProvenance:
        """Return the provenance of the adapter and its settings, without inputs."""

    @abstractmethod
    def adapter_for(self, prompts: Prompts) -> tuple[Adapter, FittedAdapter | None]:
        """Return the adapter for a face, and how it was fitted if it was.

        Args:
            prompts: The prompts of the face, with at least one point, on SAM's device.
        """

    @abstractmethod
    def write_adapter(self, output: FaceOutput) -> AdapterFiles:
        """Write the files of an adapter fitted to the face."""

    @override
    def name(self, item: FaceFiles) -> str:
        return item.name

    @override
    def record_path(self, item: FaceFiles) -> Path:
        return self.output_dir / f"{item.name}{RESULT_RECORD}"

    @override
    def provenance(self, item: FaceFiles) -> ItemProvenance:
        paths = {
            "image": item.raw,
            "reference": item.reference,
            "parsing": item.parsing,
            **truth_files(item),
            "alignment": item.align,
        }
        return replace(
            self.adapter_provenance(),
            inputs=hash_inputs(paths),
            settings={"command": self.command, **self.settings()},
            extras=self.options.extras(),
        )

    def settings(self) -> dict[str, Any]:
        """Return what a face's results depend on besides its files and the models."""
        return {
            "prompts": self.store.settings,
            "quality": asdict(self.quality),
            "truth": asdict(self.truth),
            **self.adapter_provenance().settings,
        }

    @override
    def read(self, item: FaceFiles) -> FaceInput:
        start = time.perf_counter()
        source: PromptSource | None = self.store.find(item)
        face = self.store.aligned_face(item)
        if source is None:
            source = self.segmenter.prepare(face)
        seconds = time.perf_counter() - start
        place, looked_for_face = _place_of(item, is_needed=self.options.to_photo)
        return FaceInput(
            files=item,
            face=face,
            source=source,
            truth=try_truth(item, self.truth_policy, face.size),
            place=place,
            looked_for_face=looked_for_face,
            seconds=seconds,
        )

    @override
    def compute(self, inputs: Sequence[FaceInput]) -> list[FaceOutput]:
        start = time.perf_counter()
        prompts = self.store.compute([entry.source for entry in inputs])
        seconds = (time.perf_counter() - start) / len(inputs)
        return [
            self._segment(entry, of_face, entry.seconds + seconds)
            for entry, of_face in zip(inputs, prompts)
        ]

    def _segment(self, entry: FaceInput, prompts: Prompts, seconds_prompts: float) -> FaceOutput:
        start = time.perf_counter()
        adapter: Adapter = None
        fitted: FittedAdapter | None = None
        if prompts.has_points:
            adapter, fitted = self.adapter_for(prompts)
        else:
            logger.warning(
                "%s: no prompt point lies in the face region; nothing is marked", entry.face.name
            )
        result = self.segmenter.segment(entry.face, prompts, adapter)
        seconds_segment = time.perf_counter() - start
        return FaceOutput(
            input=entry,
            result=self._on_host(result, entry.source),
            fitted=fitted,
            seconds_prompts=seconds_prompts,
            seconds_segment=seconds_segment,
        )

    def _on_host(self, result: SegmentedFace, source: PromptSource) -> SegmentedFace:
        """Copy the tensors that are written to the CPU, and no others: each copy takes time."""
        prompts = source if isinstance(source, Prompts) else result.prompts.to("cpu")
        prediction = result.prediction
        if prediction is not None and not self.options.save_vis:
            prediction = replace(prediction, attention=None)
        if prediction is not None and (self.options.save_vis or self.options.save_logits):
            prediction = prediction.to("cpu")
        return replace(result, prompts=prompts, prediction=prediction)

    @override
    def write(self, output: FaceOutput, provenance: ItemProvenance) -> Written:
        return self.write_judged(output, self.judge(output))

    def judge(self, output: FaceOutput) -> str:
        """Judge a result; see ``quality.judge``.

        Raises:
            S3potError: It is doubtful, and the run is strict.
        """
        evidence = Evidence(
            face=output.result.face,
            similarity=output.result.prompts.similarity.float().numpy(),
            alignment=output.input.alignment,
            looked_for_face=output.input.looked_for_face,
        )
        return judge(evidence, self.quality)

    def write_judged(self, output: FaceOutput, quality: str) -> Written:
        """Write the files of a face, except its record; ``quality`` is what ``judge`` returned."""
        entry = output.input
        if isinstance(entry.source, SamInputs):
            self.store.keep(entry.files, output.result.prompts)
        # First, because the guard of output folders recognizes the other files by one of these.
        files = write_result(
            self.output_dir,
            output.result,
            entry.truth,
            entry.alignment if self.options.to_photo else None,
            self.options,
        )
        if self.options.save_coco:
            masks = output.result.masks
            files.append(write_coco_face(self.output_dir, entry.face.name, masks, entry.place))
        adapter = self.write_adapter(output)
        row = result_row(
            output.result,
            entry.truth,
            quality=quality,
            seconds_prompts=output.seconds_prompts,
            seconds_segment=output.seconds_segment,
            sha256_sam=self.store.sam_sha256,
            sha256_adapter=adapter.sha256,
        )
        return Written(files=[*files, *adapter.files], content={"row": row.to_dict()})

    @override
    def summarize(self, outcome: Outcome) -> None:
        summary = complete_summary(self.output_dir, outcome, RESULT_RECORD, row_of_content)
        write_summary(self.output_dir, summary.rows, self.options.save_vis, summary.failures)
        write_coco_folder(self.output_dir, summary.rows, self.options.save_coco)
        logger.info("%s in %s", outcome.done("face"), self.output_dir)
        others = len(summary.rows) - len(outcome.contents)
        if others:
            logger.info("the summary includes %s from other runs", counted(others, "more face"))


def row_of_content(content: Mapping[str, Any]) -> Row:
    """Return the row of the summary that the content of a record holds."""
    return dict(content["row"])


def _place_of(face: FaceFiles, is_needed: bool) -> tuple[PhotoPlace | None, bool]:
    """Read a face's position in its photo, and whether a detector looked for it there.

    Raises:
        S3potError: The position is needed but not known.
    """
    if face.align is None:
        if is_needed:
            raise S3potError(
                f"{face.name} has no _align.json with its position in the photo. Run "
                "generate_reference.py, which writes one, or leave out --to_photo."
            )
        return None, False
    try:
        alignment = Alignment.read(face.align)
        record = read_json(face.align)
        photo = record.get("source")
        file_name = Path(photo).name if isinstance(photo, str) else ""
        place = PhotoPlace(file_name or f"{Path(face.name).name}.png", alignment)
        return place, _has_detector(record)
    except S3potError as error:
        if is_needed:
            raise
        logger.warning("%s: its alignment is not known: %s", face.name, error)
        return None, False


def _has_detector(record: Mapping[str, Any]) -> bool:
    """Whether the record of an alignment names a detector; its content may be anything."""
    provenance = record.get("provenance")
    models = provenance.get("models") if isinstance(provenance, dict) else None
    return isinstance(models, dict) and "detector" in models

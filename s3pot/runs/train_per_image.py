"""Per-image training: an adapter is fitted to each face and segments it (paper section 3.4)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from typing_extensions import override

from s3pot.adapter import PromptAdapter
from s3pot.build import build_segmenter, quality_limits, weights_path
from s3pot.config import Config, config_to_dict, save_config
from s3pot.data.face_folder import FaceFiles
from s3pot.data.folder_kinds import RESULT_RECORD
from s3pot.data.image import write_png
from s3pot.device import pick_device
from s3pot.io import file_sha256, write_csv
from s3pot.pipeline import Adapter
from s3pot.report.before_after import (
    ADAPTERS_TABLE,
    FITTED,
    FRESH,
    GENERAL,
    AdapterResult,
    result_of,
    table,
)
from s3pot.report.vis import overlay
from s3pot.report.writer import ResultOptions
from s3pot.runs.folder_job import Outcome, Written
from s3pot.runs.outdated_faces import warn_of_outdated_faces
from s3pot.runs.prompt_store import PromptStore
from s3pot.runs.records import CODE_OF_ADAPTERS, ItemProvenance, code_sha256
from s3pot.runs.segment_faces import (
    AdapterFiles,
    FaceOutput,
    FittedAdapter,
    OtherAdapter,
    SegmentFaces,
    refuse_to_replace,
)
from s3pot.runs.selection import Selection, complete_summary, run_selected
from s3pot.runs.shard import local_rank
from s3pot.training.checkpoint import new_adapter, save_checkpoint
from s3pot.training.curve import write_curve
from s3pot.training.history import write_history
from s3pot.training.per_image import adapter_loss, fit_adapter
from s3pot.types import Prompts
from s3pot.weights.load import require_checkpoint

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PerImageOptions:
    """The options of per-image training.

    Attributes:
        faces: An adapter is fitted to each of them separately.
        datapath: Their data folder.
        output_dir: Folder for the results.
        init_checkpoint: Adapter to start from; None for a fresh one.
        results: What is written besides the masks.
        overwrite: Also process finished faces again.
        selection: Which items are processed.
    """

    faces: Sequence[FaceFiles]
    datapath: Path
    output_dir: Path
    init_checkpoint: Path | None = None
    results: ResultOptions = field(default_factory=lambda: ResultOptions(save_vis=True))
    overwrite: bool = False
    selection: Selection = field(default_factory=Selection)


def run_train_per_image(config: Config, options: PerImageOptions) -> int:
    """Fit an adapter to each face, segment the face and write the results.

    Returns:
        The number of faces that failed; each is named in the log.

    Raises:
        S3potError: Nothing can be done: weights are missing, an adapter does not fit, or ground
            truths would be replaced.
    """
    refuse_to_replace(options.output_dir, options.datapath, options.faces, PerImageJob.command)
    warn_of_outdated_faces(options.datapath)
    if options.init_checkpoint is not None:
        require_checkpoint(options.init_checkpoint)
    segmenter = build_segmenter(config, pick_device(config.run.device, local_rank()))
    store = PromptStore(segmenter, config, options.datapath, is_single_pass=True)
    job = PerImageJob(config, store, options)
    save_config(config, options.output_dir, PerImageJob.command)
    outcome = run_selected(
        job,
        options.faces,
        options.selection,
        output_dir=options.output_dir,
        keep_finished=not options.overwrite,
    )
    return len(outcome.failures)


class PerImageJob(SegmentFaces):
    """Fit an adapter to each face and segment it; see ``SegmentFaces``.

    Each face is also segmented with a fresh adapter and, if one is known, with a general one, to
    show what fitting changed.

    Raises:
        S3potError: The adapter to start from does not fit.
    """

    command = "train_per_image"

    def __init__(self, config: Config, store: PromptStore, options: PerImageOptions) -> None:
        super().__init__(
            store, options.output_dir, options.results, quality_limits(config), config.truth
        )
        self.config = config
        self.batch_size = 1
        sam = self.segmenter.sam
        self.adapters = {FRESH: new_adapter(config, sam)}
        self.start = FRESH
        self.adapter_sha256: dict[str, str] = {}
        general = options.init_checkpoint
        if general is not None:
            self.start = GENERAL
        elif config.model.set == "mini":
            general = weights_path(config, "adapter")
        if general is not None:
            self.adapters[GENERAL] = new_adapter(config, sam, general)
            self.adapter_sha256[GENERAL] = file_sha256(general)

    @override
    def adapter_provenance(self) -> ItemProvenance:
        return ItemProvenance(
            models={"sam": self.store.sam_sha256, **self.adapter_sha256},
            settings={
                "code": code_sha256(CODE_OF_ADAPTERS),
                "pipeline": asdict(self.segmenter.settings),
                "loss": asdict(self.config.loss),
                "train": asdict(self.config.train),
                "per_image": asdict(self.config.per_image),
                "start": self.start,
            },
        )

    @override
    def adapter_for(self, prompts: Prompts) -> tuple[Adapter, FittedAdapter | None]:
        others = [self._try(name, adapter, prompts) for name, adapter in self.adapters.items()]
        adapter = deepcopy(self.adapters[self.start])
        fit = fit_adapter(self.segmenter, prompts, adapter, self.config)
        return adapter, FittedAdapter(adapter, fit, others)

    @torch.no_grad()
    def _try(self, name: str, adapter: PromptAdapter, prompts: Prompts) -> OtherAdapter:
        """Segment a face with an adapter, without fitting it."""
        prediction = self.segmenter.predict_visible_face(adapter, prompts)
        loss = adapter_loss(self.segmenter, prompts, adapter, self.config)
        return OtherAdapter(name, prediction.to("cpu"), loss.total)

    @override
    def write(self, output: FaceOutput, provenance: ItemProvenance) -> Written:
        written = super().write(output, provenance)
        if output.fitted is None:
            return written
        results, pictures = self._compare(output, output.fitted)
        name = output.result.face.name
        logger.info("%s: %s", name, "; ".join(str(result) for result in results))
        return Written(
            files=[*written.files, *pictures],
            content={**written.content, "adapters": [result.to_dict() for result in results]},
        )

    def _compare(
        self, output: FaceOutput, fitted: FittedAdapter
    ) -> tuple[list[AdapterResult], list[Path]]:
        """Score the adapters, and draw the result of the one that fitting started from."""
        face = output.result.face
        truth = output.input.truth
        results: list[AdapterResult] = []
        pictures: list[Path] = []
        for other in fitted.others:
            masks = self.segmenter.masks_of(face, other.prediction)
            results.append(result_of(other.name, other.loss, masks, truth))
            if other.name == self.start and self.options.save_vis:
                path = Path(f"{self.output_dir / face.name}_before.png")
                write_png(path, overlay(face.image, masks.occlusion))
                pictures.append(path)
        results.append(result_of(FITTED, fitted.fit.loss, output.result.masks, truth))
        return results, pictures

    @override
    def summarize(self, outcome: Outcome) -> None:
        rows: list[dict[str, Any]] = []
        results: list[AdapterResult] = []
        summary = complete_summary(self.output_dir, outcome, RESULT_RECORD, _adapters_of_record)
        for face in sorted(summary.rows, key=lambda face: str(face["name"])):
            for values in face["adapters"]:
                rows.append({"name": face["name"], **values})
                results.append(AdapterResult.from_dict(values))
        if rows:
            write_csv(self.output_dir / ADAPTERS_TABLE, rows)
            logger.info("adapters, means over the faces:\n%s", table(results))
        super().summarize(outcome)  # last, because the gallery reads the file above

    @override
    def write_adapter(self, output: FaceOutput) -> AdapterFiles:
        if output.fitted is None:
            return AdapterFiles(files=[], sha256=None)
        prefix = f"{self.output_dir / output.result.face.name}_"
        adapter_path = Path(f"{prefix}adapter.pth")
        save_checkpoint(
            adapter_path,
            output.fitted.adapter,
            epoch=len(output.fitted.fit.history),
            config=config_to_dict(self.config),
            sam_sha256=self.store.sam_sha256,
        )
        write_history(output.fitted.fit.history, prefix)
        write_curve(output.fitted.fit.history, prefix)
        files = [adapter_path]
        for ending in ("history.csv", "history.jsonl", "loss_curve.png"):
            files.append(Path(prefix + ending))
        return AdapterFiles(files, sha256=file_sha256(adapter_path))


def _adapters_of_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the adapters listed in a record; a face without points has none."""
    return {"name": record["row"]["name"], "adapters": record.get("adapters", ())}

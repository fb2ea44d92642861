"""Adapters that a table's rows train: stored in the table's folder and reused."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tqdm import tqdm

from s3pot.config import Config
from s3pot.data.face_folder import FaceFiles, find_faces
from s3pot.distributed import Process
from s3pot.locks import exclusive
from s3pot.pipeline import OcclusionSegmenter
from s3pot.ps.variants import PointVariant
from s3pot.runs.folder_run import ITEM_ERRORS, describe
from s3pot.runs.prompt_store import PromptStore
from s3pot.runs.records import (
    CODE_OF_ADAPTERS,
    ItemProvenance,
    code_sha256,
    hash_inputs,
    read_finished,
    write_record,
)
from s3pot.runs.suite_file import ORACLE
from s3pot.runs.suite_prompts import faces_for
from s3pot.training.checkpoint import decisive_settings, new_adapter
from s3pot.training.faces import TrainingFaces
from s3pot.training.general import GeneralTraining
from s3pot.training.output_folder import LAST, remove_earlier_run
from s3pot.types import Prompts, S3potError
from s3pot.weights.load import CheckpointError

logger = logging.getLogger(__name__)

ADAPTERS_FOLDER = "adapters"  # folder inside that of the table
TRAINING_RECORD = "training.json"


@dataclass(frozen=True)
class SuiteTraining:
    """The training of a row, with the same kinds of reference and points as in the table.

    Attributes:
        name: The name of the row, for messages.
        datapath: Training faces; their labels are not read.
        limit: Only the first N; 0 for all.
        reference: See ``Row``.
        config: The config with the row's overrides; ``train`` and ``loss`` are used.
        store: Prompts of the training faces.
        segmenter: The segmenter with the row's settings.
        variant: The change of their points.
    """

    name: str
    datapath: Path
    limit: int
    reference: str
    config: Config
    store: PromptStore
    segmenter: OcclusionSegmenter
    variant: PointVariant

    def faces(self) -> Sequence[FaceFiles]:
        """Find the training faces, with the references of the row."""
        faces = find_faces(self.datapath)[: self.limit or None]
        return faces_for(self.reference, faces)

    def load(self, face: FaceFiles) -> Prompts:
        """Return the prompts of a training face, on the CPU."""
        prompts = self.store.load(face, self.reference == ORACLE)
        return self.variant.apply(prompts, self.segmenter.sam.grid)

    def inputs_sha256(self, face: FaceFiles) -> str:
        """Hash the files that the prompts of a training face are computed from."""
        return self.store.inputs_sha256(face, self.reference == ORACLE)

    def provenance(self, faces: Sequence[FaceFiles]) -> ItemProvenance:
        """Return everything that determines the adapter; rows with equal values share it."""
        digest = hashlib.sha256()
        for face in faces:
            reference = face.clean if self.reference == ORACLE else face.reference
            paths = {"image": face.raw, "reference": reference, "parsing": face.parsing}
            digest.update(json.dumps([face.name, hash_inputs(paths)]).encode("utf-8"))
        return ItemProvenance(
            inputs={"faces": digest.hexdigest()},
            models={"sam": self.store.sam_sha256},
            settings={
                "code": code_sha256(CODE_OF_ADAPTERS),
                "prompts": self.store.settings,
                "points": asdict(self.variant),
                "training": decisive_settings(self.config),
            },
        )


def train_adapter(training: SuiteTraining, output_dir: Path) -> Path:
    """Train an adapter, or find the one that an earlier run of the table trained.

    All faces are trained on for ``train.epochs`` epochs, and the weights of the last epoch are
    used: no label and no held-out face selects an epoch. An interrupted training resumes.

    Args:
        training: The training of the row.
        output_dir: The table's folder.

    Returns:
        The checkpoint, in ``<output_dir>/adapters``.

    Raises:
        S3potError: There is no face to train on.
    """
    faces = training.faces()
    provenance = training.provenance(faces)
    text = json.dumps(provenance.to_dict(), sort_keys=True)
    folder = output_dir / ADAPTERS_FOLDER / hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / ".lock"):  # other processes that run the table wait for the first
        if read_finished(folder / TRAINING_RECORD, provenance) is None:
            start = time.perf_counter()
            usable = _usable_faces(training, faces)
            try:
                _train(training, usable, folder)
            except CheckpointError as error:
                logger.warning("row %r is trained anew: %s", training.name, error)
                remove_earlier_run(folder)
                _train(training, usable, folder)
            content = {
                "row": training.name,
                "faces": len(usable),
                "epochs": training.config.train.epochs,
                "seconds": round(time.perf_counter() - start, 1),
            }
            write_record(folder / TRAINING_RECORD, provenance, [folder / LAST], content)
            logger.info("row %r: trained in %.0f s", training.name, content["seconds"])
        else:
            logger.info("row %r: its adapter is in %s", training.name, folder)
    return folder / LAST


def _usable_faces(training: SuiteTraining, faces: Sequence[FaceFiles]) -> list[FaceFiles]:
    """Leave out faces that fail or have no prompt point; each is named in the log."""
    usable = []
    for face in tqdm(faces, desc="training faces through SAM", disable=None):
        try:
            if training.load(face).has_points:
                usable.append(face)
            else:
                logger.warning("%s has no prompt point and is not trained on", face.name)
        except ITEM_ERRORS as error:
            logger.warning("%s is not trained on: %s", face.name, describe(error))
    if not usable:
        raise S3potError(
            f"row {training.name!r}: none of the faces in {training.datapath} can be trained on "
            f"({len(faces):,} tried); generate_reference.py writes faces with references and "
            "parsings"
        )
    return usable


def _train(training: SuiteTraining, faces: Sequence[FaceFiles], folder: Path) -> None:
    config = replace(
        training.config, train=replace(training.config.train, save_every=10**6, keep=1)
    )
    general = GeneralTraining(
        config=config,
        segmenter=training.segmenter,
        sam_sha256=training.store.sam_sha256,
        adapter=new_adapter(config, training.segmenter.sam),
        output_dir=folder,
        process=Process(training.segmenter.device),
    )
    general.resume()
    general.run(
        TrainingFaces(
            train=faces,
            val=[],
            load=training.load,
            inputs_sha256=training.inputs_sha256,
        )
    )

"""A general training run: the faces of a folder are prepared and trained on (paper section 3.4)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3pot.adapter import PromptAdapter
from s3pot.build import build_segmenter
from s3pot.config import Config
from s3pot.data.face_folder import FaceFiles
from s3pot.data.output_guard import refuse_data_folder, refuse_other_kinds
from s3pot.data.split import split
from s3pot.distributed import Process, processes
from s3pot.progress_log import logging_redirect_tqdm
from s3pot.report.vis import overlay
from s3pot.runs.outdated_faces import warn_of_outdated_faces
from s3pot.runs.prompt_store import PromptStore
from s3pot.seeding import seed_everything
from s3pot.training.checkpoint import new_adapter
from s3pot.training.faces import TrainingFaces
from s3pot.training.general import GeneralTraining
from s3pot.training.output_folder import only_training_in, refuse_another_run
from s3pot.training.tensorboard import summary_writer
from s3pot.types import S3potError
from s3pot.weights.load import require_checkpoint
from s3pot.wording import counted

logger = logging.getLogger(__name__)

PICTURES = 4  # number of validation faces that TensorBoard shows


@dataclass(frozen=True)
class GeneralOptions:
    """The options of general training.

    Attributes:
        datapath: Folder of faces; its ``train`` and ``val`` are used, or else a seeded split.
        output_dir: Folder for checkpoints and history.
        resume: Continue from ``<output_dir>/last.pth`` if it exists.
        overwrite: Replace the run that ``output_dir`` holds.
        init_checkpoint: Adapter to start from; None for a fresh one.
    """

    datapath: Path
    output_dir: Path
    resume: bool = False
    overwrite: bool = False
    init_checkpoint: Path | None = None


def run_train_general(config: Config, options: GeneralOptions) -> int:
    """Train an adapter.

    Returns:
        The number of faces that could not be read; each is named in the log.

    Raises:
        S3potError: There is nothing to train on, weights are missing, the folder holds another run
            or something of another command, or a loss is not a finite number.
    """
    refuse_data_folder(options.output_dir, [options.datapath])
    refuse_other_kinds(options.output_dir, "train_general")
    may_hold_a_run = options.resume or options.overwrite
    if not may_hold_a_run:
        refuse_another_run(options.output_dir)
    if options.init_checkpoint is not None:
        require_checkpoint(options.init_checkpoint)
    if config.train.tensorboard:
        summary_writer()
    redirected = logging_redirect_tqdm([logging.getLogger("s3pot")])
    with processes(config.run.device) as process, redirected:
        seed_everything(config.train.seed, config.run.deterministic)
        warn_of_outdated_faces(options.datapath)
        train, val = split(options.datapath, config.train.val_fraction, config.train.seed)
        val = val[: config.train.val_faces or None]
        store = PromptStore(build_segmenter(config, process.device), config, options.datapath)
        training = GeneralTraining(
            config=config,
            segmenter=store.segmenter,
            sam_sha256=store.sam_sha256,
            adapter=new_adapter(config, store.segmenter.sam, options.init_checkpoint),
            output_dir=options.output_dir,
            process=process,
        )
        with only_training_in(options.output_dir) if process.is_first else nullcontext():
            if not may_hold_a_run:  # again: another process may have trained there meanwhile
                refuse_another_run(options.output_dir)
            if options.resume:
                training.resume()
            failed = _prepare_and_train(training, store, train, val, options.datapath)
    return failed


def _prepare_and_train(
    training: GeneralTraining,
    store: PromptStore,
    train: Sequence[FaceFiles],
    val: Sequence[FaceFiles],
    datapath: Path,
) -> int:
    """Prepare all faces and train on the usable ones; returns how many could not be read."""
    usable, failed = prepare_faces(store, [*train, *val], training.process)
    train = [face for face in train if face in usable]
    val = [face for face in val if face in usable]
    if not train:
        raise S3potError(
            f"{datapath}: no face has a prompt point to train on. A point needs a face region in "
            "<stem>_parsing_mask.npy; look at what generate_reference.py wrote."
        )
    faces = TrainingFaces(train, val, load=store.load, inputs_sha256=store.inputs_sha256)
    shown = val[:PICTURES]
    training.run(faces, lambda adapter: draw_faces(store, shown, adapter))
    return failed


def draw_faces(
    store: PromptStore, faces: Sequence[FaceFiles], adapter: PromptAdapter
) -> dict[str, np.ndarray]:
    """Draw the occlusions that an adapter predicts for some faces.

    Returns:
        By name, the working image with the occlusion tinted, uint8 (H, W, 3), RGB.
    """
    pictures = {}
    for face in faces:
        aligned = store.aligned_face(face)
        result = store.segmenter.segment(aligned, store.get(face), adapter)
        pictures[face.name] = overlay(aligned.image, result.masks.occlusion)
    return pictures


def prepare_faces(
    store: PromptStore, faces: Sequence[FaceFiles], process: Process
) -> tuple[set[FaceFiles], int]:
    """Run every face through the frozen SAM once; processes with a common cache divide them.

    Returns:
        The faces that have prompt points, and how many faces failed. Failed faces and faces without
        points are named in the log.
    """
    is_quiet = not process.is_first
    if process.world_size > 1 and store.is_shared:
        store.fill(faces[process.rank :: process.world_size], quiet=is_quiet)
        process.wait_for_others()
    filled = store.fill(faces, quiet=is_quiet)
    for failure in filled.failures:
        logger.warning("failed: %s: %s", failure.name, failure.reason)
    empty = [face.name for face, count in filled.points.items() if count == 0]
    if empty:
        logger.warning(
            "no prompt point was found in %s, left out: %s",
            counted(len(empty), "face"),
            ", ".join(empty),
        )
    usable = {face for face, count in filled.points.items() if count > 0}
    return usable, len(filled.failures)

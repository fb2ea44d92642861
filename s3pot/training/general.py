"""General training: one adapter for all faces of a folder (paper section 3.4)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from s3pot.adapter import PromptAdapter
from s3pot.config import Config, save_config
from s3pot.distributed import Process
from s3pot.pipeline import OcclusionSegmenter
from s3pot.seeding import epoch_order
from s3pot.training.checkpoint import TrainingState, load_training_state, save_training_state
from s3pot.training.curve import write_curve
from s3pot.training.faces import FaceHashes, TrainingFaces
from s3pot.training.history import EpochRecord, write_history
from s3pot.training.output_folder import (
    BEST,
    LAST,
    describe_files,
    epoch_checkpoint,
    remove_earlier_run,
)
from s3pot.training.progress import Progress, best_record
from s3pot.training.prompt_feed import PromptFeed
from s3pot.training.tensorboard import Board, summary_writer
from s3pot.training.trainer import AdapterTrainer
from s3pot.weights.load import CheckpointError, load_strict
from s3pot.wording import counted

logger = logging.getLogger(__name__)

Draw = Callable[[PromptAdapter], Mapping[str, np.ndarray]]


class GeneralTraining:
    """The epochs of one training run, and its files.

    Every epoch ends with complete files, with ``last.pth`` written last: a killed run resumes from
    it and repeats at most the epoch in progress.

    Args:
        config: The config of the run.
        segmenter: The frozen part of the method.
        sam_sha256: Hash of its weights.
        adapter: The adapter to train.
        output_dir: Folder for the files.
        process: This process.

    Raises:
        S3potError: TensorBoard is requested but not installed.
    """

    def __init__(  # noqa: PLR0913  # given by name at both calls
        self,
        config: Config,
        segmenter: OcclusionSegmenter,
        sam_sha256: str,
        adapter: PromptAdapter,
        output_dir: Path,
        process: Process,
    ) -> None:
        if config.train.tensorboard:
            summary_writer()
        self.config = config
        self.sam_sha256 = sam_sha256
        self.output_dir = output_dir
        self.process = process
        self.trainer = AdapterTrainer(segmenter, adapter, config, config.train.epochs, process)
        self.history: list[EpochRecord] = []
        self.faces: FaceHashes | None = None  # those of the resumed run, then those of this one

    @property
    def epoch(self) -> int:
        """The last finished epoch; 0 before the first."""
        return len(self.history)

    def resume(self) -> None:
        """Continue from ``last.pth`` exactly where it stopped; without it, start from scratch.

        Raises:
            CheckpointError: It has other settings, or cannot be read.
        """
        last = self.output_dir / LAST
        if not last.is_file():
            return
        state = load_training_state(last, self.config, self.sam_sha256)
        load_strict(self.trainer.adapter, state.adapter, str(last))
        self.trainer.restore(state.optimizer, state.scheduler, str(last))
        torch.set_rng_state(state.rng)
        self.history = state.history
        self.faces = state.faces
        if state.faces is None:
            logger.warning(
                "%s does not say which faces it was trained on, because an earlier version wrote "
                "it; check that they are the same as now",
                last,
            )
        logger.info("resuming after epoch %d of %s", self.epoch, last)

    def run(self, faces: TrainingFaces, draw: Draw | None = None) -> None:
        """Train all remaining epochs.

        A run that starts from scratch first removes the files of an earlier one.

        Args:
            faces: The faces to train and validate on; those of the run that is resumed.
            draw: Draws the adapter's results for some faces, uint8 (H, W, 3) by name, for
                TensorBoard.

        Raises:
            CheckpointError: The run that is resumed has other faces.
            S3potError: A loss is not a finite number; the files of the previous epoch are complete.
        """
        self._settle_faces(faces)
        logger.info(
            "training on %s, validating on %d", counted(len(faces.train), "face"), len(faces.val)
        )
        board = self._prepare_folder()
        max_bytes = int(self.config.cache.memory_gb * 2**30)
        feed = PromptFeed(faces.load, self.process.device, max_bytes)
        progress = Progress(self.config.train.epochs)
        numbers = range(self.epoch + 1, self.config.train.epochs + 1)
        try:
            for epoch in tqdm(numbers, desc="epochs", disable=self._bar_is_off()):
                self.history.append(self._run_epoch(epoch, faces, feed))
                logger.info("%s", progress.epoch_line(self.history))
                if self.process.is_first:
                    self._write_files()
                if board is not None:
                    board.write(self.history[-1])
                if board is not None and draw is not None:
                    board.show(draw(self.trainer.adapter), epoch)
        finally:
            feed.close()
            if board is not None:
                board.close()
            if self.process.is_first:
                write_curve(self.history, f"{self.output_dir}/")
        logger.info("%s", progress.end_line(self.history))
        logger.info("files in %s: %s", self.output_dir, describe_files(self.output_dir))

    def _settle_faces(self, faces: TrainingFaces) -> None:
        """Record the faces of this run; refuses to resume a run of other faces."""
        hashes = faces.hashes()
        changes = [] if self.faces is None else hashes.changes_since(self.faces)
        if changes:
            raise CheckpointError(
                f"{self.output_dir / LAST} was written with other faces ({'; '.join(changes)}). "
                "Restore them (or train.val_faces), pass --overwrite instead of --resume to "
                "replace the run, or start a new one in another --output_dir."
            )
        self.faces = hashes

    def _prepare_folder(self) -> Board | None:
        """Claim the output folder for this run; returns TensorBoard's files if requested."""
        if not self.process.is_first:
            return None
        if self.history:
            self._restore_files()
        else:
            remove_earlier_run(self.output_dir)
        board = Board(self.output_dir) if self.config.train.tensorboard else None
        save_config(self.config, self.output_dir, "train_general")
        return board

    def _restore_files(self) -> None:
        """Write what the resumed state holds and the folder lacks: the history, its checkpoints."""
        write_history(self.history, f"{self.output_dir}/")
        missing = [path for path in self._checkpoint_paths() if not path.exists()]
        save_training_state(missing, self._state())

    def _bar_is_off(self) -> bool | None:
        """Whether tqdm's bar is disabled; None lets the terminal decide."""
        return None if self.process.is_first else True

    def _run_epoch(self, epoch: int, faces: TrainingFaces, feed: PromptFeed) -> EpochRecord:
        train = faces.train
        val = faces.val
        order = epoch_order(len(train), self.config.train.seed, epoch)
        feed.plan(train[index] for index in self.trainer.images_of_rank(order))
        lr = self.trainer.learning_rate
        train_losses = self.trainer.train_epoch(lambda index: feed.get(train[index]), order)
        val_losses = None
        if val:
            feed.plan(val[index] for index in self.trainer.share_of_rank(range(len(val))))
            val_losses = self.trainer.validate(lambda index: feed.get(val[index]), len(val))
        return EpochRecord(epoch, lr, train_losses, val_losses)

    def _write_files(self) -> None:
        """Write history and checkpoints of the finished epoch."""
        write_history(self.history, f"{self.output_dir}/")
        save_training_state(self._checkpoint_paths(), self._state())
        if self.config.train.keep:
            saved = [epoch for epoch in range(1, self.epoch + 1) if self._is_saved(epoch)]
            for epoch in saved[: -self.config.train.keep]:
                epoch_checkpoint(self.output_dir, epoch).unlink(missing_ok=True)

    def _checkpoint_paths(self) -> list[Path]:
        paths = []
        if self._is_saved(self.epoch):
            paths.append(epoch_checkpoint(self.output_dir, self.epoch))
        if best_record(self.history).epoch == self.epoch:
            paths.append(self.output_dir / BEST)
        return [*paths, self.output_dir / LAST]

    def _is_saved(self, epoch: int) -> bool:
        train = self.config.train
        return epoch % train.save_every == 0 or epoch == train.epochs

    def _state(self) -> TrainingState:
        return TrainingState(
            epoch=self.epoch,
            history=self.history,
            adapter=self.trainer.adapter.state_dict(),
            optimizer=self.trainer.optimizer.state_dict(),
            scheduler=self.trainer.schedule.state_dict(),
            rng=torch.get_rng_state(),
            config=self.config,
            sam_sha256=self.sam_sha256,
            faces=self.faces,
        )

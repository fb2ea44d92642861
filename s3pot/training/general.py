"""General training: one adapter for all faces of a folder (paper section 3.4)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from s3pot.adapter import PromptAdapter
from s3pot.config import Config, save_config
from s3pot.data.face_folder import FaceFiles
from s3pot.distributed import Process
from s3pot.pipeline import OcclusionSegmenter
from s3pot.seeding import epoch_order
from s3pot.training.checkpoint import TrainingState, load_training_state, save_training_state
from s3pot.training.curve import write_curve
from s3pot.training.history import EpochRecord, write_history
from s3pot.training.tensorboard import Board
from s3pot.training.trainer import AdapterTrainer
from s3pot.types import Prompts

logger = logging.getLogger(__name__)

LAST = "last.pth"
BEST = "best.pth"


class GeneralTraining:
    """The epochs of one training and its files.

    Every epoch ends with whole files, ``last.pth`` written last: a run that is killed goes on from
    it, and repeats no more than the epoch in work.

    Args:
        config: Of the run.
        segmenter: The frozen part of the method.
        sam_sha256: Hash of its weights.
        adapter: What is trained.
        output_dir: Where the files go.
        process: This process.
    """

    def __init__(
        self,
        config: Config,
        segmenter: OcclusionSegmenter,
        sam_sha256: str,
        adapter: PromptAdapter,
        output_dir: Path,
        process: Process,
    ) -> None:
        self.config = config
        self.sam_sha256 = sam_sha256
        self.output_dir = output_dir
        self.process = process
        self.trainer = AdapterTrainer(segmenter, adapter, config, config.train.epochs, process)
        self.history: list[EpochRecord] = []

    @property
    def epoch(self) -> int:
        """The last epoch that is done; 0 before the first."""
        return len(self.history)

    def resume(self) -> None:
        """Go on from ``last.pth`` exactly where it stopped; start anew if there is none.

        Raises:
            CheckpointError: It is of other settings, or cannot be read.
        """
        last = self.output_dir / LAST
        if not last.is_file():
            return
        state = load_training_state(last, self.config, self.sam_sha256)
        self.trainer.adapter.load_state_dict(state.adapter)
        self.trainer.optimizer.load_state_dict(state.optimizer)
        self.trainer.schedule.load_state_dict(state.scheduler)
        torch.set_rng_state(state.rng)
        self.history = state.history
        logger.info("going on after epoch %d of %s", self.epoch, last)

    def run(
        self,
        train: Sequence[FaceFiles],
        val: Sequence[FaceFiles],
        get: Callable[[FaceFiles], Prompts],
    ) -> None:
        """Do all epochs that are left.

        Args:
            train: Faces to train on, each with at least one prompt point.
            val: Faces to validate on, likewise.
            get: Gives the prompts of a face.

        Raises:
            S3potError: A loss is no number; the files of the epoch before it are whole.
        """
        logger.info("training on %d faces, validating on %d", len(train), len(val))
        board = self._open_board()
        if self.process.is_first:
            save_config(self.config, self.output_dir)
        epochs = self.config.train.epochs
        numbers = range(self.epoch + 1, epochs + 1)
        try:
            for epoch in tqdm(numbers, desc="epochs", disable=self._bar_is_off()):
                record = self._run_epoch(epoch, train, val, get)
                self.history.append(record)
                if self.process.is_first:
                    self._write_files(record)
                if board is not None:
                    board.write(record)
        finally:
            if board is not None:
                board.close()
            if self.process.is_first:
                write_curve(self.history, f"{self.output_dir}/")
        logger.info("epoch %d of %d is in %s", self.epoch, epochs, self.output_dir)

    def _open_board(self) -> Board | None:
        is_wanted = self.config.train.tensorboard and self.process.is_first
        return Board(self.output_dir) if is_wanted else None

    def _bar_is_off(self) -> bool | None:
        """None lets the terminal decide."""
        return None if self.process.is_first else True

    def _run_epoch(
        self,
        epoch: int,
        train: Sequence[FaceFiles],
        val: Sequence[FaceFiles],
        get: Callable[[FaceFiles], Prompts],
    ) -> EpochRecord:
        order = epoch_order(len(train), self.config.train.seed, epoch)
        lr = self.trainer.learning_rate
        train_losses = self.trainer.train_epoch(lambda index: get(train[index]), order)
        val_losses = None
        if val:
            val_losses = self.trainer.validate(lambda index: get(val[index]), len(val))
        return EpochRecord(epoch, lr, train_losses, val_losses)

    def _write_files(self, record: EpochRecord) -> None:
        """Write history and checkpoints of the epoch that is done."""
        write_history(self.history, f"{self.output_dir}/")
        save_training_state(self._checkpoint_paths(record), self._state())
        if self.config.train.keep:
            kept = [epoch for epoch in range(1, self.epoch + 1) if self._is_saved(epoch)]
            for epoch in kept[: -self.config.train.keep]:
                self._epoch_path(epoch).unlink(missing_ok=True)

    def _checkpoint_paths(self, record: EpochRecord) -> list[Path]:
        paths = []
        if self._is_saved(record.epoch):
            paths.append(self._epoch_path(record.epoch))
        earlier = [other.selection_loss for other in self.history[:-1]]
        if all(record.selection_loss < loss for loss in earlier):
            paths.append(self.output_dir / BEST)
        return [*paths, self.output_dir / LAST]

    def _is_saved(self, epoch: int) -> bool:
        train = self.config.train
        return epoch % train.save_every == 0 or epoch == train.epochs

    def _epoch_path(self, epoch: int) -> Path:
        return self.output_dir / f"model_epoch_{epoch}.pth"

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
        )

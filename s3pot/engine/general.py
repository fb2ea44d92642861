"""General training: one adapter for all faces (paper section 3.4)."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from s3pot.build import build_adapter, build_sam
from s3pot.config import Config, config_to_dict, save_config
from s3pot.data.layout import FaceFiles, split
from s3pot.engine.checkpoint import load_training, restore_adapter, save_checkpoint
from s3pot.engine.distributed import Process, processes
from s3pot.engine.history import write_history
from s3pot.engine.loop import AdapterTrainer, Losses
from s3pot.engine.prompts import Filled, PromptStore
from s3pot.engine.seed import epoch_order, seed_everything
from s3pot.types import S3potError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GeneralJob:
    """What to train.

    Attributes:
        datapath: Folder contract.
        output_dir: Where checkpoints and history go.
        resume: Go on from ``<output_dir>/last.pth`` if there is one.
        init_checkpoint: Adapter to start from; None starts from a fresh one.
    """

    datapath: Path
    output_dir: Path
    resume: bool = False
    init_checkpoint: Path | None = None


@dataclass
class _State:
    """What changes from epoch to epoch."""

    epoch: int = 0
    best: float = math.inf
    history: list[dict[str, float]] = field(default_factory=list)


def train_general(config: Config, job: GeneralJob) -> int:
    """Train; every epoch ends with whole files from which ``--resume`` goes on.

    Returns:
        How many faces could not be read; each is named in the log.

    Raises:
        S3potError: Nothing to train on, missing weights, or a loss that is no number.
    """
    with (
        processes(config.run.device) as process,
        logging_redirect_tqdm([logging.getLogger("s3pot")]),
    ):
        seed_everything(config.train.seed, config.run.deterministic)
        train, val = split(job.datapath, config.train.val_fraction, config.train.seed)
        val = val[: config.train.val_faces or None]
        sam = build_sam(config, process.device)
        store = PromptStore(sam, config, job.datapath)
        adapter = build_adapter(sam)
        if job.init_checkpoint is not None:
            restore_adapter(adapter, job.init_checkpoint, store.sam_sha256)
        trainer = AdapterTrainer(sam, adapter, config, config.train.epochs, process)
        run = _Run(config, job, trainer, store)
        if job.resume and run.last.is_file():
            run.restore()
        usable = [_usable(store, faces, process) for faces in (train, val)]
        if not usable[0].usable:
            raise S3potError(
                f"{job.datapath}: no training face has a prompt point; nothing to train on"
            )
        run.train(usable[0].usable, usable[1].usable)
        return sum(len(filled.failed) for filled in usable)


def _usable(store: PromptStore, faces: Sequence[FaceFiles], process: Process) -> Filled:
    """Encode every face once, shared among the processes where a disk keeps the results."""
    if store.shared and process.world > 1:
        store.fill(faces[process.rank :: process.world], bar=process.writes)
        process.wait()
    filled = store.fill(faces, bar=process.writes)
    for face, error in filled.failed:
        logger.error("failed: %s: %s", face.name, error)
    if filled.empty:
        names = ", ".join(face.name for face in filled.empty)
        logger.warning(
            "%d faces without any prompt point are left out: %s", len(filled.empty), names
        )
    return filled


class _Run:
    """One training with its files."""

    def __init__(
        self, config: Config, job: GeneralJob, trainer: AdapterTrainer, store: PromptStore
    ) -> None:
        self.config, self.folder, self.trainer, self.store = config, job.output_dir, trainer, store
        self.state = _State()

    @property
    def last(self) -> Path:
        """The checkpoint to go on from."""
        return self.folder / "last.pth"

    def restore(self) -> None:
        """Take everything up where ``last.pth`` left it."""
        content = load_training(self.last, self.config, self.store.sam_sha256)
        self.trainer.adapter.load_state_dict(content["adapter"])
        self.trainer.optimizer.load_state_dict(content["optimizer"])
        self.trainer.schedule.load_state_dict(content["scheduler"])
        torch.set_rng_state(content["rng"])
        self.state = _State(content["epoch"], content["best"], content["history"])
        logger.info("going on after epoch %d of %s", self.state.epoch, self.last)

    def train(self, faces: Sequence[FaceFiles], val: Sequence[FaceFiles]) -> None:
        """All epochs that are left."""
        train, process, state = self.config.train, self.trainer.process, self.state
        logger.info("training on %d faces, validating on %d", len(faces), len(val))
        if process.writes:
            save_config(self.config, self.folder)
        epochs = range(state.epoch + 1, train.epochs + 1)
        with ExitStack() as stack:
            board = (
                stack.enter_context(_board(self.folder))
                if train.tensorboard and process.writes
                else None
            )
            bar = tqdm(epochs, desc="epochs", disable=None if process.writes else True)
            for epoch in bar:
                row = self._epoch(epoch, faces, val)
                bar.set_postfix_str(f"loss {row['train_total']:.4f}")
                if process.writes:
                    self._write(row)
                if board is not None:
                    for key, value in row.items():
                        board.add_scalar(key, value, epoch)
                process.wait()
        logger.info("epoch %d of %d is in %s", state.epoch, train.epochs, self.folder)

    def _epoch(
        self, epoch: int, faces: Sequence[FaceFiles], val: Sequence[FaceFiles]
    ) -> dict[str, float]:
        lr = self.trainer.lr
        order = epoch_order(len(faces), self.config.train.seed, epoch)
        trained = self.trainer.train_epoch(lambda index: self.store.get(faces[index]), order)
        row = {"epoch": epoch, "lr": lr, **_named("train", trained)}
        if val:
            held = self.trainer.validate(lambda index: self.store.get(val[index]), len(val))
            row.update(_named("val", held))
        return row

    def _write(self, row: dict[str, float]) -> None:
        """The epoch's files; ``last.pth`` comes last, so a kill before it repeats the epoch."""
        train, state = self.config.train, self.state
        loss = row.get("val_total", row["train_total"])
        state.epoch, better = int(row["epoch"]), loss < state.best
        state.best = min(loss, state.best)
        state.history.append(row)
        saved = [
            epoch
            for epoch in range(1, state.epoch + 1)
            if epoch % train.save_every == 0 or epoch == train.epochs
        ]
        if state.epoch in saved:
            self._save(self.folder / f"model_epoch_{state.epoch}.pth")
        for epoch in saved[: -train.keep] if train.keep else ():
            (self.folder / f"model_epoch_{epoch}.pth").unlink(missing_ok=True)
        if better:
            self._save(self.folder / "best.pth")
        paths = (self.folder / name for name in ("history.csv", "history.jsonl", "loss_curve.png"))
        write_history(state.history, *paths)
        self._save(self.last)

    def _save(self, path: Path) -> None:
        save_checkpoint(
            path,
            self.trainer.adapter,
            optimizer=self.trainer.optimizer.state_dict(),
            scheduler=self.trainer.schedule.state_dict(),
            rng=torch.get_rng_state(),
            epoch=self.state.epoch,
            best=self.state.best,
            history=list(self.state.history),
            config=config_to_dict(self.config),
            sam_sha256=self.store.sam_sha256,
        )


def _named(prefix: str, losses: Losses) -> dict[str, float]:
    return {f"{prefix}_{key}": value for key, value in vars(losses).items()}


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise S3potError("--tensorboard needs it installed: pip install tensorboard") from error
    return SummaryWriter(folder / "tensorboard")

r"""Train one adapter for all faces of a folder.

Commands:
    python train_general.py --datapath ./dataset/processed_data --bsz 3 --lr 1e-4 --epochs 50 \
        --output_dir ./checkpoint/train_general
    torchrun --nproc_per_node 2 train_general.py --datapath ./dataset/processed_data
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from s3pot.build import build_adapter, build_sam
from s3pot.commands import cli
from s3pot.config import Config, config_to_dict, save_config
from s3pot.data.face_folder import FaceFiles
from s3pot.data.split import split
from s3pot.distributed import Process, processes
from s3pot.runs.prompt_store import PromptStore
from s3pot.seeding import epoch_order, seed_everything
from s3pot.training.checkpoint import load_training, restore_adapter, save_checkpoint
from s3pot.training.history import write_history
from s3pot.training.trainer import AdapterTrainer
from s3pot.types import S3potError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GeneralJob:
    """What to train: ``resume`` goes on from ``<output_dir>/last.pth`` if there is one."""

    datapath: Path
    output_dir: Path
    resume: bool = False
    init_checkpoint: Path | None = None


def train_general(config: Config, job: GeneralJob) -> int:
    """Train; every epoch ends with whole files from which ``resume`` goes on.

    Returns:
        How many faces could not be read; each is named in the log.

    Raises:
        S3potError: Nothing to train on, missing weights, or a loss that is no number.
    """
    redirected = logging_redirect_tqdm([logging.getLogger("s3pot")])
    with processes(config.run.device) as process, redirected:
        seed_everything(config.train.seed, config.run.deterministic)
        train, val = split(job.datapath, config.train.val_fraction, config.train.seed)
        store = PromptStore(build_sam(config, process.device), config, job.datapath)
        run = _Run(config, job, store, process)
        failed = run.use(train, val[: config.train.val_faces or None])
        run.train()
    return failed


class _Run:
    """One training with its faces and files."""

    def __init__(
        self, config: Config, job: GeneralJob, store: PromptStore, process: Process
    ) -> None:
        self.config, self.job, self.store, self.process = config, job, store, process
        adapter, last = build_adapter(store.sam), job.output_dir / "last.pth"
        if job.init_checkpoint is not None:
            restore_adapter(adapter, job.init_checkpoint, store.sam_sha256)
        self.trainer = AdapterTrainer(store.sam, adapter, config, config.train.epochs, process)
        self.epoch, self.best = 0, math.inf
        self.history: list[dict[str, float]] = []
        if job.resume and last.is_file():
            content = load_training(last, config, store.sam_sha256)
            adapter.load_state_dict(content["adapter"])
            self.trainer.optimizer.load_state_dict(content["optimizer"])
            self.trainer.schedule.load_state_dict(content["scheduler"])
            torch.set_rng_state(content["rng"])
            self.epoch, self.best, self.history = (content[k] for k in ("epoch", "best", "history"))
            logger.info("going on after epoch %d of %s", self.epoch, last)

    def use(self, train: Sequence[FaceFiles], val: Sequence[FaceFiles]) -> int:
        """Encode every face once, shared among the processes; count those that fail."""
        faces, rank, world = [*train, *val], self.process.rank, self.process.world
        if world > 1:
            self.store.fill(faces[rank::world], quiet=rank > 0)
            distributed.barrier()
        points, failed = self.store.fill(faces, quiet=rank > 0)
        for face, error in failed:
            logger.warning("failed: %s: %s", face.name, error)
        empty = [face.name for face, count in points.items() if count == 0]
        if empty:
            names = ", ".join(empty)
            logger.warning("%d faces have no prompt point and are left out: %s", len(empty), names)
        self.faces, self.val = ([f for f in part if points.get(f)] for part in (train, val))
        if not self.faces:
            raise S3potError(f"{self.job.datapath}: no face has a prompt point to train on")
        return len(failed)

    def train(self) -> None:
        """All epochs that are left; ``last.pth`` comes last, so a kill before it repeats one."""
        train, folder, first = self.config.train, self.job.output_dir, self.process.rank == 0
        logger.info("training on %d faces, validating on %d", len(self.faces), len(self.val))
        board: Any = _board(folder) if train.tensorboard and first else None
        if first:
            save_config(self.config, folder)
        epochs = range(self.epoch + 1, train.epochs + 1)
        for self.epoch in tqdm(epochs, desc="epochs", disable=None if first else True):
            row = self._train_epoch()
            if first:
                self._write(row)
            for key, value in row.items() if board else ():
                board.add_scalar(key, value, self.epoch)
        logger.info("epoch %d of %d is in %s", self.epoch, train.epochs, folder)

    def _train_epoch(self) -> dict[str, float]:
        order = epoch_order(len(self.faces), self.config.train.seed, self.epoch)
        row = {"epoch": self.epoch, "lr": float(self.trainer.schedule.get_last_lr()[0])}
        get, trainer = self.store.get, self.trainer
        losses = {"train": trainer.train_epoch(lambda i: get(self.faces[i]), order)}
        if self.val:
            losses["val"] = trainer.validate(lambda i: get(self.val[i]), len(self.val))
        return {**row, **{f"{p}_{k}": v for p, terms in losses.items() for k, v in terms.items()}}

    def _write(self, row: dict[str, float]) -> None:
        train, folder = self.config.train, self.job.output_dir
        loss = row.get("val_total", row["train_total"])
        better, self.best = loss < self.best, min(loss, self.best)
        self.history.append(row)
        write_history(self.history, f"{folder}/")
        epochs = range(1, self.epoch + 1)
        kept = [e for e in epochs if e % train.save_every == 0 or e == train.epochs]
        names = [f"model_epoch_{self.epoch}.pth"] * (self.epoch in kept) + ["best.pth"] * better
        state: dict[str, Any] = {k: getattr(self, k) for k in ("epoch", "best", "history")}
        state["optimizer"] = self.trainer.optimizer.state_dict()
        state["scheduler"] = self.trainer.schedule.state_dict()
        state["rng"] = torch.get_rng_state()
        state["config"] = config_to_dict(self.config)
        state["sam_sha256"] = self.store.sam_sha256
        for name in (*names, "last.pth"):
            save_checkpoint(folder / name, self.trainer.adapter, **state)
        for epoch in kept[: -train.keep] if train.keep else ():
            (folder / f"model_epoch_{epoch}.pth").unlink(missing_ok=True)


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise S3potError("train.tensorboard needs it installed: pip install tensorboard") from error
    return SummaryWriter(folder / "tensorboard")


BATCH_SIZE = cli.Setting("--bsz", "train.batch_size", "images per step, over all processes")
EPOCHS = cli.Setting("--epochs", "train.epochs", "passes over the images")


def build_parser() -> argparse.ArgumentParser:
    """The script's options."""
    settings = (BATCH_SIZE, cli.LEARNING_RATE, EPOCHS, cli.SEED)
    parser = cli.new_parser(__doc__, "./checkpoint/train_general", settings)
    parser.add_argument(
        "--datapath", required=True, type=Path, help="folder that generate_reference.py wrote"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from <output_dir>/last.pth if there is one"
    )
    parser.add_argument(
        "--init_checkpoint", type=Path, help="adapter to start from (default: none)"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)
    job = (args.datapath, Path(args.output_dir), args.resume, args.init_checkpoint)

    def body(config: Config) -> int:
        return train_general(config, GeneralJob(*job))

    return cli.run(args, body)

"""Adapter checkpoints: plain data, whole or absent, never SAM.

Every checkpoint holds ``format``, ``kind``, ``version`` and ``adapter``; those of general training
hold all of ``TrainingState``, so that a run goes on from any of them.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s3pot.adapter import PromptAdapter, from_authors
from s3pot.build import build_adapter, model_hashes
from s3pot.config import Config, config_from_dict, config_to_dict
from s3pot.io import atomic_path
from s3pot.sam.frozen import FrozenSam
from s3pot.seeding import seed_everything
from s3pot.training.history import EpochRecord
from s3pot.types import S3potError
from s3pot.version import __version__
from s3pot.weights.load import (
    CheckpointError,
    load_strict,
    read_checkpoint,
    refuse_non_finite,
    state_dict_of,
)

logger = logging.getLogger(__name__)

KIND = "s3pot-adapter"
# Settings that decide the weights; of these sections the keys in FREE_KEYS do not.
DECISIVE_SECTIONS = ("sam", "prompt", "mask", "loss", "train")
FREE_KEYS = ("batch", "val_faces", "save_every", "keep", "tensorboard")


@dataclass(frozen=True)
class TrainingState:
    """All that a run of general training goes on from.

    Attributes:
        epoch: The last one that is done.
        history: Records of all epochs that are done.
        adapter: State dict of the adapter.
        optimizer: State dict of the optimizer.
        scheduler: State dict of the learning rate's schedule.
        rng: State of torch's CPU generator.
        config: Of the run.
        sam_sha256: Hash of the SAM that the adapter was trained with.
    """

    epoch: int
    history: list[EpochRecord]
    adapter: dict[str, Tensor]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    rng: Tensor
    config: Config
    sam_sha256: str

    @property
    def best_loss(self) -> float:
        """The lowest selection loss of all epochs."""
        return min(record.selection_loss for record in self.history)


def save_training_state(paths: Iterable[Path], state: TrainingState) -> None:
    """Write the same training state to each path in turn, each whole or not at all."""
    content = _to_bytes(
        {
            "adapter": state.adapter,
            "epoch": state.epoch,
            "best": state.best_loss,
            "history": [record.as_row() for record in state.history],
            "optimizer": state.optimizer,
            "scheduler": state.scheduler,
            "rng": state.rng,
            "config": config_to_dict(state.config),
            "sam_sha256": state.sam_sha256,
        }
    )
    for path in paths:
        _write(path, content)


def save_checkpoint(
    path: Path, adapter: nn.Module, *, epoch: int, config: Mapping[str, Any], sam_sha256: str
) -> None:
    """Write an adapter alone, whole or not at all.

    Args:
        path: Where to; missing folders are made.
        adapter: Not wrapped.
        epoch: How many epochs it was trained for.
        config: Of the training, as plain values (``config_to_dict``).
        sam_sha256: Hash of the SAM that it was trained with.
    """
    content = {
        "adapter": adapter.state_dict(),
        "epoch": epoch,
        "config": dict(config),
        "sam_sha256": sam_sha256,
    }
    _write(path, _to_bytes(content))


def load_training_state(path: Path, config: Config, sam_sha256: str) -> TrainingState:
    """Read what a run goes on from.

    Args:
        path: A checkpoint of general training.
        config: Of this run; what decides the weights must be as it was.
        sam_sha256: Hash of this run's SAM, which must be the same.

    Raises:
        CheckpointError: The file cannot be read, holds no training state, or one of other settings.
    """
    content = read_checkpoint(path)
    if content.get("kind") != KIND or "optimizer" not in content:
        raise CheckpointError(
            f"{path} holds no training state. --resume goes on from the last.pth of a run of "
            "train_general.py; to start from another adapter, pass --init_checkpoint."
        )
    try:
        state, trained_with = _training_state_of(content, config)
    except (S3potError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} holds a damaged training state ({type(error).__name__}: {str(error):.200}). "
            "Go on from another checkpoint of the run, or start anew."
        ) from error
    before = {**decisive_settings(trained_with), "sam_sha256": state.sam_sha256}
    now = {**decisive_settings(config), "sam_sha256": sam_sha256}
    changed = [f"{key} was {before[key]}, now {now[key]}" for key in now if before[key] != now[key]]
    if changed:
        raise CheckpointError(
            f"{path} was written with other settings ({'; '.join(changed)}). Keep them, or start "
            f"anew in another --output_dir, with --init_checkpoint {path} if you like."
        )
    refuse_non_finite(state.adapter, str(path))
    for number, slots in state.optimizer["state"].items():
        tensors = {key: value for key, value in slots.items() if isinstance(value, Tensor)}
        refuse_non_finite(tensors, f"{path}, slot {number} of the optimizer,")
    return state


def _training_state_of(content: Mapping[str, Any], config: Config) -> tuple[TrainingState, Config]:
    """Take a training state out of a checkpoint, and the settings that decided it.

    Raises:
        LookupError: Something is missing.
        TypeError, ValueError, AttributeError: Something is of another type.
    """
    sections = {name: content["config"].get(name) for name in DECISIVE_SECTIONS}
    trained_with = config_from_dict(sections)  # a key that is new since then has its default
    state = TrainingState(
        epoch=content["epoch"],
        history=[EpochRecord.from_row(row) for row in content["history"]],
        adapter=dict(content["adapter"].items()),
        optimizer=dict(content["optimizer"].items()),
        scheduler=dict(content["scheduler"].items()),
        rng=content["rng"],
        config=config,
        sam_sha256=content["sam_sha256"],
    )
    numbers = [record.epoch for record in state.history]
    if numbers != list(range(1, len(numbers) + 1)) or state.epoch != len(numbers):
        raise ValueError(f"its history is that of the epochs {numbers}, it says {state.epoch}")
    if not isinstance(state.rng, Tensor) or state.rng.shape != torch.get_rng_state().shape:
        raise ValueError("the state of its random generator has another size")
    if not all(isinstance(value, Tensor) for value in state.adapter.values()):
        raise TypeError("its adapter holds values that are no tensors")
    for slots in state.optimizer["state"].values():
        slots.items()  # raises what is no dict
    return state, trained_with


def new_adapter(config: Config, sam: FrozenSam, path: Path | None = None) -> PromptAdapter:
    """Make an adapter for a SAM: that of a checkpoint, or a fresh one, the same for one seed."""
    seed_everything(config.train.seed, config.run.deterministic)
    adapter = build_adapter(sam)
    if path is not None:
        restore_adapter(adapter, path, model_hashes(config, ("sam",))["sam"])
    return adapter


def restore_adapter(adapter: nn.Module, path: Path, sam_sha256: str) -> None:
    """Load a checkpoint of ours, of the authors or the bundled one.

    Args:
        adapter: Takes the weights; it stays as it is if they do not fit.
        path: The checkpoint.
        sam_sha256: Hash of the SAM in use; an adapter trained with another one is a warning.

    Raises:
        S3potError: The file cannot be read, or its weights do not fit or are no finite numbers.
    """
    content = read_checkpoint(path)
    is_ours = content.get("kind") == KIND
    if is_ours and isinstance(content.get("adapter"), Mapping):
        weights = content["adapter"]
    else:
        weights = from_authors(state_dict_of(content, str(path)))
    load_strict(adapter, weights, str(path))
    trained_with = content.get("sam_sha256", sam_sha256)
    if trained_with != sam_sha256:
        logger.warning(
            "%s was trained with another SAM (sha256 %.12s); masks may be worse than they could be",
            path,
            trained_with,
        )


def decisive_settings(config: Config) -> dict[str, Any]:
    """The values that decide the weights, by key."""
    settings: dict[str, Any] = {}
    for section, values in config_to_dict(config).items():
        if section in DECISIVE_SECTIONS:
            settings.update(
                {f"{section}.{key}": value for key, value in values.items() if key not in FREE_KEYS}
            )
    return settings


def _to_bytes(content: Mapping[str, Any]) -> bytes:
    """Serialize a checkpoint; equal content gives equal bytes."""
    head = {"format": 1, "kind": KIND, "version": __version__}
    buffer = io.BytesIO()  # a file's name would become part of its bytes
    torch.save(_canonical({**head, **content}), buffer)
    return buffer.getvalue()


def _canonical(value: Any) -> Any:
    """Copy nested plain values and tensors so that no container or tensor occurs twice in them.

    A pickle says where an object occurs a second time. Which objects do depends on where they came
    from (a resumed run reads them from a file), so without this equal values give other bytes.
    """
    if isinstance(value, Mapping):
        return {_canonical(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_canonical(item) for item in value)
    if isinstance(value, Tensor):
        return value.detach().cpu().clone().contiguous()
    if isinstance(value, str):
        return sys.intern(value)
    return value


def _write(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)

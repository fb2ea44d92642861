"""Adapter checkpoints: plain data, written atomically, never containing SAM.

Every checkpoint holds ``format``, ``kind``, ``version`` and ``adapter``; those of general training
hold all of ``TrainingState``, so that a run can resume from any of them.
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
from s3pot.build import build_adapter, model_hashes, networks_for_weights
from s3pot.config import Config, config_from_dict, config_to_dict
from s3pot.io import atomic_path
from s3pot.sam.frozen import FrozenSam
from s3pot.seeding import seed_everything, use_determinism
from s3pot.training.faces import FaceHashes
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
# The settings that determine the weights, besides the faces and SAM, which have hashes.
DECISIVE_SETTINGS = (
    "sam.normalize",
    "prompt.initial_anchor",
    "prompt.initial_pick",
    "prompt.features",
    "prompt.selection",
    "mask.align_corners",
    "loss.sharpness",
    "loss.hinge_margin",
    "loss.face_weight",
    "loss.occlusion_weight",
    "loss.hinge_weight",
    "train.batch_size",
    "train.lr",
    "train.weight_decay",
    "train.epochs",
    "train.seed",
    "train.val_fraction",
    "run.speed",
)
INPUT_SECTIONS = ("sam", "prompt")  # those of them that determine an adapter's inputs


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Everything that a run of general training resumes from.

    Attributes:
        epoch: The last finished epoch.
        history: Records of all finished epochs.
        adapter: State dict of the adapter.
        optimizer: State dict of the optimizer.
        scheduler: State dict of the learning-rate schedule.
        rng: State of torch's CPU generator.
        config: The config of the run.
        sam_sha256: Hash of the SAM that the adapter was trained with.
        faces: The faces of the run; None if an earlier version wrote the state.
    """

    epoch: int
    history: list[EpochRecord]
    adapter: dict[str, Tensor]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    rng: Tensor
    config: Config
    sam_sha256: str
    faces: FaceHashes | None

    @property
    def best_loss(self) -> float:
        """The lowest selection loss of all epochs."""
        return min(record.selection_loss for record in self.history)


def save_training_state(paths: Iterable[Path], state: TrainingState) -> None:
    """Write the same training state to each path in turn, each atomically."""
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
            "faces": None if state.faces is None else state.faces.to_dict(),
        }
    )
    for path in paths:
        _write(path, content)


def save_checkpoint(
    path: Path, adapter: nn.Module, *, epoch: int, config: Mapping[str, Any], sam_sha256: str
) -> None:
    """Write only an adapter, atomically.

    Args:
        path: The file; missing folders are created.
        adapter: The adapter, without a wrapper.
        epoch: How many epochs it was trained for.
        config: The config of the training, as plain values (``config_to_dict``).
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
    """Read the state that a run resumes from.

    Args:
        path: A checkpoint of general training.
        config: The config of this run; settings that determine the weights must be unchanged.
        sam_sha256: Hash of this run's SAM, which must be the same.

    Raises:
        CheckpointError: The file cannot be read, holds no training state, or has other settings.
    """
    content = read_checkpoint(path)
    if content.get("kind") != KIND or "optimizer" not in content:
        raise CheckpointError(
            f"{path} holds no training state. --resume continues from the last.pth of a run of "
            "train_general.py; to start from another adapter, pass --init_checkpoint."
        )
    try:
        state, trained_with = _training_state_of(content, config)
    # Tensors in the place of plain values raise RuntimeError.
    except (S3potError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} holds a damaged training state ({type(error).__name__}: {str(error):.200}). "
            "Resume from another checkpoint of the run, or start again."
        ) from error
    before = {**decisive_settings(trained_with), "sam_sha256": state.sam_sha256}
    now = {**decisive_settings(config), "sam_sha256": sam_sha256}
    changed = [f"{key} was {before[key]}, now {now[key]}" for key in now if before[key] != now[key]]
    if changed:
        raise CheckpointError(
            f"{path} was written with other settings ({'; '.join(changed)}). Restore them, or "
            f"start a new run in another --output_dir, optionally with --init_checkpoint {path}."
        )
    refuse_non_finite(state.adapter, str(path))
    for number, slots in state.optimizer["state"].items():
        tensors = {key: value for key, value in slots.items() if isinstance(value, Tensor)}
        refuse_non_finite(tensors, f"{path}, slot {number} of the optimizer,")
    return state


def _training_state_of(content: Mapping[str, Any], config: Config) -> tuple[TrainingState, Config]:
    """Extract a training state and the settings that determined it from a checkpoint.

    Raises:
        LookupError: Something is missing.
        TypeError, ValueError, AttributeError, RuntimeError: Something has the wrong type.
    """
    tree: dict[str, dict[str, Any]] = {}
    for setting in DECISIVE_SETTINGS:
        section, _, key = setting.partition(".")
        values = content["config"].get(section, {})
        if key in values:  # a setting that is new since then has its default
            tree.setdefault(section, {})[key] = values[key]
    trained_with = config_from_dict(tree)
    faces = content.get("faces")
    state = TrainingState(
        epoch=content["epoch"],
        history=[EpochRecord.from_row(row) for row in content["history"]],
        adapter=dict(content["adapter"].items()),
        optimizer=dict(content["optimizer"].items()),
        scheduler=dict(content["scheduler"].items()),
        rng=content["rng"],
        config=config,
        sam_sha256=content["sam_sha256"],
        faces=None if faces is None else FaceHashes.from_dict(faces),
    )
    numbers = [record.epoch for record in state.history]
    if numbers != list(range(1, len(numbers) + 1)) or state.epoch != len(numbers):
        raise ValueError(f"its history is that of the epochs {numbers}, it says {state.epoch}")
    if not isinstance(state.rng, Tensor) or state.rng.shape != torch.get_rng_state().shape:
        raise ValueError("the state of its random generator has another size")
    if not all(isinstance(value, Tensor) for value in state.adapter.values()):
        raise TypeError("its adapter holds values that are not tensors")
    for slots in state.optimizer["state"].values():
        slots.items()  # raises if it is not a dict
    return state, trained_with


def new_adapter(config: Config, sam: FrozenSam, path: Path | None = None) -> PromptAdapter:
    """Create an adapter for a SAM: that of a checkpoint, or a fresh one drawn from the seed.

    Only a fresh one sets PyTorch's global random numbers.
    """
    if path is None:
        seed_everything(config.train.seed, config.run.deterministic)
        return build_adapter(sam)
    use_determinism(config.run.deterministic)
    with networks_for_weights():
        adapter = build_adapter(sam)
    restore_adapter(adapter, path, config, model_hashes(config, ("sam",))["sam"])
    return adapter


def restore_adapter(adapter: nn.Module, path: Path, config: Config, sam_sha256: str) -> None:
    """Load one of our checkpoints, one of the authors' or the bundled one.

    Args:
        adapter: Receives the weights; it is unchanged if they do not fit.
        path: The checkpoint. A warning is logged if it says that the adapter was trained with
            other inputs than those of this SAM and config.
        config: The config in use.
        sam_sha256: Hash of the SAM in use.

    Raises:
        S3potError: The file cannot be read, or its weights do not fit or are not finite numbers.
    """
    content = read_checkpoint(path)
    is_ours = content.get("kind") == KIND
    if is_ours and isinstance(content.get("adapter"), Mapping):
        weights = content["adapter"]
    else:
        weights = from_authors(state_dict_of(content, str(path)))
    load_strict(adapter, weights, str(path))
    changes = _changed_inputs(content, config, sam_sha256)
    if changes:
        logger.warning(
            "%s was trained with other inputs (%s); masks may be worse than they could be",
            path,
            "; ".join(changes),
        )


def _changed_inputs(content: Mapping[str, Any], config: Config, sam_sha256: str) -> list[str]:
    """Describe what an adapter's inputs depend on and was different when it was trained.

    Args:
        content: Its checkpoint; what that does not say is taken to be unchanged.
        config: The config in use.
        sam_sha256: Hash of the SAM in use.
    """
    changes = []
    trained_with_sam = content.get("sam_sha256", sam_sha256)
    if trained_with_sam != sam_sha256:
        changes.append(f"another SAM, sha256 {trained_with_sam!s:.12}")
    trained_with = content.get("config")
    if not isinstance(trained_with, Mapping):
        return changes
    defaults = decisive_settings(Config())
    for key, now in decisive_settings(config).items():
        section, _, name = key.partition(".")
        values = trained_with.get(section)
        if section not in INPUT_SECTIONS or not isinstance(values, Mapping):
            continue
        before = values.get(name, defaults[key])  # a key added since then had its default
        if str(before) != str(now):
            changes.append(f"{key} was {before!s:.40}, is now {now}")
    return changes


def decisive_settings(config: Config) -> dict[str, Any]:
    """Return the settings that determine the weights, by ``section.key``."""
    values = config_to_dict(config)
    settings = {}
    for setting in DECISIVE_SETTINGS:
        section, _, key = setting.partition(".")
        settings[setting] = values[section][key]
    return settings


def _to_bytes(content: Mapping[str, Any]) -> bytes:
    """Serialize a checkpoint; equal content gives equal bytes."""
    head = {"format": 1, "kind": KIND, "version": __version__}
    buffer = io.BytesIO()  # otherwise the file's name would become part of its bytes
    torch.save(_canonical({**head, **content}), buffer)
    return buffer.getvalue()


def _canonical(value: Any) -> Any:
    """Copy nested plain values and tensors so that no container or tensor occurs twice in them.

    A pickle records where an object occurs a second time. Which objects do depends on their origin
    (a resumed run reads them from a file), so without this step equal values would give different
    bytes.
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

"""Adapter checkpoints: plain data, whole or absent, never SAM."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s3pot import __version__
from s3pot.adapter import from_authors
from s3pot.config import Config, config_to_dict
from s3pot.data.image import atomic_path
from s3pot.weights.load import CheckpointError, load_strict, read_checkpoint, state_dict_of

logger = logging.getLogger(__name__)

FORMAT, KIND, BUNDLED = 1, "s3pot-adapter", "mini-adapter"


def save_checkpoint(path: Path, adapter: nn.Module, **more: Any) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: File to replace.
        adapter: The trained module, unwrapped.
        **more: Tensors and plain values: ``config``, ``epoch``, ``sam_sha256`` and so on.
    """
    state = {key: value.detach().cpu() for key, value in adapter.state_dict().items()}
    content = {"format": FORMAT, "kind": KIND, "version": __version__, "adapter": state, **more}
    buffer = io.BytesIO()  # a file's name would become part of its bytes
    torch.save(content, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def load_training(path: Path, config: Config, sam_sha256: str) -> dict[str, Any]:
    """Read a checkpoint to go on with.

    Args:
        path: A run's ``last.pth``.
        config: Settings now; those that decide the weights must be as they were.
        sam_sha256: SAM in use.

    Raises:
        CheckpointError: Not a checkpoint of this package, or of a run with other settings.
    """
    content = read_checkpoint(path)
    if content.get("kind") != KIND or "optimizer" not in content:
        raise CheckpointError(f"{path} holds no training state; --resume needs this run's last.pth")
    before, now = _decisive(content["config"]), _decisive(config_to_dict(config))
    before["sam_sha256"], now["sam_sha256"] = content["sam_sha256"], sam_sha256
    changed = [f"{k} was {before.get(k)}, now {v}" for k, v in now.items() if before.get(k) != v]
    if changed:
        raise CheckpointError(
            f"{path} is of a run with other settings ({'; '.join(changed)}): keep them, or start "
            f"anew in another --output_dir, with --init_checkpoint {path} if you like"
        )
    return content


def _decisive(tree: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Settings that decide the weights, by ``section.key``."""
    free = ("batch", "workers", "save_every", "keep", "tensorboard")
    sections = [s for s in ("sam", "prompt", "mask", "loss", "train") if s in tree]
    return {f"{s}.{k}": v for s in sections for k, v in tree[s].items() if k not in free}


def load_adapter(path: Path) -> dict[str, Tensor]:
    """Read the adapter's weights from one of our checkpoints, the authors', or the bundled one.

    Raises:
        CheckpointError: Unreadable, or no weights in it.
    """
    content = read_checkpoint(path)
    if content.get("kind") == KIND:
        return dict(content["adapter"])
    state = from_authors(state_dict_of(content, str(path)))
    return {key: value.float() for key, value in state.items()}


def restore_adapter(adapter: nn.Module, path: Path, sam_sha256: str) -> None:
    """Load a checkpoint into an adapter, strictly.

    Args:
        adapter: Of SAM's width.
        path: See ``load_adapter``.
        sam_sha256: SAM in use; a checkpoint made with another one is a warning.

    Raises:
        S3potError: Unreadable, or it does not fit.
    """
    load_strict(adapter, load_adapter(path), str(path))
    made_with = read_checkpoint(path).get("sam_sha256", sam_sha256)
    if made_with != sam_sha256:
        logger.warning(
            "%s was trained with another SAM (sha256 %.12s) than the one in use (%.12s)",
            path,
            made_with,
            sam_sha256,
        )

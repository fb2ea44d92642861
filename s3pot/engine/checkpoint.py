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

KIND = "s3pot-adapter"
# Settings that decide the weights; of these sections the keys of FREE do not.
DECISIVE = ("sam", "prompt", "mask", "loss", "train")
FREE = ("batch", "val_faces", "save_every", "keep", "tensorboard")


def save_checkpoint(path: Path, adapter: nn.Module, **more: Any) -> None:
    """Write the unwrapped adapter and more tensors and plain values, whole or not at all."""
    state = {key: value.detach().cpu() for key, value in adapter.state_dict().items()}
    buffer = io.BytesIO()  # a file's name would become part of its bytes
    torch.save(
        {"format": 1, "kind": KIND, "version": __version__, "adapter": state, **more}, buffer
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def load_training(path: Path, config: Config, sam_sha256: str) -> dict[str, Any]:
    """Read a run's ``last.pth`` to go on with the same settings and SAM, else CheckpointError."""
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
    return {f"{s}.{k}": v for s in DECISIVE for k, v in tree[s].items() if k not in FREE}


def load_adapter(path: Path) -> dict[str, Tensor]:
    """Read an adapter's weights from a checkpoint of ours or the authors', or the bundled one."""
    content = read_checkpoint(path)
    if content.get("kind") == KIND:
        return dict(content["adapter"])
    return {k: v.float() for k, v in from_authors(state_dict_of(content, str(path))).items()}


def restore_adapter(adapter: nn.Module, path: Path, sam_sha256: str) -> None:
    """Load a checkpoint strictly; one that was trained with another SAM is a warning."""
    load_strict(adapter, load_adapter(path), str(path))
    made_with = read_checkpoint(path).get("sam_sha256", sam_sha256)
    if made_with != sam_sha256:
        logger.warning("%s was trained with another SAM: sha256 %.12s", path, made_with)

"""Adapter checkpoints: plain data, whole or absent, never SAM."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from s3pot import __version__
from s3pot.adapter import PromptAdapter, from_authors
from s3pot.build import build_adapter, model_hashes
from s3pot.config import Config, config_to_dict
from s3pot.io import atomic_path
from s3pot.sam.frozen import FrozenSam
from s3pot.seeding import seed_everything
from s3pot.weights.load import CheckpointError, load_strict, read_checkpoint, state_dict_of

logger = logging.getLogger(__name__)

KIND = "s3pot-adapter"
# Settings that decide the weights; of these sections the keys of FREE do not.
DECISIVE = ("sam", "prompt", "mask", "loss", "train")
FREE = ("batch", "val_faces", "save_every", "keep", "tensorboard")


def save_checkpoint(path: Path, adapter: nn.Module, **more: Any) -> None:
    """Write the unwrapped adapter and more tensors and plain values, whole or not at all."""
    state = {key: value.detach().cpu() for key, value in adapter.state_dict().items()}
    content = {"format": 1, "kind": KIND, "version": __version__, "adapter": state, **more}
    buffer = io.BytesIO()  # a file's name would become part of its bytes
    torch.save(content, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def load_training(path: Path, config: Config, sam_sha256: str) -> dict[str, Any]:
    """Read a run's ``last.pth`` to go on with the same settings and SAM, else CheckpointError."""
    content = read_checkpoint(path)
    if content.get("kind") != KIND or "optimizer" not in content:
        raise CheckpointError(f"{path} holds no training state; --resume needs this run's last.pth")
    before, now = (
        {f"{s}.{k}": v for s in DECISIVE for k, v in tree[s].items() if k not in FREE}
        for tree in (content["config"], config_to_dict(config))
    )
    before["sam_sha256"], now["sam_sha256"] = content["sam_sha256"], sam_sha256
    changed = [f"{k} was {before.get(k)}, now {v}" for k, v in now.items() if before.get(k) != v]
    if changed:
        cure = f"keep them, or start anew in another --output_dir, with --init_checkpoint {path}"
        raise CheckpointError(f"{path} is of other settings ({'; '.join(changed)}): {cure}")
    return content


def new_adapter(config: Config, sam: FrozenSam, path: Path | None = None) -> PromptAdapter:
    """An adapter for a SAM: that of a checkpoint, or a fresh one, always the same for one seed."""
    seed_everything(config.train.seed, config.run.deterministic)
    adapter = build_adapter(sam)
    if path is not None:
        restore_adapter(adapter, path, model_hashes(config, ("sam",))["sam"])
    return adapter


def restore_adapter(adapter: nn.Module, path: Path, sam_sha256: str) -> None:
    """Load a checkpoint of ours, the authors' or the bundled one strictly.

    One that was trained with another SAM is a warning.
    """
    content = read_checkpoint(path)
    ours = content.get("kind") == KIND
    state = content["adapter"] if ours else from_authors(state_dict_of(content, str(path)))
    load_strict(adapter, state, str(path))
    made_with = content.get("sam_sha256", sam_sha256)
    if made_with != sam_sha256:
        logger.warning("%s was trained with another SAM: sha256 %.12s", path, made_with)

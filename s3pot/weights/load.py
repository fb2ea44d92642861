"""Read checkpoints as data, never as code, and load them strictly with a readable difference."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s3pot.types import S3potError
from s3pot.weights.locate import mini_path
from s3pot.weights.recognise import recognise

MINI_FORMAT = 1


class CheckpointError(S3potError):
    """A checkpoint cannot be read."""


class WeightMismatch(S3potError):
    """A checkpoint does not fit the model."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read the dict of a ``torch.save`` file on the CPU: tensors and plain values only.

    ``argparse.Namespace`` is let through besides: the E4S file may keep its options in one. All
    else, and a file that is missing, cut off or no checkpoint, is a ``CheckpointError``.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; check the path")
    allow = getattr(torch.serialization, "safe_globals", None)  # torch >= 2.5
    try:
        with allow([argparse.Namespace]) if allow else nullcontext():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle ends in almost any error, struct.error included
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = "is cut off, damaged or no PyTorch checkpoint; fetch or write it again"
        if refused:
            cure = "fetch or save it as plain values (argparse.Namespace: needs torch 2.5)"
            reason = f"was refused: it wants {refused.group(1)}, but may hold no code; {cure}"
        raise CheckpointError(f"{path} {reason}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a dict")
    return content


def state_dict_of(checkpoint: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """Take out the weights: open the container, drop one ``module.`` prefix and what is no weight.

    That is ``latent_avg`` and all but tensors, which training keeps beside the weights (options,
    EMA and optimizer states, counters). ``CheckpointError`` names the ``source`` when none is left.
    """
    inner = checkpoint.get("state_dict", checkpoint)
    items = inner.items() if isinstance(inner, Mapping) else ()
    state = {k: v for k, v in items if isinstance(v, Tensor) and k != "latent_avg"}
    if not state:
        found = ", ".join(map(str, list(checkpoint)[:6])) or "nothing"
        raise CheckpointError(f"{source} holds no weights but: {found}; expected a state dict")
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def load_strict(module: nn.Module, state_dict: Mapping[str, Any], source: str) -> None:
    """Load weights, all of them, or say what differs and leave the module as it was.

    May be missing, and then stay as the module has them: ``num_batches_tracked`` (old torch) and
    blur kernels (buffers called ``kernel``, constants of StyleGAN2).

    Args:
        module: The model; weights are converted to its dtype and device.
        state_dict: State dict or whole checkpoint, see ``state_dict_of``.
        source: Where it came from, for the ``WeightMismatch``.
    """
    file, own = state_dict_of(state_dict, source), module.state_dict()
    buffers = {name for name, _ in module.named_buffers()}
    optional = {name for name in buffers if name.endswith(("num_batches_tracked", ".kernel"))}
    wrong = [key for key in file if key in own and file[key].shape != own[key].shape]
    kinds = {
        "missing": [key for key in own if key not in file and key not in optional],
        "unexpected": [key for key in file if key not in own],
        "wrong shape": [f"{k} {tuple(file[k].shape)} for {tuple(own[k].shape)}" for k in wrong],
    }
    lines = [
        f"\n  {len(found)} {kind}: {', '.join(found[:3])}{', ...' if len(found) > 3 else ''}"
        for kind, found in kinds.items()
        if found
    ]
    if lines:
        asked, given = recognise(own), recognise(file)
        mixed_up = f" this is a {given}" if given and given != asked else ""
        wanted = f", you asked for a {asked}" if mixed_up and asked else ""
        raise WeightMismatch(f"{source} does not fit:{mixed_up}{wanted}{''.join(lines)}")
    module.load_state_dict({**own, **file})


def read_mini(name: str, folder: Path | None = None) -> dict[str, Any]:
    """Read a mini model, found as by ``mini_path``; ``CheckpointError`` if of another version.

    Returns:
        ``size``, plain values for the network's constructor, and ``state_dict``, float16.
    """
    path = mini_path(name, folder)
    content = read_checkpoint(path)
    found, wanted = (content.get("format"), content.get("model")), (MINI_FORMAT, f"mini-{name}")
    if found != wanted:
        cure = "restore it from the repository or run: python -m s3pot_mini"
        raise CheckpointError(f"{path} has format and model {found}, expected {wanted}; {cure}")
    return content

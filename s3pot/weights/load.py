"""Read checkpoints as data, never as code, and load them strictly with a readable difference."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s3pot.types import S3potError
from s3pot.weights.recognise import recognise
from s3pot.weights.registry import mini_path

MINI_FORMAT = 1
# What training checkpoints keep beside or among the weights; unused at inference.
LEFTOVERS = frozenset(
    ("latent_avg", "opts", "state_dict_ema", "D_state_dict", "optimizer", "lr_scheduler")
    + ("scheduler", "meta", "epoch", "iteration", "global_step")
)


class CheckpointError(S3potError):
    """A checkpoint cannot be read."""


class WeightMismatch(S3potError):
    """A checkpoint does not fit the model."""


@dataclass(frozen=True)
class MiniWeights:
    """A bundled mini model.

    Attributes:
        size: Plain values for the network's constructor.
        state_dict: Its weights, float16.
    """

    size: dict[str, Any]
    state_dict: dict[str, Tensor]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file of ``torch.save`` on the CPU: tensors and plain values only.

    ``argparse.Namespace`` is let through besides: the E4S file may keep its options in one.

    Args:
        path: The file, old format or new.

    Returns:
        The stored dict, as it is.

    Raises:
        CheckpointError: Missing, empty, cut off, not a checkpoint, or it wants to run code.
    """
    path = Path(path)
    _check_head(path)
    try:
        with _namespace_allowed():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} {_refusal(str(error))}") from error
    except Exception as error:  # a damaged pickle ends in almost any error, struct.error included
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{path} is cut off or damaged ({reason}); fetch or write it again"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a dict")
    return content


def _check_head(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; check the path")
    with path.open("rb") as file:
        head = file.read(12)
    if not head.startswith((b"PK", b"\x80")):
        found = f"starts with {head!r}, like a saved web page or text" if head else "is empty"
        raise CheckpointError(f"{path} {found}, not a PyTorch checkpoint; fetch or write it again")


def _namespace_allowed() -> AbstractContextManager[Any]:
    allow = getattr(torch.serialization, "safe_globals", None)  # torch >= 2.5
    return nullcontext() if allow is None else allow([argparse.Namespace])


def _refusal(reason: str) -> str:
    found = re.search(r"GLOBAL ([\w.]+)", reason)
    if not found:
        return "is cut off, damaged or no PyTorch checkpoint; fetch or write it again"
    cure = "save it again with plain values only, or fetch it again if it may be cut off"
    if found.group(1) == "argparse.Namespace":
        cure = "update torch to 2.5 or later, which can let this one type through"
    return f"was refused: it wants {found.group(1)}, but may hold data only, no code; {cure}"


def state_dict_of(checkpoint: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Take out the weights: open the container, drop leftovers and one ``module.`` prefix.

    Args:
        checkpoint: What ``read_checkpoint`` gives, or a state dict.
        source: Where it came from, for errors.

    Raises:
        CheckpointError: There are no weights in it.
    """
    inner = checkpoint.get("state_dict", checkpoint)
    state = {}
    if isinstance(inner, Mapping):
        state = {str(key): value for key, value in inner.items() if key not in LEFTOVERS}
    if not any(isinstance(value, Tensor) for value in state.values()):
        found = ", ".join(map(str, list(checkpoint)[:6])) or "nothing"
        raise CheckpointError(f"{source} holds no weights but: {found}; expected a state dict")
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def load_strict(
    module: nn.Module, state_dict: Mapping[str, Any], source: str, ignore: Collection[str] = ()
) -> None:
    """Load weights, all of them, or say what differs and leave the module as it was.

    May be missing, and then stay as the module has them: ``num_batches_tracked`` (old torch) and
    blur kernels (buffers called ``kernel``, constants of StyleGAN2).

    Args:
        module: The model; weights are converted to its dtype and device.
        state_dict: State dict or whole checkpoint, see ``state_dict_of``.
        source: Where it came from, for errors.
        ignore: Patterns (``fnmatch``) of keys in the file that the model does not use.

    Raises:
        WeightMismatch: A key is missing, unexpected or of another shape.
        CheckpointError: There are no weights in it.
    """
    given = state_dict_of(state_dict, source)
    own = module.state_dict()
    unused = {key for key in given for pattern in ignore if fnmatchcase(key, pattern)} - set(own)
    file = {key: value for key, value in given.items() if key not in unused}
    buffers = [name for name, _ in module.named_buffers()]
    optional = {name for name in buffers if name.endswith(("num_batches_tracked", ".kernel"))}
    lines = _difference(own, file, optional)
    if lines:
        raise WeightMismatch("\n  ".join([f"{source} does not fit{_kinds(own, given)}", *lines]))
    module.load_state_dict({**own, **file})


def _difference(
    own: Mapping[str, Tensor], file: Mapping[str, Any], optional: Collection[str]
) -> list[str]:
    missing = [key for key in own if key not in file and key not in optional]
    unexpected = [key for key in file if key not in own]
    shapes = [
        f"{key} {_shape(value)} for {_shape(own[key])}"
        for key, value in file.items()
        if key in own and _shape(value) != _shape(own[key])
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "wrong shape": shapes}
    return [f"{len(found)} {kind}: {_some(found)}" for kind, found in kinds.items() if found]


def _shape(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _some(items: list[str]) -> str:
    return ", ".join(items[:3]) + (", ..." if len(items) > 3 else "")


def _kinds(own: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    asked, found = recognise(own), recognise(given)
    if found is None or found == asked:
        return ":"
    return f": this is a {found}" + (f", you asked for a {asked}:" if asked else ":")


def read_mini(name: str, folder: Path | None = None) -> MiniWeights:
    """Read a mini model.

    Args:
        name: ``parser``, ``generator``, ``sam`` or ``adapter``.
        folder: Where others than the bundled ones lie, as ``<name>.pth``.

    Raises:
        MissingWeights: It is not there.
        CheckpointError: It is not a mini file of this version.
    """
    path = mini_path(name, folder)
    content = read_checkpoint(path)
    found, wanted = (content.get("format"), content.get("model")), (MINI_FORMAT, f"mini-{name}")
    if found != wanted:
        cure = "restore it from the repository or run: python tools/train_mini.py"
        raise CheckpointError(f"{path} has format and model {found}, expected {wanted}; {cure}")
    return MiniWeights(content["size"], content["state_dict"])

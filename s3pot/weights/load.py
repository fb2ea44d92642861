"""Reading checkpoints as data, never as code, and loading them strictly with clear errors."""

from __future__ import annotations

import argparse
import json
import logging
import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import safe_open
from torch import Tensor, nn

from s3pot.finite import is_finite
from s3pot.types import S3potError
from s3pot.weights.contents import foreign_kind
from s3pot.weights.pickle_values import DamagedPickle, UnsafePickle
from s3pot.weights.recognize import recognize
from s3pot.weights.safe_pickle import check_checkpoint
from s3pot.wording import brief, counted, value_of_type

logger = logging.getLogger(__name__)

METADATA_KEY = "s3pot"  # in safetensors metadata: plain values as one JSON string
# Vulnerabilities in torch.load(weights_only=True) and the versions that fixed them.
KNOWN_HOLES = {"CVE-2025-32434": (2, 6), "CVE-2026-24747": (2, 10)}


class CheckpointError(S3potError):
    """A checkpoint cannot be read or holds no usable weights."""


class WeightMismatch(S3potError):
    """A checkpoint does not fit the model."""


def require_checkpoint(path: Path) -> None:
    """Make sure that a checkpoint exists, before anything else is loaded that takes long.

    Raises:
        CheckpointError: It does not.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint {path}; check the path.")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU: tensors and plain values only.

    Args:
        path: A ``torch.save`` file, or ``.safetensors``.

    Returns:
        The dict that was saved; for safetensors, the tensors under ``state_dict`` together with the
        values of its metadata.

    Raises:
        CheckpointError: The file is missing, cut off, not a checkpoint, or tries to run code.
            ``argparse.Namespace`` is allowed, because the E4S file may keep its options in one.
    """
    path = Path(path)
    require_checkpoint(path)
    kind = foreign_kind(path)
    if kind is not None:
        raise CheckpointError(f"{path} is {kind}. Fetch or write it again.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = _read_pickle(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds {value_of_type(content)}; expected a dict.")
    return content


def _read_pickle(path: Path) -> Any:
    """Check and load a pickle from the same open file, so that it cannot be swapped between."""
    _warn_of_known_holes(torch.__version__)
    try:
        with path.open("rb") as stream:
            check_checkpoint(stream)
            return _load_checked(stream)
    except UnsafePickle as error:
        raise CheckpointError(
            f"{path} was refused: {error}. Save it as plain tensors and values, such as "
            "torch.save(model.state_dict(), ...)."
        ) from error
    except DamagedPickle as error:
        raise CheckpointError(
            f"{path} is cut off, damaged or not a PyTorch checkpoint: {error}. "
            "Fetch or write it again."
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error


def _load_checked(stream: BinaryIO) -> Any:
    try:
        with _allow_namespace():
            return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch raises almost any type on damaged data
        if "argparse.Namespace" in str(error):
            raise UnsafePickle(
                "it wants argparse.Namespace, which needs torch 2.5 or later"
            ) from error
        raise DamagedPickle(str(error).partition("\n")[0]) from error


@cache  # logs once
def _warn_of_known_holes(version: str) -> None:
    """Warn if a version of torch has known vulnerabilities in reading pickles."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    holes = [name for name, fixed_in in KNOWN_HOLES.items() if numbers < fixed_in]
    if holes:
        logger.warning(
            "torch %s has known vulnerabilities in reading .pth files (%s). s3pot checks the "
            "structure of a file before torch reads it; even so, use such files only from sources "
            "you trust, or upgrade torch, or use .safetensors.",
            version,
            ", ".join(holes),
        )


def _allow_namespace() -> AbstractContextManager[Any]:
    allow = getattr(torch.serialization, "safe_globals", None)  # torch >= 2.5
    return nullcontext() if allow is None else allow([argparse.Namespace])


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(str(path), framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except Exception as error:  # SafetensorError, and whatever a damaged header raises
        raise CheckpointError(
            f"{path} is cut off, damaged or not a safetensors file ({error}). "
            "Fetch or write it again."
        ) from error
    return {**_plain_values(metadata, path), "state_dict": state}


def _plain_values(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    """Read safetensors metadata: ours is one JSON string, other values are plain strings."""
    text = metadata.get(METADATA_KEY)
    if text is None:
        return dict(metadata)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} holds damaged metadata ({error}).") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds metadata that is not a JSON object.")
    return values


def state_dict_of(checkpoint: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """Extract the weights from a checkpoint.

    Args:
        checkpoint: A state dict, or a container that holds one under ``state_dict``. Everything
            else that training stores is left out: options, EMA and optimizer states, counters,
            E4S's ``latent_avg``.
        source: Its origin, for messages.

    Returns:
        Tensors by key, without a ``module.`` prefix that all of them have.

    Raises:
        CheckpointError: There are no weights in it.
    """
    inner = checkpoint.get("state_dict", checkpoint)
    state = {}
    if isinstance(inner, Mapping):
        for key, value in inner.items():
            if isinstance(value, Tensor) and key != "latent_avg":
                state[key] = value
    if not state:
        contents = ", ".join(str(key) for key in list(checkpoint)[:6]) or "nothing"
        raise CheckpointError(
            f"{source} holds no weights, only: {contents}; expected a state dict."
        )
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def refuse_non_finite(state: Mapping[str, Tensor], source: str) -> None:
    """Raise CheckpointError if weights hold NaN or infinity, which give arbitrary masks."""
    broken = [key for key, value in state.items() if not _is_finite(value)]
    if broken:
        raise CheckpointError(
            f"{source} holds values that are not finite numbers in {len(broken)} of "
            f"{counted(len(state), 'tensor')}: {brief(broken)}. Use an earlier checkpoint, or "
            "train again with a lower learning rate."
        )


def _is_finite(value: Tensor) -> bool:
    return value.is_meta or is_finite(value)


def load_strict(module: nn.Module, state_dict: Mapping[str, Any], source: str) -> None:
    """Load all weights, or report the differences and leave the module unchanged.

    The following may be missing and then keep the module's values: ``num_batches_tracked`` (old
    torch) and blur kernels (buffers called ``kernel``, constants of StyleGAN2).

    Args:
        module: The model; weights are converted to its dtype and device. A model on the meta
            device, which has no memory, receives the given tensors themselves.
        state_dict: State dict or whole checkpoint, see ``state_dict_of``.
        source: Its origin, for messages.

    Raises:
        CheckpointError: It holds no weights, or some that are not finite numbers.
        WeightMismatch: Keys or shapes differ, or whole numbers stand for decimal ones.
    """
    given = state_dict_of(state_dict, source)
    wanted = module.state_dict()
    buffers = {name for name, _ in module.named_buffers()}
    optional = {name for name in buffers if name.endswith(("num_batches_tracked", ".kernel"))}
    differences = _differences(given, wanted, optional)
    if differences:
        raise WeightMismatch(f"{source} does not fit:{_mixed_up(given, wanted)}{differences}")
    refuse_non_finite(given, source)
    weights = {**wanted, **given}
    if any(value.is_meta for value in wanted.values()):
        weights = {key: value.to(wanted[key].dtype) for key, value in weights.items()}
        module.load_state_dict(weights, assign=True)
    else:
        module.load_state_dict(weights)


def _differences(
    given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], optional: Iterable[str]
) -> str:
    """List keys that are missing, unexpected, or wrong in shape or type; empty if all match."""
    missing = [key for key in wanted if key not in given and key not in optional]
    unexpected = [key for key in given if key not in wanted]
    wrong_shape = [
        f"{key} {tuple(value.shape)} for {tuple(wanted[key].shape)}"
        for key, value in given.items()
        if key in wanted and value.shape != wanted[key].shape
    ]
    wrong_type = [
        f"{key} {value.dtype}"
        for key, value in given.items()
        if key in wanted
        and value.is_floating_point() != wanted[key].is_floating_point()
        and key not in optional
    ]
    lines = [
        f"\n  {len(entries)} {kind}: {brief(entries)}"
        for kind, entries in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("wrong shape", wrong_shape),
            ("wrong type (whole or decimal numbers)", wrong_type),
        )
        if entries
    ]
    return "".join(lines)


def _mixed_up(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """Name the model that a file belongs to, if it is known and not the requested one."""
    given_model = recognize(given)
    wanted_model = recognize(wanted)
    if given_model is None or given_model == wanted_model:
        return ""
    wish = f", you asked for a {wanted_model}" if wanted_model else ""
    return f" this is a {given_model}{wish}"

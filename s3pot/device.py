"""The device of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

from s3pot.config import ConfigError


def pick_device(name: str, local_rank: int = 0) -> torch.device:
    """Turn a device's name into one that this machine has; every use of a model begins here.

    From here on a forked worker calculates with one thread, see ``survive_forks``.

    Args:
        name: auto, cpu, cuda, cuda:N or mps. ``auto`` prefers CUDA, then MPS.
        local_rank: GPU that is taken when the name has no number.

    Raises:
        ConfigError: This machine has no such device; another one is never taken instead.
    """
    survive_forks()
    available = available_devices()
    wanted = name
    if name == "auto" and "cuda:0" not in available:
        wanted = "mps" if "mps" in available else "cpu"
    elif name in ("auto", "cuda"):
        wanted = f"cuda:{local_rank}"
    if wanted not in available:
        raise ConfigError(
            f"there is no device {wanted}; this machine has {', '.join(available)}. "
            "Choose one of them, or --device auto."
        )
    return torch.device(wanted)


def available_devices() -> list[str]:
    """The names of this machine's devices, cpu first."""
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Let the CPU take numbers below 1.2e-38 for zero inside the block.

    Attention weights and gradients of sure points are that small. They add nothing to a sum, but
    most CPUs calculate with them many times slower than with other numbers.
    """
    before = _are_denormals_flushed()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _are_denormals_flushed() -> bool:
    """Whether they are now; PyTorch can set this, but not tell it."""
    denormal = torch.full((), 1e-39)
    return bool(denormal * 0.5 == 0)


@lru_cache(maxsize=1)  # a second call would register it twice
def survive_forks() -> None:
    """Let models that the parent process used work in its forked workers too.

    A fork copies PyTorch's pool of threads without its threads, and a calculation that is shared
    out among them would wait forever. So a forked process calculates with one thread.
    """
    if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
        os.register_at_fork(after_in_child=_use_one_thread)


def _use_one_thread() -> None:
    torch.set_num_threads(1)

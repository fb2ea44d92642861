"""The device that a run computes on, and how its threads share the work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache

import torch

from s3pot.typed_yaml import ConfigError

SMALL_IMAGE = 512  # side of a network's input, in pixels
LARGEST_BLOCK = 31 << 20  # bytes; glibc's limit is 32 MiB
MOST_SIDE_BY_SIDE = 8  # computing threads: more of them wait for the GIL


def pick_device(name: str, local_rank: int = 0) -> torch.device:
    """Turn a name into a device that this machine has.

    Args:
        name: auto, cpu, cuda, cuda:N or mps. ``auto`` prefers CUDA, then MPS.
        local_rank: The GPU to use if the name has no number.

    Raises:
        ConfigError: This machine has no such device; another one is never used instead.
    """
    available = available_devices()
    wanted = name
    if name == "auto" and "cuda:0" not in available:
        wanted = "mps" if "mps" in available else "cpu"
    elif name in ("auto", "cuda"):
        wanted = f"cuda:{local_rank}"
    if wanted not in available:
        raise ConfigError(
            f"there is no device {wanted or repr(wanted)}; this machine has "
            f"{', '.join(available)}. Choose one of them, or auto (run.device, --device)."
        )
    return torch.device(wanted)


def available_devices() -> list[str]:
    """List the names of this machine's devices, cpu first."""
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Let the CPU flush numbers below 1.2e-38 (denormals) to zero inside the block.

    Attention weights and gradients of confident points are that small. They add nothing to a sum,
    but most CPUs compute with them many times more slowly than with other numbers.
    """
    before = _are_denormals_flushed()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def flushed_threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Provide threads that compute at the same time and flush denormal numbers to zero.

    The helper threads that such a thread starts to parallelize an operation inherit the setting; in
    ``flushed_denormals``, helper threads that already exist keep their own.

    Args:
        workers: How many.
    """
    with (
        shared_cores(workers),
        ThreadPoolExecutor(workers, initializer=torch.set_flush_denormal, initargs=(True,)) as pool,
    ):
        yield pool


def _are_denormals_flushed() -> bool:
    """Whether they are now; PyTorch can set this, but not tell it."""
    denormal = torch.full((), 1e-39, dtype=torch.float32)
    return bool(denormal * 0.5 == 0)


def side_by_side(device: torch.device, image_size: int) -> int:
    """Return how many images should be calculated at once, each in its own thread.

    A CPU's cores share one large image out well; small ones are faster side by side, for each step
    is too short to be shared. A GPU is fed by one thread.

    Args:
        device: Where the networks are.
        image_size: Side of their input, in pixels.
    """
    if device.type != "cpu" or image_size > SMALL_IMAGE:
        return 1
    return min(torch.get_num_threads(), MOST_SIDE_BY_SIDE)


@contextmanager
def shared_cores(workers: int) -> Iterator[None]:
    """Share PyTorch's threads out among some threads that calculate at once inside the block.

    Only threads that begin inside it take part.

    Args:
        workers: How many.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=1)  # a second call would register the same function again
def prepare_process() -> None:
    """Prepare this process for networks; called before any of them is built.

    From then on a forked worker computes with one thread, see ``survive_forks``, and freed memory
    stays with the process, see ``keep_freed_memory``.
    """
    survive_forks()
    keep_freed_memory()


def survive_forks() -> None:
    """Let models that the parent process used work in its forked workers too.

    A fork copies PyTorch's pool of threads without its threads, and a calculation that is shared
    out among them would wait forever. So a forked process calculates with one thread.
    """
    if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
        os.register_at_fork(after_in_child=_use_one_thread)


def keep_freed_memory() -> None:
    """Let tensors use memory again that others have freed, instead of returning it to the system.

    glibc returns freed memory beyond a threshold, and getting it back costs a page fault for every
    4 KiB: up to a tenth of the time of a face. The threshold is twice the largest block that was
    ever freed; blocks above glibc's limit do not count. Other systems are not affected.
    """
    # It is freed at once, without being touched.
    torch.empty(LARGEST_BLOCK, dtype=torch.uint8, device="cpu")


def _use_one_thread() -> None:
    torch.set_num_threads(1)

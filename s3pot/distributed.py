"""The processes of a run: a single one, or those that ``torchrun`` started."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

from s3pot.device import pick_device
from s3pot.types import S3potError

logger = logging.getLogger(__name__)

# Longer than any share of the work. With PyTorch's limit, 10 minutes for NCCL and 30 for gloo, a
# process that is ready early would end the run while others still prepare their faces. It does not
# wait in vain: if one of them dies, torchrun ends all others. Without torchrun, PyTorch's limit
# remains, because nobody would end a process that waits for one that was never started.
LONGEST_WAIT = timedelta(days=30)


@dataclass(frozen=True)
class Place:
    """The place of this process among those that ``torchrun`` started; alone by default.

    Attributes:
        rank: The number of this process, from 0.
        world_size: The number of processes.
        local_rank: The number of this process on its machine, which selects its GPU.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0


def place_of_process() -> Place:
    """Read the variables that ``torchrun`` sets.

    Raises:
        S3potError: They are not the place of a process.
    """
    rank = _number("RANK", 0)
    world_size = _number("WORLD_SIZE", 1)
    if rank >= world_size:
        raise S3potError(
            f"RANK is {rank} and WORLD_SIZE is {world_size}; expected a RANK from 0 to WORLD_SIZE "
            "- 1. Start the command with torchrun, which sets both, or unset them."
        )
    return Place(rank, world_size, local_rank=_number("LOCAL_RANK", 0))


def _number(variable: str, default: int) -> int:
    """Read an environment variable, which is unset or empty in a process without ``torchrun``."""
    text = os.environ.get(variable, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise S3potError(
            f"The environment variable {variable} is {text!r}; expected a number. Start the "
            "command with torchrun, which sets it, or unset it."
        )
    return int(text)


@dataclass(frozen=True)
class Process:
    """This process among those of a run; rank 0 writes files and shows progress.

    Attributes:
        device: The device of this process.
        rank: The number of this process, from 0.
        world_size: The number of processes.
    """

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum a float64 tensor over all processes; the sum is on the CPU."""
        if self.world_size > 1:
            values = values.to(self.device)
            distributed.all_reduce(values)
        return values.cpu()

    def wait_for_others(self) -> None:
        """Wait until all processes have reached this point."""
        if self.world_size > 1:
            distributed.barrier()


@contextmanager
def processes(device_name: str) -> Iterator[Process]:
    """Join the processes that ``torchrun`` started; without ``torchrun`` there is only one.

    Raises:
        S3potError: The variables that ``torchrun`` sets are wrong or incomplete, or another process
            cannot be reached.
    """
    place = place_of_process()
    device = pick_device(device_name, place.local_rank)
    if place.world_size == 1:
        yield Process(device)
        return
    with joined(place, device) as process:
        yield process


@contextmanager
def joined(place: Place, device: torch.device) -> Iterator[Process]:
    """Join the processes that ``torchrun`` started, even if there is only one; see ``processes``.

    Args:
        place: The place of this process.
        device: Its device.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        with _ended_by_signals():
            backend = "nccl" if device.type == "cuda" else "gloo"
            timeout = LONGEST_WAIT if _is_under_torchrun() else None
            distributed.init_process_group(backend, timeout=timeout)
    except (RuntimeError, ValueError) as error:
        raise S3potError(
            f"WORLD_SIZE is {place.world_size}, but the other processes cannot be joined "
            f"({error}). Start the command with torchrun, or unset WORLD_SIZE for one process."
        ) from error
    if place.rank:
        logging.getLogger("s3pot").setLevel(logging.ERROR)
    try:
        yield Process(device, place.rank, place.world_size)
    finally:
        distributed.destroy_process_group()


def wait_for_other_processes() -> None:
    """Wait at the end of a command until all processes of ``torchrun`` are at its end.

    As soon as one of them reports a failure, ``torchrun`` ends all others. A process with a bad
    image must therefore not exit while others are still working. It does not wait in vain: if
    another one dies, ``torchrun`` ends this one.
    """
    if not _is_under_torchrun():
        return
    if distributed.is_initialized():  # by the caller, who knows when to wait
        return
    try:
        if place_of_process().world_size == 1:
            return
        with _ended_by_signals():
            distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
            distributed.barrier()
        distributed.destroy_process_group()
    except (RuntimeError, ValueError, S3potError) as error:
        logger.warning("the other processes cannot be waited for: %s", error)


def _is_under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end this process at once, unless they are ignored.

    PyTorch waits outside Python for the other processes to start, by default for half an hour.
    Handlers written in Python run only after that, for example if the first process has died.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if threading.current_thread() is not threading.main_thread():
        handlers = {}  # only the main thread may change them
    for number, handler in handlers.items():
        if callable(handler):
            signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, handler)

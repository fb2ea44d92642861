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

logger = logging.getLogger(__name__)

LONGEST_WAIT = timedelta(days=30)


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
    """Join the processes that ``torchrun`` started; without ``torchrun`` there is only one."""
    rank = int(os.environ.get("RANK", "0"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    device = pick_device(device_name, local_rank)
    if world_size <= 1:
        yield Process(device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with _ended_by_signals():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    if rank:
        logging.getLogger("s3pot").setLevel(logging.ERROR)
    try:
        yield Process(device, rank, world_size)
    finally:
        distributed.destroy_process_group()


def wait_for_other_processes() -> None:
    """Wait at the end of a command until all processes of ``torchrun`` are at its end.

    As soon as one of them reports a failure, ``torchrun`` ends all others. A process with a bad
    image must therefore not exit while others are still working. It does not wait in vain: if
    another one dies, ``torchrun`` ends this one.
    """
    is_alone = int(os.environ.get("WORLD_SIZE", "1")) <= 1
    if is_alone or "TORCHELASTIC_RUN_ID" not in os.environ:  # set by torchrun only
        return
    if distributed.is_initialized():  # by the caller, who knows when to wait
        return
    try:
        with _ended_by_signals():
            distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
            distributed.barrier()
        distributed.destroy_process_group()
    except (RuntimeError, ValueError) as error:
        logger.warning("the other processes cannot be waited for: %s", error)


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

"""One process or several (``torchrun``): who am I, sums over all, and the wrapped adapter."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from s3pot.engine.device import pick_device


@dataclass(frozen=True)
class Process:
    """This process among all.

    Attributes:
        device: Where it computes.
        rank: Its number, 0 writes files.
        world: How many there are.
    """

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Average gradients over the processes; a single process needs no wrapper."""
        return DistributedDataParallel(module) if self.world > 1 else module

    def total(self, values: Tensor) -> Tensor:
        """Sum over all processes, on the CPU in float64."""
        if self.world > 1:
            values = values.to(self.device if self.device.type == "cuda" else "cpu")
            distributed.all_reduce(values)
        return values.double().cpu()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            distributed.barrier()


@contextmanager
def processes(device_name: str) -> Iterator[Process]:
    """Join the processes that ``torchrun`` started; without it there is one.

    Args:
        device_name: ``run.device``; ``auto`` and ``cuda`` take the GPU of the local rank.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = pick_device(device_name, int(os.environ.get("LOCAL_RANK", "0")))
    if world == 1:
        yield Process(device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    root, before = logging.getLogger("s3pot"), logging.getLogger("s3pot").level
    if rank:
        root.setLevel(logging.ERROR)
    try:
        yield Process(device, rank, world)
    finally:
        root.setLevel(before)
        distributed.destroy_process_group()

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
    """This process, ``rank`` of ``world``; rank 0 writes files and shows progress."""

    device: torch.device
    rank: int = 0
    world: int = 1

    def wrap(self, module: nn.Module) -> nn.Module:
        """Average gradients over the processes; a single process needs no wrapper."""
        return DistributedDataParallel(module) if self.world > 1 else module

    def total(self, values: Tensor) -> Tensor:
        """Sum a float64 tensor over all processes."""
        if self.world > 1:
            values = values.to(self.device)
            distributed.all_reduce(values)
        return values.cpu()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            distributed.barrier()


@contextmanager
def processes(device_name: str) -> Iterator[Process]:
    """Join the processes that ``torchrun`` started; without it there is one."""
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = pick_device(device_name, int(os.environ.get("LOCAL_RANK", "0")))
    if world == 1:
        yield Process(device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    if rank:
        logging.getLogger("s3pot").setLevel(logging.ERROR)
    try:
        yield Process(device, rank, world)
    finally:
        distributed.destroy_process_group()

"""The machine of a run: its device, its processes (``torchrun``), and all its randomness."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from s3pot.device import pick_device


@dataclass(frozen=True)
class Process:
    """This process, ``rank`` of ``world``; rank 0 writes files and shows progress."""

    device: torch.device
    rank: int = 0
    world: int = 1

    def total(self, values: Tensor) -> Tensor:
        """Sum a float64 tensor over all processes."""
        if self.world > 1:
            values = values.to(self.device)
            distributed.all_reduce(values)
        return values.cpu()


@contextmanager
def processes(device_name: str) -> Iterator[Process]:
    """Join the processes that ``torchrun`` started; without it there is one."""
    rank, local, world = (int(os.environ.get(k, "0")) for k in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))
    device = pick_device(device_name, local)
    if world <= 1:
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

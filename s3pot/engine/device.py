"""The machine of a run: its device, its processes (``torchrun``), and all its randomness."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, distributed

from s3pot.config import ConfigError


def pick_device(name: str, local_rank: int = 0) -> torch.device:
    """Turn auto, cpu, cuda, cuda:N or mps into a device that is there, or raise ConfigError.

    ``auto`` prefers CUDA, then MPS; without a number the GPU of ``local_rank`` is taken.
    """
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] * torch.cuda.is_available()
    there = ["cpu", *gpus, *["mps"] * torch.backends.mps.is_available()]
    own = f"cuda:{local_rank}"
    wanted = {"auto": own if gpus else there[-1], "cuda": own}.get(name, name)
    if wanted not in there:
        raise ConfigError(f"no device {name}; this machine has {', '.join(there)}; auto picks one")
    return torch.device(wanted)


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


def seed_everything(seed: int, deterministic: bool = False) -> None:
    """Seed torch; ``deterministic`` refuses GPU kernels whose sums depend on their timing."""
    torch.manual_seed(seed)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """The order of ``count`` images in an epoch: a function of seed and epoch alone."""
    return list(map(int, np.random.default_rng((abs(seed), epoch)).permutation(count)))

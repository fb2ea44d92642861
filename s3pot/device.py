"""The device of a run."""

from __future__ import annotations

import torch

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

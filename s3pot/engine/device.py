"""Which device a run uses, and in which precision."""

from __future__ import annotations

import torch

from s3pot.config import ConfigError


def pick_device(name: str, local_rank: int = 0) -> torch.device:
    """Turn ``run.device`` into a device that is there.

    Args:
        name: auto, cpu, cuda, cuda:N or mps; auto prefers CUDA, then MPS.
        local_rank: Process on this machine; ``auto`` and ``cuda`` take the GPU of that number.

    Raises:
        ConfigError: No such device; the message says what there is.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if gpus else "mps" if mps else "cpu"
    kind, _, number = name.partition(":")
    index = int(number) if number.isdigit() else local_rank
    if kind == "cuda" and name in ("cuda", f"cuda:{number}") and index < gpus:
        return torch.device("cuda", index)
    if name == "cpu" or (name == "mps" and mps):
        return torch.device(name)
    there = ["cpu"] + [f"cuda:{i}" for i in range(gpus)] + ["mps"] * mps
    raise ConfigError(f"no device {name}; this machine has {', '.join(there)}; --device auto picks")

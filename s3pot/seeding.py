"""The random numbers of a run: seeds, and the order of the images."""

from __future__ import annotations

import os

import numpy as np
import torch


def seed_everything(seed: int, deterministic: bool = False) -> None:
    """Seed PyTorch, the only source of random numbers besides ``epoch_order``.

    Args:
        seed: The seed for all devices.
        deterministic: See ``use_determinism``.
    """
    torch.manual_seed(seed)
    use_determinism(deterministic)


def use_determinism(deterministic: bool) -> None:
    """Refuse or allow GPU kernels whose sums depend on their timing."""
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Set only if it changes, because this loads PyTorch's compiler, which takes over a second.
    if deterministic != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(deterministic)


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """Return the order of ``count`` images in an epoch, which depends only on seed and epoch."""
    generator = np.random.default_rng((abs(seed), epoch))
    order: list[int] = generator.permutation(count).tolist()
    return order

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
    """Refuse GPU kernels whose sums depend on their timing; False leaves PyTorch as it is set.

    A program that uses the package may have made that choice for itself.
    """
    # Loads PyTorch's compiler, which takes over a second, so nothing is set twice.
    if deterministic and not torch.are_deterministic_algorithms_enabled():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """Return the order of ``count`` images in an epoch, which depends only on seed and epoch."""
    generator = np.random.default_rng((abs(seed), epoch))
    order: list[int] = generator.permutation(count).tolist()
    return order

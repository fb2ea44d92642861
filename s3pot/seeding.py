"""All randomness of a run."""

from __future__ import annotations

import os

import numpy as np
import torch


def seed_everything(seed: int, deterministic: bool = False) -> None:
    """Seed PyTorch, the only source of random numbers beside ``epoch_order``.

    Args:
        seed: Of all devices.
        deterministic: See ``use_determinism``.
    """
    torch.manual_seed(seed)
    use_determinism(deterministic)


def use_determinism(deterministic: bool) -> None:
    """Refuse GPU kernels whose sums depend on their timing, or allow them."""
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Said anew only if it changes, for it loads PyTorch's compiler: a second and more.
    if deterministic != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(deterministic)


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """The order of ``count`` images in an epoch: a function of seed and epoch alone."""
    generator = np.random.default_rng((abs(seed), epoch))
    order: list[int] = generator.permutation(count).tolist()
    return order

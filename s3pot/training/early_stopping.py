"""Early stopping, and keeping the best weights."""

from __future__ import annotations

import math

from torch import Tensor


class EarlyStopping:
    """Stops after ``patience`` epochs without an improvement of at least ``min_delta``."""

    def __init__(self, patience: int, min_delta: float) -> None:
        self.patience = patience
        self.min_delta = min_delta
        self._lowest = math.inf  # the loss that the next one must undercut by min_delta
        self._epochs_since = 0

    def should_stop(self, loss: float) -> bool:
        """Take the loss of the next epoch, and return whether to stop after it."""
        if loss < self._lowest - self.min_delta:
            self._lowest = loss
            self._epochs_since = 0
        else:
            self._epochs_since += 1
        return self._epochs_since >= self.patience


class BestWeights:
    """The weights with the lowest loss so far; in case of ties, the earliest."""

    def __init__(self) -> None:
        self.loss = math.inf
        self.weights: dict[str, Tensor] | None = None

    def update(self, loss: float, weights: dict[str, Tensor]) -> None:
        """Keep the weights if their loss is the lowest so far; they must not change afterwards."""
        if loss < self.loss:
            self.loss = loss
            self.weights = weights

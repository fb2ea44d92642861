from __future__ import annotations

import pytest
import torch

from s3pot.training.early_stopping import BestWeights, EarlyStopping


@pytest.mark.parametrize(
    ("losses", "patience", "min_delta", "epochs"),
    [
        ([5, 4, 3, 2, 1], 1, 0.0, None),
        ([5, 5, 5, 5], 3, 0.0, 4),
        ([5, 4, 5, 5, 3, 5, 5, 5], 3, 0.0, 8),
        ([5, 4.95, 4.9, 4.85], 2, 0.1, 3),  # each decrease is too small, and so is their sum
        ([5, 4.95, 4.85, 4.84, 4.83], 2, 0.1, 5),  # the sum of two counts as one improvement
    ],
)
def test_stops_after_epochs_without_an_improvement(
    losses: list[float], patience: int, min_delta: float, epochs: int | None
) -> None:
    stopping = EarlyStopping(patience, min_delta)
    stops = [number for number, loss in enumerate(losses, 1) if stopping.should_stop(loss)]
    assert (stops[0] if stops else None) == epochs


def test_the_earliest_of_the_lowest_losses_is_kept() -> None:
    best = BestWeights()
    for number, loss in enumerate([3.0, 1.0, 2.0, 1.0]):
        best.update(loss, {"w": torch.tensor(float(number))})
    assert best.weights is not None
    assert (best.loss, float(best.weights["w"])) == (1.0, 1.0)

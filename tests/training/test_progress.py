from __future__ import annotations

import pytest

from s3pot.training.history import EpochRecord, MeanLosses
from s3pot.training.progress import Progress, best_record, duration


def record(epoch: int, total: float, val: float | None = None) -> EpochRecord:
    def losses(value: float) -> MeanLosses:
        return MeanLosses(face=-0.5, occlusion=0.25, hinge=0.125, total=value)

    return EpochRecord(epoch, 1e-3, losses(total), None if val is None else losses(val))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (7900, "2 h 11 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_line_has_the_time_that_is_left() -> None:
    times = iter([100.0, 110.0, 120.0, 121.0])
    progress = Progress(epochs=6, clock=lambda: next(times))
    history = [record(1, 0.5), record(2, 0.4), record(3, 0.3, 0.2)]  # two of an earlier call
    assert progress.epoch_line(history) == (
        "epoch 3/6: train 0.3000 (face -0.500, occlusion 0.250, hinge 0.125), "
        "val 0.2000 (face -0.500, occlusion 0.250, hinge 0.125), "
        "lr 1.00e-03, best 0.2000 in epoch 3, 30 s left"
    )
    history.append(record(4, 0.2, 0.3))
    assert progress.epoch_line(history).endswith("best 0.2000 in epoch 3, 20 s left")
    assert progress.end_line(history) == (
        "4 epochs are done, 2 in this call (21 s). "
        "The lowest validation loss is 0.2000, in epoch 3."
    )


def test_one_epoch_is_singular() -> None:
    progress = Progress(epochs=1, clock=lambda: 0.0)
    progress.epoch_line([record(1, 0.5)])
    assert progress.end_line([record(1, 0.5)]).startswith("1 epoch is done, 1 in this call (0 s).")


def test_the_earliest_of_the_best_epochs_counts() -> None:
    assert best_record([record(1, 0.5), record(2, 0.1), record(3, 0.1)]).epoch == 2

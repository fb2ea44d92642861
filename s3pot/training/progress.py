"""The log messages of training: a line per epoch, and a final summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from s3pot.training.history import EpochRecord, MeanLosses
from s3pot.wording import subject


class Progress:
    """Describes the epochs of a run as they end.

    Args:
        epochs: The total number of epochs, including those of earlier calls.
        clock: Returns the time in seconds.
    """

    def __init__(self, epochs: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._epochs = epochs
        self._clock = clock
        self._start = clock()
        self._done = 0  # number of epochs in this call

    def epoch_line(self, history: Sequence[EpochRecord]) -> str:
        """Describe the epoch that just ended, the last of ``history``."""
        self._done += 1
        record = history[-1]
        parts = [f"train {_terms(record.train)}"]
        if record.val is not None:
            parts.append(f"val {_terms(record.val)}")
        best = best_record(history)
        parts.append(f"lr {record.lr:.2e}")
        parts.append(f"best {best.selection_loss:.4f} in epoch {best.epoch}")
        seconds_per_epoch = (self._clock() - self._start) / self._done
        left = duration(seconds_per_epoch * (self._epochs - record.epoch))
        return f"epoch {record.epoch}/{self._epochs}: {', '.join(parts)}, {left} left"

    def end_line(self, history: Sequence[EpochRecord]) -> str:
        """Describe the whole run."""
        best = best_record(history)
        kind = "training" if best.val is None else "validation"
        return (
            f"{subject(len(history), 'epoch')} done, {self._done} in this call "
            f"({duration(self._clock() - self._start)}). "
            f"The lowest {kind} loss is {best.selection_loss:.4f}, in epoch {best.epoch}."
        )


def best_record(history: Sequence[EpochRecord]) -> EpochRecord:
    """Return the earliest epoch with the lowest selection loss."""
    return min(history, key=lambda record: record.selection_loss)


def duration(seconds: float) -> str:
    """Format a duration: ``8 s``, ``3 min 5 s`` or ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _terms(losses: MeanLosses) -> str:
    return (
        f"{losses.total:.4f} (face {losses.face:.3f}, occlusion {losses.occlusion:.3f}, "
        f"hinge {losses.hinge:.3f})"
    )

"""The history of the losses by epoch, as values and as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from s3pot.io import atomic_path, write_csv


@dataclass(frozen=True)
class MeanLosses:
    """The terms of ``losses.PointLosses``, averaged over images."""

    face: float
    occlusion: float
    hinge: float
    total: float


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of general training.

    Attributes:
        epoch: Its number, from 1.
        lr: Learning rate of its steps.
        train: Mean losses of the training images, each before the step it took part in.
        val: Mean losses of the validation images after the epoch; None if there are none.
    """

    epoch: int
    lr: float
    train: MeanLosses
    val: MeanLosses | None = None

    @property
    def selection_loss(self) -> float:
        """The loss that selects the best epoch: that of validation if there is any."""
        return self.train.total if self.val is None else self.val.total

    def as_row(self) -> dict[str, float]:
        """Return plain values by column: epoch, lr, train_face, ..., val_total."""
        row: dict[str, float] = {"epoch": self.epoch, "lr": self.lr}
        row.update({f"train_{term}": value for term, value in asdict(self.train).items()})
        if self.val is not None:
            row.update({f"val_{term}": value for term, value in asdict(self.val).items()})
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> EpochRecord:
        """Build a record from the values of ``as_row``."""
        has_val = "val_total" in row
        return cls(
            epoch=int(row["epoch"]),
            lr=float(row["lr"]),
            train=_losses_from(row, "train_"),
            val=_losses_from(row, "val_") if has_val else None,
        )


@dataclass(frozen=True)
class FitRecord:
    """One step of training on a single image.

    Attributes:
        epoch: Its number, from 1.
        lr: Learning rate of the step.
        losses: The losses before the step.
    """

    epoch: int
    lr: float
    losses: MeanLosses

    def as_row(self) -> dict[str, float]:
        """Return plain values by column: epoch, lr, face, occlusion, hinge, total."""
        return {"epoch": self.epoch, "lr": self.lr, **asdict(self.losses)}


class Record(Protocol):
    """Either of the records above."""

    def as_row(self) -> dict[str, float]:
        """Return plain values by column."""
        ...


def write_history(records: Sequence[Record], prefix: str) -> None:
    """Write ``<prefix>history.csv`` and ``<prefix>history.jsonl``, each atomically."""
    rows = [record.as_row() for record in records]
    write_csv(Path(f"{prefix}history.csv"), rows)
    with atomic_path(f"{prefix}history.jsonl") as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _losses_from(row: Mapping[str, Any], prefix: str) -> MeanLosses:
    return MeanLosses(
        face=float(row[f"{prefix}face"]),
        occlusion=float(row[f"{prefix}occlusion"]),
        hinge=float(row[f"{prefix}hinge"]),
        total=float(row[f"{prefix}total"]),
    )

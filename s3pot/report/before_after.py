"""The effect of fitting an adapter to a face: fresh, general and fitted adapter side by side."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3pot.data.truth import FaceTruth
from s3pot.metrics import mask_iou
from s3pot.occlusion_decision import occluded_share
from s3pot.types import Masks

ADAPTERS_TABLE = "adapters.csv"  # written by per-image training: a row for each face and adapter
FRESH = "fresh"
GENERAL = "general"
FITTED = "fitted"


@dataclass(frozen=True)
class AdapterResult:
    """The result of an adapter for a face.

    Attributes:
        adapter: ``FRESH``, ``GENERAL`` or ``FITTED``.
        loss: Total loss at the face's prompt points.
        occluded_share: Share of the region, in [0, 1].
        occlusion_iou: IoU with the ground truth; None if there is none.
    """

    adapter: str
    loss: float
    occluded_share: float
    occlusion_iou: float | None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AdapterResult:
        """Build a result from the values of ``to_dict``, or from their text in a table."""
        iou = values["occlusion_iou"]
        return cls(
            adapter=values["adapter"],
            loss=float(values["loss"]),
            occluded_share=float(values["occluded_share"]),
            occlusion_iou=None if iou in (None, "") else float(iou),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a record and for a row of a table."""
        return asdict(self)

    def __str__(self) -> str:
        score = "" if self.occlusion_iou is None else f", IoU {self.occlusion_iou:.3f}"
        return f"{self.adapter} loss {self.loss:.4f}, share {self.occluded_share:.1%}{score}"


def result_of(adapter: str, loss: float, masks: Masks, truth: FaceTruth | None) -> AdapterResult:
    """Summarize the masks of an adapter; ``truth`` is the ground truth, or None."""
    iou = None
    if truth is not None:
        iou = mask_iou(masks.occlusion, truth.occlusion, truth.ignored)
    return AdapterResult(
        adapter=adapter,
        loss=loss,
        occluded_share=round(occluded_share(masks.occlusion, masks.region), 6),
        occlusion_iou=iou,
    )


def read_adapters(path: Path) -> dict[str, list[AdapterResult]]:
    """Read the results of the adapters for each face; empty without such a file."""
    if not path.is_file():
        return {}
    by_face: dict[str, list[AdapterResult]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            by_face.setdefault(row["name"], []).append(AdapterResult.from_dict(row))
    return by_face


def table(results: Sequence[AdapterResult]) -> str:
    """Format the mean results of each adapter over all faces as a Markdown table.

    A row counts the faces that the adapter was applied to; its IoU is the mean over those with a
    ground truth.
    """
    lines = [
        "| adapter | faces | loss | occluded share | occlusion IoU |",
        "|---|---|---|---|---|",
    ]
    for adapter in (FRESH, GENERAL, FITTED):
        results_of_adapter = [result for result in results if result.adapter == adapter]
        if results_of_adapter:
            lines.append(_line(adapter, results_of_adapter))
    return "\n".join(lines)


def _line(adapter: str, results: Sequence[AdapterResult]) -> str:
    ious = [result.occlusion_iou for result in results if result.occlusion_iou is not None]
    loss = np.mean([result.loss for result in results])
    share = np.mean([result.occluded_share for result in results])
    score = f"{np.mean(ious):.3f}" if ious else "-"
    return f"| {adapter} | {len(results)} | {loss:.4f} | {share:.1%} | {score} |"

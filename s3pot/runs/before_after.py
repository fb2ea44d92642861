"""The effect of fitting an adapter to a face: fresh, general and fitted adapter side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from s3pot.data.truth import FaceTruth
from s3pot.report.writer import truth_iou
from s3pot.types import Masks

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
        """Build a result from the values of ``to_dict``."""
        return cls(
            adapter=values["adapter"],
            loss=values["loss"],
            occluded_share=values["occluded_share"],
            occlusion_iou=values["occlusion_iou"],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a record and for a row of a table."""
        return asdict(self)

    def __str__(self) -> str:
        score = "" if self.occlusion_iou is None else f", IoU {self.occlusion_iou:.3f}"
        return f"{self.adapter} loss {self.loss:.4f}, share {self.occluded_share:.1%}{score}"


def result_of(adapter: str, loss: float, masks: Masks, truth: FaceTruth | None) -> AdapterResult:
    """Summarize the masks of an adapter; ``truth`` is the ground truth, or None."""
    occluded_pixels = int(masks.occlusion.sum())
    region_pixels = occluded_pixels + int(masks.face.sum())
    return AdapterResult(
        adapter=adapter,
        loss=loss,
        occluded_share=round(occluded_pixels / max(region_pixels, 1), 6),
        occlusion_iou=None if truth is None else truth_iou(masks, truth),
    )


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

"""Scores of an occlusion mask against the truth, for one image and for many (DESIGN, "Metrics")."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

BOUNDARY_TOLERANCE = 0.0075  # share of the image diagonal within which two outlines agree
BOOTSTRAP_SAMPLES = 2000
_MEANS = ("f1", "precision", "recall", "accuracy", "boundary_f1", "visible_iou")


@dataclass(frozen=True)
class MaskScores:
    """How well one occlusion mask fits; all scores in [0, 1].

    Without true occlusion ``iou``, ``f1``, ``precision``, ``recall`` and ``boundary_f1`` are 1 when
    nothing is predicted, else 0.
    """

    iou: float
    f1: float
    precision: float  # 0 when something is occluded and nothing predicted
    recall: float
    accuracy: float  # share of the region's pixels that are right
    boundary_f1: float  # of the outlines, within BOUNDARY_TOLERANCE, at least one pixel
    visible_iou: float  # of the visible face: the region minus the occlusion
    true_positive: int  # pixels, as the next two
    false_positive: int
    false_negative: int

    @property
    def occluded(self) -> bool:
        """Whether there is any true occlusion."""
        return self.true_positive + self.false_negative > 0


def mask_scores(
    prediction: np.ndarray, truth: np.ndarray, region: np.ndarray | None = None
) -> MaskScores:
    """Score one predicted occlusion, bool (H, W), against the true one, also outside the region.

    ``region``, bool (H, W), is where an occlusion could be predicted, for ``accuracy`` and
    ``visible_iou``; None means everywhere.

    Raises:
        ValueError: The shapes differ, or are not (H, W).
    """
    prediction, truth = np.asarray(prediction, dtype=bool), np.asarray(truth, dtype=bool)
    region = np.ones_like(truth) if region is None else np.asarray(region, dtype=bool)
    if truth.ndim != 2 or not prediction.shape == truth.shape == region.shape:
        raise ValueError(f"{prediction.shape}, {truth.shape}, {region.shape}: not the same (H, W)")
    hit = int((prediction & truth).sum())
    extra, missed = int(prediction.sum()) - hit, int(truth.sum()) - hit
    ours, theirs = region & ~prediction, region & ~truth
    return MaskScores(
        iou=_share(hit, hit + extra + missed),
        f1=_share(2 * hit, 2 * hit + extra + missed),
        precision=_share(hit, hit + extra, float(not missed)),
        recall=_share(hit, hit + missed, float(not extra)),
        accuracy=_share(int(((prediction == truth) & region).sum()), int(region.sum())),
        boundary_f1=_boundary_f1(prediction, truth),
        visible_iou=_share(int((ours & theirs).sum()), int((ours | theirs).sum())),
        true_positive=hit,
        false_positive=extra,
        false_negative=missed,
    )


def summarise(scores: Sequence[MaskScores], seed: int = 0) -> dict[str, float | int | None]:
    """Scores of any number of images, by column of a table; None where no image tells.

    ``occlusion_iou``, the headline, and its 95 % bootstrap interval; means of the other scores;
    those of the pixels of all images together; how many images these are. Images without true
    occlusion are apart: how many, and the share of them in which nothing is predicted.
    """
    occluded = [entry for entry in scores if entry.occluded]
    clean = [entry.iou for entry in scores if not entry.occluded]
    ious = [entry.iou for entry in occluded]
    low, high = bootstrap_interval(ious, seed) or (None, None)
    hit = sum(entry.true_positive for entry in occluded)
    wrong = sum(entry.false_positive + entry.false_negative for entry in occluded)
    return {
        "occlusion_iou": _mean(ious),
        "occlusion_iou_low": low,
        "occlusion_iou_high": high,
        **{name: _mean([getattr(entry, name) for entry in occluded]) for name in _MEANS},
        "pooled_iou": hit / (hit + wrong) if occluded else None,
        "pooled_f1": 2 * hit / (2 * hit + wrong) if occluded else None,
        "faces": len(occluded),
        "clean_faces": len(clean),
        "clean_right": _mean(clean),
    }


def bootstrap_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """95 % percentile interval of the mean: images drawn with replacement; None without values."""
    if not values:
        return None
    draws = np.random.default_rng(seed).integers(len(values), size=(BOOTSTRAP_SAMPLES, len(values)))
    low, high = np.quantile(np.array(values)[draws].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def _boundary_f1(prediction: np.ndarray, truth: np.ndarray) -> float:
    if not (prediction.any() and truth.any()):
        return float(prediction.any() == truth.any())
    reach = max(1.0, BOUNDARY_TOLERANCE * math.hypot(*truth.shape))
    ours, theirs = _outline(prediction), _outline(truth)
    near = []
    for own, other in ((ours, theirs), (theirs, ours)):
        distance = cv2.distanceTransform(1 - other, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        near.append(float((distance[own > 0] <= reach).mean()))
    return _share(2 * near[0] * near[1], near[0] + near[1], 0.0)


def _outline(mask: np.ndarray) -> np.ndarray:
    """Pixels with a 4-neighbour outside the mask, or at the picture's edge: uint8 (H, W)."""
    padded = np.pad(mask, 1).astype(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return np.asarray((padded - cv2.erode(padded, cross))[1:-1, 1:-1])


def _share(part: float, whole: float, empty: float = 1.0) -> float:
    return part / whole if whole else empty


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None

"""Scores of an occlusion mask against the truth, for one image and for many (DESIGN, "Metrics")."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

BOUNDARY_TOLERANCE = 0.0075  # share of the image diagonal within which two outlines agree
BOOTSTRAP_SAMPLES = 2000


@dataclass(frozen=True)
class MaskScores:
    """How well one occlusion mask fits; all scores in [0, 1].

    Without true occlusion ``iou``, ``f1``, ``precision``, ``recall`` and ``boundary_f1`` are 1 when
    nothing is predicted, else 0.

    Attributes:
        iou: Intersection over union of the occlusion.
        f1: Harmonic mean of precision and recall.
        precision: Share of the predicted pixels that are occluded; 0 when nothing is predicted.
        recall: Share of the occluded pixels that are predicted.
        accuracy: Share of the region's pixels that are right.
        boundary_f1: F1 of the outlines, within ``BOUNDARY_TOLERANCE`` (at least one pixel).
        visible_iou: IoU of the visible face, the region minus the occlusion.
        true_positive: Occluded pixels that are predicted.
        false_positive: Predicted pixels that are not occluded.
        false_negative: Occluded pixels that are not predicted.
    """

    iou: float
    f1: float
    precision: float
    recall: float
    accuracy: float
    boundary_f1: float
    visible_iou: float
    true_positive: int
    false_positive: int
    false_negative: int

    @property
    def occluded(self) -> bool:
        """Whether there is any true occlusion."""
        return self.true_positive + self.false_negative > 0


@dataclass(frozen=True)
class ScoreSummary:
    """Scores of many images; None where no image tells.

    Images without true occlusion are in ``clean_faces`` and ``clean_right`` alone.

    Attributes:
        occlusion_iou: Mean of ``MaskScores.iou``, the headline.
        occlusion_iou_low: Lower end of its 95 % bootstrap interval.
        occlusion_iou_high: Upper end.
        f1: Mean, as the next five; see ``MaskScores``.
        pooled_iou: IoU of the pixels of all images together.
        pooled_f1: F1 of the same.
        faces: Images with true occlusion.
        clean_faces: Images without.
        clean_right: Share of these in which nothing is predicted.
    """

    occlusion_iou: float | None
    occlusion_iou_low: float | None
    occlusion_iou_high: float | None
    f1: float | None
    precision: float | None
    recall: float | None
    accuracy: float | None
    boundary_f1: float | None
    visible_iou: float | None
    pooled_iou: float | None
    pooled_f1: float | None
    faces: int
    clean_faces: int
    clean_right: float | None


_MEANS = ("f1", "precision", "recall", "accuracy", "boundary_f1", "visible_iou")


def mask_scores(
    prediction: np.ndarray, truth: np.ndarray, region: np.ndarray | None = None
) -> MaskScores:
    """Score one predicted occlusion.

    Args:
        prediction: bool (H, W).
        truth: bool (H, W); counted as it is, also outside the region.
        region: Where an occlusion could be predicted, bool (H, W), for ``accuracy`` and
            ``visible_iou``; None means everywhere.

    Raises:
        ValueError: The shapes differ, or are not (H, W).
    """
    prediction, truth = np.asarray(prediction, dtype=bool), np.asarray(truth, dtype=bool)
    region = np.ones_like(truth) if region is None else np.asarray(region, dtype=bool)
    if truth.ndim != 2 or prediction.shape != truth.shape or region.shape != truth.shape:
        shapes = f"{prediction.shape}, {truth.shape} and {region.shape}"
        raise ValueError(f"prediction, truth and region are {shapes}; expected the same (H, W)")
    hit = int((prediction & truth).sum())
    extra, missed = int(prediction.sum()) - hit, int(truth.sum()) - hit
    occluded = hit + missed > 0
    none_right = float(extra == 0)  # the score of an image without occlusion
    return MaskScores(
        iou=hit / (hit + extra + missed) if occluded else none_right,
        f1=2 * hit / (2 * hit + extra + missed) if occluded else none_right,
        precision=_share(hit, hit + extra, 0.0) if occluded else none_right,
        recall=hit / (hit + missed) if occluded else none_right,
        accuracy=_share(int(((prediction == truth) & region).sum()), int(region.sum()), 1.0),
        boundary_f1=_boundary_f1(prediction, truth) if occluded else none_right,
        visible_iou=_iou(region & ~prediction, region & ~truth),
        true_positive=hit,
        false_positive=extra,
        false_negative=missed,
    )


def summarise(scores: Sequence[MaskScores], seed: int = 0) -> ScoreSummary:
    """Means, interval and pooled scores.

    Args:
        scores: One entry per image, in any number.
        seed: Of the bootstrap.
    """
    occluded = [entry for entry in scores if entry.occluded]
    clean = [entry for entry in scores if not entry.occluded]
    low, high = bootstrap_interval([entry.iou for entry in occluded], seed) or (None, None)
    hit = sum(entry.true_positive for entry in occluded)
    wrong = sum(entry.false_positive + entry.false_negative for entry in occluded)
    return ScoreSummary(
        occlusion_iou=_mean([entry.iou for entry in occluded]),
        occlusion_iou_low=low,
        occlusion_iou_high=high,
        **{name: _mean([getattr(entry, name) for entry in occluded]) for name in _MEANS},
        pooled_iou=hit / (hit + wrong) if occluded else None,
        pooled_f1=2 * hit / (2 * hit + wrong) if occluded else None,
        faces=len(occluded),
        clean_faces=len(clean),
        clean_right=_mean([entry.iou for entry in clean]),
    )


def bootstrap_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """95 % percentile interval of the mean: images drawn with replacement; None without values."""
    if not values:
        return None
    sample = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(len(sample), size=(BOOTSTRAP_SAMPLES, len(sample)))
    low, high = np.quantile(sample[draws].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def _boundary_f1(prediction: np.ndarray, truth: np.ndarray) -> float:
    """F1 of two outlines; ``truth`` has one."""
    if not prediction.any():
        return 0.0
    reach = max(1.0, BOUNDARY_TOLERANCE * math.hypot(*truth.shape))
    ours, theirs = _outline(prediction), _outline(truth)
    precision = float((_distance(theirs)[ours] <= reach).mean())
    recall = float((_distance(ours)[theirs] <= reach).mean())
    return _share(2 * precision * recall, precision + recall, 0.0)


def _outline(mask: np.ndarray) -> np.ndarray:
    """Pixels with a 4-neighbour outside the mask, or at the picture's edge: bool (H, W)."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inner)


def _distance(outline: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the outline, pixels, float32 (H, W)."""
    free = np.where(outline, 0, 255).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    return _share(int((first & second).sum()), int((first | second).sum()), 1.0)


def _share(part: float, whole: float, empty: float) -> float:
    return part / whole if whole else empty


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None

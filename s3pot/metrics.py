"""Scores of an occlusion mask against the ground truth, for one image and for many.

The headline is the mean over images of the intersection over union (IoU) of the occlusion. Images
without true occlusion are reported separately: for them the question is whether anything is
predicted at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from s3pot.data.masks import as_mask
from s3pot.data.two_values import BadMask
from s3pot.statistics import bootstrap_interval

BOUNDARY_TOLERANCE = 0.0075  # share of the image diagonal within which two outlines agree


@dataclass(frozen=True)
class MaskScores:
    """How well one occlusion mask fits; all scores in [0, 1].

    Without true occlusion ``iou``, ``f1``, ``precision``, ``recall`` and ``boundary_f1`` are 1 if
    nothing is predicted, otherwise 0. Without a region, because the parser lost the face,
    ``accuracy`` and ``visible_iou`` are 1 if there is no occlusion either, otherwise 0.

    Attributes:
        iou: Intersection over union of the occlusion.
        f1: Twice the intersection over the sum of both areas.
        precision: Share of the prediction that is true; 0 if something is occluded and nothing is
            predicted.
        recall: Share of the truth that is predicted.
        accuracy: Share of the region's pixels that are classified correctly.
        boundary_f1: F1 of the outlines: a pixel of one outline is correct if the other passes
            within ``BOUNDARY_TOLERANCE`` of it, but at least one pixel.
        visible_iou: IoU of the visible face, which is the region minus the occlusion; 1 if nothing
            of the region is visible and nothing is predicted to be.
        true_positive: Number of pixels that are predicted and true.
        false_positive: Number of pixels that are only predicted.
        false_negative: Number of pixels that are only true.
        region_pixels: Number of pixels where an occlusion could be predicted.
        true_share: Truly occluded share of the union of region and truth, see ``true_share_of``.
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
    region_pixels: int
    true_share: float

    @property
    def occluded(self) -> bool:
        """Whether there is any true occlusion."""
        return self.true_positive + self.false_negative > 0

    @property
    def predicted_occluded(self) -> bool:
        """Whether any occlusion is predicted."""
        return self.true_positive + self.false_positive > 0

    @property
    def predicted_share(self) -> float:
        """Predicted occlusion as a share of the region."""
        return _share(self.true_positive + self.false_positive, self.region_pixels, 0.0)


@dataclass(frozen=True)
class ScoreSummary:
    """Scores of any number of images; None if no image determines a score.

    Attributes:
        occlusion_iou: Mean IoU over the images with true occlusion, the headline.
        occlusion_iou_low: Lower end of its 95 % bootstrap interval; None for a single image.
        occlusion_iou_high: Upper end, or None.
        f1: Mean over the same images, like the next five.
        precision: See ``MaskScores``, like the next four.
        recall: Mean.
        accuracy: Mean.
        boundary_f1: Mean.
        visible_iou: Mean.
        pooled_iou: IoU over the pixels of all these images together.
        pooled_f1: F1 over these pixels.
        faces: Number of images with true occlusion.
        clean_faces: Number of images without.
        clean_right: Share of the images without true occlusion in which nothing is predicted.
        false_alarms: Share of them in which something is predicted.
        false_alarm_share: Mean share of the region that is predicted in them.
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
    false_alarms: float | None
    false_alarm_share: float | None


def mask_scores(
    prediction: np.ndarray,
    truth: np.ndarray,
    region: np.ndarray | None = None,
    ignored: np.ndarray | None = None,
) -> MaskScores:
    """Score one predicted occlusion against the true one, both inside and outside the region.

    Args:
        prediction: Predicted occlusion, (H, W), bool or with two values, such as 0 and 255.
        truth: True occlusion, in the same form.
        region: Where an occlusion could be predicted, in the same form; used for ``accuracy``,
            ``visible_iou`` and ``region_pixels``; None means everywhere.
        ignored: Pixels that no score counts, in the same form; None means that all count. Outlines
            are not cut there: ``boundary_f1`` leaves out their pixels.

    Raises:
        BadMask: One of them holds more than two values, such as probabilities, or is not (H, W), or
            the shapes differ. It is an ``S3potError`` and a ``ValueError``.
    """
    prediction = as_mask(prediction, "the prediction")
    truth = as_mask(truth, "the truth")
    region = np.ones_like(truth) if region is None else as_mask(region, "the region")
    if not prediction.shape == truth.shape == region.shape:
        shapes = f"{prediction.shape}, {truth.shape} and {region.shape}"
        raise BadMask(f"prediction, truth and region are {shapes}; expected the same (H, W)")
    counted = np.ones_like(truth)
    if ignored is not None:
        counted = ~as_mask(ignored, "the mask of ignored pixels")
        if counted.shape != truth.shape:
            raise BadMask(f"the ignored pixels are {counted.shape}; expected {truth.shape}")
    boundary_f1 = _boundary_f1(prediction, truth, counted)
    prediction = prediction & counted
    truth = truth & counted
    region = region & counted
    hit = int((prediction & truth).sum())
    extra = int(prediction.sum()) - hit
    missed = int(truth.sum()) - hit
    predicted_face = region & ~prediction
    true_face = region & ~truth
    without_region = float(not (hit or extra or missed))
    without_face = 1.0 if region.any() else without_region
    return MaskScores(
        iou=_share(hit, hit + extra + missed),
        f1=_share(2 * hit, 2 * hit + extra + missed),
        precision=_share(hit, hit + extra, float(not missed)),
        recall=_share(hit, hit + missed, float(not extra)),
        accuracy=_share(
            int(((prediction == truth) & region).sum()), int(region.sum()), without_region
        ),
        boundary_f1=boundary_f1,
        visible_iou=_share(
            int((predicted_face & true_face).sum()),
            int((predicted_face | true_face).sum()),
            without_face,
        ),
        true_positive=hit,
        false_positive=extra,
        false_negative=missed,
        region_pixels=int(region.sum()),
        true_share=true_share_of(truth, region),
    )


def mask_iou(prediction: np.ndarray, truth: np.ndarray, ignored: np.ndarray | None = None) -> float:
    """Compute only the IoU of ``mask_scores``, for masks that are known to be bool (H, W)."""
    either = prediction | truth
    both = prediction & truth
    if ignored is not None:
        either &= ~ignored
        both &= ~ignored
    return _share(int(both.sum()), int(either.sum()))


def true_share_of(
    truth: np.ndarray, region: np.ndarray, ignored: np.ndarray | None = None
) -> float:
    """Compute the truly occluded share of the union of region and truth.

    Args:
        truth: True occlusion, bool (H, W); it may reach beyond the region.
        region: Where an occlusion could be predicted, bool (H, W).
        ignored: Pixels that do not count, bool (H, W); None means that all count.

    Returns:
        A share in [0, 1]; 0 for an unoccluded face.
    """
    either = region | truth
    if ignored is not None:
        either &= ~ignored
    return _share(int((truth & either).sum()), int(either.sum()), 0.0)


def summarize(scores: Sequence[MaskScores], seed: int = 0) -> ScoreSummary:
    """Summarize the scores of any number of images.

    Args:
        scores: One entry for each image.
        seed: Seed of the bootstrap.
    """
    occluded = [entry for entry in scores if entry.occluded]
    unoccluded = [entry for entry in scores if not entry.occluded]
    interval = bootstrap_interval([entry.iou for entry in occluded], seed)
    hit = sum(entry.true_positive for entry in occluded)
    wrong = sum(entry.false_positive + entry.false_negative for entry in occluded)
    false_alarms = _mean([float(entry.predicted_occluded) for entry in unoccluded])
    return ScoreSummary(
        occlusion_iou=None if interval is None else interval.mean,
        occlusion_iou_low=None if interval is None else interval.low,
        occlusion_iou_high=None if interval is None else interval.high,
        f1=_mean([entry.f1 for entry in occluded]),
        precision=_mean([entry.precision for entry in occluded]),
        recall=_mean([entry.recall for entry in occluded]),
        accuracy=_mean([entry.accuracy for entry in occluded]),
        boundary_f1=_mean([entry.boundary_f1 for entry in occluded]),
        visible_iou=_mean([entry.visible_iou for entry in occluded]),
        pooled_iou=_share(hit, hit + wrong) if occluded else None,
        pooled_f1=_share(2 * hit, 2 * hit + wrong) if occluded else None,
        faces=len(occluded),
        clean_faces=len(unoccluded),
        clean_right=None if false_alarms is None else 1 - false_alarms,
        false_alarms=false_alarms,
        false_alarm_share=_mean([entry.predicted_share for entry in unoccluded]),
    )


def _boundary_f1(prediction: np.ndarray, truth: np.ndarray, counted: np.ndarray) -> float:
    is_predicted = bool((prediction & counted).any())
    is_true = bool((truth & counted).any())
    if not (is_predicted and is_true):
        return float(is_predicted == is_true)
    reach = max(1.0, BOUNDARY_TOLERANCE * math.hypot(*truth.shape))
    predicted_outline = _outline(prediction)
    true_outline = _outline(truth)
    precision = _share_near(predicted_outline, true_outline, counted, reach)
    recall = _share_near(true_outline, predicted_outline, counted, reach)
    return _share(2 * precision * recall, precision + recall, 0.0)


def _share_near(outline: np.ndarray, other: np.ndarray, counted: np.ndarray, reach: float) -> float:
    """Compute the share of an outline's counted pixels within ``reach`` of another outline."""
    distance = cv2.distanceTransform(1 - other, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    is_near = distance[(outline > 0) & counted] <= reach
    return float(is_near.mean()) if is_near.size else 1.0


def _outline(mask: np.ndarray) -> np.ndarray:
    """Mark mask pixels with a 4-neighbor outside the mask or the image: uint8 (H, W)."""
    padded = np.pad(mask, 1).astype(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return np.asarray((padded - cv2.erode(padded, cross))[1:-1, 1:-1])


def _share(part: float, whole: float, empty: float = 1.0) -> float:
    return part / whole if whole else empty


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None

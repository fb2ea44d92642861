"""Scores against a slow, obvious reference."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest

from s3pot.metrics import BOUNDARY_TOLERANCE, mask_iou, mask_scores, summarize
from s3pot.types import S3potError


def slow_counts(prediction: np.ndarray, truth: np.ndarray, region: np.ndarray) -> list[int]:
    """Loop over pixels: hits, extra, missed, right in region, visible intersection and union."""
    counts = [0] * 6
    for y in range(truth.shape[0]):
        for x in range(truth.shape[1]):
            p, t, r = bool(prediction[y, x]), bool(truth[y, x]), bool(region[y, x])
            ours, theirs = r and not p, r and not t
            wanted = (
                p and t,
                p and not t,
                t and not p,
                r and p == t,
                ours and theirs,
                ours or theirs,
            )
            counts = [count + value for count, value in zip(counts, wanted)]
    return counts


def slow_outline(mask: np.ndarray) -> list[tuple[int, int]]:
    found = []
    for y, x in np.argwhere(mask):
        near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        inside = [0 <= b < mask.shape[0] and 0 <= a < mask.shape[1] and mask[b, a] for b, a in near]
        if not all(inside):
            found.append((y, x))
    return found


def slow_boundary_f1(prediction: np.ndarray, truth: np.ndarray) -> float:
    ours, theirs = slow_outline(prediction), slow_outline(truth)
    reach = max(1.0, BOUNDARY_TOLERANCE * math.hypot(*truth.shape))

    def share(points: list[tuple[int, int]], others: list[tuple[int, int]]) -> float:
        hits = [any(math.dist(p, q) <= reach for q in others) for p in points]
        return sum(hits) / len(hits)

    if not ours:
        return 0.0
    precision, recall = share(ours, theirs), share(theirs, ours)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("seed", range(12))
def test_scores_equal_the_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(3, 26, 2))
    region, truth, prediction = (rng.random(shape) < share for share in rng.random(3))
    truth[0, 0] = True
    prediction &= region
    hit, extra, missed, right, both, either = slow_counts(prediction, truth, region)
    scores = mask_scores(prediction, truth, region)
    counts = (scores.true_positive, scores.false_positive, scores.false_negative)
    assert counts == (hit, extra, missed)
    assert scores.iou == pytest.approx(hit / (hit + extra + missed))
    assert scores.f1 == pytest.approx(2 * hit / (2 * hit + extra + missed))
    assert scores.precision == pytest.approx(hit / (hit + extra) if hit + extra else 0)
    assert scores.recall == pytest.approx(hit / (hit + missed))
    assert scores.accuracy == pytest.approx(right / region.sum() if region.any() else 0)
    assert scores.visible_iou == pytest.approx(both / either if either else region.any())
    assert scores.boundary_f1 == pytest.approx(slow_boundary_f1(prediction, truth))
    assert scores.region_pixels == region.sum()
    assert scores.true_share == pytest.approx(truth.sum() / (truth | region).sum())
    assert scores.predicted_share == pytest.approx(prediction.sum() / max(region.sum(), 1))


def test_boundary_tolerance_is_a_share_of_the_diagonal() -> None:
    truth = np.zeros((400, 400), bool)
    truth[100:300, 100:300] = True
    reach = math.floor(BOUNDARY_TOLERANCE * math.hypot(400, 400))
    assert mask_scores(np.roll(truth, reach, axis=1), truth).boundary_f1 == 1
    assert mask_scores(np.roll(truth, reach + 2, axis=1), truth).boundary_f1 < 0.7


def test_truth_outside_the_region_counts_as_missed() -> None:
    truth = np.ones((4, 4), bool)
    region = np.zeros((4, 4), bool)
    region[:2] = True
    scores = mask_scores(region, truth, region)
    assert (scores.iou, scores.recall, scores.precision) == (0.5, 0.5, 1)
    assert scores.accuracy == scores.visible_iou == 1


def test_a_face_whose_region_was_lost_is_missed_as_a_whole() -> None:
    nothing, something = np.zeros((8, 8), bool), np.eye(8, dtype=bool)
    lost = mask_scores(nothing, something, region=nothing)
    assert (lost.iou, lost.accuracy, lost.visible_iou) == (0, 0, 0)
    # Pixels that are not counted are no region.
    counted = ~np.eye(8, dtype=bool)[::-1]
    ignored = mask_scores(nothing, something, region=~counted, ignored=~counted)
    assert (ignored.iou, ignored.accuracy, ignored.visible_iou) == (0, 0, 0)
    assert summarize([lost]).visible_iou == 0


def test_without_a_face_there_is_nothing_to_miss() -> None:
    nothing = np.zeros((8, 8), bool)
    scores = mask_scores(nothing, nothing, region=nothing)
    assert (scores.iou, scores.accuracy, scores.visible_iou) == (1, 1, 1)


def test_a_face_that_is_hidden_and_found_to_be_is_right() -> None:
    everything = np.ones((8, 8), bool)
    scores = mask_scores(everything, everything)
    assert (scores.iou, scores.accuracy, scores.visible_iou) == (1, 1, 1)


def test_image_without_occlusion() -> None:
    nothing, something = np.zeros((8, 8), bool), np.eye(8, dtype=bool)
    right, wrong = mask_scores(nothing, nothing), mask_scores(something, nothing)
    assert not right.occluded
    for name in ("iou", "f1", "precision", "recall", "boundary_f1"):
        assert (getattr(right, name), getattr(wrong, name)) == (1, 0)


def test_nothing_predicted_where_something_is() -> None:
    scores = mask_scores(np.zeros((8, 8), bool), np.eye(8, dtype=bool))
    assert scores.occluded
    assert (scores.iou, scores.f1, scores.precision, scores.recall, scores.boundary_f1) == (0,) * 5


def test_shapes_are_checked() -> None:
    truth = np.zeros((4, 5))
    with pytest.raises(S3potError, match=r"\(4, 4\), \(4, 5\)"):
        mask_scores(np.zeros((4, 4)), truth)
    with pytest.raises(S3potError, match=r"ignored pixels are \(4, 4\); expected \(4, 5\)"):
        mask_scores(truth, truth, ignored=np.zeros((4, 4)))
    with pytest.raises(ValueError, match="expected the same"):  # as Python's own
        mask_scores(truth, truth, region=truth[:3])


def test_summary_means_pools_and_sets_clean_images_apart() -> None:
    one, two = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    one[:1], two[:8] = True, True
    clean = np.zeros((10, 10), bool)
    scores = [
        mask_scores(one, one),  # 10 pixels, all found
        mask_scores(one, two),  # 10 of 80 found
        mask_scores(clean, clean),
        mask_scores(one, clean),
    ]
    summary = summarize(scores)
    assert summary.occlusion_iou == pytest.approx((1 + 1 / 8) / 2)
    assert summary.pooled_iou == pytest.approx(20 / 90)
    assert summary.pooled_f1 == pytest.approx(40 / 110)
    assert (summary.faces, summary.clean_faces, summary.clean_right) == (2, 2, 0.5)
    assert (summary.false_alarms, summary.false_alarm_share) == (0.5, 0.05)
    assert summary.occlusion_iou_low == pytest.approx(1 / 8)
    assert summary.occlusion_iou_high == pytest.approx(1)


def test_summary_of_nothing_is_none_not_nan() -> None:
    values = asdict(summarize([]))
    counts = {values.pop("faces"), values.pop("clean_faces")}
    assert counts == {0} and set(values.values()) == {None}


def test_an_outline_that_does_not_count_at_all_is_right() -> None:
    """The ignored pixels hold the whole outline, but not the whole mask."""
    truth = np.zeros((20, 20), bool)
    truth[5:15, 5:15] = True
    ignored = truth.copy()
    ignored[7:13, 7:13] = False
    assert mask_scores(truth, truth, ignored=ignored).boundary_f1 == 1


def test_the_interval_is_that_of_seed_0_unless_told_otherwise() -> None:
    random = np.random.default_rng(0)
    masks = random.random((40, 2, 9, 9)) > 0.5
    scores = [mask_scores(prediction, truth) for prediction, truth in masks]
    assert summarize(scores) == summarize(scores, seed=0) != summarize(scores, seed=1)


@pytest.mark.parametrize("seed", range(4))
def test_iou_alone_equals_that_of_all_scores(seed: int) -> None:
    random = np.random.default_rng(seed)
    prediction, truth, ignored = random.random((3, 20, 30)) < 0.2 * seed
    assert mask_iou(prediction, truth) == mask_scores(prediction, truth).iou
    with_ignored = mask_scores(prediction, truth, ignored=ignored).iou
    assert mask_iou(prediction, truth, ignored) == with_ignored

"""Several detections of one face: only that of the highest score is kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from s3pot.rg.detect import Face

MAX_OVERLAP = 0.4  # IoU of two detections above which the one with the lower score is a duplicate
SAME_FACE = 0.15  # of its box: mean landmark distance of detections of one face


def without_overlapping(faces: Sequence[Face]) -> list[Face]:
    """Apply non-maximum suppression to boxes.

    Returns:
        The detections that are kept, by descending score.
    """
    by_score = sorted(faces, key=lambda face: -face.score)
    boxes = np.array([face.box for face in by_score]).reshape(-1, 4)
    kept: list[Face] = []
    remaining = np.arange(len(by_score))
    while len(remaining):
        best, remaining = remaining[0], remaining[1:]
        kept.append(by_score[best])
        remaining = remaining[_overlaps(boxes[best], boxes[remaining]) <= MAX_OVERLAP]
    return kept


def without_coinciding(faces: Sequence[Face]) -> list[Face]:
    """Drop faces whose landmarks coincide with those of a higher score, keeping the order."""
    landmarks = np.array([face.landmarks for face in faces])
    reach = np.array([SAME_FACE * max(face.box[2:]) for face in faces])
    remaining = np.argsort([-face.score for face in faces], kind="stable")
    kept: list[int] = []
    while len(remaining):
        best, remaining = remaining[0], remaining[1:]
        kept.append(int(best))
        distances = np.linalg.norm(landmarks[remaining] - landmarks[best], axis=2).mean(axis=1)
        remaining = remaining[distances > reach[remaining]]
    return [faces[index] for index in sorted(kept)]


def _overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Compute the IoU of a box, (4,), with each of others, (N, 4): (N,); 0 if both are empty."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    union = box[2] * box[3] + others[:, 2] * others[:, 3] - shared
    return np.asarray(shared / np.where(union > 0, union, 1))

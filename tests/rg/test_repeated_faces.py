"""Detections of one face: compared with a comparison of all pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from s3pot.rg.detect import Face
from s3pot.rg.repeated_faces import (
    MAX_OVERLAP,
    SAME_FACE,
    without_coinciding,
    without_overlapping,
)


def test_repeats_are_dropped_surest_kept() -> None:
    points = np.zeros((5, 2))
    first = Face((10.0, 10.0, 20.0, 20.0), 0.6, points)
    again = Face((12.0, 10.0, 20.0, 20.0), 0.9, points)
    other = Face((60.0, 10.0, 20.0, 20.0), 0.7, points)
    assert without_overlapping([first, again, other]) == [again, other]


def test_finds_that_come_together_when_looked_at_are_one_face() -> None:
    points = np.array([[40.0, 40], [60, 40], [50, 52], [43, 63], [57, 63]])
    large = Face((20.0, 20.0, 60.0, 60.0), 0.7, points + 2)
    sure = Face((30.0, 30.0, 40.0, 40.0), 0.9, points)
    other = Face((70.0, 30.0, 30.0, 30.0), 0.6, points + [30, 0])
    assert without_coinciding([large, sure, other]) == [sure, other]
    assert without_coinciding([other, sure]) == [other, sure]
    assert without_coinciding([]) == []


def random_faces(count: int, seed: int) -> list[Face]:
    """Boxes and landmarks that partly coincide; some scores are equal, and some boxes empty."""
    random = np.random.default_rng(seed)
    centers = random.uniform(0, 200, (12, 2))[random.integers(0, 12, count)]
    centers += random.normal(0, 3, (count, 2))
    sides = random.choice([0.0, 20.0, 45.0], (count, 2))
    scores = random.choice([0.2, 0.5, 0.9], count) + random.choice([0, 0.01], count)
    points = centers[:, None] + random.normal(0, 2, (count, 5, 2))
    return [
        Face((*(center - side / 2), *side), float(score), landmarks)
        for center, side, score, landmarks in zip(centers, sides, scores, points)
    ]


def slow_overlap(face: Face, other: Face) -> float:
    """IoU of two boxes; 0 if both are empty."""
    (left, top, width, height), (left2, top2, width2, height2) = face.box, other.box
    across = max(0.0, min(left + width, left2 + width2) - max(left, left2))
    down = max(0.0, min(top + height, top2 + height2) - max(top, top2))
    union = width * height + width2 * height2 - across * down
    return across * down / union if union else 0.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(6))
def test_repeats_and_doubles_are_those_of_a_comparison_of_all_pairs(seed: int) -> None:
    faces = random_faces(60, seed)
    by_score = sorted(faces, key=lambda face: -face.score)
    apart: list[Face] = []
    elsewhere: list[Face] = []
    for face in by_score:
        if all(slow_overlap(face, other) <= MAX_OVERLAP for other in apart):
            apart.append(face)
        distances = [
            float(np.mean([math.dist(a, b) for a, b in zip(face.landmarks, other.landmarks)]))
            for other in elsewhere
        ]
        if all(distance > SAME_FACE * max(face.box[2:]) for distance in distances):
            elsewhere.append(face)
    assert [id(face) for face in without_overlapping(faces)] == [id(face) for face in apart]
    kept = [id(face) for face in faces if any(face is other for other in elsewhere)]
    assert [id(face) for face in without_coinciding(faces)] == kept
    assert 5 < len(apart) < 60 and 5 < len(kept) < 60

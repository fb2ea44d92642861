"""The class tables are consistent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from s3pot.labels import (
    BISENET_TO_12,
    CELEBAMASKHQ_TO_12,
    CLASSES,
    COLORS,
    NATIVE_12,
    NOT_REGION,
    NUM_CLASSES,
    OCCLUSION_CLASS,
    REGION_CLASSES,
    region_of,
    resize_labels,
)

# The classes of the two parsers in their own order, with the names of this project.
BISENET = (
    "background skin eyebrows eyebrows eyes eyes eye_glass ears ears ear_rings nose mouth lip lip "
    "belowface background background hair background"
).split()
CELEBAMASKHQ = (
    "background skin nose eye_glass eyes eyes eyebrows eyebrows ears ears mouth lip lip hair "
    "background ear_rings background belowface background"
).split()


@pytest.mark.parametrize(
    ("table", "names"), [(BISENET_TO_12, BISENET), (CELEBAMASKHQ_TO_12, CELEBAMASKHQ)]
)
def test_parser_classes_become_ours_by_name(table: tuple[int, ...], names: list[str]) -> None:
    assert [CLASSES[c] for c in table] == names
    assert set(table) == set(range(NUM_CLASSES))


def test_counts() -> None:
    assert NUM_CLASSES == OCCLUSION_CLASS == len(NATIVE_12) == 12
    assert len(set(CLASSES)) == 12
    assert len({tuple(color) for color in COLORS}) == len(COLORS) == 13


def test_region_is_the_face_without_hair_ears_and_neck() -> None:
    names = {CLASSES[c] for c in REGION_CLASSES}
    assert names == {"lip", "eyebrows", "eyes", "nose", "skin", "mouth", "eye_glass"}
    assert names.isdisjoint(NOT_REGION)
    assert names | set(NOT_REGION) == set(CLASSES)


def test_region_of_equals_a_loop() -> None:
    labels = np.random.default_rng(0).integers(0, 13, (2, 5, 7)).astype(np.uint8)
    expected = [[[v in REGION_CLASSES for v in row] for row in image] for image in labels]
    region = region_of(labels)
    assert region.dtype == np.bool_
    assert region.tolist() == expected


@pytest.mark.parametrize(
    ("size", "target"), [((5, 7), (5, 7)), ((5, 7), (16, 9)), ((32, 32), (13, 80))]
)
def test_resize_labels_is_torch_nearest_exact(
    size: tuple[int, int], target: tuple[int, int]
) -> None:
    labels = np.random.default_rng(0).integers(0, 12, size).astype(np.uint8)
    grid = torch.from_numpy(labels)[None, None].float()
    wanted = F.interpolate(grid, size=target, mode="nearest-exact")[0, 0].byte().numpy()
    assert (resize_labels(labels, target) == wanted).all()

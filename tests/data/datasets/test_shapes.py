"""Masks as run lengths, edge polygons and LabelMe shapes: each reproduces the mask exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from s3pot.data.datasets import run_lengths
from s3pot.data.datasets.coco import instance_mask
from s3pot.data.datasets.coco_writer import coco_instances
from s3pot.data.datasets.edge_polygons import edge_polygons
from s3pot.data.datasets.item import DatasetError, ItemLabels
from s3pot.data.labelme import read_labelme
from s3pot.data.labelme_writer import write_labelme

sides = st.integers(1, 12)
masks = st.tuples(sides, sides).flatmap(lambda size: arrays(np.bool_, size))


def coco_mask(mask: np.ndarray) -> dict[str, Any]:  # type: ignore[no-untyped-def]
    tools = pytest.importorskip("pycocotools.mask")
    return tools.encode(np.asfortranarray(mask.astype(np.uint8)))


def slow_runs(mask: np.ndarray) -> list[int]:
    runs = [0]
    inside = False
    for x in range(mask.shape[1]):
        for y in range(mask.shape[0]):
            if bool(mask[y, x]) != inside:
                runs.append(0)
                inside = not inside
            runs[-1] += 1
    return runs


@pytest.mark.slow
@given(masks)
@settings(max_examples=80, deadline=None)
def test_run_lengths_are_those_of_pycocotools(mask: np.ndarray) -> None:
    runs = run_lengths.encode(mask)
    assert runs == slow_runs(mask)
    text = run_lengths.to_text(runs)
    assert text == coco_mask(mask)["counts"].decode("ascii")
    assert run_lengths.from_text(text) == runs
    np.testing.assert_array_equal(run_lengths.decode(runs, mask.shape), mask)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_long_runs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.repeat(rng.random((700, 20)) < 0.5, 40, axis=1)
    text = run_lengths.to_text(run_lengths.encode(mask))
    assert text == coco_mask(mask)["counts"].decode("ascii")
    np.testing.assert_array_equal(run_lengths.decode(run_lengths.from_text(text), mask.shape), mask)


@given(st.text(alphabet="019PQXo\x00\u00e9~", max_size=10))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        mask = run_lengths.decode(run_lengths.from_text(text), (4, 4))
    except ValueError:
        return
    assert mask.shape == (4, 4)


@pytest.mark.parametrize("counts", [[1, 2], [100], [], [-3, 19], [1 << 70], [17]])
def test_runs_that_do_not_fill_the_mask_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="expected 16 pixels"):
        run_lengths.decode(counts, (4, 4))


@pytest.mark.slow
@given(masks)
@settings(max_examples=80, deadline=None)
def test_polygons_along_edges_are_drawn_by_coco_as_the_mask(mask: np.ndarray) -> None:
    polygons = edge_polygons(mask)
    assert (polygons is None) == has_hole(mask)
    if polygons:
        instance = {"id": 1, "segmentation": [polygon.ravel().tolist() for polygon in polygons]}
        np.testing.assert_array_equal(instance_mask(instance, mask.shape, "x.json"), mask)


def has_hole(mask: np.ndarray) -> bool:
    """Whether a 4-connected piece encloses pixels, even against diagonal steps."""
    import cv2

    count, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    for piece in range(1, count):
        outside = np.pad((pieces != piece).astype(np.uint8), 1, constant_values=1)
        if cv2.connectedComponents(outside, connectivity=8)[0] > 2:
            return True
    return False


@pytest.mark.slow
@given(masks, st.booleans())
@settings(max_examples=50, deadline=None)
def test_instances_come_back(mask: np.ndarray, as_polygons: bool) -> None:
    instances = coco_instances(ItemLabels(occlusion=mask, ignored=~mask), as_polygons)
    back = np.zeros((3, *mask.shape), bool)
    for instance in instances:
        area = instance_mask({"id": 1, **instance}, mask.shape, "x.json")
        back[instance["category_id"] - 1] = area
        left, top, width, height = instance["bbox"]
        assert area[top : top + height, left : left + width].sum() == instance["area"] == area.sum()
    np.testing.assert_array_equal(back[0], mask)
    np.testing.assert_array_equal(back[2], ~mask)


@pytest.mark.slow
@given(masks, masks)
@settings(max_examples=60, deadline=None)
def test_labelme_shapes_come_back(
    tmp_path_factory: pytest.TempPathFactory, first: np.ndarray, second: np.ndarray
) -> None:
    path = tmp_path_factory.getbasetemp() / "shapes.json"
    write_labelme(path, "a.png", first.shape, {"hand": first})
    np.testing.assert_array_equal(read_labelme(path, first.shape), first)
    other = np.resize(second, first.shape)
    write_labelme(path, "a.png", first.shape, {"hand": first, "face": other})
    np.testing.assert_array_equal(read_labelme(path, first.shape), first)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "neither a list of polygons nor run lengths"),
        ([], "neither a list of polygons nor run lengths"),
        ([[1, 2, 3, 4]], "4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "7 numbers"),
        ([[1, 2, 3, 4, 5, "x"]], "could not convert"),
        ([[1, 2, 3, 4, 5, float("nan")]], "farther than"),
        ([[0, 0, 1e300, 0, 0, 1e300]], "farther than"),
        ([[0, 0, 15, 15] * 200], "longer than its image"),
        ({"size": [8, 8], "counts": [65]}, "expected 64 pixels"),
        ({"size": [8, 9], "counts": [72]}, r"size is \[8, 9\]"),
        ({"size": [8, 8], "counts": [64.0]}, "neither whole numbers"),
        ({"size": [8, 8], "counts": "oooooooo"}, "within a number"),
        ({"size": [8, 8], "counts": "\x00"}, "does not belong in run lengths"),
        ({"size": [8, 8]}, "neither whole numbers"),
    ],
)
def test_a_damaged_segmentation_is_named(segmentation: object, message: str) -> None:
    instance = {"id": 7, "segmentation": segmentation}
    with pytest.raises(DatasetError, match=f"x.json: the segmentation of annotation 7.*{message}"):
        instance_mask(instance, (8, 8), "x.json")

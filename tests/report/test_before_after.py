from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3pot.data.truth import FaceTruth
from s3pot.io import write_csv
from s3pot.report.before_after import ADAPTERS_TABLE, AdapterResult, read_adapters, result_of, table
from s3pot.types import Masks


def masks(occluded: int) -> Masks:
    """A region of 10 pixels, the first of which are occluded."""
    occlusion = np.zeros((2, 8), bool)
    occlusion.flat[:occluded] = True
    region = np.zeros((2, 8), bool)
    region.flat[:10] = True
    return Masks(occlusion=occlusion, face=region & ~occlusion, parsing=np.zeros((2, 8), np.uint8))


def test_share_is_of_the_region_and_iou_of_the_truth() -> None:
    truth = np.zeros((2, 8), bool)
    truth.flat[1:5] = True
    result = result_of("fresh", -0.5, masks(3), FaceTruth(truth, np.ones_like(truth)))
    assert result == AdapterResult("fresh", -0.5, 0.3, pytest.approx(2 / 5))
    assert result_of("fresh", -0.5, masks(3), None).occlusion_iou is None
    assert AdapterResult.from_dict(result.to_dict()) == result


def test_results_are_read_from_their_table(tmp_path: Path) -> None:
    results = [AdapterResult("fresh", -0.5, 0.25, 0.0), AdapterResult("fitted", -0.75, 0.5, None)]
    path = tmp_path / ADAPTERS_TABLE
    assert read_adapters(path) == {}
    write_csv(path, [{"name": "a", **result.to_dict()} for result in results])
    assert read_adapters(path) == {"a": results}


def test_a_line_an_adapter_with_means_over_the_faces() -> None:
    results = [
        AdapterResult("fitted", -0.75, 0.25, 0.5),
        AdapterResult("fresh", -0.25, 0.5, 0.25),
        AdapterResult("fitted", -0.25, 0.75, None),
    ]
    assert table(results).splitlines()[2:] == [
        "| fresh | 1 | -0.2500 | 50.0% | 0.250 |",
        "| fitted | 2 | -0.5000 | 50.0% | 0.500 |",
    ]


def test_without_a_truth_there_is_no_score() -> None:
    assert table([AdapterResult("fresh", 0.0, 0.5, None)]).endswith("| 50.0% | - |")

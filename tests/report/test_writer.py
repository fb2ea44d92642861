"""The files written for a segmented face, and its row of the summary."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from s3pot.data.image import read_rgb
from s3pot.data.truth import FaceTruth
from s3pot.geometry import Alignment
from s3pot.io import write_csv
from s3pot.labels import REGION_CLASSES
from s3pot.pipeline import split_region
from s3pot.report.writer import ResultOptions, ResultRow, result_row, write_result, write_summary
from s3pot.types import AlignedFace, Prediction, Prompts, SegmentedFace
from tests.builders import read_csv


def test_every_column_of_the_summary_is_documented() -> None:
    usage = (Path(__file__).parents[2] / "docs" / "USAGE.md").read_text(encoding="utf-8")
    table = usage.split("The columns of `summary.csv`")[1].split("\n**Written by")[0]
    documented = re.findall(r"`([a-z0-9_]+)`", table)
    for column in dataclasses.fields(ResultRow):
        ending = column.name.replace("occluded_share", "", 1)
        assert column.name in documented or ending in documented, column.name


def prompts_of(points: int = 6, size: int = 32) -> Prompts:
    generator = torch.Generator().manual_seed(0)
    return Prompts(
        name="face_00",
        image_embedding=torch.zeros(8, 4, 4),
        points_sam=torch.randint(0, size, (points, 2), generator=generator).float(),
        point_labels=torch.tensor([1] * (points - points // 3) + [0] * (points // 3)),
        similarity=torch.zeros(4, 4),
        first_point_sam=torch.tensor([5.0, 5.0]),
        region_sam=torch.ones(size, size, dtype=torch.bool),
    )


def prediction_of(points: int = 6, size: int = 32) -> Prediction:
    logits = torch.randn(size, size, generator=torch.Generator().manual_seed(1))
    return Prediction(logits, torch.full((points + 1, points + 1), 1 / (points + 1)))


def aligned_face(parsing_class: int = 6) -> AlignedFace:
    random = np.random.default_rng(0)
    image, reference = random.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    parsing = np.zeros((64, 64), np.uint8)
    parsing[8:56, 12:52] = parsing_class
    return AlignedFace("face_00", image, parsing, reference)


def result_of(
    points: int = 6, parsing_class: int = 6, with_prediction: bool = True
) -> SegmentedFace:
    face = aligned_face(parsing_class)
    prediction = prediction_of(points) if with_prediction else None
    masks = split_region(prediction, face.parsing, (64, 64))
    return SegmentedFace(face, prompts_of(points), prediction, masks)


def as_truth(occlusion: np.ndarray, ignored: np.ndarray | None = None) -> FaceTruth:
    return FaceTruth(occlusion, np.ones_like(occlusion), ignored)


def row_of(result: SegmentedFace, truth: FaceTruth | None = None) -> dict[str, Any]:
    row = result_row(
        result,
        truth,
        quality="ok",
        seconds_prompts=0.51234567,
        seconds_segment=0.25,
        sha256_sam="aa",
        sha256_adapter="bb",
    )
    return row.to_dict()


@pytest.fixture
def truth() -> np.ndarray:
    truth = np.zeros((64, 64), bool)
    truth[20:30, 5:40] = True
    return truth


def test_masks_as_files(tmp_path: Path) -> None:
    result = result_of()
    files = write_result(tmp_path, result, None, None, ResultOptions())
    endings = ("parsing.npy", "occlusion.png", "face.png")
    assert sorted(files) == sorted(tmp_path / f"face_00_{ending}" for ending in endings)
    assert sorted(files) == sorted(tmp_path.iterdir())
    occlusion = read_rgb(tmp_path / "face_00_occlusion.png")[..., 0]
    visible = read_rgb(tmp_path / "face_00_face.png")[..., 0]
    parsing = np.load(tmp_path / "face_00_parsing.npy")
    region = np.isin(result.face.parsing, REGION_CLASSES)
    assert set(np.unique(occlusion)) == {0, 255}
    assert ((occlusion > 0) ^ (visible > 0) == region).all()
    assert not ((occlusion > 0) & (visible > 0)).any()
    assert ((parsing == 12) == (occlusion > 0)).all()


def test_row(truth: np.ndarray) -> None:
    result = result_of()
    row = row_of(result, as_truth(truth))
    region = np.isin(result.face.parsing, REGION_CLASSES)
    occlusion = result.masks.occlusion
    assert row["name"] == "face_00"
    assert row["occluded"] == "yes"
    assert row["region_pixels"] == region.sum()
    assert row["occluded_share"] == pytest.approx(occlusion.sum() / region.sum(), abs=1e-6)
    assert (row["positive_points"], row["negative_points"]) == (4, 2)
    assert (row["seconds_prompts"], row["seconds_segment"]) == (0.5123, 0.25)
    assert (row["sha256_sam"], row["sha256_adapter"]) == ("aa", "bb")
    iou = (occlusion & truth).sum() / (occlusion | truth).sum()
    assert row["occlusion_iou"] == pytest.approx(iou)
    assert row["true_share"] == pytest.approx(truth.sum() / (truth | region).sum(), abs=1e-6)
    assert row["quality"] == "ok"
    assert row["occluded_share_skin"] == row["occluded_share"]  # the face consists of skin only
    assert row["occluded_share_eyes"] is row["occluded_share_glasses"] is None
    assert json.loads(json.dumps(row)) == row


def test_ignored_pixels_do_not_count_in_a_row(truth: np.ndarray) -> None:
    result = result_of()
    occlusion = result.masks.occlusion
    row = row_of(result, as_truth(truth, ignored=occlusion ^ truth))
    assert row["occlusion_iou"] == 1
    nothing_left = row_of(result, as_truth(truth, ignored=np.ones_like(truth)))
    assert nothing_left["true_share"] == 0


def test_row_of_a_bare_face_and_without_truth() -> None:
    bare = row_of(result_of(), as_truth(np.zeros((64, 64), bool)))
    assert bare["true_share"] == 0
    assert bare["occlusion_iou"] == 0  # something was marked
    unknown = row_of(result_of())
    assert unknown["true_share"] is None
    assert unknown["occlusion_iou"] is None


def test_no_region_and_no_points_give_an_empty_result(tmp_path: Path) -> None:
    result = result_of(points=0, parsing_class=0, with_prediction=False)
    files = write_result(tmp_path, result, None, None, ResultOptions(save_vis=True))
    row = row_of(result)
    assert (row["occluded"], row["occluded_share"], row["region_pixels"]) == ("no", 0.0, 0)
    assert not read_rgb(tmp_path / "face_00_occlusion.png").any()
    assert tmp_path / "face_00_attention.png" not in files
    write_summary(tmp_path, [row], gallery=True)
    assert (tmp_path / "index.html").is_file()


def test_pictures(tmp_path: Path, truth: np.ndarray) -> None:
    result = result_of()
    files = write_result(tmp_path, result, as_truth(truth), None, ResultOptions(save_vis=True))
    assert sorted(files) == sorted(tmp_path.iterdir())
    assert read_rgb(tmp_path / "face_00_overlay.png").shape == (64, 64, 3)
    assert read_rgb(tmp_path / "face_00_pair.png").shape == (64, 132, 3)
    for kind in ("points", "attention", "classes"):
        assert read_rgb(tmp_path / f"face_00_{kind}.png").any()
    write_summary(tmp_path, [row_of(result, as_truth(truth))], gallery=True)
    page = (tmp_path / "index.html").read_text()
    shown = ("raw", "reference", "classes", "points", "attention", "overlay", "truth", "error")
    for kind in shown:
        assert f'src="face_00_{kind}.png"' in page
    assert "occlusion IoU" in page


def test_masks_go_back_to_the_photo(tmp_path: Path) -> None:
    quad = ((19.5, 9.5), (19.5, 73.5), (83.5, 73.5), (83.5, 9.5))
    alignment = Alignment(quad, (64, 64), (100, 120))
    files = write_result(tmp_path, result_of(), None, alignment, ResultOptions())
    assert tmp_path / "face_00_face_photo.png" in files
    working = read_rgb(tmp_path / "face_00_occlusion.png")[..., 0]
    photo = read_rgb(tmp_path / "face_00_occlusion_photo.png")[..., 0]
    assert photo.shape == (100, 120)
    assert (photo[10:74, 20:84] == working).all()
    assert photo.sum() == working.sum()


def test_summary_files(tmp_path: Path) -> None:
    rows = [{"name": "a,b", "x": None}, {"name": "ü", "x": 0.5, "y": 1}]
    write_csv(tmp_path / "t.csv", rows)
    assert read_csv(tmp_path / "t.csv") == [
        {"name": "a,b", "x": "", "y": ""},
        {"name": "ü", "x": "0.5", "y": "1"},
    ]
    rows = [{"name": "a", "x": None}]
    write_summary(tmp_path, rows, gallery=False)
    assert json.loads((tmp_path / "summary.json").read_text()) == rows
    assert not (tmp_path / "index.html").exists()


def test_logits_at_the_size_of_the_image(tmp_path: Path) -> None:
    result = result_of()
    files = write_result(tmp_path, result, None, None, ResultOptions(save_logits=True))
    assert tmp_path / "face_00_logits.npy" in files
    logits = np.load(tmp_path / "face_00_logits.npy")
    assert logits.dtype == np.float16 and logits.shape == (64, 64)
    region = np.isin(result.face.parsing, REGION_CLASSES)
    np.testing.assert_array_equal(region & ~(logits > 0), result.masks.occlusion)
    empty = result_of(points=0, with_prediction=False)
    files = write_result(tmp_path / "b", empty, None, None, ResultOptions(save_logits=True))
    assert not any("logits" in path.name for path in files)

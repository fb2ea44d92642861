"""Masks from logits, and what is written for a face."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from s3pot.data.face_folder import find_faces
from s3pot.data.image import read_rgb, write_png
from s3pot.geometry import Alignment
from s3pot.io import write_csv, write_json, write_npy
from s3pot.labels import REGION_CLASSES
from s3pot.report.writer import ResultOptions, record_path, write_result, write_summary
from s3pot.runs.folder_run import read_finished
from s3pot.types import Prediction, Prompts, S3potError

MADE_BY = {"models": "these"}


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


@pytest.fixture
def face(processed_folder):
    return find_faces(processed_folder(1))[0]


def write(out, face, prediction=None, prompts=None, **options):
    return write_result(
        out,
        face,
        prompts or prompts_of(),
        prediction,
        ResultOptions(**options),
        MADE_BY,
        {"seconds_segment": 0.25, "sha256_sam": "aa"},
    )


def test_files_row_and_record(tmp_path, face):
    row = write(tmp_path, face, prediction_of())
    occlusion = read_rgb(tmp_path / "face_00_occlusion.png")[..., 0]
    visible = read_rgb(tmp_path / "face_00_face.png")[..., 0]
    parsing = np.load(tmp_path / "face_00_parsing.npy")
    region = np.isin(np.load(face.parsing), REGION_CLASSES)
    assert set(np.unique(occlusion)) <= {0, 255}
    assert ((occlusion > 0) ^ (visible > 0) == region).all() and (
        (parsing == 12) == (occlusion > 0)
    ).all()
    assert row["occluded"] == "yes" and row["region_pixels"] == region.sum()
    assert row["occluded_share"] == pytest.approx((occlusion > 0).sum() / region.sum(), abs=1e-6)
    assert (row["positive_points"], row["negative_points"]) == (4, 2)
    assert (row["seconds_segment"], row["sha256_sam"]) == (0.25, "aa")
    assert 0 <= row["occlusion_iou"] <= 1
    truth = read_rgb(face.occlusion_truth)[..., 0] > 0
    assert row["true_share"] == pytest.approx(truth.sum() / (truth | region).sum(), abs=1e-6)
    assert read_finished(record_path(tmp_path, "face_00"), MADE_BY)["row"] == row
    assert read_finished(record_path(tmp_path, "face_00"), {"models": "others"}) is None
    (tmp_path / "face_00_face.png").write_bytes(b"")
    assert read_finished(record_path(tmp_path, "face_00"), MADE_BY) is None


def test_no_region_and_no_points_give_an_empty_result(tmp_path, face):
    write_npy(face.parsing, np.zeros((64, 64), np.uint8))
    row = write(tmp_path, face, None, prompts_of(0), save_vis=True)
    assert (row["occluded"], row["occluded_share"], row["region_pixels"]) == ("no", 0.0, 0)
    assert not read_rgb(tmp_path / "face_00_occlusion.png").any()
    write_summary(tmp_path, [row], gallery=True)


def test_pictures(tmp_path, face):
    row = write(tmp_path, face, prediction_of(), save_vis=True)
    assert read_rgb(tmp_path / "face_00_overlay.png").shape == (64, 64, 3)
    assert read_rgb(tmp_path / "face_00_pair.png").shape == (64, 132, 3)
    for kind in ("points", "attention", "classes"):
        assert read_rgb(tmp_path / f"face_00_{kind}.png").any()
    write_summary(tmp_path, [row], gallery=True)
    page = (tmp_path / "index.html").read_text()
    shown = ("raw", "reference", "classes", "points", "attention", "overlay", "truth", "error")
    for kind in shown:
        assert f'src="face_00_{kind}.png"' in page
    assert "occlusion IoU" in page


def test_true_share_of_a_bare_face_is_zero_and_unknown_without_truth(tmp_path, face):
    write_png(face.occlusion_truth, np.zeros((64, 64), bool))
    assert write(tmp_path, face, prediction_of())["true_share"] == 0
    assert write(tmp_path, replace(face, occlusion_truth=None))["true_share"] is None


def test_masks_go_back_to_the_photo(tmp_path, face):
    quad = ((19.5, 9.5), (19.5, 73.5), (83.5, 73.5), (83.5, 9.5))
    align = face.raw.with_name("face_00_align.json")
    write_json(align, asdict(Alignment(quad, (64, 64), (100, 120))))
    write(tmp_path, replace(face, align=align), prediction_of(), to_photo=True)
    working = read_rgb(tmp_path / "face_00_occlusion.png")[..., 0]
    photo = read_rgb(tmp_path / "face_00_occlusion_photo.png")[..., 0]
    assert photo.shape == (100, 120)
    assert (photo[10:74, 20:84] == working).all()
    assert photo.sum() == working.sum()
    with pytest.raises(S3potError, match="leave out --to_photo"):
        write(tmp_path, replace(face, align=None), prediction_of(), to_photo=True)
    align.write_text("{")
    with pytest.raises(S3potError, match="align.json"):
        write(tmp_path, replace(face, align=align), prediction_of(), to_photo=True)


def test_summary_files(tmp_path):
    rows = [{"name": "a,b", "x": None}, {"name": "ü", "x": 0.5, "y": 1}]
    write_csv(tmp_path / "t.csv", rows)
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"name": "a,b", "x": "", "y": ""},
            {"name": "ü", "x": "0.5", "y": "1"},
        ]
    rows = [{"name": "a", "x": None}]
    write_summary(tmp_path, rows, gallery=False)
    assert json.loads((tmp_path / "summary.json").read_text()) == rows
    assert not (tmp_path / "index.html").exists()

"""The data behind the figures of result folders: the precision-recall curve's faces and rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s3pot.config import load_config, save_config
from s3pot.data.face_folder import find_faces
from s3pot.data.truth import require_truth
from s3pot.io import write_npy
from s3pot.labels import CLASSES
from s3pot.report.compare import ResultFolder, read_result_folder
from s3pot.report.figures import LogitFace, precision_recall
from s3pot.report.summary import Summary, write_summary_files
from s3pot.runs.figures import read_logits
from s3pot.types import S3potError

SIDE = 64
POINTS = {"positive_points": 3, "negative_points": 1}
NO_POINTS = {"positive_points": 0, "negative_points": 0}


def write_run(
    folder: Path, points: Mapping[str, Mapping[str, int]], *overrides: str, logits: str = ""
) -> ResultFolder:
    """Write a result folder of some faces; those named in ``logits`` have logits."""
    rows: list[dict[str, Any]] = [
        {"name": name, "occluded": "no", "occluded_share": 0.0, **counts}
        for name, counts in points.items()
    ]
    write_summary_files(folder, Summary(rows, ()))
    save_config(load_config(None, overrides), folder, "inference")
    for name in logits.split():
        random = np.random.default_rng(0).normal(0, 4, (SIDE, SIDE))
        write_npy(folder / f"{name}_logits.npy", random.astype(np.float16))
    return read_result_folder(folder)


@pytest.fixture
def data(processed_folder: Callable[..., Path]) -> Path:
    return processed_folder(3, size=SIDE)


def faces_of(run: ResultFolder, data: Path) -> list[LogitFace]:
    return list(read_logits(run, data))


@pytest.mark.parametrize("rule", ["keep", "occlusion", "ignore"])
def test_the_truth_follows_the_rules_of_the_run(tmp_path: Path, data: Path, rule: str) -> None:
    parsing = np.full((SIDE, SIDE), CLASSES.index("skin"), np.uint8)
    parsing[20:28] = CLASSES.index("eye_glass")
    write_npy(data / "face_00_parsing_mask.npy", parsing)
    run = write_run(
        tmp_path / "out", {"face_00": POINTS}, f"truth.glasses={rule}", logits="face_00"
    )
    (face,) = faces_of(run, data)
    plain = require_truth(find_faces(data)[0])
    glasses = parsing == CLASSES.index("eye_glass")
    assert plain.region.all() and not (plain.occlusion & glasses).all()
    expected = {
        "keep": (plain.occlusion, plain.region),
        "occlusion": (plain.occlusion | glasses, plain.region),
        "ignore": (plain.occlusion & ~glasses, plain.region & ~glasses),
    }
    np.testing.assert_array_equal(face.truth, expected[rule][0])
    np.testing.assert_array_equal(face.region, expected[rule][1])


def test_settings_of_other_versions_do_not_matter(tmp_path: Path, data: Path) -> None:
    write_run(tmp_path / "out", {"face_00": POINTS}, logits="face_00")
    config = tmp_path / "out" / "config.yaml"
    config.write_text("truth: {glasses: ignore}\nold_section: {old_key: 1}\n")
    assert len(faces_of(read_result_folder(tmp_path / "out"), data)) == 1
    config.write_text("truth: {glasses: oops}\n")
    with pytest.raises(S3potError, match=r"truth.glasses .*oops.*config\.yaml"):
        faces_of(read_result_folder(tmp_path / "out"), data)
    config.unlink()
    assert len(faces_of(read_result_folder(tmp_path / "out"), data)) == 1


def test_what_a_face_without_prompt_points_misses_counts(tmp_path: Path, data: Path) -> None:
    points = {"face_00": POINTS, "face_01": NO_POINTS}
    run = write_run(tmp_path / "out", points, logits="face_00")
    first, second = faces_of(run, data)
    truths = [require_truth(files).occlusion for files in find_faces(data)[:2]]
    assert not second.region.any() and truths[1].any()
    np.testing.assert_array_equal(second.truth, truths[1])
    found = int((first.truth & first.region & (first.logits < 0)).sum())
    curve = precision_recall([first, second])
    total = sum(int(truth.sum()) for truth in truths)
    assert curve.at(0.0)[0] == pytest.approx(found / total, abs=0.02)
    assert curve.recall[-1] == pytest.approx((truths[0] & first.region).sum() / total)


def test_old_logits_of_a_face_that_has_no_points_now_are_not_read(
    tmp_path: Path, data: Path
) -> None:
    points = {"face_00": POINTS, "face_01": NO_POINTS}
    run = write_run(tmp_path / "out", points, logits="face_00 face_01")
    assert not faces_of(run, data)[1].region.any()


def test_faces_whose_logits_are_missing_are_named(
    tmp_path: Path, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    points = {"face_00": POINTS, "face_01": POINTS}
    run = write_run(tmp_path / "out", points, logits="face_00 face_02")  # face_02 failed later
    assert len(faces_of(run, data)) == 1
    assert "leaves out 1 face without logits: face_01." in caplog.text
    assert "face_02" not in caplog.text


def test_a_run_without_logits_has_no_curve(tmp_path: Path, data: Path) -> None:
    run = write_run(tmp_path / "out", {"face_00": POINTS, "face_01": NO_POINTS})
    with pytest.raises(S3potError, match="run inference.py --save_logits"):
        faces_of(run, data)

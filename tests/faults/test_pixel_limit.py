"""``run.max_megapixels`` holds for every image that a command reads, not only for photos."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import yaml

import evaluate
import inference
import train_general
import train_per_image
from s3pot import segmentation
from s3pot.data import masks
from s3pot.data.image import MAX_PIXELS, write_png
from s3pot.data.masks import read_mask_of_size
from s3pot.data.photo_search import find_photos
from s3pot.report.compare import ResultFolder
from s3pot.segmentation import PhotoMasks
from s3pot.types import S3potError

SIDE = 1050  # 1.1 million pixels
TOO_LARGE = "run.max_megapixels=1"
LARGE_ENOUGH = "run.max_megapixels=1.2"
ADVICE = "set run.max_megapixels=2 if you trust it"


@pytest.fixture
def data(processed_folder: Callable[..., Path]) -> Path:
    return processed_folder(2, size=SIDE)


@pytest.mark.slow
def test_inference_and_scores(
    tmp_path: Path, data: Path, mini_options: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    folders = ["--datapath", str(data), "--output_dir", str(tmp_path / "out"), *mini_options]
    assert inference.main([*folders, TOO_LARGE]) == 2
    assert f"failed: face_01: {data / 'face_01.png'} has 1050 x 1050 pixels" in caplog.text
    assert ADVICE in caplog.text
    assert not list((tmp_path / "out").glob("*.png"))
    assert inference.main([*folders, LARGE_ENOUGH]) == 0
    scored = ["--datapath", str(data), "--results", str(tmp_path / "out")]
    caplog.clear()
    assert evaluate.main([*scored, TOO_LARGE]) == 2
    assert ADVICE in caplog.text
    assert evaluate.main([*scored, LARGE_ENOUGH]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("command", [train_general.main, train_per_image.main])
def test_training(
    tmp_path: Path,
    data: Path,
    mini_options: list[str],
    caplog: pytest.LogCaptureFixture,
    command: Callable[[list[str]], int],
) -> None:
    folders = ["--datapath", str(data), "--output_dir", str(tmp_path / "out")]
    assert command([*folders, *mini_options, TOO_LARGE]) == 2
    assert ADVICE in caplog.text


@pytest.mark.slow
def test_a_table_and_its_dry_run(
    tmp_path: Path,
    data: Path,
    mini_options: list[str],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    suite = tmp_path / "suite.yaml"
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in data.glob("*_occlusion.png"):
        shutil.copy(path, masks)
    rows = [{"name": "theirs", "method": "folder", "path": str(masks)}]
    suite.write_text(yaml.safe_dump({"datapath": str(data), "rows": rows}))
    command = ["--suite", str(suite), "--output_dir", str(tmp_path / "out"), *mini_options]
    assert evaluate.main([*command, "--dry_run", TOO_LARGE]) == 1
    printed = capsys.readouterr().out
    assert "image or reference cannot be read: face_00, face_01. " in printed
    assert printed.count(ADVICE) == 1 and "generate_reference.py again" not in printed
    assert evaluate.main([*command, "--dry_run", LARGE_ENOUGH]) == 0
    assert evaluate.main([*command, TOO_LARGE]) > 0
    assert ADVICE in caplog.text
    assert evaluate.main([*command, LARGE_ENOUGH]) == 0


def test_a_mask_may_be_as_large_as_its_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image passed its limit, which a reader of masks does not know."""
    mask = np.zeros((40, 50), bool)
    mask[:9] = True
    path = tmp_path / "mask.png"
    write_png(path, mask)
    assert (read_mask_of_size(path, (40, 50), max_pixels=10) == mask).all()
    with pytest.raises(S3potError, match="the limit is 0 million"):
        read_mask_of_size(path, (40, 49), max_pixels=10)
    limits = []

    def read(path: Path, max_pixels: int) -> np.ndarray:
        limits.append(max_pixels)
        return np.broadcast_to(np.zeros(1, bool), (20_000, 20_000))

    monkeypatch.setattr(masks, "read_mask", read)
    read_mask_of_size(path, (20_000, 20_000))
    assert limits == [20_000**2]


def test_an_overlay_takes_the_photo_that_was_segmented(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []

    def read(source: Any, max_pixels: int) -> np.ndarray:
        limits.append(max_pixels)
        return np.zeros((1, 1, 3), np.uint8)

    monkeypatch.setattr(segmentation, "read_rgb", read)
    for side in (20, 20_000):
        masks = np.broadcast_to(np.zeros(1, bool), (side, side))
        with pytest.raises(S3potError, match="give the photo that was segmented"):
            PhotoMasks(masks, masks).overlay("photo.png")
    assert limits == [MAX_PIXELS, 20_000**2]


def test_of_two_images_with_one_name_the_one_within_the_limit_is_read(tmp_path: Path) -> None:
    write_png(tmp_path / "in" / "a.png", np.zeros((30, 30, 3), np.uint8))
    write_png(tmp_path / "in" / "a.webp", np.zeros((40, 40, 3), np.uint8))
    for limit, problem in ((1599, "set run.max_megapixels"), (1600, "Rename one")):
        found = find_photos(tmp_path / "in", tmp_path / "out", max_pixels=limit)
        assert [photo.problem is None for photo in found.photos] == [True, False]
        assert problem in str(found.photos[1].problem)


def test_a_comparison_reads_what_its_runs_were_allowed_to(tmp_path: Path) -> None:
    for value, limit in (("400", 400_000_000), ("1", MAX_PIXELS), ("odd", MAX_PIXELS)):
        assert ResultFolder(tmp_path, {}, {"run.max_megapixels": value}).max_pixels == limit
    assert ResultFolder(tmp_path, {}, {}).max_pixels == MAX_PIXELS

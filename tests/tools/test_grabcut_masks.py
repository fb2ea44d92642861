"""The example of another program: its masks, and its row in a table."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import yaml

import evaluate
from tools.grabcut_masks import grabcut_occlusion, main


def test_what_has_the_colors_of_the_surroundings_is_taken_out() -> None:
    random = np.random.default_rng(0)
    image = random.normal((30, 60, 120), 5, (60, 80, 3))
    region = np.zeros((60, 80), bool)
    region[10:50, 20:60] = True
    hidden = np.zeros_like(region)
    hidden[10:25, 20:60] = True
    image[region & ~hidden] = random.normal((200, 150, 130), 5, ((region & ~hidden).sum(), 3))
    image = image.clip(0, 255).astype(np.uint8)
    found = grabcut_occlusion(image, region)
    assert (found & hidden).sum() / (found | hidden).sum() > 0.9
    assert np.array_equal(found, grabcut_occlusion(image, region))


def test_without_a_region_or_surroundings_nothing_is_found() -> None:
    image = np.full((8, 8, 3), 9, np.uint8)
    for region in (np.zeros((8, 8), bool), np.ones((8, 8), bool)):
        assert not grabcut_occlusion(image, region).any()


@pytest.mark.slow
def test_its_masks_are_a_row_of_a_table(tmp_path, processed_folder, mini_options, capsys) -> None:
    data, masks = processed_folder(2), tmp_path / "masks"
    assert main(["--datapath", str(data), "--output_dir", str(masks)]) == 0
    assert len(list(masks.glob("*_occlusion.png"))) == 2
    assert capsys.readouterr().out == f"2 masks are in {masks}\n"
    rows = [{"name": "GrabCut", "method": "folder", "path": str(masks)}]
    suite = tmp_path / "suite.yaml"
    suite.write_text(yaml.safe_dump({"datapath": str(data), "rows": rows}))
    out = tmp_path / "out"
    command = ["--suite", str(suite), "--output_dir", str(out), *mini_options]
    assert evaluate.main(command) == 0
    with (out / "table.csv").open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    assert row["faces"] == "2" and 0 <= float(row["occlusion_iou"]) <= 1

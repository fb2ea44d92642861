"""The contact sheet of drawn faces: their ground truth, the tiles, and the whole tool."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s3pot.labels import CLASSES
from s3pot_synthetic import draw_face
from tools import photo_like
from tools.photo_like import COLUMNS, PER_LINE, TILE, as_photo, draw_photos, draw_tiles, join
from tools.photo_scenes import SIZE, Person, draw_canvas
from tools.photo_truth import PARTS


def test_a_drawn_face_is_a_labeled_photo() -> None:
    sample = draw_face(0, 128)
    photo = as_photo("a", sample)
    nose = sample.labels == CLASSES.index("nose")
    assert (photo.parts[nose] == PARTS.index("nose")).all()
    assert (photo.region & (sample.labels == CLASSES.index("background"))).sum() == 0
    np.testing.assert_array_equal(photo.picture, sample.clean)


@pytest.mark.slow
def test_the_matte_turns_with_its_face() -> None:
    photos, mattes = draw_photos(4, seed=20)
    for photo, matte in zip(photos, mattes):
        assert matte.shape == (SIZE, SIZE)
        face = photo.region & ~photo.ignored
        assert (matte[face] > 127).mean() > 0.98


def test_a_face_that_is_not_found_has_gray_tiles() -> None:
    photo = as_photo("a", draw_face(0, SIZE))
    whole = np.full((SIZE, SIZE), 255, np.uint8)
    person = Person(photo, photo.picture, photo.region, whole)
    canvas, (place,) = draw_canvas(np.random.default_rng(0), [person])
    tiles = draw_tiles(canvas, place, None)
    assert tiles.shape == (TILE, TILE * len(COLUMNS), 3)
    assert (tiles[:, TILE:] == 128).all() and np.ptp(tiles[:, :TILE]) > 0
    page = join([tiles] * 4)
    assert page.shape[0] == photo_like.HEADING + 2 * TILE
    assert page.shape[1] == PER_LINE * tiles.shape[1] + photo_like.GAP


@pytest.mark.slow
def test_the_whole_tool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--config", "mini", "--out", str(tmp_path / "a" / "sheet.jpg"), "--count", "2"]
    assert photo_like.main(command) == 0
    with Image.open(tmp_path / "a" / "sheet.jpg") as sheet:
        assert sheet.format == "JPEG" and sheet.size[0] == 2 * 5 * TILE + photo_like.GAP
    assert photo_like.main([*command[:-1], "3"]) == 2
    assert "--count 3; expected a multiple of 2" in capsys.readouterr().err

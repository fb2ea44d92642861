"""Square images with and without faces: the groups, the verdicts, and the whole tool."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from s3pot.rg.detect import NoFace
from tools import square_images
from tools.photo_truth import FacePlace, LabeledFace
from tools.square_images import draw_plain, verdict, window_without_face


def test_plain_images_are_of_four_kinds() -> None:
    images = [draw_plain(np.random.default_rng(number), number) for number in range(4)]
    assert {image.shape for image in images} == {(square_images.SIDE, square_images.SIDE, 3)}
    colors = [len(np.unique(image.reshape(-1, 3), axis=0)) for image in images]
    assert colors[0] > colors[3] == 1
    assert all((images[kind] == images[kind][:1]).all() for kind in (1, 2))


def test_a_window_shows_nothing_of_the_face() -> None:
    region = np.zeros((200, 200), bool)
    region[:, :100] = True
    picture = np.repeat(np.where(region, 255, 7).astype(np.uint8)[..., None], 3, axis=2)
    place = FacePlace(np.zeros((2, 2)), np.zeros(2))
    photo = LabeledFace("a", picture, region.astype(np.uint8), region, ~region, place)
    window = window_without_face(np.random.default_rng(0), photo)
    assert window is not None
    assert (window == 7).all()
    full = LabeledFace("b", picture, region.astype(np.uint8), region | True, ~region, place)
    assert window_without_face(np.random.default_rng(0), full) is None


def test_verdicts() -> None:
    def segment(image: np.ndarray) -> SimpleNamespace:
        if image.max() == 0:
            raise NoFace("no face")
        return SimpleNamespace(quality="ok" if image.max() == 1 else "doubtful: small face region")

    model = SimpleNamespace(segment=segment)
    images = [np.full((4, 4, 3), value, np.uint8) for value in (1, 2, 0)]
    found = [verdict(model, image) for image in images]  # type: ignore[arg-type]
    assert found == list(square_images.VERDICTS)


@pytest.mark.slow
def test_the_whole_tool(capsys: pytest.CaptureFixture[str]) -> None:
    assert square_images.main(["--config", "mini", "--count", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["images", "pass", "doubtful", "no", "face"]
    counts = [[int(word) for word in line[26:].split()] for line in lines[1:]]
    assert [sum(row[1:]) for row in counts] == [row[0] for row in counts] == [1, 1, 1, 1]

"""Crops of rotated photos: the criterion, and the whole tool."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from s3pot.geometry import TURNS, Alignment, rotated_points
from s3pot.rg.align import FaceAligner, from_landmarks, identity
from s3pot.rg.detect import NoFace
from tools import rotated_photos
from tools.photo_truth import FacePlace
from tools.rotated_photos import KnownFace, is_cropped_well

FACE = KnownFace(
    np.zeros((120, 100, 3), np.uint8),
    np.array([[40.0, 50], [60, 50], [50, 60], [42, 75], [58, 75]]),
)


class FixedAligner(FaceAligner):
    """Returns the true crop of FACE, rotated with the photo as far as asked, and moved."""

    def __init__(self, turns: tuple[int, ...], shift: float = 0.0) -> None:
        super().__init__(None, 64, "reflect", may_be_aligned=False)
        self.__dict__.update(turns=turns, shift=shift, calls=0)

    def align(self, photo: np.ndarray, all_faces: bool = False, name: str = "") -> list[Alignment]:
        turn = TURNS[self.__dict__["calls"]]
        self.__dict__["calls"] += 1
        if turn not in self.__dict__["turns"]:
            raise NoFace("no face")
        points = rotated_points(FACE.landmarks + self.__dict__["shift"], turn, (120, 100))
        return [from_landmarks(points, (photo.shape[0], photo.shape[1]), 64)]


def test_the_true_crop_is_good_in_every_rotation() -> None:
    aligner = FixedAligner(TURNS[:3])
    assert [is_cropped_well(aligner, FACE, turn) for turn in TURNS] == [True, True, True, False]


def test_a_crop_beside_the_face_or_on_its_side_is_not_good() -> None:
    far = FixedAligner(TURNS, shift=40.0)
    assert not is_cropped_well(far, FACE, 0)
    square = replace(FACE, image=np.zeros((100, 100, 3), np.uint8))
    upright = FaceAligner(None, 64, "reflect", may_be_aligned=False)  # the whole photo
    assert upright.align(square.image) == [identity(square.image)]
    assert is_cropped_well(upright, square, 0)
    assert not is_cropped_well(upright, square, 90)


def test_landmarks_of_labels_imply_a_crop_around_them() -> None:
    place = FacePlace(np.array([[40.0, 50], [60, 50]]), np.array([50.0, 75]))
    assert place.landmarks[:2].tolist() == place.eyes.tolist()
    assert place.landmarks[3:].mean(axis=0).tolist() == [50, 75]
    assert place.landmarks[3, 0] < place.landmarks[2, 0] < place.landmarks[4, 0]


@pytest.mark.slow
def test_the_whole_tool(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotated_photos, "TURNS", (0, 180))
    assert rotated_photos.main(["--config", "mini", "--count", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[26:31].strip() for line in lines] == ["faces", "2", "1"]
    assert all(0 <= float(share) <= 1 for line in lines[1:] for share in line[31:].split())

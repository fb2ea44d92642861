"""The bundled face detector with its weights: portraits, scenes, and images without a face."""

from __future__ import annotations

import numpy as np
import pytest

from s3pot.build import build_aligner
from s3pot.config import load_config
from s3pot.geometry import TURNS
from s3pot.rg.align import FaceAligner, quad_from_landmarks
from s3pot.rg.detect import NoFace
from s3pot.rg.mini_detector import MIN_SCORE, MiniFaceDetector, load_mini_detector
from s3pot.weights.locate import mini_path
from s3pot_synthetic import FaceSample, draw_face
from s3pot_synthetic.crowd import draw_crowd
from s3pot_synthetic.crowd_backgrounds import draw_background
from s3pot_synthetic.crowd_bank import Bank, draw_person


@pytest.fixture(scope="module")
def bundled() -> MiniFaceDetector:
    return load_mini_detector()


@pytest.fixture(scope="module")
def portraits() -> list[FaceSample]:
    return [draw_face(index, size=256, split="bench") for index in range(10)]


def test_bundled_file_is_small() -> None:
    assert mini_path("detector").stat().st_size < 1_000_000


@pytest.mark.slow
def test_drawn_portraits_are_found(bundled: MiniFaceDetector, portraits: list[FaceSample]) -> None:
    errors = []
    for sample in portraits:
        faces = bundled.detect(sample.clean)
        if faces:
            errors.append(np.linalg.norm(faces[0].landmarks - sample.landmarks, axis=1).mean())
    assert len(errors) >= 9
    assert np.mean(errors) < 0.04 * 256 and np.max(errors) < 0.1 * 256


@pytest.mark.slow
def test_scenes_with_several_faces(bundled: MiniFaceDetector) -> None:
    people = [draw_person(index, seed=9) for index in range(6)]
    places = [draw_background(np.random.default_rng([9, index]), 200) for index in range(4)]
    names = ("people", "whole", "occluders", "landmarks", "outlines")
    stacked = {name: np.stack([person[name] for person in people]) for name in names}
    bank = Bank(places=np.stack(places), **stacked)
    wanted = hits = 0
    for index in range(8):
        scene = draw_crowd(np.random.default_rng([9, index]), bank, 320)
        found = [face.landmarks for face in bundled.detect(scene.image)]
        for box, truth in zip(scene.boxes, scene.landmarks):
            if box[2:].max() < 24:
                continue
            wanted += 1
            near = [np.linalg.norm(points - truth, axis=1).mean() for points in found]
            hits += bool(near) and min(near) < 0.15 * box[2:].max()
    assert wanted >= 8 and hits >= 0.75 * wanted


@pytest.mark.slow
def test_there_is_no_face_where_there_is_none(bundled: MiniFaceDetector) -> None:
    for value in (0, 128, 255):
        assert bundled.detect(np.full((300, 300, 3), value, np.uint8)) == []
    places = [draw_background(np.random.default_rng([3, index]), 300) for index in range(8)]
    sure = [[face for face in bundled.detect(p) if face.score >= MIN_SCORE] for p in places]
    assert not any(sure)


@pytest.mark.slow
def test_same_photo_same_faces(bundled: MiniFaceDetector, portraits: list[FaceSample]) -> None:
    photo = portraits[3].clean
    first, second = bundled.detect(photo), bundled.detect(photo)
    assert [face.box for face in first] == [face.box for face in second]


@pytest.fixture(scope="module")
def aligner() -> FaceAligner:
    return build_aligner(load_config("mini"))


@pytest.mark.slow
def test_drawn_portraits_are_taken_as_they_are(
    aligner: FaceAligner, portraits: list[FaceSample]
) -> None:
    ways = [aligner.align(sample.raw)[0] for sample in portraits]
    assert sum(way.is_whole for way in ways) >= 9


@pytest.mark.slow
def test_a_face_in_a_photo_is_cropped(aligner: FaceAligner, portraits: list[FaceSample]) -> None:
    errors = []
    for index, sample in enumerate(portraits[:5]):
        photo = draw_background(np.random.default_rng([8, index]), 640)[:520]
        place = np.array([200 + 20 * index, 100 + 10 * index])
        matte = sample.person[..., None] / 255
        rows = slice(place[1], place[1] + 256)
        columns = slice(place[0], place[0] + 256)
        photo[rows, columns] = (1 - matte) * photo[rows, columns] + matte * sample.clean
        (way,) = aligner.align(photo)
        quad = quad_from_landmarks(sample.landmarks + place)
        side = np.linalg.norm(quad[3] - quad[0])
        errors.append(np.linalg.norm(way.corners - quad, axis=1).max() / side)
        assert not way.is_whole and way.score is not None and way.score >= MIN_SCORE
    assert np.median(errors) < 0.05 and max(errors) < 0.3


@pytest.mark.slow
def test_photos_on_their_side_are_righted(
    aligner: FaceAligner, portraits: list[FaceSample]
) -> None:
    righted = []
    for sample in portraits[:2]:
        for turn in TURNS:
            (way,) = aligner.align(np.ascontiguousarray(np.rot90(sample.clean, -turn // 90)))
            righted.append(way.turn == turn)
    assert all(righted[::4])  # upright ones stay as they are
    assert sum(righted) >= 6  # of 8


def test_a_black_square_has_no_face(aligner: FaceAligner) -> None:
    with pytest.raises(NoFace, match="256 x 256"):
        aligner.align(np.zeros((256, 256, 3), np.uint8))

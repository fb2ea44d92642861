"""Measuring on photos, with drawn faces as photos: labels, ignored pixels, pasting, the tables."""

from __future__ import annotations

import csv
import dataclasses
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from s3pot.data.image import read_rgb, write_png
from s3pot.labels import CLASSES, OCCLUSION_CLASS, region_of
from s3pot.metrics import mask_scores
from s3pot.rg import detect
from s3pot.rg.align import identity
from s3pot.segmentation import Segmentation
from s3pot.types import S3potError
from s3pot_synthetic.face import Face, draw_clean

pytestmark = pytest.mark.slow

SIZE = 128
PLAIN_SEEDS = (7, 86, 128)  # the first of all that draw a face like a studio photo
PART_OF = {
    "hair": "hair", "eyebrows": "hair", "skin": "skin", "ears": "skin", "belowface": "skin",
    "nose": "nose", "lip": "mouth", "mouth": "mouth", "eyes": "eyes",
}  # fmt: skip
EYES, MOUTH = [(-0.43, -0.09), (0.43, -0.09)], [(-0.2, 0.555), (0.2, 0.555)]


@pytest.fixture(scope="module")
def tools() -> Iterator[SimpleNamespace]:
    with pytest.MonkeyPatch.context():
        names = {
            "truth": "tools.photo_truth",
            "paste": "tools.photo_paste",
            "tool": "tools.real_photos",
            "looks": "tools.photo_looks",
        }
        yield SimpleNamespace(**{k: importlib.import_module(v) for k, v in names.items()})


def like_a_studio_photo(face: Face) -> bool:
    """Whether a drawn face is plain, nearly frontal, upright and evenly lit."""
    head, light = face.head, face.head.light
    plain = not set(face.details) & {"hat", "glasses", "thrown_light", "beard"}
    plain = plain and max(abs(head.yaw), abs(head.roll), abs(head.pitch)) < 0.2
    plain = plain and light.ambient > 0.2 and 0.8 < light.exposure < 1.15
    return plain and face.details["hair"] == "short" and bool((face.labels == 2).sum() > 60)


@pytest.fixture(scope="module")
def drawn() -> list[Face]:
    """Unoccluded drawn faces like studio photos."""
    faces = [draw_clean(np.random.default_rng(seed), SIZE, "train") for seed in PLAIN_SEEDS]
    if not all(like_a_studio_photo(face) for face in faces):
        pytest.fail("faces are drawn differently now: find other PLAIN_SEEDS below 400")
    return faces


def pixels_of(face: Face) -> np.ndarray:
    return np.round(face.image * 255).astype(np.uint8)


def parts_of(tools: SimpleNamespace, face: Face) -> np.ndarray:
    names = [PART_OF.get(name, "background") for name in CLASSES]
    return np.array([tools.truth.PARTS.index(n) for n in names], np.uint8)[face.labels]


def colors_of(tools: SimpleNamespace, face: Face) -> np.ndarray:
    colors = np.array(list(tools.truth.FASSEG_COLORS.values()), np.uint8)
    return colors[parts_of(tools, face)]


def labeled(tools: SimpleNamespace, face: Face, name: str = "a") -> Any:
    known = np.ones(face.labels.shape, bool)
    return tools.truth.judge(name, pixels_of(face), parts_of(tools, face), known)


def write_photo(tools: SimpleNamespace, folder: Path, name: str, face: Face) -> None:
    """Write photo and label map without the outer columns: portrait format."""
    keep = slice(SIZE // 8, -SIZE // 8)
    write_png(folder / f"{name}.png", pixels_of(face)[:, keep])
    write_png(folder / f"{name}_label.png", colors_of(tools, face)[:, keep])


def segmentation(parsing: np.ndarray) -> Segmentation:
    occlusion = parsing == OCCLUSION_CLASS
    none = np.zeros((*parsing.shape, 3), np.uint8)
    face = region_of(parsing) & ~occlusion
    points, labels = np.zeros((0, 2)), np.zeros(0, np.int64)
    where = identity(none)
    return Segmentation(occlusion, face, parsing, none, none, points, labels, where, {}, "ok")


def test_parts_are_read_from_colors_that_a_codec_has_mixed(
    tools: SimpleNamespace, drawn: list[Face], tmp_path: Path
) -> None:
    for face in drawn:
        large = cv2.resize(
            colors_of(tools, face), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST
        )
        mixed = cv2.GaussianBlur(large, (0, 0), 0.7).astype(int)
        mixed += np.random.default_rng(0).integers(-30, 31, mixed.shape)
        write_png(tmp_path / "label.png", mixed.clip(0, 255).astype(np.uint8))
        got = tools.truth.read_parts(tmp_path / "label.png")
        want = parts_of(tools, face).repeat(4, axis=0).repeat(4, axis=1)
        assert (got == want).mean() > 0.98
        inside = cv2.erode((want != 0).astype(np.uint8), np.ones((9, 9))) > 0
        assert (got[inside] != 0).all()  # no strip of background between hair and skin


def test_eyes_and_mouth_are_found(tools: SimpleNamespace, drawn: list[Face]) -> None:
    for face in drawn:
        place = labeled(tools, face).place
        for point, label in ((place.eyes.mean(axis=0), "eyes"), (place.mouth, "lip")):
            want = np.argwhere(face.labels == CLASSES.index(label)).mean(axis=0)[::-1]
            assert np.linalg.norm(point - want) < 0.03 * SIZE
        assert place.eyes[0, 0] < place.mouth[0] < place.eyes[1, 0]
        assert abs(place.across @ place.down) < 1e-9
        x, y = place.coordinates(SIZE)
        column, row = np.round(place.mouth).astype(int)
        assert y[row, column] == pytest.approx(1, abs=0.05)
        column, row = np.round(place.eyes[1]).astype(int)
        assert (x[row, column], y[row, column]) == pytest.approx((0.5, 0), abs=0.05)


def test_region_is_the_face_and_neck_and_ears_are_ignored(
    tools: SimpleNamespace, drawn: list[Face]
) -> None:
    brows_seen = []
    for face in drawn:
        photo = labeled(tools, face)
        true = region_of(face.labels)
        assert not (photo.region & photo.ignored).any()
        assert mask_scores(photo.region, true & ~photo.ignored).iou > 0.95
        assert photo.region.sum() > 0.8 * true.sum()
        neck = face.labels == CLASSES.index("belowface")
        assert photo.ignored[neck].mean() > 0.9
        brows = face.labels == CLASSES.index("eyebrows")
        brows_seen.append(photo.region[brows].mean())  # a lock of hair may take one of them
        hair = face.labels == CLASSES.index("hair")
        assert not photo.region[hair].any()
    assert np.median(brows_seen) > 0.9


def test_brows_under_a_fringe_are_ignored(tools: SimpleNamespace, drawn: list[Face]) -> None:
    parts, known = parts_of(tools, drawn[0]), np.ones((SIZE, SIZE), bool)
    before = tools.truth.judge("a", pixels_of(drawn[0]), parts, known)
    x, y = before.place.coordinates(SIZE)
    fringe = (abs(x) < 0.8) & (y < -0.25) & (parts != 0)
    hairy = np.where(fringe, np.uint8(tools.truth.HAIR), parts)
    photo = tools.truth.judge("a", pixels_of(drawn[0]), hairy, known)
    brows = fringe & (y > -0.4)
    assert photo.ignored[brows].all()
    assert not photo.ignored[fringe & (y < -0.6)].any()


def test_a_label_map_without_a_face_is_refused(tools: SimpleNamespace) -> None:
    parts = np.full((64, 64), tools.truth.SKIN, np.uint8)
    with pytest.raises(S3potError, match="0 eyes and 0 mouths"):
        tools.truth.find_place(parts)


def test_a_portrait_is_padded_and_what_lies_outside_is_ignored(
    tools: SimpleNamespace, drawn: list[Face], tmp_path: Path
) -> None:
    write_photo(tools, tmp_path, "a", drawn[0])
    files = tools.truth.find_photos(tmp_path)["a"]
    photo = tools.truth.read_face("a", *files, SIZE, None)
    margin = SIZE // 8
    assert photo.picture.shape == (SIZE, SIZE, 3)
    assert photo.ignored[:, : margin - 1].all() and photo.ignored[:, 1 - margin :].all()
    assert np.array_equal(photo.picture[:, 0], photo.picture[:, margin - 1])
    whole = labeled(tools, drawn[0])
    assert mask_scores(photo.region, whole.region).iou > 0.93
    write_png(tmp_path / "a_label.png", read_rgb(tmp_path / "a_label.png")[1:])
    with pytest.raises(S3potError, match="expected the same size"):
        tools.truth.read_face("a", *files, SIZE, None)


def test_the_fitted_head_lies_where_the_drawn_one_does(
    tools: SimpleNamespace, drawn: list[Face]
) -> None:
    for face in drawn:
        fitted, border = tools.paste.fit_face(np.random.default_rng(0), labeled(tools, face))
        scale = fitted.head.frame.scale
        for points in (EYES, MOUTH, [(0, 1)]):
            want = (face.head.turn(points) + 0.5) * face.head.frame.scale
            got = (fitted.head.turn(points) + 0.5) * scale - border
            assert np.linalg.norm(got - want, axis=1).max() < 0.07 * SIZE
        assert np.abs(fitted.head.skin - face.head.skin).max() < 0.35
        assert fitted.head.half[1] < tools.paste.HALF_HEIGHT + 1


def test_every_kind_can_be_pasted_with_an_exact_mask(
    tools: SimpleNamespace, drawn: list[Face]
) -> None:
    photos = [labeled(tools, face, str(i)) for i, face in enumerate(drawn)]
    kinds = {kind for names in tools.paste.GROUPS.values() for kind in names}
    done = {}
    for number in range(3 * max(len(names) for names in tools.paste.GROUPS.values())):
        pasted = tools.paste.paste(photos[0], photos[1:], number, 0)
        if pasted is None:
            continue
        done[pasted.kind] = pasted
        low, high = tools.paste.SHARES
        assert low <= pasted.share <= high
        assert pasted.kind in tools.paste.GROUPS[pasted.group]
        assert pasted.occlusion.sum() == round(pasted.share * photos[0].region.sum())
        assert not (pasted.occlusion & ~photos[0].region).any()
    assert len(done) > 0.85 * len(kinds)
    change = {k: abs(p.picture.astype(int) - photos[0].picture).mean(-1) for k, p in done.items()}
    inside = [change[k][p.occlusion].mean() for k, p in done.items()]
    rest = [change[k][photos[0].region & ~p.occlusion].mean() for k, p in done.items()]
    assert np.mean(inside) > 4 * np.mean(rest)  # there, only the cast shadow


def test_pieces_of_other_photos_keep_their_colors(
    tools: SimpleNamespace, drawn: list[Face]
) -> None:
    photo, other = labeled(tools, drawn[0]), labeled(tools, drawn[1], "b")
    blue = np.zeros_like(other.picture)
    blue[..., 2] = 200
    other = dataclasses.replace(other, picture=blue)
    number = list(tools.paste.GROUPS).index("photo")  # the first kind of that group
    pasted = tools.paste.paste(photo, [other], number, 0)
    core = cv2.erode(pasted.occlusion.astype(np.uint8), np.ones((3, 3))) > 0
    assert core.any()
    assert pasted.picture[core][:, :2].max() < 30 and pasted.picture[core][:, 2].min() > 140


def test_a_large_face_is_bordered_for_the_painters_and_cut_back(
    tools: SimpleNamespace, drawn: list[Face]
) -> None:
    photo = labeled(tools, drawn[0])
    by = 1.4
    move = np.array([[by, 0, -0.2 * SIZE], [0, by, -0.2 * SIZE]])
    picture = cv2.warpAffine(photo.picture, move, (SIZE, SIZE))
    parts = cv2.warpAffine(photo.parts, move, (SIZE, SIZE), flags=cv2.INTER_NEAREST)
    large = tools.truth.judge("large", picture, parts, np.ones((SIZE, SIZE), bool))
    face, border = tools.paste.fit_face(np.random.default_rng(0), large)
    assert border > 0.1 * SIZE
    assert face.head.half[1] == pytest.approx(tools.paste.HALF_HEIGHT, rel=0.03)
    first, again, other = (tools.paste.paste(large, [photo], 0, seed) for seed in (0, 0, 1))
    assert first.picture.shape == (SIZE, SIZE, 3)
    assert np.array_equal(first.picture, again.picture)
    assert not np.array_equal(first.picture, other.picture)


def test_scores_leave_the_ignored_zone_out(tools: SimpleNamespace, drawn: list[Face]) -> None:
    photos = [labeled(tools, face, str(i)) for i, face in enumerate(drawn)]
    photo, pasted = photos[0], tools.paste.paste(photos[0], photos[1:], 0, 0)
    bare = np.where(photo.region, np.uint8(6), np.uint8(0))
    parsing = np.where(pasted.occlusion, np.uint8(OCCLUSION_CLASS), bare)
    for ignored in (0, 6, OCCLUSION_CLASS):
        answer = segmentation(np.where(photo.ignored, np.uint8(ignored), parsing))
        row = tools.tool.measure_occluded(photo, segmentation(bare), pasted, answer)
        columns = ("region_iou", "occlusion_iou", "precision", "recall", "reach")
        assert all(row[column] == 1 for column in columns)
        assert (row["region_iou_unoccluded"] == 1) == (ignored == 0)
    missed = tools.tool.measure_occluded(photo, segmentation(bare), pasted, segmentation(bare))
    assert (missed["occlusion_iou"], missed["region_iou"], missed["reach"]) == (0, 1, 1)
    lost = segmentation(np.where(pasted.occlusion, np.uint8(0), bare))
    row = tools.tool.measure_occluded(photo, segmentation(bare), pasted, lost)
    assert row["reach"] == 0
    assert row["region_iou"] == pytest.approx(1 - pasted.occlusion.sum() / photo.region.sum())
    half = bare.copy()
    half[: SIZE // 2][photo.region[: SIZE // 2]] = OCCLUSION_CLASS
    share = photo.region[: SIZE // 2].sum() / photo.region.sum()
    row = tools.tool.measure_unoccluded(photo, segmentation(half))
    assert row["region_iou"] == 1 and row["false_occlusion"] == pytest.approx(share)


def test_points_are_judged_outside_the_ignored_zone(
    tools: SimpleNamespace, drawn: list[Face]
) -> None:
    photo = labeled(tools, drawn[0])
    truth = photo.region & (np.arange(SIZE)[:, None] < SIZE // 2)
    places = {
        "hidden": np.argwhere(truth)[:6],
        "visible": np.argwhere(photo.region & ~truth)[:6],
        "ignored": np.argwhere(photo.ignored)[:6],
    }
    points = np.concatenate(list(places.values()))[:, ::-1] + 0.4
    called = [0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    answer = dataclasses.replace(
        segmentation(photo.parts), points=points, labels=np.array(called, np.int64)
    )
    row = tools.tool.measure_points(photo, truth, answer)
    assert row == {"point_precision": 3 / 4, "point_recall": 3 / 6}


@pytest.mark.parametrize("look", ["side_lit", "bearded", "turned"])
def test_looks_change_the_photo_and_keep_a_truth(
    tools: SimpleNamespace, drawn: list[Face], look: str
) -> None:
    before = [labeled(tools, face, str(i)) for i, face in enumerate(drawn)]
    for photo in before:
        after, again = (tools.looks.LOOKS[look](photo) for _ in range(2))
        assert np.array_equal(after.picture, again.picture)
        change = abs(after.picture.astype(int) - photo.picture).mean(-1)
        x, y = photo.place.coordinates(SIZE)
        if look == "bearded":
            chin = photo.region & (y > 1.3)
            assert change[chin].mean() > 8
            assert change[y < 0.2].max() <= 1
        elif look == "side_lit":
            halves = [change[photo.region & side].mean() for side in (x < -0.3, x > 0.3)]
            assert max(halves) > 2 * min(halves)
        else:
            assert after.region.sum() == pytest.approx(photo.region.sum(), rel=0.03)
            lean = np.degrees(np.arctan2(*after.place.across[::-1]))
            was = np.degrees(np.arctan2(*photo.place.across[::-1]))
            assert abs(lean - was) == pytest.approx(tools.looks.TURN, abs=0.1)
            found = tools.truth.find_place(after.parts)
            assert np.linalg.norm(found.mouth - after.place.mouth) < 0.03 * SIZE
            assert after.ignored[0, 0] and after.ignored[-1, -1]
        if look != "turned":
            assert np.array_equal(after.region, photo.region)


@pytest.fixture
def folder(tools: SimpleNamespace, drawn: list[Face], tmp_path: Path) -> Path:
    for name, face in zip("ab", drawn):
        write_photo(tools, tmp_path / "photos", name, face)
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_whole_tool(
    tools: SimpleNamespace,
    folder: Path,
    mini_options: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = ["--photos", str(folder / "photos"), "--size", "64", "--variants", "3"]
    command = [*base, "--out", str(folder / "out"), *mini_options]
    assert tools.tool.main(command) == 0
    pictures, bare = rows(folder / "out" / "pictures.csv"), rows(folder / "out" / "photos.csv")
    assert [row["photo"] for row in bare] == ["a", "b"]
    assert {row["group"] for row in pictures} == {"train", "bench", "photo"}
    text = capsys.readouterr().out
    mean = np.mean([float(row["occlusion_iou"]) for row in pictures])
    line = next(line for line in text.splitlines() if line.startswith("occlusion IoU"))
    assert float(line.split()[2]) == pytest.approx(mean, abs=6e-4)
    assert all(row["kind"] in text for row in pictures)
    sheet = read_rgb(folder / "out" / "sheet_01.png")
    tile = tools.tool.TILE
    assert sheet.shape == (len(pictures) * tile, 6 * tile, 3)
    (folder / "photos" / "c.png").write_bytes((folder / "photos" / "a.png").read_bytes())
    write_png(folder / "photos" / "c_label.png", np.zeros((SIZE, SIZE - SIZE // 4, 3), np.uint8))
    assert tools.tool.main(command) == 1  # c has no eyes
    assert rows(folder / "out" / "photos.csv") == bare


def test_the_aligned_crop(
    tools: SimpleNamespace,
    folder: Path,
    drawn: list[Face],
    mini_options: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Known:
        def __init__(self, path: Path) -> None:
            self.faces = iter(drawn)

        def detect(self, image: np.ndarray) -> list[detect.Face]:
            head = next(self.faces).head
            points = (head.turn([*EYES, (0, 0.2), *MOUTH]) + 0.5) * head.frame.scale - 0.5
            points[:, 0] -= SIZE // 8
            return [detect.Face((0, 0, 9, 9), 0.9, points)]

    monkeypatch.setattr(tools.tool, "FaceDetector", Known)
    command = ["--photos", str(folder / "photos"), "--out", str(folder / "out"), "--crop", "align"]
    command += ["--detector", "yunet.onnx", "--size", "64", "--variants", "1", *mini_options]
    assert tools.tool.main(command) == 0
    assert len(rows(folder / "out" / "photos.csv")) == 2
    files = tools.truth.find_photos(folder / "photos")["a"]
    photo = tools.truth.read_face("a", *files, 64, Known(Path()))
    middle = photo.place.middle / 64  # the eyes' position in FFHQ
    assert np.linalg.norm(middle - (0.5, 0.469)) < 0.05
    assert tools.truth.find_place(photo.parts).mouth[1] / 64 == pytest.approx(0.735, abs=0.05)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--crop", "align"], "go together"),
        (["--size", "8"], "--size 8"),
        (["--variants", "0"], "--variants 0"),
        (["--photos", "nowhere"], "holds no labeled photo"),
    ],
)
def test_bad_options_are_one_line(
    tools: SimpleNamespace,
    folder: Path,
    mini_options: list[str],
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    says: str,
) -> None:
    command = ["--photos", str(folder / "photos"), "--out", str(folder / "out"), *options]
    assert tools.tool.main([*command, *mini_options]) == 2
    assert says in capsys.readouterr().err

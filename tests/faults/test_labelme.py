"""LabelMe files as they occur in practice: all shapes, holes, face labels, sizes, encodings.

Reported at labelme #244, #537, #654, #1560 (shapes) and #813, #1023, #245, #299, #683 (labels,
holes, sizes, encodings).
"""

from __future__ import annotations

import base64
import io
import json
import logging
import struct
import zlib
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from PIL import Image

from s3pot.data.face_folder import find_faces
from s3pot.data.image import write_png
from s3pot.data.label_policy import LabelPolicy, names_face
from s3pot.data.labelme import read_labelme
from s3pot.data.truth import load_face_truth, try_truth
from s3pot.data.truth_paths import faces_with_truth
from s3pot.io import BadFile
from s3pot.types import S3potError

SIZE = (100, 120)
BOX = [[20, 30], [60, 30], [60, 70], [20, 70]]
INNER = [[30, 40], [50, 40], [50, 60], [30, 60]]
AREA = 41 * 41  # of BOX: outlines belong to the shape
INNER_AREA = 21 * 21


def shape(label: str = "hand", points: Any = None, kind: str = "polygon", **more: Any) -> dict:
    return {"label": label, "points": BOX if points is None else points, "shape_type": kind, **more}


def content(*shapes: dict, width: Any = SIZE[1], height: Any = SIZE[0], **more: Any) -> dict:
    return {
        "version": "5.5.0",
        "shapes": shapes,
        "imageWidth": width,
        "imageHeight": height,
        **more,
    }


def drawn(folder: Path, values: Any, policy: LabelPolicy | None = None) -> np.ndarray:
    path = folder / "a.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    mask = read_labelme(path, SIZE, policy)
    assert mask is not None
    return mask


def encoded(mask: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


CHECKERS = np.indices((40, 30)).sum(axis=0) % 7 > 1
AREAS: dict[str, tuple[dict, int]] = {
    "polygon": (shape(), AREA),
    "polygon without a type": ({"label": "hand", "points": BOX}, AREA),
    "rectangle": (shape(kind="rectangle", points=[BOX[0], BOX[2]]), AREA),
    "rectangle from below": (shape(kind="rectangle", points=[BOX[3], BOX[1]]), AREA),
    "rectangle of four corners": (shape(kind="rectangle"), AREA),
    "oriented rectangle": (shape(kind="oriented_rectangle"), AREA),
    "circle": (shape(kind="circle", points=[[60, 50], [80, 50]]), 1257),
    "mask": (
        shape(kind="mask", points=[[20, 30], [49, 69]], mask=encoded(CHECKERS)),
        int(CHECKERS.sum()),
    ),
    "mask of 0 and 1": (
        shape(kind="mask", points=[[20, 30], [49, 69]], mask=encoded(CHECKERS.astype(np.uint8))),
        int(CHECKERS.sum()),
    ),
    "mask over the border": (
        shape(kind="mask", points=[[-10, -10], [19, 29]], mask=encoded(np.ones((40, 30), bool))),
        30 * 20,
    ),
    "polygon over the border": (shape(points=[[-50, -50], [19, -50], [19, 19], [-50, 19]]), 400),
}


@pytest.mark.parametrize("kind", AREAS)
def test_shapes_that_enclose_an_area_are_filled(tmp_path: Path, kind: str) -> None:
    values, area = AREAS[kind]
    assert abs(int(drawn(tmp_path, content(values)).sum()) - area) <= 0.005 * area


@pytest.mark.parametrize("scale", [2, 0.5])
@pytest.mark.parametrize("kind", ["polygon", "circle", "mask"])
def test_an_annotation_of_the_same_image_at_another_size(
    tmp_path: Path, kind: str, scale: float
) -> None:
    values, _ = AREAS[kind]
    want = drawn(tmp_path, content(values)).sum()
    if kind == "mask":
        small = Image.fromarray(CHECKERS).resize((int(30 * scale), int(40 * scale)))
        values = {**values, "mask": encoded(np.array(small))}
    values = {**values, "points": (np.array(values["points"]) * scale).tolist()}
    got = drawn(tmp_path, content(values, width=SIZE[1] * scale, height=SIZE[0] * scale))
    assert (
        abs(int(got.sum()) / int(want) - 1) < 0.25
        if kind == "mask"
        else abs(int(got.sum()) / int(want) - 1) < 0.05
    )


@pytest.mark.parametrize(
    "thin",
    [
        shape("note", [[5, 5]], "point"),
        shape("note", [[5, 5], [6, 6]], "points"),
        shape("note", [[5, 5], [90, 90]], "line"),
        shape("note", [[5, 5], [90, 90], [5, 90]], "linestrip"),
        shape("note", [[5, 5]]),
        shape("note", [[5, 5], [90, 90]]),
    ],
    ids=lambda thin: f"{thin['shape_type']} of {len(thin['points'])}",
)
def test_shapes_that_enclose_nothing_are_named_and_skipped(
    tmp_path: Path, thin: dict, caplog: pytest.LogCaptureFixture
) -> None:
    assert drawn(tmp_path, content(shape(), thin)).sum() == AREA
    assert f"a.json: shapes that enclose no area are skipped: {thin['shape_type']}" in caplog.text


@pytest.mark.parametrize(
    ("shapes", "area"),
    [
        ([shape(), shape("_background_", INNER)], AREA - INNER_AREA),
        ([shape("_background_", INNER), shape()], AREA),
        ([shape(), shape("_background_", INNER), shape("cup", [[40, 50]] * 3)], AREA - 440),
        ([shape(), shape("hand", INNER, group_id=1)], AREA),
        ([shape(), shape("__ignore__", [[0, 0], [119, 0], [119, 99]])], AREA),
        ([shape("__ignore__")], 0),
        ([], 0),
    ],
    ids=["hole", "hole before", "island", "group", "ignore", "ignored only", "empty"],
)
def test_holes_and_later_shapes(
    tmp_path: Path, shapes: list[dict], area: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert drawn(tmp_path, content(*shapes)).sum() == area
    assert not caplog.text


FACE_LABELS = (
    "face Face FACE left_eye eyes Upper-lip upper_lip2 mouth nose skin hair beard leftEye "
    "eye_glass glasses head neck face_region l_brow eyebrows ear_rings teeth"
).split()
OCCLUDER_LABELS = (
    "hand mask face_mask face-shield cup glass sunglasses microphone headphones hat scarf 手 1 "
    "hand_over_face headscarf eyepatch phone"
).split()


def test_words_that_name_the_face() -> None:
    assert [label for label in FACE_LABELS if not names_face(label)] == []
    assert [label for label in OCCLUDER_LABELS if names_face(label)] == []
    assert names_face("Left eye") and not names_face("") and not names_face("left")


@pytest.mark.parametrize("label", ["face", "left_eye", "glasses"])
def test_labels_of_the_face_are_never_silently_occluders(
    tmp_path: Path, label: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = [[0, 0], [119, 0], [119, 99], [0, 99]]
    values = content(shape(label, whole), shape("hand"))
    assert drawn(tmp_path, values).sum() == AREA
    assert f"the labels {label} name the face" in caplog.text and "truth.labels" in caplog.text
    caplog.clear()
    assert drawn(tmp_path, values, LabelPolicy.from_text(f"hand, {label}", "")).all()
    assert drawn(tmp_path, values, LabelPolicy.from_text("", label)).sum() == AREA
    assert not caplog.text


def test_the_policy_chooses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = content(shape("Hand"), shape("cup", INNER), shape("note", [[0, 0], [9, 0], [9, 9]]))
    assert drawn(tmp_path, values, LabelPolicy.from_text("cup", "")).sum() == INNER_AREA
    assert drawn(tmp_path, values, LabelPolicy.from_text(" hand ,cup", "")).sum() == AREA
    assert drawn(tmp_path, values, LabelPolicy.from_text("", "NOTE")).sum() == AREA
    assert not caplog.text
    assert not drawn(tmp_path, values, LabelPolicy.from_text("finger", "")).any()
    assert "none of its labels (Hand, cup, note) is among truth.labels (finger)" in caplog.text


@pytest.mark.parametrize("size", [(4000, 3000), (SIZE[0], SIZE[1]), (256, 256), (120, 120)])
def test_another_frame_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    with pytest.raises(BadFile, match=rf"{width} x {height} pixels, but .* 120 x 100.*--truth_dir"):
        drawn(tmp_path, content(shape(), width=width, height=height))


@pytest.mark.parametrize("key", ["imageWidth", "imageHeight", "both"])
def test_a_size_of_null_is_taken_from_the_image(tmp_path: Path, key: str) -> None:
    values = content(shape())
    for name in ("imageWidth", "imageHeight") if key == "both" else (key,):
        values[name] = None
    assert drawn(tmp_path, values).sum() == AREA
    values["imageData"] = encoded(np.zeros((SIZE[0] * 2, SIZE[1] * 2), np.uint8))
    assert abs(int(drawn(tmp_path, values).sum()) * 4 - AREA) < 0.1 * AREA


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings_that_json_knows(tmp_path: Path, encoding: str) -> None:
    text = json.dumps(content(shape("手")), ensure_ascii=False)
    (tmp_path / "a.json").write_bytes(text.encode(encoding))
    mask = read_labelme(tmp_path / "a.json", SIZE)
    assert mask is not None and mask.sum() == AREA


@pytest.mark.parametrize("encoding", ["gbk", "latin-1", "cp1251", "shift_jis"])
def test_other_encodings_are_named(tmp_path: Path, encoding: str) -> None:
    label = {"gbk": "手", "latin-1": "tête", "cp1251": "рука", "shift_jis": "手"}[encoding]
    text = json.dumps(content(shape(label)), ensure_ascii=False)
    (tmp_path / "a.json").write_bytes(text.encode(encoding))
    with pytest.raises(BadFile, match="a.json is not encoded in UTF-8.*save it as UTF-8"):
        read_labelme(tmp_path / "a.json", SIZE)


@pytest.mark.parametrize(
    "values",
    [
        content(width=0),
        content(width="120"),
        content(width=True),
        content(width=10**9),
        {**content(), "shapes": {}},
        {**content(), "shapes": [3]},
        content(shape(points="x")),
        content(shape(points=[[0, 0], [1], [2, 2]])),
        content(shape(points=[[0, 0], [1, float("nan")], [2, 2]])),
        content(shape(points=[[0, 0], [1e300, 1], [2, 2]])),
        content(shape(kind="cuboid")),
        content(shape(kind="circle", points=[[1, 1]])),
        content(shape(kind="circle", points=[[1, 1], [1, 1]])),
        content(shape(kind="oriented_rectangle", points=[[1, 1], [2, 2]])),
        content(shape(kind="mask", points=[[1, 1], [2, 2]])),
        content(shape(kind="mask", points=[[1, 1], [2, 2]], mask="???")),
        content(shape(kind="mask", points=[[1, 1], [2, 2]], mask="AAAA")),
    ],
)
def test_what_cannot_be_drawn_is_named(tmp_path: Path, values: dict) -> None:
    with pytest.raises(BadFile, match="a.json"):
        drawn(tmp_path, values)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"shapes": [', "", "\x00", "{'a': 1}"])
def test_damaged_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadFile, match="a.json"):
        read_labelme(tmp_path / "a.json", SIZE)


@pytest.mark.parametrize("foreign", [{"landmarks": [[1, 2]], "score": 0.9}, [1, 2], "text", None])
def test_the_json_of_another_tool_is_no_truth(
    processed_folder: Callable[..., Path], foreign: Any
) -> None:
    # Reported at webknossos #8537, UNIC #6.
    folder = processed_folder(2)
    for name in ("face_00", "face_01"):
        (folder / f"{name}_occlusion.png").unlink()
    (folder / "face_00.json").write_text(json.dumps(foreign))
    first, _ = find_faces(folder)
    assert load_face_truth(first) is None and try_truth(first) is None
    with pytest.raises(S3potError, match="No face in .* has a truth"):
        faces_with_truth(folder)
    (folder / "face_01.json").write_text(json.dumps(content(shape(), width=64, height=64)))
    assert [face.name for face in faces_with_truth(folder)] == ["face_01"]


def test_a_truth_that_cannot_be_used_costs_the_score_only(
    processed_folder: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    folder = processed_folder(3)
    faces = find_faces(folder)
    write_png(folder / "face_00_occlusion.png", np.zeros((512, 512), bool))
    (folder / "face_01_occlusion.png").write_bytes(b"no image")
    assert [try_truth(face) is None for face in faces] == [True, True, False]
    assert "face_00: no score, because its truth cannot be used" in caplog.text
    assert "512 x 512, but its image is 64 x 64" in caplog.text
    assert "face_01" in caplog.text and "face_02" not in caplog.text


def test_an_embedded_image_of_absurd_size_is_no_size(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    image = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        check = struct.pack(">I", zlib.crc32(kind + data))
        image += struct.pack(">I", len(data)) + kind + data + check
    content = {"shapes": [], "imageData": base64.b64encode(image).decode("ascii")}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    mask = read_labelme(path, (10, 10))
    assert mask is not None and not mask.any()


@pytest.mark.parametrize("label", ["_background_", "__background__", "hole", "Hole "])
def test_labels_of_holes_cut(tmp_path: Path, label: str) -> None:
    mask = drawn(tmp_path, content(shape(), shape(label, INNER)))
    assert int(mask.sum()) == AREA - INNER_AREA


@pytest.mark.parametrize("label", ["__ignore__", "_ignore_", "ignore", "void", "Unlabeled"])
def test_labels_that_say_nothing_are_left_out(tmp_path: Path, label: str) -> None:
    everything = [[0, 0], [119, 0], [119, 99], [0, 99]]
    assert int(drawn(tmp_path, content(shape(), shape(label, everything))).sum()) == AREA
    counted = LabelPolicy.from_text(label, "")
    assert int(drawn(tmp_path, content(shape(label)), counted).sum()) == AREA


def test_a_shape_outside_the_image_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    far = [[300, 300], [340, 300], [340, 340]]
    assert int(drawn(tmp_path, content(shape(), shape("cup", far))).sum()) == AREA
    assert "shapes that lie outside the image: cup" in caplog.text


@pytest.mark.parametrize(
    "points", [[[20, 30, 0], [60, 30, 0], [60, 70, 0]], [20, 30, 60, 30, 60, 70], "none", {}]
)
def test_points_that_are_no_pairs_are_refused(tmp_path: Path, points: Any) -> None:
    with pytest.raises(BadFile, match="shape 1, labeled 'hand', cannot be drawn"):
        drawn(tmp_path, content(shape(points=points)))


@pytest.mark.parametrize("before", ["data:image/png;base64,", "\n", ""])
def test_the_image_of_a_mask_as_other_programs_write_it(tmp_path: Path, before: str) -> None:
    text = encoded(CHECKERS)
    text = f"{before}{text[:40]}\n{text[40:]}"
    values = shape(kind="mask", points=[[20, 30], [49, 69]], mask=text)
    assert int(drawn(tmp_path, content(values)).sum()) == int(CHECKERS.sum())


def test_the_size_of_an_embedded_photo_is_that_when_it_stands_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.new("RGB", SIZE).save(stream, "JPEG", exif=exif)  # stored sideways
    data = base64.b64encode(stream.getvalue()).decode()
    mask = drawn(tmp_path, content(shape(), width=None, height=None, imageData=data))
    assert int(mask.sum()) == AREA

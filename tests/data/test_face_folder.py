from __future__ import annotations

import json
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
from PIL import Image

from s3pot.data.face_folder import (
    cache_folder,
    face_from,
    find_faces,
    load_aligned_face,
    load_labels,
    output_files,
)
from s3pot.data.image import write_png
from s3pot.data.split import split
from s3pot.data.truth import load_face_truth, require_truth
from s3pot.io import write_npy
from s3pot.types import S3potError

Make = Callable[..., Path]


def test_what_is_written_is_found(processed_folder: Make) -> None:
    folder = processed_folder(3)
    faces = find_faces(folder)
    assert [face.name for face in faces] == ["face_00", "face_01", "face_02"]
    want = output_files(folder, "face_01")
    assert faces[1].raw == want.raw
    assert faces[1].occlusion_truth == want.occlusion_truth
    assert faces[1].clean == want.clean
    assert faces[1].align is None


def test_sub_folders_are_kept_and_hidden_ones_left_out(
    processed_folder: Make, tmp_path: Path
) -> None:
    processed_folder(1, "data/a/b")
    processed_folder(1, "data")
    processed_folder(1, "data/.s3pot_cache")
    assert [face.name for face in find_faces(tmp_path / "data")] == ["a/b/face_00", "face_00"]


@pytest.mark.parametrize("name", ["face_00.json", "face_00.JSON"])
def test_an_annotation_beside_a_face_is_its_truth(processed_folder: Make, name: str) -> None:
    folder = processed_folder(1)
    (folder / "face_00_occlusion.png").unlink()
    (folder / name).write_text('{"shapes": []}')
    (face,) = find_faces(folder)
    assert face.occlusion_truth == folder / name


def test_a_face_called_ref(processed_folder: Make) -> None:
    folder = processed_folder(1)
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.replace("face_00", "x_ref"))
    assert [face.name for face in find_faces(folder)] == ["x_ref"]


@pytest.mark.parametrize("ending", ["_occlusion", "_visible_face", "_ignore", "_clean"])
def test_the_image_of_a_face_is_no_truth_of_another(processed_folder: Make, ending: str) -> None:
    folder = processed_folder(2)
    for path in list(folder.glob("face_00*")):
        if path.stem in ("face_00_occlusion", "face_00_clean"):
            path.unlink()
    for path in list(folder.glob("face_01*")):
        path.rename(folder / path.name.replace("face_01", f"face_00{ending}"))
    first, second = find_faces(folder)
    assert (first.name, second.name) == ("face_00", f"face_00{ending}")
    truths = (first.occlusion_truth, first.visible_face_truth, first.ignore, first.clean)
    assert truths == (None, None, None, None)
    assert first == face_from(first.raw, first.reference, first.parsing)
    assert second.occlusion_truth == folder / f"face_00{ending}_occlusion.png"
    # A truth in another file format has a name of its own.
    if ending != "_clean":
        (folder / f"face_00{ending}.bmp").write_bytes(b"")
        assert folder / f"face_00{ending}.bmp" in vars(find_faces(folder)[0]).values()


def test_a_map_without_the_name_of_an_image_is_no_face(
    processed_folder: Make, caplog: pytest.LogCaptureFixture
) -> None:
    folder = processed_folder(1)
    for path in (folder / "_parsing_mask.npy", folder / "sub" / "_parsing_mask.npy"):
        write_npy(path, np.zeros((64, 64), np.uint8))
    assert [face.name for face in find_faces(folder)] == ["face_00"]
    assert caplog.text.count("_parsing_mask.npy is not read") == 2


def test_dots_in_a_stem(processed_folder: Make) -> None:
    folder = processed_folder(1)
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.replace("face_00", "a.b.c"))
    (face,) = find_faces(folder)
    assert face.name == "a.b.c"
    assert load_face_truth(face) is not None
    assert load_aligned_face(face).image.shape == (64, 64, 3)


@pytest.mark.parametrize("missing", ["face_00.png", "face_00_ref.png", "face_00_parsing_mask.npy"])
def test_an_incomplete_face_is_found_and_named_when_read(
    processed_folder: Make, missing: str
) -> None:
    folder = processed_folder(2)
    (folder / missing).unlink()
    faces = find_faces(folder)
    assert len(faces) == 2
    with pytest.raises(S3potError, match=missing):
        load_aligned_face(faces[0])


@pytest.mark.parametrize("kind", ["absent", "empty", "raw pictures only"])
def test_a_folder_without_faces_is_an_error(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "data"
    if kind != "absent":
        folder.mkdir()
    if kind == "raw pictures only":
        write_png(folder / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(S3potError, match=r"generate_reference\.py"):
        find_faces(folder)


def test_a_file_in_the_place_of_a_folder_is_called_a_file(tmp_path: Path) -> None:
    photo = tmp_path / "a.png"
    write_png(photo, np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(S3potError, match=r"a\.png is a file; expected the folder"):
        find_faces(photo)


def _authors(folder: Path, suffix: str = ".jpg") -> Path:
    folder.mkdir(parents=True)
    pixels = np.full((40, 60, 3), 200, np.uint8)
    Image.fromarray(pixels).save(folder / f"photo{suffix}", format="JPEG")
    Image.fromarray(pixels).save(folder / "Reference_photo.png")
    np.save(folder / "photo_parsing_mask.npy", np.full((20, 20), 6, np.uint8))
    square = [[0, 0], [60, 0], [60, 40], [0, 40]]
    shapes = [{"label": "hand", "points": square, "shape_type": "polygon"}]
    content = {"imageWidth": 120, "imageHeight": 80, "shapes": shapes}
    (folder / "photo.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("suffix", [".jpg", ".original"])
def test_the_authors_layout(tmp_path: Path, suffix: str) -> None:
    _authors(tmp_path / "set" / "17", suffix)
    (face,) = find_faces(tmp_path)
    assert face.name == "set/17"
    assert face.raw.suffix == suffix
    assert load_aligned_face(face).image.shape == (40, 60, 3)
    truth = require_truth(face).occlusion
    assert truth.shape == (40, 60)
    assert truth[:20, :30].all()  # annotated at twice the size
    assert not truth[22:].any()


def test_labelme_shapes_and_their_errors(tmp_path: Path) -> None:
    folder = _authors(tmp_path / "5")
    (face,) = find_faces(tmp_path)
    shape = {"points": [[10, 10], [30, 10], [30, 20], [10, 20]]}
    content = {"imageWidth": 60, "imageHeight": 40, "shapes": [shape]}
    (folder / "photo.json").write_text(json.dumps(content))
    truth = require_truth(face).occlusion
    assert truth[10:21, 10:31].all() and truth.sum() == 21 * 11
    for text in ("{", '{"shapes": 3}', '{"imageWidth": 0, "imageHeight": 1, "shapes": []}'):
        (folder / "photo.json").write_text(text)
        with pytest.raises(S3potError, match=r"photo\.json"):
            load_face_truth(face)


@pytest.mark.parametrize("high", [1, 255])
def test_truth_as_png(processed_folder: Make, high: int) -> None:
    face = find_faces(processed_folder(1))[0]
    assert face.occlusion_truth is not None
    want = np.zeros((64, 64), bool)
    want[3:9, 5:7] = True
    write_png(face.occlusion_truth, want.astype(np.uint8) * high)
    truth = require_truth(face).occlusion
    np.testing.assert_array_equal(truth, want)


def test_truth_without_occlusion_and_of_another_size(processed_folder: Make) -> None:
    face = find_faces(processed_folder(1))[0]
    assert face.occlusion_truth is not None
    write_png(face.occlusion_truth, np.zeros((64, 64), bool))
    truth = require_truth(face).occlusion
    assert not truth.any()
    write_png(face.occlusion_truth, np.zeros((32, 64), bool))
    with pytest.raises(S3potError, match="64 x 32, but its image is 64 x 64"):
        load_face_truth(face)


def test_no_truth(processed_folder: Make) -> None:
    folder = processed_folder(1)
    (folder / "face_00_occlusion.png").unlink()
    assert load_face_truth(find_faces(folder)[0]) is None


def test_oracle_takes_the_clean_face(processed_folder: Make) -> None:
    folder = processed_folder(1)
    clean = np.full((64, 64, 3), 7, np.uint8)
    write_png(folder / "face_00_clean.png", clean)
    face = find_faces(folder)[0]
    np.testing.assert_array_equal(load_aligned_face(face, oracle=True).reference, clean)
    assert not np.array_equal(load_aligned_face(face).reference, clean)
    (folder / "face_00_clean.png").unlink()
    with pytest.raises(S3potError, match="face_00_clean.png"):
        load_aligned_face(find_faces(folder)[0], oracle=True)


def test_raw_and_reference_share_a_frame(processed_folder: Make) -> None:
    face = find_faces(processed_folder(1))[0]
    write_png(face.reference, np.zeros((64, 32, 3), np.uint8))
    with pytest.raises(S3potError, match=r"64 x 64, but .* is 32 x 64"):
        load_aligned_face(face)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 4), 12, np.uint8), "values 12 to 12"),
        (np.full((4, 4), -1, np.int64), "values -1"),
        (np.full((4, 4), 300, np.int64), "values 300"),
        (np.full((4, 4), 0.5), "values 0.5"),
        (np.full((4, 4), np.nan), "values nan"),
        (np.zeros((4, 4, 4), np.uint8), "shape"),
        (np.zeros((0, 4), np.uint8), r"shape \(0, 4\)"),
        (np.array(["a"]), "<U1"),
    ],
)
def test_odd_class_maps_are_named(tmp_path: Path, array: np.ndarray, message: str) -> None:
    path = tmp_path / "x_parsing_mask.npy"
    np.save(path, array)
    with pytest.raises(S3potError, match=message) as error:
        load_labels(path)
    assert "x_parsing_mask.npy" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array at all"])
def test_damaged_class_maps_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x_parsing_mask.npy"
    path.write_bytes(content)
    with pytest.raises(S3potError, match="x_parsing_mask.npy is damaged"):
        load_labels(path)


def test_a_cut_off_and_a_pickled_map(tmp_path: Path) -> None:
    path = tmp_path / "x_parsing_mask.npy"
    write_npy(path, np.zeros((64, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(S3potError, match="damaged"):
        load_labels(path)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(S3potError, match="damaged"):
        load_labels(path)


@pytest.mark.parametrize("shape", [(1, 5, 6), (5, 6, 1), (5, 6)])
def test_class_maps_of_other_types(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "x.npy"
    for dtype in (np.int64, np.float32, np.uint8):
        np.save(path, np.full(shape, 6, dtype))
        labels = load_labels(path)
        assert labels.shape == (5, 6)
        assert labels.dtype == np.uint8
        assert (labels == 6).all()


@pytest.mark.parametrize("shape", [(32, 32), (128, 128), (21, 21)])
def test_class_maps_of_other_sizes_are_read(
    processed_folder: Make, tmp_path: Path, shape: tuple[int, int]
) -> None:
    (face,) = find_faces(processed_folder(1))
    write_npy(face.parsing, np.full(shape, 6, np.uint8))
    assert load_aligned_face(face).parsing.shape == shape
    assert load_face_truth(face) is not None
    wide = np.full((40, 60, 3), 200, np.uint8)
    for path in (face.raw, face.reference):
        write_png(path, wide)
    write_png(tmp_path / "data" / "face_00_occlusion.png", np.zeros((40, 60), bool))
    for size in (shape, (20, 30), (13, 20)):  # square from the parser, and the image's own
        write_npy(face.parsing, np.full(size, 6, np.uint8))
        assert load_aligned_face(face).parsing.shape == size
        assert load_face_truth(face) is not None


@pytest.mark.parametrize("shape", [(25, 64), (64, 25), (100, 256)])
def test_class_maps_of_another_aspect_ratio_are_refused(
    processed_folder: Make, shape: tuple[int, int]
) -> None:
    (face,) = find_faces(processed_folder(1))
    write_npy(face.parsing, np.full(shape, 6, np.uint8))
    words = f"parsing_mask.npy is {shape[1]} x {shape[0]}, but its image is 64 x 64: the aspect"
    for read in (load_aligned_face, load_face_truth):
        with pytest.raises(S3potError, match=words):
            read(face)


def test_split_by_folders(processed_folder: Make, tmp_path: Path) -> None:
    processed_folder(2, "data/train")
    processed_folder(3, "data/val")
    processed_folder(1, "data")
    train, val = split(tmp_path / "data", 0.5, 0)
    assert [face.name for face in train] == ["face_00", "face_01"]
    assert len(val) == 3
    assert all(face.raw.parent.name == "val" for face in val)


@pytest.mark.parametrize(("count", "fraction", "held"), [(10, 0.3, 3), (5, 0.01, 1), (5, 0.99, 4)])
def test_split_by_seed(processed_folder: Make, count: int, fraction: float, held: int) -> None:
    folder = processed_folder(count)
    train, val = split(folder, fraction, 7)
    assert len(val) == held
    assert sorted(f.name for f in train + val) == [f.name for f in find_faces(folder)]
    assert split(folder, fraction, 7) == (train, val)
    chosen = {tuple(face.name for face in split(folder, fraction, seed)[1]) for seed in range(8)}
    assert len(chosen) > 1


def test_split_of_one_face_and_without_validation(processed_folder: Make) -> None:
    train, val = split(processed_folder(1), 0.5, 0)
    assert (len(train), len(val)) == (1, 0)
    train, val = split(processed_folder(4, "more"), 0.0, 0)
    assert (len(train), len(val)) == (4, 0)


def test_parts_share_the_cache_of_the_whole(tmp_path: Path) -> None:
    whole = cache_folder(tmp_path)
    assert whole == tmp_path.resolve() / ".s3pot_cache"
    assert cache_folder(tmp_path / "train") == cache_folder(tmp_path / "val") == whole


def test_a_face_of_three_files(processed_folder: Make) -> None:
    folder = processed_folder(1)
    want = find_faces(folder)[0]
    assert face_from(want.raw, want.reference, want.parsing) == want

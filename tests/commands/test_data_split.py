"""``s3pot data split``: parts are disjoint, repeatable and complete."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from s3pot.__main__ import main
from s3pot.data.face_folder import find_faces, load_aligned_face
from tests.commands.data_commands import check
from tests.data.datasets.layouts import Layout, make, picture, save


def split_into(source: Path, output_dir: Path, *options: str) -> int:
    folders = ["--input_dir", str(source), "--output_dir", str(output_dir)]
    return main(["data", "split", *folders, *options])


def people(folder: Path, count: int = 12) -> Path:
    for number in range(count):
        save(folder / f"person{number // 3}_{number}.png", picture(number))
    return folder


def listed(folder: Path, part: str) -> list[str]:
    return (folder / f"{part}.txt").read_text().split()


def test_nobody_is_in_two_parts(tmp_path: Path) -> None:
    source = people(tmp_path / "photos")
    out = tmp_path / "parts"
    options = ("--parts", "train=0.75", "val=0.25", "--group_by", "prefix", "--seed", "3")
    assert split_into(source, out, *options) == 0
    train, val = listed(out, "train"), listed(out, "val")
    assert (len(train), len(val)) == (9, 3)
    assert not {name.split("_")[0] for name in train} & {name.split("_")[0] for name in val}
    for part, names in (("train", train), ("val", val)):
        links = sorted((out / part).iterdir())
        assert [link.stem for link in links] == sorted(names)
        assert all(link.is_symlink() and link.resolve().parent == source for link in links)
    again = tmp_path / "again"
    assert split_into(source, again, *options) == 0
    assert listed(again, "val") == val
    files = {path: path.lstat().st_mtime_ns for path in out.glob("*/*")}
    assert split_into(source, out, *options) == 0
    assert {path: path.lstat().st_mtime_ns for path in out.glob("*/*")} == files


def test_images_that_are_left_out_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = people(tmp_path / "photos")
    save(source / "person0_0.jpg", picture(0))
    assert split_into(source, tmp_path / "parts") == 0
    said = f"left out: {source / 'person0_0.png'} has the name of {source / 'person0_0.jpg'}"
    assert caplog.text.count(said) == 1


def test_faces_are_split_with_all_their_files(
    tmp_path: Path, processed_folder: Callable[..., Path]
) -> None:
    source = processed_folder(5)
    write_mask = np.zeros((64, 64), np.uint8)
    save(source / "face_00_visible_face.png", write_mask)
    out = tmp_path / "parts"
    assert split_into(source, out, "--parts", "train=3", "val=2", "--as", "copies") == 0
    train, val = find_faces(out / "train"), find_faces(out / "val")
    assert (len(train), len(val)) == (3, 2)
    for face in [*train, *val]:
        assert not face.raw.is_symlink()
        load_aligned_face(face)
        assert face.occlusion_truth is not None and face.clean is not None
    assert sum(face.visible_face_truth is not None for face in [*train, *val]) == 1


def test_a_converted_data_set_stays_one(tmp_path: Path) -> None:
    layout = make("s3pot", tmp_path / "source")
    out = tmp_path / "parts"
    assert split_into(layout.root, out, "--parts", "train=1", "val=1") == 0
    for part in ("train", "val"):
        (name,) = listed(out, part)
        check(out / part, Layout(out, {name: layout.truth[name]}, []))


def test_lists_only(tmp_path: Path) -> None:
    out = tmp_path / "parts"
    assert split_into(people(tmp_path / "photos"), out, "--as", "lists") == 0
    assert sorted(path.name for path in out.iterdir()) == ["split.json", "train.txt", "val.txt"]
    assert len(listed(out, "train")) == 11


def test_another_split_is_not_mixed_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = people(tmp_path / "photos")
    out = tmp_path / "parts"
    assert split_into(source, out, "--parts", "train=6", "val=6") == 0
    (out / "train" / "mine.txt").write_text("keep me")
    caplog.clear()
    assert split_into(source, out, "--parts", "train=6", "test=6") == 2
    assert "holds a different split" in caplog.text
    assert "of 12 images" not in caplog.text  # the counts of a split that was not made
    assert split_into(source, out, "--parts", "train=6", "test=6", "--overwrite") == 0
    assert "test: 6 of 12 images" in caplog.text
    assert not (out / "val.txt").exists() and not list((out / "val").iterdir())
    assert len(list((out / "train").glob("*.png"))) == 6
    assert (out / "train" / "mine.txt").exists()


@pytest.mark.parametrize("name", ["../victim.png", "/{}/victim.png", "val/../../victim.png", "."])
def test_a_hostile_split_removes_nothing_elsewhere(tmp_path: Path, name: str) -> None:
    source = people(tmp_path / "photos")
    out = tmp_path / "parts"
    victim = tmp_path / "victim.png"
    save(victim, picture(0))
    out.mkdir()
    files = [name.format(str(tmp_path).strip("/"))]
    (out / "split.json").write_text(json.dumps({"files": files, "parts": {"../victim": 1}}))
    assert split_into(source, out, "--overwrite") == 0
    assert victim.exists()


def test_an_image_that_cannot_be_linked_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = people(tmp_path / "photos")
    out = tmp_path / "parts"
    assert split_into(source, out) == 0
    name = listed(out, "train")[0]
    link = out / "train" / f"{name}.png"
    link.unlink()
    link.mkdir()
    assert split_into(source, out) == 1
    assert f"failed: {name}" in caplog.text


def test_too_few_images_are_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert split_into(people(tmp_path / "photos"), tmp_path / "out", "--parts", "train=100") == 0
    assert "train gets 12 images, not 100" in caplog.text


@pytest.mark.parametrize(
    ("group_by", "names", "words"),
    [
        ("prefix", ["x_0", "x_1", "x_2"], "--group_by prefix finds 1 group in the 3 images"),
        ("none", ["x_0"], "--group_by none finds 1 group in the 1 image"),
    ],
)
def test_a_part_of_no_image_is_a_warning_with_its_reason(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    group_by: str,
    names: list[str],
    words: str,
) -> None:
    for number, name in enumerate(names):
        save(tmp_path / "photos" / f"{name}.png", picture(number))
    parts = ["--parts", "train=0.8", "val=0.2", "--group_by", group_by]
    assert split_into(tmp_path / "photos", tmp_path / "out", *parts) == 0
    (warning,) = [line for line in caplog.messages if "is empty" in line]
    assert warning.startswith("val is empty, although its share is 0.2") and words in warning
    caplog.clear()
    assert split_into(people(tmp_path / "more"), tmp_path / "full", *parts) == 0
    assert "is empty" not in caplog.text


def test_parts_do_not_lie_in_their_source(tmp_path: Path) -> None:
    source = people(tmp_path / "photos")
    assert split_into(source, source / "parts") == 2
    assert split_into(tmp_path / "nothing", tmp_path / "out") == 2


def test_drawn_faces_keep_their_further_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "drawn"
    draw = ["data", "draw", "--out", str(source), "--count", "3", "--size", "64"]
    assert main(draw) == 0
    (source / "truth" / "train_0_000000.json").write_text("{}")
    out = tmp_path / "parts"
    with caplog.at_level("INFO"):
        assert split_into(source, out, "--parts", "train=2", "val=1", "--as", "copies") == 0
    for part in ("train", "val"):
        files = {path.relative_to(out / part) for path in (out / part).glob("*/*")}
        names = listed(out, part)
        assert files == {
            path.relative_to(source) for name in names for path in source.glob(f"*/{name}*")
        }
        assert all(Path("truth") / f"{name}_labels.npy" in files for name in names)
    assert "because they belong to no image: meta.jsonl" in caplog.text


def test_files_of_a_photo_stay_with_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "photos"
    for number, name in enumerate(("a", "a_b", "sub/a")):
        save(source / f"{name}.jpg", picture(number))
        save(source / f"{name}_occlusion.png", np.zeros((32, 32), np.uint8))
        (source / f"{name}.json").write_text("{}")
    save(source / "c_clean.png", picture(9))
    out = tmp_path / "parts"
    options = ("--parts", "train=1", "val=1", "test=1", "--as", "copies")
    assert split_into(source, out, *options) == 0
    for part in ("train", "val", "test"):
        (name,) = listed(out, part)
        files = [path for path in (out / part).rglob("*") if path.is_file()]
        want = {f"{name}.jpg", f"{name}_occlusion.png", f"{name}.json"}
        assert {path.relative_to(out / part).as_posix() for path in files} == want
    assert caplog.text.count("left out:") == 1
    assert "left out: 'c_clean' ends in _clean" in caplog.text


def test_the_authors_folders_are_split_as_a_whole(tmp_path: Path) -> None:
    layout = make("authors", tmp_path / "source")
    (layout.root / "1" / "notes.txt").write_text("two hands")
    out = tmp_path / "parts"
    assert split_into(layout.root, out, "--parts", "train=1", "val=1", "--as", "copies") == 0
    for part in ("train", "val"):
        (name,) = listed(out, part)
        copies = {path.name for path in (out / part / name).iterdir()}
        assert copies == {path.name for path in (layout.root / name).iterdir()}


def test_a_face_keeps_the_files_that_are_named_like_it(
    tmp_path: Path, processed_folder: Callable[..., Path]
) -> None:
    source = processed_folder(2)
    (source / "face_00_align.json").write_text("{}")
    (source / "face_00_labels.npy").write_bytes(b"")
    out = tmp_path / "parts"
    assert split_into(source, out, "--parts", "train=1", "val=1", "--as", "copies") == 0
    names = {path.name for path in out.glob("*/face_0*")}
    assert names == {path.name for path in source.glob("face_0*")}


def test_a_face_that_is_named_like_a_file_of_another_is_reported(
    tmp_path: Path, processed_folder: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    source = processed_folder(3)
    (source / "face_00_occlusion.png").unlink()
    for path in list(source.glob("face_01*")):
        path.rename(source / path.name.replace("face_01", "face_00_occlusion"))
    out = tmp_path / "parts"
    assert split_into(source, out, "--parts", "train=2", "val=1", "--as", "copies") == 0
    problem = "The face 'face_00_occlusion' is named like a file of the face 'face_00', _occlusion"
    assert caplog.text.count(problem) == 1
    names = {path.name for path in out.glob("*/face_*")}  # its own part may hold it all the same
    assert names == {path.name for path in source.glob("face_*")}


def test_photos_without_truths_are_split_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    people(tmp_path / "converted" / "raw_images")
    assert split_into(tmp_path / "converted", tmp_path / "parts") == 0
    assert "left out" not in caplog.text and "No such file" not in caplog.text

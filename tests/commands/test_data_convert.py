"""``s3pot data convert``: formats are read, written and read again, and errors are reported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import s3pot.data.datasets.coco as coco_module
from s3pot.__main__ import main
from s3pot.data.datasets.coco import CocoJson
from s3pot.data.datasets.formats import recognize
from s3pot.data.datasets.item import DatasetError
from s3pot.data.face_folder import find_faces, load_aligned_face
from s3pot.data.image import read_rgb
from s3pot.data.label_policy import LabelPolicy
from s3pot.data.masks import read_mask
from s3pot.data.truth import require_truth
from tests.commands.data_commands import (
    ERRORS,
    KINDS,
    check,
    convert,
    edit_json,
    every_format,
    sources,
    validate,
)
from tests.data.datasets.layouts import Layout, make, picture, save


@every_format
def test_every_format_is_read(layout: Layout, tmp_path: Path) -> None:
    before = sources(layout)
    assert convert(layout, tmp_path / "out") == 0
    check(tmp_path / "out", layout)
    assert sources(layout) == before
    dataset = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert dataset["images"] == len(layout.truth)


@every_format
@pytest.mark.parametrize("target", ["folders", "coco", "coco --polygons", "labelme"])
def test_every_format_goes_through_every_other(layout: Layout, target: str, tmp_path: Path) -> None:
    name, *options = target.split()
    assert convert(layout, tmp_path / "there", "--to", name, *options) == 0
    back = Layout(tmp_path / "there", layout.truth, ["--from", name])
    if name == "folders":
        kind = (
            "visible_face" if "visible_face" in next(iter(layout.truth.values())) else "occlusion"
        )
        back.options.extend(["--masks", kind, "--polarity", kind])
        assert convert(back, tmp_path / "back") == 0
        check(tmp_path / "back", layout, (kind,))
        return
    assert convert(back, tmp_path / "back") == 0
    truth = {
        image: {kind: labels[kind] for kind in KINDS if kind in labels and says(labels[kind])}
        for image, labels in layout.truth.items()
    }
    for labels in truth.values():
        if "visible_face" not in labels:  # then an image without any instance is an unoccluded face
            labels.setdefault("occlusion", np.zeros((32, 32), bool))
    check(tmp_path / "back", Layout(back.root, truth, []))


@pytest.mark.parametrize("target", ["coco", "coco --polygons", "labelme"])
def test_images_without_truth_do_not_become_unoccluded(
    target: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = make("s3pot", tmp_path / "source")
    empty = np.zeros((32, 32), bool)
    save(layout.root / "truth" / "sub" / "b_occlusion.png", empty.astype(np.uint8))
    (layout.root / "truth" / "sub" / "b_visible_face.png").unlink()
    for path in (layout.root / "truth").glob("a_*"):
        path.unlink()
    # Two images of which a file of shapes could only say that they are unoccluded.
    for seed, name in enumerate(("only_ignored", "nothing_seen")):
        save(layout.root / "raw_images" / f"{name}.png", picture(seed + 10))
    save(layout.root / "truth" / "only_ignored_ignore.png", np.full((32, 32), 255, np.uint8))
    save(layout.root / "truth" / "nothing_seen_visible_face.png", empty.astype(np.uint8))
    name, *options = target.split()
    assert convert(layout, tmp_path / "there", "--to", name, *options) == 0
    assert "is known for 3 images: a, nothing_seen, only_ignored." in caplog.text
    assert convert(Layout(tmp_path / "there", {}, ["--from", name]), tmp_path / "back") == 0
    truths = {path.name for path in (tmp_path / "back" / "truth").rglob("*_*.png")}
    assert truths == {"b_occlusion.png", "b_ignore.png"}
    assert not read_mask(tmp_path / "back" / "truth" / "sub" / "b_occlusion.png").any()


def test_a_file_of_shapes_goes_when_its_truth_does(tmp_path: Path) -> None:
    layout = make("s3pot", tmp_path / "source")
    out = tmp_path / "there"
    assert convert(layout, out, "--to", "labelme") == 0
    assert (out / "images" / "a.json").is_file()
    for path in (layout.root / "truth").glob("a_*"):
        path.unlink()
    assert convert(layout, out, "--to", "labelme") == 0
    assert not (out / "images" / "a.json").exists()
    assert (out / "images" / "a.png").is_file() and (out / "images" / "sub" / "b.json").is_file()


def says(mask: np.ndarray) -> bool:
    """Whether a mask can be represented in a format that lists only existing objects."""
    return bool(mask.any())


def test_the_authors_folders_become_faces(tmp_path: Path) -> None:
    layout = make("authors", tmp_path / "source")
    assert convert(layout, tmp_path / "faces", "--to", "faces") == 0
    faces = find_faces(tmp_path / "faces")
    assert [face.name for face in faces] == ["1", "12"]
    for face in faces:
        want = load_aligned_face(find_faces(layout.root)[0 if face.name == "1" else 1])
        found = load_aligned_face(face)
        np.testing.assert_array_equal(found.image, want.image)
        np.testing.assert_array_equal(found.reference, want.reference)
        np.testing.assert_array_equal(found.parsing, want.parsing)
        occlusion = layout.truth[face.name]["occlusion"]
        np.testing.assert_array_equal(require_truth(face).occlusion, occlusion)


def test_faces_keep_all_files_of_a_face(
    tmp_path: Path, processed_folder: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    source = processed_folder(2)
    for name in ("face_00", "face_01"):
        (source / f"{name}_align.json").write_text('{"quality": "ok"}')
    (source / "face_01_labels.npy").write_bytes(b"12 classes")
    out = tmp_path / "out"
    assert convert(Layout(source, {}, ["--from", "faces"]), out, "--to", "faces") == 0
    assert "left out" not in caplog.text
    copies = {path.name for path in out.glob("face_*")}
    assert copies == {path.name for path in source.glob("face_*")}
    assert all(face.align is not None and face.clean is not None for face in find_faces(out))
    # A companion that is gone from the source goes from the copy too.
    (source / "face_01_labels.npy").unlink()
    assert convert(Layout(source, {}, ["--from", "faces"]), out, "--to", "faces") == 0
    assert not (out / "face_01_labels.npy").exists()


@pytest.mark.parametrize("target", ["faces", "s3pot"])
def test_a_face_that_is_named_like_a_file_of_another_is_refused(
    target: str,
    tmp_path: Path,
    processed_folder: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = processed_folder(3)
    (source / "face_00_occlusion.png").unlink()
    for path in list(source.glob("face_01*")):
        path.rename(source / path.name.replace("face_01", "face_00_occlusion"))
    for path in list(source.glob("face_02*")):
        path.rename(source / path.name.replace("face_02", "alone_ref"))  # no face is called alone
    out = tmp_path / "out"
    assert convert(Layout(source, {}, ["--from", "faces"]), out, "--to", target) == 1
    problem = "The face 'face_00_occlusion' is named like a file of the face 'face_00', _occlusion"
    assert problem in caplog.text
    images = out if target == "faces" else out / "raw_images"
    assert (images / "face_00.png").exists() and (images / "alone_ref.png").exists()
    assert not list(out.rglob("face_00_occlusion*.png"))


@pytest.mark.parametrize("target", ["folders", "coco", "labelme", "s3pot"])
def test_files_without_a_place_are_named_once(
    target: str,
    tmp_path: Path,
    processed_folder: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = processed_folder(2)
    (source / "face_00_align.json").write_text("{}")
    layout = Layout(source, {}, ["--from", "faces"])
    for _ in range(2):  # also if all images are finished
        caplog.clear()
        assert convert(layout, tmp_path / "out", "--to", target) == 0
        (warning,) = [line for line in caplog.messages if "left out" in line]
        clean = "" if target == "s3pot" else "2 x _clean.png, "
        lost = f"1 x _align.json, {clean}2 x _parsing_mask.npy, 2 x _ref.png."
        assert warning.endswith(
            f"layout {target} has no place for these files, which were left out: {lost}"
        )
    assert (tmp_path / "out" / "truth" / "face_00_clean.png").exists() == (target == "s3pot")


def test_true_classes_without_a_place_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = make("celebamask-hq", tmp_path / "source")
    assert convert(layout, tmp_path / "out", "--to", "coco") == 0
    assert "were left out: 3 x _true_parsing.npy." in caplog.text


def test_a_converted_data_set_keeps_further_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = make("s3pot", tmp_path / "source")
    save(layout.root / "truth" / "a_clean.png", picture(5))
    (layout.root / "truth" / "a_labels.npy").write_bytes(b"12 classes")
    (layout.root / "truth" / "a.json").write_text("{}")  # of another tool, beside a_occlusion.png
    assert convert(layout, tmp_path / "out") == 0
    copied = {path.name for path in (tmp_path / "out" / "truth").glob("a*")}
    assert copied == {path.name for path in (layout.root / "truth").glob("a*")} - {"a.json"}
    assert "were left out: 1 x .json." in caplog.text


def test_other_formats_have_no_references(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = make("realocc", tmp_path / "source")
    assert convert(layout, tmp_path / "faces", "--to", "faces") == 2
    assert "realocc has no references and parsings" in caplog.text


def test_lists_of_names_are_kept(tmp_path: Path) -> None:
    layout = make("realocc", tmp_path / "source")
    assert convert(layout, tmp_path / "out") == 0
    assert (tmp_path / "out" / "splits" / "train.txt").read_text() == "a\nb\n"
    assert (tmp_path / "out" / "splits" / "val.txt").read_text() == "c\n"


@every_format
def test_a_bad_image_is_named_and_the_rest_is_done(
    layout: Layout, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damage, file, key = ERRORS[layout.options[1]]
    damage(layout.root)
    out = tmp_path / "out"
    assert convert(layout, out) == 1
    (failure,) = [line for line in caplog.text.splitlines() if "failed:" in line]
    assert file in failure and key in failure
    listed = (out / "records" / "failures.csv").read_text()
    assert file in listed
    dataset = json.loads((out / "dataset.json").read_text())
    assert (dataset["images"], dataset["failed"]) == (len(layout.truth) - 1, 1)


@pytest.mark.slow
@every_format
def test_a_second_run_does_what_is_missing(layout: Layout, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert convert(layout, out) == 0
    files = {
        path: path.stat().st_mtime_ns for path in out.glob("*/*.*") if "records" not in path.parts
    }
    victim = next(iter(sorted(path for path in files if "raw_images" in path.parts)))
    victim.unlink()
    assert convert(layout, out) == 0
    check(out, layout)
    redone = {path for path in files if path.stat().st_mtime_ns != files[path]}
    assert victim in redone
    assert all(
        path.name.startswith(f"{victim.stem}") or path.parent.name == "splits" for path in redone
    )


def test_an_image_that_changed_is_done_again(tmp_path: Path) -> None:
    layout = make("folders", tmp_path / "source")
    out = tmp_path / "out"
    assert convert(layout, out) == 0
    save(layout.root / "labels" / "c_mask.png", np.zeros((32, 32), np.uint8))
    shutil.rmtree(layout.root / "void")
    (layout.root / "void").mkdir()
    assert convert(layout, out) == 0
    assert not read_mask(out / "truth" / "c_occlusion.png").any()
    assert not (out / "truth" / "c_ignore.png").exists()


def test_parts_of_an_array_job_make_one_data_set(tmp_path: Path) -> None:
    layout = make("coco", tmp_path / "source")
    out = tmp_path / "out"
    for part in ("0/2", "1/2"):
        assert convert(layout, out, "--to", "coco", "--shard", part) == 0
    assert not (out / "annotations.json").exists()
    assert convert(layout, out, "--to", "coco") == 0
    content = json.loads((out / "annotations.json").read_text())
    assert len(content["images"]) == 4
    assert len(content["annotations"]) == 3


@pytest.mark.parametrize(
    ("first", "second"), [("coco", "s3pot"), ("coco", "labelme"), ("s3pot", "folders")]
)
@pytest.mark.parametrize("is_finished", [True, False])
def test_a_folder_keeps_one_layout(
    tmp_path: Path, first: str, second: str, is_finished: bool, caplog: pytest.LogCaptureFixture
) -> None:
    layout = make("s3pot", tmp_path / "source")
    out = tmp_path / "out"
    assert convert(layout, out, "--to", first) == 0
    if not is_finished:  # as after a share of the images, or a run that was killed
        (out / "dataset.json").unlink()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for options in ([], ["--overwrite"], ["--shard", "0/2"]):
        caplog.clear()
        assert convert(layout, out, "--to", second, *options) == 2
        assert f"{out} holds a data set in the layout {first} (" in caplog.text
        assert f"--to {second} would mix" in caplog.text
        assert "choose another --output_dir, or delete this one first" in caplog.text
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert convert(layout, out, "--to", first) == 0


def test_a_folder_with_a_file_of_another_program_is_not_refused(tmp_path: Path) -> None:
    layout = make("s3pot", tmp_path / "source")
    out = tmp_path / "out"
    (out / "records").mkdir(parents=True)
    (out / "records" / "x_record.json").write_text('{"to": "coco"}')
    (out / "dataset.json").write_text('["to"]')
    assert convert(layout, out) == 0
    check(out, layout)


def test_another_source_leaves_nothing_of_the_earlier_one(tmp_path: Path) -> None:
    realocc = make("realocc", tmp_path / "realocc")
    coco = make("coco", tmp_path / "coco")  # it has images of the same names, and no lists
    out = tmp_path / "out"
    assert convert(realocc, out) == 0
    (out / "splits" / "mine.txt").write_text("a\n")
    assert convert(coco, out) == 0
    check(out, coco)
    assert [path.name for path in (out / "splits").iterdir()] == ["mine.txt"]
    assert convert(coco, out, "--polarity", "visible_face") == 0
    assert list((out / "truth").glob("*_visible_face.png"))
    assert not list((out / "truth").glob("*_occlusion.png"))


def test_a_list_that_was_edited_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert convert(make("realocc", tmp_path / "realocc"), out) == 0
    (out / "splits" / "train.txt").write_text("a\n")
    assert convert(make("coco", tmp_path / "coco"), out) == 0
    assert [path.name for path in (out / "splits").iterdir()] == ["train.txt"]


def test_only_the_files_of_the_converted_images_are_counted(
    tmp_path: Path, processed_folder: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    layout = Layout(processed_folder(3), {}, ["--from", "faces"])
    assert convert(layout, tmp_path / "out", "--to", "coco") == 0
    caplog.clear()
    assert convert(layout, tmp_path / "out", "--to", "coco", "--limit", "2") == 0
    (warning,) = [line for line in caplog.messages if "left out" in line]
    assert warning.endswith("left out: 2 x _clean.png, 2 x _parsing_mask.npy, 2 x _ref.png.")


def test_the_record_of_a_conversion_is_not_a_coco_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = make("s3pot", tmp_path / "source")
    out = tmp_path / "out"
    assert convert(layout, out) == 0
    as_coco = Layout(out, {}, ["--from", "coco"])
    assert convert(as_coco, tmp_path / "back") == 2
    assert f"{out} holds no COCO file such as annotations.json" in caplog.text
    assert "it is in the layout s3pot; pass --from s3pot, or specify" in caplog.text
    caplog.clear()
    there = tmp_path / "there"
    assert convert(layout, there, "--to", "coco") == 0
    (there / "annotations.json").unlink()
    assert convert(Layout(there, {}, ["--from", "coco"]), tmp_path / "back") == 2
    assert f"{there} has lost its annotations.json" in caplog.text
    assert "is not a COCO file" not in caplog.text


def test_labels_are_chosen(tmp_path: Path) -> None:
    layout = make("labelme", tmp_path / "source")
    assert convert(layout, tmp_path / "out", "--labels", "left eye") == 0
    assert read_mask(tmp_path / "out" / "truth" / "a_occlusion.png").sum() == 31 * 31


@pytest.mark.parametrize("name", ["labelme", "coco", "authors"])
def test_annotations_with_endings_in_capitals_are_read(tmp_path: Path, name: str) -> None:
    layout = make(name, tmp_path / "source")
    annotations = list(layout.root.rglob("*.json"))
    assert annotations
    for path in annotations:
        path.rename(path.with_suffix(".JSON"))
    assert recognize(layout.root) == name
    assert convert(layout, tmp_path / "out") == 0
    check(tmp_path / "out", layout, ("occlusion", "ignore"))


@pytest.mark.parametrize(
    "file_name",
    ["../../evil.png", "/etc/evil.png", "a/../../evil.png", "..\\evil.png", "", ".png", 7],
)
def test_hostile_names_stay_inside(
    tmp_path: Path, file_name: object, caplog: pytest.LogCaptureFixture
) -> None:
    layout = make("coco", tmp_path / "deep" / "source")
    save(tmp_path / "deep" / "evil.png", picture(1))
    save(tmp_path / "evil.png", picture(1))

    def rename(content: dict) -> None:  # type: ignore[type-arg]
        content["images"][0]["file_name"] = file_name

    edit_json(layout.root / "annotations" / "instances.json", rename)
    before = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    assert convert(layout, tmp_path / "out" / "a" / "b") == 1
    assert "the file_name of image 1" in caplog.text
    after = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    assert after == before
    assert not list(tmp_path.rglob("out/**/evil*"))


def test_an_image_that_is_listed_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = make("coco", tmp_path / "source")

    def repeat(content: dict) -> None:  # type: ignore[type-arg]
        content["images"].append({**content["images"][0], "id": 77})

    edit_json(layout.root / "annotations" / "instances.json", repeat)
    assert convert(layout, tmp_path / "out") == 1
    assert "two values of file_name give the name 'a'" in caplog.text
    check(tmp_path / "out", layout)


def test_two_images_of_one_number_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = make("celebamask-hq", tmp_path / "source")
    images = layout.root / "CelebA-HQ-img"
    save(images / "00007.jpg", picture(3, 64))
    save(images / "8.png", picture(4, 64))
    masks = layout.root / "CelebAMask-HQ-mask-anno" / "0"
    save(masks / "000000_hat.png", np.zeros((512, 512), np.uint8))
    assert convert(layout, tmp_path / "out") == 1
    assert f"{images / '00007.jpg'} has the number of {images / '7.jpg'}, and so" in caplog.text
    assert f"{images} holds images that are not named <n>.jpg: 8.png." in caplog.text
    assert f"{masks / '000000_hat.png'} is not named <n in 5 digits>_<part>.png" in caplog.text
    assert {path.stem for path in (tmp_path / "out" / "raw_images").iterdir()} == {
        "0",
        "7",
        "2001",
    }


def test_cofw_in_folders_of_other_names(tmp_path: Path) -> None:
    layout = make("cofw", tmp_path / "source")
    inner = layout.root / "COFW_test"
    (inner / "img").rename(inner / "images")
    assert convert(Layout(inner, layout.truth, layout.options), tmp_path / "out") == 0
    check(tmp_path / "out", layout)


def test_images_called_like_truths_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = make("realocc", tmp_path / "source")
    for folder, ending in (("image", ".jpg"), ("mask", ".png")):
        path = layout.root / folder / f"c{ending}"
        path.rename(path.with_name(f"c_visible_face{ending}"))
    assert convert(layout, tmp_path / "out") == 1
    assert "'c_visible_face' ends in _visible_face" in caplog.text


def test_the_output_may_not_lie_in_the_source(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = make("realocc", tmp_path / "source")
    for folder in (layout.root, layout.root / "image" / "out"):
        assert convert(layout, folder) == 2
    assert "choose a folder outside" in caplog.text


def test_polygons_need_pycocotools(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = make("coco", tmp_path / "source")
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    assert coco_module  # run lengths are read without it
    assert convert(layout, tmp_path / "out") == 1
    assert "pip install pycocotools" in caplog.text
    assert (tmp_path / "out" / "truth" / "a_occlusion.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from", "realocc"], "has no folder image; the format realocc is image/, mask/"),
        (["--from", "folders", "--images", "."], "specify with --polarity"),
        (["--from", "coco"], "holds no COCO file; specify it with --annotations"),
        (["--from", "labelme"], "holds no images with LabelMe files"),
        (["--from", "celebamask-hq"], "has no folder CelebA-HQ-img"),
    ],
)
def test_another_layout_is_told_at_once(
    tmp_path: Path, options: list[str], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "empty" / "a.png", picture(0))
    assert convert(Layout(tmp_path / "empty", {}, options), tmp_path / "out") == 2
    assert message in caplog.text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("format_name", "options", "message"),
    [
        ("realocc", ["--polarity", "occlusion"], "--polarity describes a data set in the format "),
        ("labelme", ["--masks", "masks"], "in the format folders; this one is labelme"),
        ("coco", ["--mask_ending", "_m"], "in the format folders; this one is coco"),
        ("folders", ["--annotations", "a.json"], "in the format coco; this one is folders"),
        ("coco", ["--polygons"], "--polygons is about COCO files, but --to is s3pot"),
    ],
)
def test_an_option_of_other_formats_is_refused(
    tmp_path: Path,
    format_name: str,
    options: list[str],
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    layout = make(format_name, tmp_path / "source")
    assert convert(layout, tmp_path / "out", *options) == 2
    assert message in caplog.text
    assert not (tmp_path / "out").exists()


def test_annotations_of_no_image_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = make("coco", tmp_path / "source")

    def lose(content: dict) -> None:  # type: ignore[type-arg]
        content["annotations"][0]["image_id"] = 4711

    edit_json(layout.root / "annotations" / "instances.json", lose)
    assert convert(layout, tmp_path / "out") == 1
    assert "instances.json: image_id 4711 of annotation 111" in caplog.text
    assert len(list((tmp_path / "out" / "raw_images").iterdir())) == 4
    assert validate(layout, tmp_path / "report") == 1


def read_coco(layout: Layout) -> CocoJson:
    path = layout.root / "annotations" / "instances.json"
    return CocoJson(layout.root / "images", path, LabelPolicy())


def problems_of(layout: Layout) -> dict[str, str | None]:
    """The problems of a COCO data set's images, by name."""
    return {item.name: item.problem for item in read_coco(layout).items()}


def test_images_that_share_an_id_are_refused_and_not_mixed(tmp_path: Path) -> None:
    layout = make("coco", tmp_path / "source")

    def repeat(content: dict) -> None:  # type: ignore[type-arg]
        content["images"][1]["id"] = content["images"][0]["id"]
        content["annotations"][1]["image_id"] = content["images"][0]["id"]

    edit_json(layout.root / "annotations" / "instances.json", repeat)
    problems = problems_of(layout)
    assert "the images a.png, b.png have the same id 11, so" in (problems["a"] or "")
    assert problems["b"] == problems["a"] and problems["c"] is problems["d"] is None
    assert convert(layout, tmp_path / "out") == 1
    images = sorted(path.name for path in (tmp_path / "out" / "raw_images").iterdir())
    assert images == ["c.png", "d.png"]
    assert validate(layout, tmp_path / "report") == 1


def test_whole_numbers_with_a_decimal_point_are_the_same_ids(tmp_path: Path) -> None:
    layout = make("coco", tmp_path / "source")

    def add_points(content: dict) -> None:  # type: ignore[type-arg]
        for image in content["images"]:
            image["id"] = float(image["id"])

    path = layout.root / "annotations" / "instances.json"
    before = {item.name: item.problem for item in read_coco(layout).items()}
    edit_json(path, add_points)
    assert problems_of(layout) == before
    assert not read_coco(layout).damage()


def test_images_are_not_unoccluded_if_no_annotation_belongs_to_any(tmp_path: Path) -> None:
    layout = make("coco", tmp_path / "source")

    def to_texts(content: dict) -> None:  # type: ignore[type-arg]
        for image in content["images"]:
            image["id"] = str(image["id"])

    edit_json(layout.root / "annotations" / "instances.json", to_texts)
    for problem in problems_of(layout).values():
        assert "no annotation has the id of an image as its image_id" in (problem or "")
    assert convert(layout, tmp_path / "out") == 2
    assert not list((tmp_path / "out").glob("truth/*"))


@pytest.mark.parametrize("nothing", [{}, {"id": None}])
def test_images_without_an_id_are_refused(tmp_path: Path, nothing: dict[str, None]) -> None:
    layout = make("coco", tmp_path / "source")

    def lose(content: dict) -> None:  # type: ignore[type-arg]
        for image in content["images"][:2]:
            del image["id"]
            image.update(nothing)
        del content["annotations"][0]["image_id"]

    path = layout.root / "annotations" / "instances.json"
    edit_json(path, lose)
    problems = problems_of(layout)
    assert "the image 'a.png' has no id" in (problems["a"] or "")
    assert "the image 'b.png' has no id" in (problems["b"] or "")
    assert problems["c"] is None
    damage = CocoJson(layout.root / "images", path, LabelPolicy()).damage()
    assert any("image_id None of annotation 111 is not the id" in problem for problem in damage)


def test_an_image_whose_labels_are_divided_between_two_ids_is_refused(tmp_path: Path) -> None:
    layout = make("coco", tmp_path / "source")

    def split(content: dict) -> None:  # type: ignore[type-arg]
        content["images"].append({**content["images"][0], "id": 999})
        content["annotations"].append({**content["annotations"][0], "image_id": 999})

    edit_json(layout.root / "annotations" / "instances.json", split)
    problems = problems_of(layout)
    assert "'a.png' has the id 11, but annotations also under 999" in (problems["a"] or "")
    assert problems["b"] is None and len(problems) == 5


@pytest.mark.parametrize("name", ["/", ".", "./", "a/.."])
def test_a_file_name_that_names_no_file_is_refused(tmp_path: Path, name: str) -> None:
    layout = make("coco", tmp_path / "source")

    def rename(content: dict) -> None:  # type: ignore[type-arg]
        content["images"][0]["file_name"] = name

    edit_json(layout.root / "annotations" / "instances.json", rename)
    problems = [problem for problem in problems_of(layout).values() if problem is not None]
    assert len(problems) == 1 and "the file_name of image 1" in problems[0]


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        (
            [{"id": 3, "name": "hand"}, {"id": 3, "name": "face"}],
            "'hand' and 'face' have the same id 3, ",
        ),
        ([{"name": "hand"}], "the category 'hand' has no id"),
        ([{"id": None, "name": "hand"}], "the category 'hand' has no id"),
    ],
)
def test_categories_that_cannot_be_told_apart_are_refused(
    tmp_path: Path, categories: list[dict[str, object]], message: str
) -> None:
    layout = make("coco", tmp_path / "source")
    edit_json(
        layout.root / "annotations" / "instances.json",
        lambda content: content.update(categories=categories),
    )
    with pytest.raises(DatasetError, match=message):
        problems_of(layout)


def test_a_category_that_is_listed_twice_is_one(tmp_path: Path) -> None:
    layout = make("coco", tmp_path / "source")
    edit_json(
        layout.root / "annotations" / "instances.json",
        lambda content: content["categories"].append(content["categories"][0]),
    )
    assert set(problems_of(layout).values()) == {None}


def test_coco_labels_that_name_nothing_are_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = make("coco", tmp_path / "source")
    assert convert(layout, tmp_path / "typo", "--labels", "hnad") == 0
    (warning,) = [line for line in caplog.messages if "hnad" in line]
    assert "truth.labels names hnad, which no annotation has" in warning
    assert "nothing counts as occlusion; its categories with annotations are: face, hand" in warning
    caplog.clear()
    assert convert(layout, tmp_path / "half", "--labels", "Hand,hnad") == 0
    (warning,) = [line for line in caplog.messages if "hnad" in line]
    assert "nothing counts" not in warning
    caplog.clear()
    assert convert(layout, tmp_path / "right", "--labels", "hand") == 0
    assert "categories" not in caplog.text


@pytest.mark.parametrize(("category", "listed"), [(None, "none"), (4, "face")])
def test_a_coco_file_without_occluders_is_a_warning(
    tmp_path: Path, category: int | None, listed: str, caplog: pytest.LogCaptureFixture
) -> None:
    layout = make("coco", tmp_path / "source")

    def keep(content: dict) -> None:  # type: ignore[type-arg]
        entries = content["annotations"]
        content["annotations"] = [one for one in entries if one["category_id"] == category]

    edit_json(layout.root / "annotations" / "instances.json", keep)
    words = "no annotation is an occluder, so nothing counts as occlusion; its categories with "
    for command in (convert, validate):
        caplog.clear()
        assert command(layout, tmp_path / command.__name__) == 0
        assert caplog.text.count(f"{words}annotations are: {listed}.") == 1
    caplog.clear()
    assert convert(layout, tmp_path / "face", "--polarity", "visible_face", "--labels", "face") == 0
    assert ("nothing counts as visible_face" in caplog.text) == (category is None)


def test_images_are_copied_as_they_are(tmp_path: Path) -> None:
    layout = make("realocc", tmp_path / "source")
    assert convert(layout, tmp_path / "out") == 0
    for name in layout.truth:
        copy = tmp_path / "out" / "raw_images" / f"{name}.jpg"
        assert copy.read_bytes() == (layout.root / "image" / f"{name}.jpg").read_bytes()
        assert read_rgb(copy).shape == (32, 32, 3)


def test_a_true_parsing_of_another_size_is_converted_at_that_of_its_image(
    tmp_path: Path, processed_folder: Callable[..., Path]
) -> None:
    faces = processed_folder(1, size=64)
    small = np.random.default_rng(0).integers(0, 12, (32, 32)).astype(np.uint8)
    np.save(faces / "face_00_true_parsing.npy", small)

    def convert_folder(source_format: str, source: Path, target: str) -> int:
        folders = ["--input_dir", str(source), "--output_dir", str(tmp_path / target)]
        return main(["data", "convert", "--from", source_format, *folders])

    assert convert_folder("faces", faces, "out") == 0
    written = np.load(tmp_path / "out" / "truth" / "face_00_true_parsing.npy")
    np.testing.assert_array_equal(written, small.repeat(2, 0).repeat(2, 1))
    assert convert_folder("s3pot", tmp_path / "out", "again") == 0


@pytest.mark.slow
def test_a_converted_data_set_goes_all_the_way_to_a_table(
    tmp_path: Path, mini_options: list[str]
) -> None:
    from s3pot.commands import evaluate, generate_reference, inference

    layout = make("s3pot", tmp_path / "source")
    for path in layout.root.rglob("*_occlusion.png"):
        path.unlink()
    faces, results = tmp_path / "faces", tmp_path / "results"
    folders = ["--input_dir", str(layout.root / "raw_images"), "--output_dir", str(faces)]
    truth = ["--truth_dir", str(layout.root / "truth")]
    assert generate_reference.main([*folders, *truth, *mini_options]) == 0
    for name, labels in layout.truth.items():
        for kind in ("visible_face", "ignore"):
            np.testing.assert_array_equal(read_mask(faces / f"{name}_{kind}.png"), labels[kind])
        parsing = np.load(faces / f"{name}_true_parsing.npy")
        np.testing.assert_array_equal(parsing, labels["true_parsing"])
    data = ["--datapath", str(faces)]
    assert inference.main([*data, "--output_dir", str(results), *mini_options]) == 0
    assert evaluate.main([*data, "--results", str(results), "truth.glasses=occlusion"]) == 0
    table = (results / "table.md").read_text()
    rule = "minus true visible face without slivers below 0.04 and pieces below 0.005"
    assert f"{rule}; glasses occlusion; ignore" in table

"""``s3pot data``: every format is read, written and read again, and its errors are reported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import s3pot.data.datasets.coco as coco_module
from s3pot.__main__ import main
from s3pot.data.face_folder import find_faces, load_aligned_face
from s3pot.data.image import read_rgb
from s3pot.data.masks import read_mask
from s3pot.data.truth import require_truth
from tests.data.datasets.layouts import LAYOUTS, Layout, make, picture, save

KINDS = ("occlusion", "visible_face", "ignore")


def convert(layout: Layout, output_dir: Path, *options: str) -> int:
    folders = ["--input_dir", str(layout.root), "--output_dir", str(output_dir)]
    return main(["data", "convert", *layout.options, *folders, *options])


def check(folder: Path, layout: Layout, kinds: tuple[str, ...] = (*KINDS, "true_parsing")) -> None:
    """Check that a folder of raw_images and truth matches a data set exactly."""
    images = {
        path.relative_to(folder / "raw_images").with_suffix("").as_posix(): path
        for path in (folder / "raw_images").rglob("*.*")
    }
    assert set(images) == set(layout.truth)
    for name, labels in layout.truth.items():
        for kind in kinds:
            ending = "npy" if kind == "true_parsing" else "png"
            path = folder / "truth" / f"{name}_{kind}.{ending}"
            assert path.exists() == (kind in labels), path
            if kind in labels:
                found = np.load(path) if ending == "npy" else read_mask(path)
                np.testing.assert_array_equal(found, labels[kind], err_msg=str(path))


@pytest.fixture
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> Layout:
    return make(request.param, tmp_path / "source")


every_format = pytest.mark.parametrize("layout", list(LAYOUTS), indirect=True)


def sources(layout: Layout) -> dict[str, bytes]:
    return {path.as_posix(): path.read_bytes() for path in layout.root.rglob("*") if path.is_file()}


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
    if name == "labelme":
        back = Layout(tmp_path / "there" / "images", layout.truth, ["--from", name])
    assert convert(back, tmp_path / "back") == 0
    truth = {
        image: {kind: labels[kind] for kind in KINDS if kind in labels and says(labels[kind])}
        for image, labels in layout.truth.items()
    }
    for labels in truth.values():
        if "visible_face" not in labels:  # then an image without any instance is an unoccluded face
            labels.setdefault("occlusion", np.zeros((32, 32), bool))
    check(tmp_path / "back", Layout(back.root, truth, []))


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


def test_other_formats_have_no_references(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = make("realocc", tmp_path / "source")
    assert convert(layout, tmp_path / "faces", "--to", "faces") == 2
    assert "realocc has no references and parsings" in caplog.text


def test_lists_of_names_are_kept(tmp_path: Path) -> None:
    layout = make("realocc", tmp_path / "source")
    assert convert(layout, tmp_path / "out") == 0
    assert (tmp_path / "out" / "splits" / "train.txt").read_text() == "a\nb\n"
    assert (tmp_path / "out" / "splits" / "val.txt").read_text() == "c\n"


def edit_json(path: Path, edit: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def break_realocc(root: Path) -> None:
    save(root / "mask" / "b.png", np.arange(32 * 32, dtype=np.uint8).reshape(32, 32) // 90)


def break_cofw(root: Path) -> None:
    (root / "COFW_test" / "mask" / "2.png").unlink()


def break_celebamask_hq(root: Path) -> None:
    save(root / "CelebAMask-HQ-mask-anno" / "1" / "02001_hair.png", np.zeros((64, 64), np.uint8))


def break_folders(root: Path) -> None:
    (root / "labels" / "sub" / "b_mask.png").write_bytes(b"\x89PNG cut off")


def break_coco(root: Path) -> None:
    def shorten(content: dict) -> None:  # type: ignore[type-arg]
        content["annotations"][1]["segmentation"]["counts"].pop()

    edit_json(root / "annotations" / "instances.json", shorten)


def break_labelme(root: Path) -> None:
    def without_points(content: dict) -> None:  # type: ignore[type-arg]
        del content["shapes"][0]["points"]

    edit_json(root / "b.json", without_points)


def break_authors(root: Path) -> None:
    np.save(root / "12" / "12_parsing_mask.npy", np.full((32, 32), 77, np.uint8))


def break_own(root: Path) -> None:
    save(root / "truth" / "sub" / "b_ignore.png", np.zeros((5, 5), np.uint8))


# How one image of a format is damaged, and what the message names: the file, and the key in it.
ERRORS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "realocc": (break_realocc, "mask/b.png", "3 values"),
    "cofw": (break_cofw, "mask/2.png", "has no mask"),
    "celebamask-hq": (break_celebamask_hq, "02001_hair.png", "64 x 64"),
    "folders": (break_folders, "b_mask.png", "not a readable image"),
    "coco": (break_coco, "instances.json", "segmentation of annotation 112"),
    "labelme": (break_labelme, "b.json", "'points'"),
    "authors": (break_authors, "12_parsing_mask.npy", "77"),
    "s3pot": (break_own, "b_ignore.png", "5 x 5"),
}


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


def test_labels_are_chosen(tmp_path: Path) -> None:
    layout = make("labelme", tmp_path / "source")
    assert convert(layout, tmp_path / "out", "--labels", "left eye") == 0
    assert read_mask(tmp_path / "out" / "truth" / "a_occlusion.png").sum() == 31 * 31


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


def validate(layout: Layout, output_dir: Path, *options: str) -> int:
    given = layout.options if layout.options[1] == "folders" else []
    target = ["--output_dir", str(output_dir)]
    return main(["data", "validate", str(layout.root), *given, *target, *options])


@every_format
def test_a_good_data_set_is_told_and_shown(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sources(layout)
    assert validate(layout, tmp_path / "report") == 0
    name = layout.options[1]
    count = len(layout.truth)
    text = capsys.readouterr().out
    assert f"{name}: {count} of {count} images can be read" in text
    assert "nothing is wrong" in text
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert (report["format"], report["images"], report["readable"]) == (name, count, count)
    side = 64 if name == "celebamask-hq" else 32
    assert report["sizes"] == {f"{side} x {side}": count}
    assert not (tmp_path / "report" / "problems.csv").exists()
    sheet = read_rgb(tmp_path / "report" / "contact_sheet.png")
    assert sheet.shape[0] > 160 and sheet.std() > 10
    assert sources(layout) == before


@every_format
def test_what_is_wrong_is_named_by_file_and_key(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, file, key = ERRORS[layout.options[1]]
    damage(layout.root)
    assert validate(layout, tmp_path / "report") == 1
    (problem,) = [line for line in capsys.readouterr().out.splitlines() if "problem (" in line]
    assert file in problem and key in problem
    assert file in (tmp_path / "report" / "problems.csv").read_text()


@pytest.mark.slow
def test_histograms_count_pixels(tmp_path: Path) -> None:
    layout = make("celebamask-hq", tmp_path / "source")
    assert validate(layout, tmp_path / "report") == 0
    classes = json.loads((tmp_path / "report" / "report.json").read_text())["classes"]
    maps = np.stack([labels["true_parsing"] for labels in layout.truth.values()])
    assert classes["hair"]["pixels"] == pytest.approx((maps == 4).mean())
    assert classes["hair"]["images"] == 3
    layout = make("coco", tmp_path / "coco")
    assert validate(layout, tmp_path / "report") == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["shapes"] == {"hand": 3, "face": 1}
    shares = [labels["occlusion"].mean() for labels in layout.truth.values()]
    assert report["occluded_share"]["nothing"] == sum(share == 0 for share in shares) == 1
    assert report["occluded_share"]["to 25%"] == sum(0.1 < share <= 0.25 for share in shares)
    assert sum(report["occluded_share"].values()) == 4


def test_partners_that_are_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = make("realocc", tmp_path / "source")
    (layout.root / "image" / "a.jpg").unlink()
    (layout.root / "mask" / "b.png").unlink()
    assert validate(layout, tmp_path / "report") == 1
    text = capsys.readouterr().out
    assert "mask holds masks without an image: a.png" in text
    assert "train.txt lists names without an image: a" in text
    assert "b.png does not exist" in text
    assert "3 problems" in text


@pytest.mark.slow
def test_masks_of_the_wrong_place_and_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = make("celebamask-hq", tmp_path / "source")
    masks = layout.root / "CelebAMask-HQ-mask-anno"
    shutil.copy(masks / "0" / "00000_skin.png", masks / "0" / "00000_beard.png")
    shutil.copy(masks / "0" / "00000_skin.png", masks / "0" / "02001_mouth.png")
    shutil.copy(masks / "0" / "00000_skin.png", masks / "0" / "00099_skin.png")
    assert validate(layout, tmp_path / "report") == 1
    text = capsys.readouterr().out
    assert "00000_beard.png is not named" in text
    assert "02001_mouth.png belongs in" in text
    assert "images that do not exist: 99.jpg" in text


def test_duplicates_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = make("realocc", tmp_path / "source")
    images, masks = layout.root / "image", layout.root / "mask"
    shutil.copy(images / "a.jpg", images / "again.jpg")
    save(images / "other.png", read_rgb(images / "a.jpg"))  # the same pixels in another file
    for name in ("again", "other"):
        shutil.copy(masks / "a.png", masks / f"{name}.png")
    (layout.root / "split" / "val.txt").write_text("again\nb\nc\n")
    assert validate(layout, tmp_path / "report") == 1
    text = capsys.readouterr().out
    assert "problem (same file): " in text and "again.jpg (val) are the same file" in text
    assert "problem (same pixels): " in text and "other.png show the same pixels" in text
    assert "problem (splits): b: it is in several lists: train, val" in text


def test_empty_faces_and_unlabeled_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = make("cofw", tmp_path / "cofw")
    save(layout.root / "COFW_test" / "mask" / "2.png", np.zeros((32, 32), np.uint8))
    assert validate(layout, tmp_path / "report") == 1
    assert "problem (empty): 2: the visible face of" in capsys.readouterr().out
    layout = make("labelme", tmp_path / "labelme")
    (layout.root / "c.json").unlink()
    assert validate(layout, tmp_path / "report") == 1
    assert "problem (unlabeled): c:" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["folders", "s3pot", "coco"])
def test_inverted_masks_are_a_problem_and_a_warning(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    layout = make(name, tmp_path / "source")
    full = np.full((32, 32), 255, np.uint8)
    full[:2] = 0
    if name == "coco":
        polygon = [0, 2, 32, 2, 32, 32, 0, 32]

        def widen(content: dict) -> None:  # type: ignore[type-arg]
            content["annotations"][0]["segmentation"] = [polygon]

        edit_json(layout.root / "annotations" / "instances.json", widen)
    else:
        save(
            layout.root / {"folders": "labels/a_mask.png", "s3pot": "truth/a_occlusion.png"}[name],
            full,
        )
    assert validate(layout, tmp_path / "report") == 1
    (problem,) = [line for line in capsys.readouterr().out.splitlines() if "problem (" in line]
    assert problem.startswith("problem (suspicious): a: ")
    assert "a.png: the occlusion covers 94 % of the image. Is it inverted" in problem
    caplog.clear()
    assert convert(layout, tmp_path / "out") == 0
    assert caplog.text.count("a.png: the occlusion covers 94 % of the image") == 1


def test_a_visible_face_that_is_the_whole_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = make("cofw", tmp_path / "source")
    save(layout.root / "COFW_test" / "mask" / "2.png", np.full((32, 32), 255, np.uint8))
    assert validate(layout, tmp_path / "report") == 1
    text = capsys.readouterr().out
    assert "2.jpg: the visible face covers the whole image" in text
    assert "\n1 problem; " in text


@pytest.mark.parametrize("name", ["labelme", "authors"])
def test_shapes_of_no_area_and_without_a_label_are_problems(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    layout = make(name, tmp_path / "source")
    path = layout.root / {"labelme": "a.json", "authors": "1/1.json"}[name]

    def add(content: dict) -> None:  # type: ignore[type-arg]
        two_points = {"label": "cup", "points": [[1, 1], [5, 5]], "shape_type": "polygon"}
        unlabeled = {**content["shapes"][0], "label": ""}
        content["shapes"] = [two_points, *content["shapes"], unlabeled]

    edit_json(path, add)
    count = len(json.loads(path.read_text())["shapes"])
    assert validate(layout, tmp_path / "report") == 1
    text = capsys.readouterr().out
    assert f"{path.name}: shape 1, labeled 'cup', is a polygon of 2 points, which encl" in text
    assert f"{path.name}: shape {count} has no label." in text
    assert "\n2 problems; " in text
    caplog.clear()
    assert convert(layout, tmp_path / "out") == 0
    assert "shapes without a label count as occluders" in caplog.text
    assert "shapes that enclose no area are skipped: polygon" in caplog.text


@pytest.mark.parametrize(
    ("name", "mask"), [("folders", "labels/a_mask"), ("s3pot", "truth/a_occlusion")]
)
def test_two_masks_of_one_image_are_a_problem(
    name: str,
    mask: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    layout = make(name, tmp_path / "source")
    save(layout.root / f"{mask}.bmp", np.zeros((32, 32), np.uint8))
    words = f"{Path(mask).name}.png is read, and not {Path(mask).name}.bmp beside it"
    assert validate(layout, tmp_path / "report") == 1
    assert words in capsys.readouterr().out
    assert convert(layout, tmp_path / "out") == 0
    assert words in caplog.text


def test_a_face_without_skin_and_a_part_in_the_wrong_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = make("celebamask-hq", tmp_path / "source")
    masks = layout.root / "CelebAMask-HQ-mask-anno"
    (masks / "0" / "00007_skin.png").unlink()
    (masks / "0" / "00000_nose.png").rename(masks / "00000_nose.png")
    assert validate(layout, tmp_path / "report") == 1
    text = capsys.readouterr().out
    assert "00007_skin.png does not exist, so the face of 7.jpg has no skin" in text
    assert "00000_nose.png belongs in" in text
    assert "\n2 problems; " in text


def test_no_data_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "photos" / "a.png", picture(0))
    assert validate(Layout(tmp_path / "photos", {}, ["--from", "auto"]), tmp_path / "report") == 2
    assert "specify it with --from" in caplog.text
    assert validate(Layout(tmp_path / "nothing", {}, ["--from", "auto"]), tmp_path / "out") == 2


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
    assert split_into(source, out, "--parts", "train=6", "test=6") == 2
    assert "holds a different split" in caplog.text
    assert split_into(source, out, "--parts", "train=6", "test=6", "--overwrite") == 0
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

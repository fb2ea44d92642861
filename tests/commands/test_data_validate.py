"""``s3pot data validate``: what a data set holds, and what is wrong with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from s3pot.__main__ import main
from s3pot.data.image import read_rgb
from tests.commands.data_commands import (
    ERRORS,
    check,
    convert,
    edit_json,
    every_format,
    sources,
    validate,
)
from tests.data.datasets.layouts import Layout, make, picture, save


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


@pytest.mark.parametrize("source", ["coco", "realocc"])
def test_folders_written_by_a_conversion_are_recognized(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = make(source, tmp_path / "source")
    written = Layout(tmp_path / "written", layout.truth, ["--from", "folders"])
    assert convert(layout, written.root, "--to", "folders") == 0
    report = tmp_path / "report"
    assert main(["data", "validate", str(written.root), "--output_dir", str(report)]) == 0
    assert f"folders: {len(layout.truth)} of {len(layout.truth)} images" in capsys.readouterr().out
    assert convert(written, tmp_path / "back") == 0
    check(tmp_path / "back", layout)


def test_folders_of_two_kinds_of_masks_need_a_choice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = make("s3pot", tmp_path / "source")
    written = tmp_path / "written"
    assert convert(layout, written, "--to", "folders") == 0
    kinds = [kind for kind in ("occlusion", "visible_face") if (written / kind).is_dir()]
    assert len(kinds) == 2
    arguments = ["data", "validate", str(written), "--output_dir", str(tmp_path / "report")]
    assert main(arguments) == 2
    assert f"{written} holds masks in occlusion/ and in visible_face/" in caplog.text
    assert "choose one with --polarity" in caplog.text
    assert main([*arguments, "--polarity", "visible_face"]) in (0, 1)
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["format"] == "folders" and report["images"] == len(layout.truth)


@pytest.mark.slow
def test_histograms_count_pixels(tmp_path: Path) -> None:
    layout = make("celebamask-hq", tmp_path / "source")
    assert validate(layout, tmp_path / "report") == 0
    classes = json.loads((tmp_path / "report" / "report.json").read_text())["classes"]
    maps = np.stack([labels["true_parsing"] for labels in layout.truth.values()])
    assert classes["hair"]["pixel_share"] == pytest.approx((maps == 4).mean())
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

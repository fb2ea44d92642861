"""Ground truth as it occurs for photos: beside them, with the photo's name, as LabelMe files.

Reported by users of LabelMe.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from PIL import Image

import evaluate
import generate_reference
from s3pot.data.image import write_png
from s3pot.data.masks import read_mask
from s3pot.data.truth import read_truth, require_truth
from s3pot.data.truth_paths import faces_with_truth, find_truth

TRUTH = np.zeros((48, 64), bool)
TRUTH[10:31, 20:41] = True
BOX = [[20, 10], [40, 10], [40, 30], [20, 30]]


@pytest.fixture
def run(tmp_path: Path, mini_options: list[str]) -> Callable[..., int]:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    write_png(tmp_path / "in" / "sub" / "a.png", pixels)

    def call(truth_dir: Path, *more: str) -> int:
        folders = ["--input_dir", str(tmp_path / "in"), "--output_dir", str(tmp_path / "out")]
        return generate_reference.main(
            [*folders, "--truth_dir", str(truth_dir), *mini_options, *more]
        )

    return call


def labelme(path: Path, label: str = "hand", **more: Any) -> None:
    shape = {"label": label, "points": BOX, "shape_type": "polygon"}
    content = {"shapes": [shape], "imageWidth": 64, "imageHeight": 48, **more}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def mask(path: Path, form: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(TRUTH.astype(np.uint8) * 255).save(path, form, quality=90)


MAKERS: dict[str, Callable[[Path], None]] = {
    "a_occlusion.png": mask,
    "a_occlusion.bmp": lambda path: mask(path, "BMP"),
    "a.png": mask,
    "a.jpg": lambda path: mask(path, "JPEG"),
    "a.json": labelme,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_truths_by_their_names(
    tmp_path: Path, run: Callable[..., int], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    MAKERS[name](tmp_path / "truth" / "sub" / name)
    assert run(tmp_path / "truth") == 0
    got = read_mask(tmp_path / "out" / "sub" / "a_occlusion.png")
    assert (got != TRUTH).sum() <= 4
    assert "no ground truth" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a_occlusion.png", "a.json"])
def test_truths_beside_the_photos(tmp_path: Path, run: Callable[..., int], name: str) -> None:
    MAKERS[name](tmp_path / "in" / "sub" / name)
    assert run(tmp_path / "in") == 0
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "sub" / "a_occlusion.png"), TRUTH)
    assert len(list((tmp_path / "out").rglob("*_align.json"))) == 1


@pytest.mark.slow
def test_a_photo_is_not_its_own_truth(
    tmp_path: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    assert find_truth(tmp_path / "in", "sub/a", tmp_path / "in" / "sub" / "a.png") is None
    assert run(tmp_path / "in") == 0
    assert not list((tmp_path / "out").rglob("*_occlusion.png"))
    assert "no ground truth in" in caplog.text


@pytest.mark.slow
def test_the_json_of_another_tool_is_no_truth(tmp_path: Path, run: Callable[..., int]) -> None:
    path = tmp_path / "truth" / "sub" / "a.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"landmarks": []}')
    assert run(tmp_path / "truth") == 0
    mask(tmp_path / "truth" / "sub" / "a.png")
    assert run(tmp_path / "truth") == 0
    assert read_mask(tmp_path / "out" / "sub" / "a_occlusion.png").any()


@pytest.mark.slow
def test_the_policy_for_labels_is_part_of_the_result(
    tmp_path: Path, run: Callable[..., int], mini_options: list[str]
) -> None:
    labelme(tmp_path / "truth" / "sub" / "a.json", "left_eye")
    out = tmp_path / "out" / "sub"
    assert run(tmp_path / "truth") == 0
    assert not read_mask(out / "a_occlusion.png").any()
    assert run(tmp_path / "truth", "--labels", "left_eye") == 0
    np.testing.assert_array_equal(read_mask(out / "a_occlusion.png"), TRUTH)
    record = json.loads((out / "a_align.json").read_text())
    assert record["provenance"]["settings"]["truth"] == {"labels": "left_eye", "ignore": ""}
    (out / "a_occlusion.png").unlink()
    labelme(out / "a.json", "cup")
    results = tmp_path / "results" / "sub"
    write_png(results / "a_occlusion.png", TRUTH)
    scored = ["--datapath", str(tmp_path / "out"), "--results", str(tmp_path / "results")]
    assert evaluate.main([*scored, *mini_options]) == 0
    assert "1.0" in (tmp_path / "results" / "per_image.csv").read_text()
    assert evaluate.main([*scored, "truth.ignore=cup", *mini_options]) == 0
    assert "1.0" not in (tmp_path / "results" / "per_image.csv").read_text().split("\n")[1][:20]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["0 and 1", "RGBA", "16 bit", "palette"])
def test_predictions_are_read_like_truths(
    tmp_path: Path, form: str, mini_options: list[str], processed_folder: Callable[..., Path]
) -> None:
    # Reported at sam-hq #42, segmentation_models #68.
    data = processed_folder(1)
    truth = read_mask(data / "face_00_occlusion.png")
    bits = truth.astype(np.uint8)
    image = {
        "0 and 1": Image.fromarray(bits),
        "RGBA": Image.fromarray(np.dstack([bits * 0] * 3 + [bits * 255])),
        "16 bit": Image.fromarray(bits.astype(np.uint16) * 65535),
        "palette": Image.fromarray(bits * 3).convert("P"),
    }[form]
    (tmp_path / "results").mkdir()
    image.save(tmp_path / "results" / "face_00_occlusion.png")
    scored = ["--datapath", str(data), "--results", str(tmp_path / "results")]
    assert evaluate.main([*scored, *mini_options]) == 0
    header, row = (tmp_path / "results" / "per_image.csv").read_text().splitlines()
    assert float(dict(zip(header.split(","), row.split(",")))["iou"]) == 1


@pytest.mark.parametrize("name", ["a_occlusion.PNG", "a.PNG", "a_occlusion.npy", "a.npy", "a.JSON"])
def test_endings_in_capitals_and_arrays_are_found(tmp_path: Path, name: str) -> None:
    if name.endswith("npy"):
        np.save(tmp_path / name, TRUTH)
    elif name.endswith("JSON"):
        labelme(tmp_path / name)
    else:
        mask(tmp_path / name)
    path = find_truth(tmp_path, "a")
    assert path is not None
    truth = read_truth(path, TRUTH.shape)
    assert truth is not None
    np.testing.assert_array_equal(truth, TRUTH)


@pytest.mark.parametrize("name", ["a_occlusion.npz", "a.mat"])
def test_truths_of_other_programs_are_named(
    run: Callable[..., int], tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "truth" / "sub").mkdir(parents=True)
    (tmp_path / "truth" / "sub" / name).write_bytes(b"x")
    assert run(tmp_path / "truth") == 2  # the only photo
    assert f"{name} is not an image; save the mask as PNG, or its array as .npy" in caplog.text


@pytest.mark.parametrize("ending", [".jpg", ".BMP", ".npy"])
def test_a_truth_beside_a_face_may_be_of_any_format(tmp_path: Path, ending: str) -> None:
    parsing = np.ones(TRUTH.shape, np.uint8)
    pixels = np.zeros((*TRUTH.shape, 3), np.uint8)
    write_png(tmp_path / "a.png", pixels)
    write_png(tmp_path / "a_ref.png", pixels)
    np.save(tmp_path / "a_parsing_mask.npy", parsing)
    if ending == ".npy":
        np.save(tmp_path / "a_occlusion.npy", TRUTH)
    else:
        mask(tmp_path / f"a_occlusion{ending}", {".jpg": "JPEG", ".BMP": "BMP"}[ending])
    (face,) = faces_with_truth(tmp_path)
    np.testing.assert_array_equal(require_truth(face).occlusion, TRUTH)


def test_an_inverted_truth_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_png(tmp_path / "good.png", TRUTH)
    read_truth(tmp_path / "good.png", TRUTH.shape)
    assert not caplog.text
    write_png(tmp_path / "inverted.png", ~TRUTH)
    truth = read_truth(tmp_path / "inverted.png", TRUTH.shape)
    np.testing.assert_array_equal(truth, ~TRUTH)  # as it is: nothing is guessed
    assert "inverted.png: the occlusion covers 86 % of the image. Is it inverted" in caplog.text

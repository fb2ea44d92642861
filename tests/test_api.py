"""The Python API gives the same results as the commands."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import generate_reference
import inference
import s3pot
from s3pot.api import FaceSegmenter
from s3pot.build import build_aligner
from s3pot.config import load_config
from s3pot.data.image import read_rgb, write_png
from s3pot.geometry import Alignment
from s3pot.rg.align import FaceAligner
from s3pot.rg.detect import Face
from s3pot.types import AlignedFace
from tests.builders import TwoFaces

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def config(mini_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config file that names the tiny models."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    model = {"set": "mini", "sam": "mini", "weights_dir": str(mini_dir)}
    path.write_text(yaml.safe_dump({"model": model, "align": {"mode": "never"}}))
    return path


@pytest.fixture(scope="module")
def model(config: Path) -> FaceSegmenter:
    return s3pot.load(config, device="cpu")


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (50, 80, 3)).astype(np.uint8)


def test_equals_the_commands(
    tmp_path: Path, config: Path, model: FaceSegmenter, pixels: np.ndarray
) -> None:
    write_png(tmp_path / "in" / "a.png", pixels)
    data, out = tmp_path / "data", tmp_path / "out"
    common = ["--config", str(config), "--device", "cpu"]
    folders = ["--input_dir", str(tmp_path / "in"), "--output_dir", str(data)]
    assert generate_reference.main([*folders, *common]) == 0
    assert inference.main(["--datapath", str(data), "--output_dir", str(out), *common]) == 0
    result = model.segment(tmp_path / "in" / "a.png")
    assert ((read_rgb(out / "a_occlusion.png")[..., 0] > 0) == result.occlusion).all()
    assert ((read_rgb(out / "a_face.png")[..., 0] > 0) == result.face).all()
    assert (np.load(out / "a_parsing.npy") == result.parsing).all()
    assert (read_rgb(data / "a_ref.png") == result.reference).all()
    for folder, reason in ((data, "is a prepared face"), (out, "belong to the results of infer")):
        with pytest.raises(s3pot.S3potError, match=reason):
            result.save(folder, "a")


def test_completion_offers_the_public_names() -> None:
    assert {"load", "FaceSegmenter", "Segmentation", "S3potError"} <= set(dir(s3pot))
    assert "importlib" not in dir(s3pot)


def test_public_modules_are_reachable_and_imported_late() -> None:
    program = """
import sys, s3pot
assert "torch" not in sys.modules
scores = s3pot.metrics.mask_scores
match = s3pot.ps.greedy.greedy_match
print(scores.__module__, match.__module__)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("s3pot.metrics s3pot.ps.greedy\n", "")


def test_takes_path_picture_and_array(
    tmp_path: Path, model: FaceSegmenter, pixels: np.ndarray
) -> None:
    write_png(tmp_path / "a.png", pixels)
    results = [model.segment(s) for s in (str(tmp_path / "a.png"), Image.fromarray(pixels), pixels)]
    for result in results:
        assert (result.raw == pixels).all()
        assert (result.parsing == results[0].parsing).all()
        assert result.occlusion.shape == result.face.shape == result.parsing.shape == (50, 80)
        assert result.reference.shape == (50, 80, 3)
        assert result.occlusion.dtype == result.face.dtype == bool
        assert result.points.shape == (len(result.labels), 2)
    points, labels = results[0].points, results[0].labels
    assert len(points) and set(labels) <= {0, 1}
    assert points.min() >= 0 and (points.max(axis=0) <= (79, 49)).all()
    assert (results[0].occlusion ^ results[0].face)[tuple(points.round().astype(int).T[::-1])].any()


@pytest.mark.slow
def test_random_noise_is_the_same_in_every_call_and_in_the_commands(
    tmp_path: Path, config: Path, pixels: np.ndarray
) -> None:
    other = np.ascontiguousarray(pixels[::-1])
    for name, image in (("a", other), ("b", pixels)):
        write_png(tmp_path / "in" / f"{name}.png", image)
    path, stored = tmp_path / "random.yaml", yaml.safe_load(config.read_text())
    path.write_text(yaml.safe_dump({**stored, "reference": {"noise": "random", "seed": 5}}))
    data, out = tmp_path / "data", tmp_path / "out"
    common = ["--config", str(path), "--device", "cpu"]
    folders = ["--input_dir", str(tmp_path / "in"), "--output_dir", str(data)]
    assert generate_reference.main([*folders, *common]) == 0
    assert inference.main(["--datapath", str(data), "--output_dir", str(out), *common]) == 0
    model = s3pot.load(path, device="cpu")
    torch.manual_seed(99)  # neither read nor changed
    expected_next = torch.rand(1, generator=torch.Generator().manual_seed(99))
    results = [model.segment(pixels), model.segment(pixels)]
    assert torch.equal(torch.rand(1), expected_next)
    for result in results:
        assert (read_rgb(data / "b_ref.png") == result.reference).all()
        assert (read_rgb(out / "b_occlusion.png")[..., 0] == result.occlusion * 255).all()
        assert (np.load(out / "b_parsing.npy") == result.parsing).all()
    stored_noise = s3pot.load(config, device="cpu").segment(pixels)
    assert (stored_noise.reference != results[0].reference).any()


def test_a_face_without_region_has_an_empty_result(
    model: FaceSegmenter, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = type(model.pipeline.reference_generator)
    generate = generator.generate_batch

    def without_face(self, images: list[np.ndarray], names: list[str]) -> list[AlignedFace]:
        return [
            dataclasses.replace(face, parsing=np.zeros(face.size, np.uint8))
            for face in generate(self, images, names)
        ]

    monkeypatch.setattr(generator, "generate_batch", without_face)
    result = model.segment(pixels)
    assert result.points.shape == (0, 2)
    assert not result.occlusion.any() and not result.face.any() and not result.parsing.any()


def test_errors(tmp_path: Path, model: FaceSegmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3POT_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(s3pot.S3potError, match="none.png"):
        model.segment(tmp_path / "none.png")
    with pytest.raises(s3pot.S3potError, match="4 weight files are missing"):
        s3pot.load("paper", device="cpu")
    with pytest.raises(s3pot.S3potError, match="none.yaml"):
        s3pot.load(tmp_path / "none.yaml")


@pytest.mark.slow
def test_result_shows_itself(tmp_path: Path, model: FaceSegmenter, pixels: np.ndarray) -> None:
    result = model.segment(pixels)
    assert result.is_occluded == result.occlusion.any()
    region = result.occlusion | result.face
    assert result.occluded_share == pytest.approx(result.occlusion.sum() / max(region.sum(), 1))
    assert set(result.parts) == {"skin", "eyes", "brows", "nose", "lips_and_mouth", "glasses"}
    assert result.quality.startswith("doubtful: ")  # noise is not a face
    assert len(repr(result)) < 300 and repr(result).startswith("Segmentation(80 x 50, ")
    assert result._repr_html_().count("<img") == 4
    assert result.overlay().shape == (50, 80, 3)
    assert len(result.plot().axes) == 4
    files = result.save(tmp_path / "out", "a")
    assert sorted(path.name for path in files) == [
        "a_face.png",
        "a_occlusion.png",
        "a_overlay.png",
        "a_parsing.npy",
    ]
    assert ((read_rgb(tmp_path / "out" / "a_occlusion.png")[..., 0] > 0) == result.occlusion).all()


def test_masks_in_the_photo(model: FaceSegmenter, pixels: np.ndarray) -> None:
    result = model.segment(pixels)
    masks = result.in_photo()
    np.testing.assert_array_equal(masks.occlusion, result.occlusion)  # it was used as it is
    quad = ((9.5, 4.5), (9.5, 54.5), (89.5, 54.5), (89.5, 4.5))
    placed = replace(result, alignment=Alignment(quad, (50, 80), (70, 100)))
    masks = placed.in_photo()
    np.testing.assert_array_equal(masks.face[5:55, 10:90], result.face)
    assert masks.face.shape == (70, 100) and masks.face.sum() == result.face.sum()


def test_strict_refuses_what_is_doubtful(
    model: FaceSegmenter, pixels: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    model.segment(pixels)
    assert "the result is doubtful" in caplog.text
    config = replace(model.config, quality=replace(model.config.quality, strict=True))
    with pytest.raises(s3pot.S3potError, match="doubtful"):
        replace(model, config=config).segment(pixels)


@pytest.mark.slow
def test_every_face_of_a_photo(model: FaceSegmenter, caplog: pytest.LogCaptureFixture) -> None:
    photo = np.random.default_rng(1).integers(0, 256, (100, 140, 3)).astype(np.uint8)
    model = replace(model, aligner=FaceAligner(TwoFaces(), 64, "reflect", may_be_aligned=False))
    largest = model.segment(photo)
    assert any("2 faces; the largest is used" in message for message in caplog.messages)
    caplog.clear()
    both = model.segment_all(photo)
    assert not any("the largest is used" in message for message in caplog.messages)
    assert len(both) == 2
    assert (both[0].parsing == largest.parsing).all()
    assert both[0].alignment != both[1].alignment
    assert both[1].in_photo().occlusion.shape == (100, 140)


@pytest.mark.slow
def test_a_batch_is_one_after_the_other(model: FaceSegmenter, pixels: np.ndarray) -> None:
    images = [pixels, np.ascontiguousarray(pixels[::-1]), pixels[:40, :40]]
    alone = [model.segment(image) for image in images]
    together = model.segment_batch(iter(images))
    faces = model.pipeline.segment_batch(images, ["a", "b", "c"])  # as on a GPU
    for one, batched, face in zip(alone, together, faces):
        assert (one.occlusion == batched.occlusion).all()
        assert (one.points == batched.points).all()
        assert (one.occlusion == face.masks.occlusion).all()
    assert model.segment_batch([]) == []
    with pytest.raises(s3pot.S3potError, match=r"given the one path 'a\.png'; pass a list"):
        model.segment_batch("a.png")


def test_the_models_say_shortly_what_they_are(model: FaceSegmenter) -> None:
    assert repr(model) == "FaceSegmenter(mini models, mini, cpu)"


def test_overlay_in_the_photo(model: FaceSegmenter, pixels: np.ndarray) -> None:
    masks = model.segment(pixels).in_photo()
    assert (masks.overlay(pixels) == model.segment(pixels).overlay()).all()
    with pytest.raises(s3pot.S3potError, match="the photo that was segmented"):
        masks.overlay(pixels[:-1])


def test_config_values_as_arguments(config: Path) -> None:
    model = s3pot.load(config, "cpu", overrides=["mask.min_share=0.25"], **{"quality.strict": True})
    assert model.config.mask.min_share == 0.25
    assert model.config.quality.strict
    with pytest.raises(s3pot.S3potError, match=r"no argument 'devices'. Did you mean device\?"):
        s3pot.load(config, "cpu", devices="cpu")


def test_a_value_is_given_once(config: Path) -> None:
    never, always = ["align.mode=never"], {"align.mode": "always"}
    with pytest.raises(s3pot.S3potError, match="align.mode is given twice, as 'never' and as 'al"):
        s3pot.load(config, "cpu", overrides=never, **always)
    with pytest.raises(s3pot.S3potError, match="run.device is given twice, as 'cpu' and as 'mps'"):
        s3pot.load(config, "cpu", overrides=["run.device=mps"])
    with pytest.raises(s3pot.S3potError, match="train.lr is given twice, as 0.0001 and as 0.001"):
        s3pot.load(config, "cpu", overrides=["train.lr=1e-4"], **{"train.lr": 0.001})


def test_a_value_given_twice_alike_is_no_contradiction(config: Path) -> None:
    overrides = ["train.lr=1e-4", "quality.strict=on", "run.device=cpu", "sam.batch=3"]
    settings = {"train.lr": 0.0001, "quality.strict": True, "run.device": "cpu", "sam.batch": 3}
    assert s3pot.load(config, "cpu", overrides=overrides, **settings).config.sam.batch == 3
    later_wins = ["sam.batch=2", "sam.batch=3"]  # as on the command line
    assert s3pot.load(config, "cpu", overrides=later_wins).config.sam.batch == 3
    assert s3pot.load(config, overrides=["run.device=cpu"]).config.run.device == "cpu"


def test_loading_leaves_all_global_random_numbers_as_they_are(config: Path) -> None:
    def states() -> list[bytes]:
        legacy = np.random.get_state()  # noqa: NPY002
        return [torch.get_rng_state().numpy().tobytes(), pickle.dumps((legacy, random.getstate()))]

    before = states()
    s3pot.load(config, "cpu")
    build_aligner(load_config("mini", ["align.mode=always"]))
    assert states() == before


def test_models_are_float32_whatever_the_default_type_is(
    config: Path, model: FaceSegmenter, pixels: np.ndarray
) -> None:
    expected = model.segment(pixels)
    torch.set_default_dtype(torch.float64)
    try:
        loaded = s3pot.load(config, "cpu")
        result = loaded.segment(pixels)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    networks = (loaded.pipeline.adapter, loaded.pipeline.segmenter.sam)
    for network in networks:
        assert {weight.dtype for weight in network.state_dict().values()} <= {torch.float32}
    assert (result.parsing == expected.parsing).all()
    assert (result.reference == expected.reference).all()


def test_one_text_is_no_list_of_overrides(config: Path) -> None:
    with pytest.raises(s3pot.S3potError, match=r"give a list, overrides=\['align.mode=auto'\]"):
        s3pot.load(config, "cpu", overrides="align.mode=auto")


def test_a_file_open_as_text_is_refused(
    tmp_path: Path, model: FaceSegmenter, pixels: np.ndarray
) -> None:
    write_png(tmp_path / "a.png", pixels)
    with (tmp_path / "a.png").open(encoding="latin-1") as file:
        with pytest.raises(s3pot.S3potError, match="is open as text; open it in binary"):
            model.segment(file)
    with (tmp_path / "a.png").open("rb") as file:
        assert model.segment(file).raw.shape == pixels.shape


def test_results_are_saved_only_inside_the_folder(
    tmp_path: Path, model: FaceSegmenter, pixels: np.ndarray
) -> None:
    result = model.segment(pixels)
    (tmp_path / "p.png").write_text("a file")
    for folder in (tmp_path / "p.png", tmp_path / "p.png" / "sub"):
        with pytest.raises(s3pot.S3potError, match=r"because .*p\.png is a file; give a folder"):
            result.save(folder)
    out = tmp_path / "out"
    for name in ("a/../../evil", "../evil", str(tmp_path / "evil"), "", "."):
        with pytest.raises(s3pot.S3potError, match="does not name files in .*out"):
            result.save(out, name)
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
    assert {path.parent for path in result.save(out, "a/b")} == {out / "a"}


def test_saving_twice_replaces_results_but_no_truth(
    tmp_path: Path, model: FaceSegmenter, pixels: np.ndarray
) -> None:
    result = model.segment(pixels)
    assert result.save(tmp_path, "a") == result.save(tmp_path, "a")
    truth = tmp_path / "b_occlusion.png"
    write_png(truth, np.ones(pixels.shape[:2], bool))
    before = truth.read_bytes()
    with pytest.raises(s3pot.S3potError, match="b_occlusion.png would be replaced"):
        result.save(tmp_path, "b")
    assert truth.read_bytes() == before


@pytest.mark.parametrize("name", ["a", "sub/a"])
def test_a_prediction_is_never_saved_as_the_truth_of_a_prepared_face(
    tmp_path: Path, model: FaceSegmenter, pixels: np.ndarray, name: str
) -> None:
    result = model.segment(pixels)
    write_png(tmp_path / f"{name}.png", pixels)
    np.save(tmp_path / f"{name}_parsing_mask.npy", result.parsing)
    before = sorted(tmp_path.rglob("*"))
    for results in (name, f"{name}_visible"):  # a_visible_face.png would be a truth as well
        with pytest.raises(s3pot.S3potError, match=r"a_parsing_mask\.npy.* its ground truth; give"):
            result.save(tmp_path, results)
    assert sorted(tmp_path.rglob("*")) == before
    result.save(tmp_path, "b")  # no prepared face
    result.save(tmp_path / "out", name)


@pytest.mark.parametrize("command", ["inference", "train_per_image", "segment"])
def test_saving_replaces_no_result_of_a_run(
    tmp_path: Path, model: FaceSegmenter, pixels: np.ndarray, command: str
) -> None:
    result = model.segment(pixels)
    files = result.save(tmp_path, "a")
    record = {"provenance": {"settings": {"command": command}}}
    (tmp_path / "a_result.json").write_text(json.dumps(record))
    before = [path.stat().st_mtime_ns for path in files]
    with pytest.raises(s3pot.S3potError, match=rf"results of {command} \(a_result\.json\).*; give"):
        result.save(tmp_path, "a")
    assert [path.stat().st_mtime_ns for path in files] == before
    result.save(tmp_path, "b")


def test_a_json_file_of_another_program_is_no_record(
    tmp_path: Path, model: FaceSegmenter, pixels: np.ndarray
) -> None:
    result = model.segment(pixels)
    for text in ("[1]", "{", '{"provenance": 3}'):
        (tmp_path / "a_result.json").write_text(text)
        assert result.save(tmp_path, "a")


@pytest.mark.slow
def test_the_documented_example_runs(
    tmp_path: Path, model: FaceSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "USAGE.md").read_text(encoding="utf-8")
    section = text.split("## From Python")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.S)
    face = np.random.default_rng(3).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(face).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(s3pot, "load", lambda name, **settings: model, raising=False)
    names: dict[str, Any] = {}
    exec(compile(code, "USAGE.md", "exec"), names)  # noqa: S102
    assert names["marked"].shape == (64, 64, 3)
    assert len(names["faces"]) == 1 and len(names["results"]) == 2
    assert (tmp_path / "face.pdf").is_file() and (tmp_path / "out" / "photo_face.png").is_file()


@pytest.mark.slow
def test_named_configs_are_the_files() -> None:
    loaded = s3pot.load("mini", device="cpu").config
    assert loaded == load_config(ROOT / "configs" / "mini.yaml", ["run.device=cpu"])


def test_import_is_light() -> None:
    code = "import sys, s3pot; assert not {'torch', 'cv2', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert all(hasattr(s3pot, name) for name in s3pot.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = s3pot.nothing


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (np.zeros((4, 5, 3), np.uint8), r"one array \(4, 5, 3\)"),
        (Image.new("RGB", (4, 4)), "one PIL image"),
        (io.BytesIO(b"x"), "one open file"),
        (None, "None"),
        (b"x", "a value of type bytes"),
        (3, "a value of type int"),
    ],
    ids=["array", "pil", "file", "none", "bytes", "int"],
)
def test_a_batch_is_several_images(model: FaceSegmenter, given: Any, named: str) -> None:
    cure = "pass a list of images, or use segment for one"
    with pytest.raises(s3pot.S3potError, match=f"given {named}; {cure}"):
        model.segment_batch(given)


def test_one_image_is_no_list(model: FaceSegmenter, pixels: np.ndarray) -> None:
    with pytest.raises(s3pot.S3potError, match="of type list; .* segment_batch a list of images"):
        model.segment([pixels])


class NoFaces:
    """A detector that never finds a face."""

    sure_score = 0.0
    likely_score = 0.0

    def detect(self, image: np.ndarray) -> list[Face]:
        return []


def test_errors_name_the_image(tmp_path: Path, model: FaceSegmenter, pixels: np.ndarray) -> None:
    write_png(tmp_path / "a", pixels)  # a name that occurs in almost every message
    blind = replace(model, aligner=FaceAligner(NoFaces(), 64, "reflect", may_be_aligned=False))
    for segment in (blind.segment, blind.segment_all, lambda path: blind.segment_batch([path])):
        with pytest.raises(s3pot.S3potError, match=f"^{tmp_path / 'a'}: no face found"):
            segment(tmp_path / "a")
    with pytest.raises(s3pot.S3potError, match=r"^image 2 of 3: The array is int8"):
        model.segment_batch([pixels, pixels.view(np.int8), pixels])
    with pytest.raises(s3pot.S3potError, match=r"^image 1: no face found"):
        blind.segment_batch(iter([pixels]))
    with pytest.raises(s3pot.S3potError, match=r"^The array is int8"):
        model.segment(pixels.view(np.int8))
    strict = replace(model.config, quality=replace(model.config.quality, strict=True))
    with pytest.raises(s3pot.S3potError, match="^image 1 of 1: the result would be doubtful"):
        replace(model, config=strict).segment_batch([pixels])


def test_empty_paths_are_refused(model: FaceSegmenter, config: Path) -> None:
    with pytest.raises(s3pot.S3potError, match="path of the image is empty"):
        model.segment("")
    for name in ("", 3):
        with pytest.raises(s3pot.S3potError, match=f"name of the models is {name!r}; expected"):
            s3pot.load(name)  # type: ignore[arg-type]
    for checkpoint in ("", 3):
        with pytest.raises(s3pot.S3potError, match=f"checkpoint is {checkpoint!r}; expected"):
            s3pot.load(config, "cpu", checkpoint=checkpoint)  # type: ignore[arg-type]
    for arguments in ({"name": "n" * 300}, {"name": config, "checkpoint": "n" * 300}):
        with pytest.raises(s3pot.S3potError, match="n{300}"):
            s3pot.load(device="cpu", **arguments)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("foo", "The sections are model, align, "),
        ("align", "Did you mean align.mode, align.size, align.borders or align.min_score?"),
        ("min_score", "Did you mean align.min_score or quality.min_score?"),
        ("epoch", "Did you mean train.epochs or per_image.epochs?"),
        ("chekpoint", "Did you mean checkpoint?"),
        ("sliver_widht", "Did you mean mask.sliver_width or truth.sliver_width?"),
        ("align_mode", "Did you mean align.mode?"),
        ("per_image_epoch", "Did you mean per_image.epochs?"),
        ("sam", "Did you mean model.sam, sam.normalize or sam.batch?"),
    ],
)
def test_an_unknown_keyword_says_how_values_are_given(name: str, hint: str) -> None:
    with pytest.raises(s3pot.S3potError) as caught:
        s3pot.load("mini", **{name: 1})
    message = str(caught.value)
    assert message.startswith(f"load has no argument {name!r}. {hint}"), message
    assert message.endswith(
        "Config values are given with their section, as **{'align.mode': 'auto'} or "
        "overrides=['align.mode=auto']."
    )


def test_overrides_are_none_or_texts(config: Path) -> None:
    assert s3pot.load(config, "cpu", overrides=None).config == s3pot.load(config, "cpu").config
    for overrides in ([3], 3, {"align.mode": "auto"}, b"align.mode=auto"):
        with pytest.raises(s3pot.S3potError, match="expected a list of texts, such as overrides="):
            s3pot.load(config, "cpu", overrides=overrides)  # type: ignore[arg-type]


def test_names_that_no_file_can_have(
    tmp_path: Path, model: FaceSegmenter, pixels: np.ndarray
) -> None:
    result = model.segment(pixels)
    for folder, name in ((tmp_path, 5), (5, "face"), (None, "face")):
        with pytest.raises(s3pot.S3potError, match="expected a path and a text, such as save"):
            result.save(folder, name)  # type: ignore[arg-type]
    for folder, name in ((tmp_path, "a\0b"), (f"{tmp_path}\0", "face")):
        with pytest.raises(s3pot.S3potError, match="does not name files in"):
            result.save(folder, name)
    for folder, name in ((tmp_path, "n" * 300), (tmp_path / ("n" * 300), "face")):
        with pytest.raises(s3pot.S3potError, match="cannot be written to .*too long; give another"):
            result.save(folder, name)


def test_results_are_compared_by_identity(model: FaceSegmenter, pixels: np.ndarray) -> None:
    result, other = model.segment(pixels), model.segment(pixels)
    assert result == result and result != other  # noqa: PLR0124
    assert result in {result, other} and result not in [other]
    assert result.in_photo() != result.in_photo()

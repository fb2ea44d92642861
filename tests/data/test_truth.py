"""The ground truth of a face: the visible face, ignored pixels, glasses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Callable

import numpy as np
import pytest

from s3pot.build import truth_policy
from s3pot.config import TruthConfig
from s3pot.data.face_folder import FaceFiles, find_faces, output_files
from s3pot.data.image import write_png
from s3pot.data.label_policy import LabelPolicy
from s3pot.data.truth import (
    GLASSES_IGNORED,
    GLASSES_OCCLUDE,
    TruthPolicy,
    describe_truth,
    load_face_truth,
    require_truth,
)
from s3pot.data.truth_paths import faces_with_truth
from s3pot.io import write_npy
from s3pot.labels import CLASSES, region_of
from s3pot.metrics import mask_scores
from s3pot.types import S3potError

SKIN = CLASSES.index("skin")
GLASSES = CLASSES.index("eye_glass")
SIZE = (20, 20)


@pytest.fixture
def face(tmp_path: Path) -> FaceFiles:
    """A face of 12 x 12 pixels of skin with 2 x 12 of glasses on it, without a ground truth."""
    files = output_files(tmp_path, "face")
    write_png(files.raw, np.zeros((*SIZE, 3), np.uint8))
    write_png(files.reference, np.zeros((*SIZE, 3), np.uint8))
    parsing = np.zeros(SIZE, np.uint8)
    parsing[4:16, 4:16] = SKIN
    parsing[6:8, 4:16] = GLASSES
    write_npy(files.parsing, parsing)
    return files


def found(files: FaceFiles) -> FaceFiles:
    return find_faces(files.raw.parent)[0]


def write_mask(path: Path | None, rows: slice, columns: slice = slice(None)) -> np.ndarray:
    assert path is not None
    mask = np.zeros(SIZE, bool)
    mask[rows, columns] = True
    write_png(path, mask)
    return mask


def test_occlusion_is_the_parsed_region_without_the_visible_face(face: FaceFiles) -> None:
    visible = write_mask(face.visible_face_truth, slice(0, 10))
    truth = require_truth(found(face))
    region = np.zeros(SIZE, bool)
    region[4:16, 4:16] = True
    np.testing.assert_array_equal(truth.region, region)
    np.testing.assert_array_equal(truth.occlusion, region & ~visible)
    assert truth.ignored is None


def write_square_face(folder: Path) -> tuple[FaceFiles, np.ndarray]:
    """Write a face of 200 x 200 pixels; returns its files and its region, a square of skin."""
    files = output_files(folder, "face")
    size = (200, 200)
    write_png(files.raw, np.zeros((*size, 3), np.uint8))
    write_png(files.reference, np.zeros((*size, 3), np.uint8))
    parsing = np.zeros(size, np.uint8)
    parsing[20:180, 20:180] = SKIN
    write_npy(files.parsing, parsing)
    return files, parsing == SKIN


def test_slivers_along_the_rim_are_not_counted(tmp_path: Path) -> None:
    files, region = write_square_face(tmp_path)
    visible = np.zeros(region.shape, bool)
    visible[22:180, 20:178] = True  # the annotator drew the outline two pixels further in
    visible[100:140, 60:130] = False  # a hand
    assert files.visible_face_truth is not None
    write_png(files.visible_face_truth, visible)
    difference = region & ~visible
    hand = np.zeros(region.shape, bool)
    hand[100:140, 60:130] = True
    truth = require_truth(found(files), TruthPolicy(sliver_width=0.03))
    np.testing.assert_array_equal(truth.occlusion, hand)
    np.testing.assert_array_equal(truth.ignored, difference & ~hand)
    everything = require_truth(found(files), TruthPolicy(sliver_width=0, min_piece=0))
    np.testing.assert_array_equal(everything.occlusion, difference)
    assert everything.ignored is None


def test_a_bare_face_whose_outlines_differ_by_a_speck_is_bare(tmp_path: Path) -> None:
    files, region = write_square_face(tmp_path)
    speck = np.zeros(region.shape, bool)
    speck[20:29, 20:29] = True  # 81 of 25,600 pixels, too thick for a sliver
    assert files.visible_face_truth is not None
    write_png(files.visible_face_truth, region & ~speck)
    truth = require_truth(found(files))
    assert not truth.occlusion.any()
    np.testing.assert_array_equal(truth.ignored, speck)
    below = require_truth(found(files), TruthPolicy(min_piece=81 / 25600))
    np.testing.assert_array_equal(below.occlusion, speck)
    assert below.ignored is None
    scores = mask_scores(np.zeros(region.shape, bool), truth.occlusion, truth.region, truth.ignored)
    assert scores.false_negative == 0


def test_the_default_is_that_of_the_config() -> None:
    assert truth_policy(TruthConfig()) == TruthPolicy()


def test_an_image_of_known_size_is_not_read_again(face: FaceFiles) -> None:
    write_mask(face.visible_face_truth, slice(0, 10))
    known = found(face)
    want = require_truth(known)
    face.raw.write_bytes(b"damaged")
    truth = require_truth(known, size=SIZE)
    np.testing.assert_array_equal(truth.occlusion, want.occlusion)
    np.testing.assert_array_equal(truth.region, want.region)


def test_an_occlusion_mask_goes_before_a_visible_face(face: FaceFiles) -> None:
    write_mask(face.visible_face_truth, slice(0, 10))
    occlusion = write_mask(face.occlusion_truth, slice(0, 5))
    np.testing.assert_array_equal(require_truth(found(face)).occlusion, occlusion)


def test_a_visible_face_goes_before_the_json_of_another_tool(face: FaceFiles) -> None:
    write_mask(face.visible_face_truth, slice(0, 20))
    face.raw.with_suffix(".json").write_text('{"boxes": []}')
    assert [entry.name for entry in faces_with_truth(face.raw.parent)] == ["face"]
    assert not require_truth(found(face)).occlusion.any()


def test_without_any_there_is_no_truth(face: FaceFiles) -> None:
    write_mask(face.ignore, slice(0, 3))
    assert load_face_truth(found(face)) is None
    with pytest.raises(S3potError, match="_visible_face.png"):
        require_truth(found(face))
    with pytest.raises(S3potError, match="_visible_face.png"):
        faces_with_truth(face.raw.parent)


def test_glasses_by_the_parsing(face: FaceFiles) -> None:
    bare = write_mask(face.occlusion_truth, slice(0, 0))
    glasses = np.zeros(SIZE, bool)
    glasses[6:8, 4:16] = True
    kept = require_truth(found(face))
    np.testing.assert_array_equal(kept.occlusion, bare)
    occluded = require_truth(found(face), TruthPolicy(glasses=GLASSES_OCCLUDE))
    np.testing.assert_array_equal(occluded.occlusion, glasses)
    ignored = require_truth(found(face), TruthPolicy(glasses=GLASSES_IGNORED))
    np.testing.assert_array_equal(ignored.occlusion, bare)
    np.testing.assert_array_equal(ignored.ignored, glasses)


def test_glasses_by_the_true_class_map(face: FaceFiles) -> None:
    write_mask(face.occlusion_truth, slice(0, 0))
    true_parsing = np.full(SIZE, SKIN, np.uint8)
    true_parsing[12:, :] = GLASSES  # also outside the parsed region
    assert face.true_parsing is not None
    write_npy(face.true_parsing, true_parsing)
    region = region_of(np.load(face.parsing))
    occluded = require_truth(found(face), TruthPolicy(glasses=GLASSES_OCCLUDE))
    np.testing.assert_array_equal(occluded.occlusion, region & (true_parsing == GLASSES))
    ignored = require_truth(found(face), TruthPolicy(glasses=GLASSES_IGNORED))
    np.testing.assert_array_equal(ignored.ignored, true_parsing == GLASSES)


def test_ignored_pixels_are_those_of_the_mask_and_of_glasses(face: FaceFiles) -> None:
    write_mask(face.occlusion_truth, slice(0, 5))
    mask = write_mask(face.ignore, slice(0, 2))
    np.testing.assert_array_equal(require_truth(found(face)).ignored, mask)
    glasses = np.load(face.parsing) == GLASSES
    both = require_truth(found(face), TruthPolicy(glasses=GLASSES_IGNORED)).ignored
    np.testing.assert_array_equal(both, mask | glasses)


@pytest.mark.parametrize("ending", ["visible_face_truth", "ignore"])
def test_masks_of_another_size_are_named(face: FaceFiles, ending: str) -> None:
    write_mask(face.visible_face_truth, slice(0, 10))
    path = getattr(face, ending)
    write_png(path, np.zeros((3, 3), bool))
    with pytest.raises(S3potError, match=f"{path.name} is 3 x 3"):
        load_face_truth(found(face))


def test_a_table_says_what_faces_are_scored_against(face: FaceFiles) -> None:
    write_mask(face.visible_face_truth, slice(0, 10))
    visible = found(face)
    text = describe_truth([visible], TruthPolicy())
    kind = "parsed region minus true visible face without slivers below 0.04 and pieces below 0.005"
    assert text == f"{kind}; glasses keep"
    masks = replace(visible, occlusion_truth=Path("a_occlusion.png"), ignore=Path("a_ignore.png"))
    policy = TruthPolicy(LabelPolicy(), GLASSES_IGNORED)
    assert describe_truth([masks], policy) == "occlusion masks; glasses ignore; ignore masks"
    assert f"{kind} and occlusion masks;" in describe_truth([visible, masks], policy)


def slow_counts(
    prediction: np.ndarray, truth: np.ndarray, ignored: np.ndarray
) -> tuple[int, int, int]:
    hit = extra = missed = 0
    for p, t, i in zip(prediction.flat, truth.flat, ignored.flat):
        hit += bool(p and t and not i)
        extra += bool(p and not t and not i)
        missed += bool(t and not p and not i)
    return hit, extra, missed


@pytest.mark.parametrize("seed", range(5))
def test_ignored_pixels_count_nowhere(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prediction, truth, ignored, region = rng.random((4, 12, 17)) < 0.4
    scores = mask_scores(prediction, truth, region, ignored)
    counts = (scores.true_positive, scores.false_positive, scores.false_negative)
    assert counts == slow_counts(prediction, truth, ignored)
    assert scores.region_pixels == (region & ~ignored).sum()
    counted_truth = truth & ~ignored
    assert scores.true_share == counted_truth.sum() / (counted_truth | region & ~ignored).sum()
    # A prediction at ignored pixels that do not touch an outline changes nothing.
    assert mask_scores(prediction ^ ignored, truth ^ ignored, region, ignored).iou == scores.iou
    nothing = mask_scores(prediction, truth, region, np.zeros_like(truth))
    assert nothing == mask_scores(prediction, truth, region)


def test_outlines_are_not_cut_at_ignored_pixels() -> None:
    truth = np.zeros((60, 60), bool)
    truth[10:40, 10:40] = True
    prediction = truth.copy()
    prediction[10:40, 40:50] = True  # wrong, but at ignored pixels
    ignored = np.zeros_like(truth)
    ignored[:, 38:] = True
    scores = mask_scores(prediction, truth, ignored=ignored)
    assert scores.iou == 1
    assert scores.boundary_f1 == 1  # a cut at column 38 would be an outline that nobody drew
    assert mask_scores(prediction, truth, ignored=np.ones_like(truth)).boundary_f1 == 1


def test_a_mask_of_ignored_pixels_of_another_size() -> None:
    truth = np.zeros((4, 4), bool)
    with pytest.raises(ValueError, match=r"ignored pixels are \(2, 2\)"):
        mask_scores(truth, truth, ignored=np.zeros((2, 2), bool))


@pytest.mark.slow
def test_evaluate_states_the_rules(
    tmp_path: Path, processed_folder: Callable[..., Path], mini_options: list[str]
) -> None:
    from s3pot.commands import evaluate

    data = processed_folder(2)
    for path in data.glob("*_occlusion.png"):
        write_png(tmp_path / "results" / path.name, np.zeros((64, 64), bool))
        path.unlink()
    for stem in ("face_00", "face_01"):
        write_png(data / f"{stem}_visible_face.png", np.ones((64, 64), bool))
    results = str(tmp_path / "results")
    options = ["--datapath", str(data), "--results", results, "truth.glasses=ignore"]
    assert evaluate.main([*options, *mini_options]) == 0
    counted = "without slivers below 0.04 and pieces below 0.005; glasses ignore"
    stated = f"parsed region minus true visible face {counted}"
    for name in ("table.csv", "table.md", "table.tex"):
        assert stated in (tmp_path / "results" / name).read_text(), name

"""Figures for papers: their content and the numbers behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3pot.data.image import read_rgb, write_png
from s3pot.report.figures import (
    LogitFace,
    ScoredFace,
    choose_faces,
    faces_figure,
    iou_by_kind,
    iou_by_share,
    iou_histogram,
    precision_recall,
    precision_recall_figure,
)
from s3pot.report.plots import save_figure
from s3pot.types import S3potError


def scored(count: int = 9) -> list[ScoredFace]:
    return [
        ScoredFace(f"face {index}", index / 10, 0.05 * (index + 1), ("hand", "cup")[: index % 3])
        for index in range(count)
    ]


def logit_faces(seed: int = 0, count: int = 3) -> list[LogitFace]:
    random = np.random.default_rng(seed)
    faces = []
    for _ in range(count):
        truth = random.random((12, 9)) < 0.3
        logits = random.normal(2, 2, (12, 9)) - 3 * truth
        faces.append(LogitFace(logits.astype(np.float16), random.random((12, 9)) < 0.8, truth))
    return faces


def test_best_median_and_worst() -> None:
    assert choose_faces(scored(), 1) == ["face 8", "face 4", "face 0"]
    assert choose_faces(scored(), 2) == ["face 8", "face 7", "face 5", "face 4", "face 1", "face 0"]
    assert choose_faces(scored(2), 3) == ["face 1", "face 0"]
    with pytest.raises(S3potError, match="--faces"):
        choose_faces([], 1)


def test_precision_and_recall_are_those_of_masks_at_the_threshold() -> None:
    faces = logit_faces()
    curve = precision_recall(faces)
    for threshold in (-2.0, 0.0, 1.5, 4.0):
        index = int(np.abs(curve.thresholds - threshold).argmin())
        masks = [face.region & (face.logits < curve.thresholds[index]) for face in faces]
        hits = sum(int((mask & face.truth).sum()) for mask, face in zip(masks, faces))
        predicted = sum(int(mask.sum()) for mask in masks)
        total = sum(int(face.truth.sum()) for face in faces)
        assert curve.recall[index] == pytest.approx(hits / total)
        assert curve.precision[index] == pytest.approx(hits / predicted)
        assert curve.at(threshold) == (curve.recall[index], curve.precision[index])


def test_average_precision_is_the_mean_precision_at_the_hits() -> None:
    truth = np.zeros((1, 6), bool)
    truth[0, [0, 2, 5]] = True  # ranks 1 and 3, and one outside the region
    logits = np.array([[-3.0, -2, -1, 0, 1, -9]])
    region = np.array([[True] * 5 + [False]])
    curve = precision_recall([LogitFace(logits, region, truth)])
    assert curve.average_precision == pytest.approx((1 + 2 / 3) / 3)
    assert curve.recall[-1] == pytest.approx(2 / 3)
    assert (np.diff(curve.recall) >= 0).all() and curve.precision[0] == 1


def test_a_perfect_separation_and_extreme_logits() -> None:
    truth = np.eye(8, dtype=bool)
    logits = np.where(truth, -1000.0, 1000.0)
    curve = precision_recall([LogitFace(logits, np.ones((8, 8), bool), truth)])
    assert curve.average_precision == 1 and curve.at(0) == (1, 1)
    with pytest.raises(S3potError, match="no pixel is truly occluded"):
        precision_recall([LogitFace(logits, truth, np.zeros((8, 8), bool))])


@pytest.mark.slow
def test_faces_in_rows(tmp_path: Path) -> None:
    for name, shade in (("a", 40), ("b$_^", 220)):
        for key in ("raw", "overlay"):
            write_png(tmp_path / f"{name}_{key}.png", np.full((32, 32, 3), shade, np.uint8))
    (tmp_path / "b$_^_overlay.png").unlink()
    figure = faces_figure(tmp_path, ["a", "b$_^"], ("raw", "truth", "overlay"), {"a": "IoU $x"})
    assert [axes.get_title() for axes in figure.axes] == ["photo", "occlusion", "", ""]
    assert not figure.texts
    named = faces_figure(tmp_path, ["a"], ("raw", "overlay"), heading="first $run")
    assert [text.get_text() for text in named.texts] == [r"first \$run"]
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 0]
    save_figure(figure, tmp_path / "faces")
    pixels = read_rgb(tmp_path / "faces.png")
    assert (pixels == 40).all(axis=2).mean() > 0.2 and (pixels == 220).all(axis=2).mean() > 0.1
    assert (tmp_path / "faces.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(S3potError, match="no column 'mask'"):
        faces_figure(tmp_path, ["a"], ["mask"])
    with pytest.raises(S3potError, match="--save_vis"):
        faces_figure(tmp_path, ["c"], ["raw"])


def test_distributions_show_every_face(tmp_path: Path) -> None:
    faces = scored()
    histogram = iou_histogram({"a_1": faces, "b": faces[:4]})
    axes = histogram.axes[0]
    assert axes.get_legend() is not None
    assert axes.get_ylim()[1] > 1
    few = iou_histogram({"a": faces[:3]}).axes[0]
    assert all(tick == round(tick) for tick in few.get_yticks())
    shares = iou_by_share({"a": faces})
    assert shares.axes[0].get_xlabel() == "true occlusion / (region and true occlusion together)"
    dots = shares.axes[0].lines[0]
    assert len(dots.get_xdata()) == len(faces)
    assert shares.axes[0].get_legend() is None
    unknown = [ScoredFace("x", 0.5)]
    assert len(iou_by_share({"a": unknown}).axes[0].lines[0].get_xdata()) == 0
    kinds = iou_by_kind(faces)
    assert iou_by_kind(faces, "first").axes[0].get_xlabel().startswith("first: mean occlusion IoU")
    labels = [label.get_text() for label in kinds.axes[0].get_yticklabels()]
    assert labels == ["cup (3)", "hand (6)"]
    single = iou_by_kind([ScoredFace("x", 0.5, None, ["cup"])]).axes[0]
    assert len(single.lines) == 1  # the mean, without an interval
    curve = precision_recall(logit_faces())
    drawn = precision_recall_figure({"run": curve}).axes[0]
    assert f"AP {curve.average_precision:.3f}" in drawn.get_legend().get_texts()[0].get_text()

"""Figures for papers from result folders: rows of faces, score distributions, curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from s3pot.data.image import read_rgb
from s3pot.report.plots import (
    COLUMN_WIDTH,
    CYCLE,
    GRAY,
    TEXT_WIDTH,
    Bar,
    plot_intervals,
    publication_style,
)
from s3pot.statistics import bootstrap_interval
from s3pot.types import S3potError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Columns of the figure of faces: picture ``<stem>_<key>.png`` and its heading.
FACE_COLUMNS: Mapping[str, str] = {
    "raw": "photo",
    "classes": "parsing",
    "reference": "reference",
    "points": "points",
    "attention": "attention",
    "overlay": "occlusion",
    "truth": "truth",
    "error": "error",
}
DEFAULT_COLUMNS = ("raw", "classes", "reference", "points", "overlay", "truth", "error")
IOU_BINS = np.linspace(0, 1, 21).tolist()
SHARE_BINS = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 1.0])
LINE_HEIGHT = 0.18  # of a heading, in inches
LOGIT_LIMIT = 20.0  # beyond it, a probability is 0 or 1 up to nine digits
LOGIT_BINS = 4001  # odd, so that no bin edge lies at 0


@dataclass(frozen=True)
class ScoredFace:
    """One face with true occlusion.

    Attributes:
        name: The name of the face.
        iou: Occlusion IoU.
        true_share: Truly occluded share of the union of region and truth; None if it is not known.
        occluder_kinds: Kinds of occluders, if they are known.
    """

    name: str
    iou: float
    true_share: float | None = None
    occluder_kinds: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class LogitFace:
    """One face for a precision-recall curve; all arrays (H, W).

    Attributes:
        logits: Visible-face logits, float.
        region: Where an occlusion can be predicted, bool.
        truth: True occlusion, bool, including its parts outside the region.
    """

    logits: np.ndarray
    region: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision and recall over the pixels of all faces, by the threshold on the logits.

    Attributes:
        thresholds: Ascending, (K,); a logit below the threshold means occlusion.
        precision: (K,); 1 where nothing is predicted.
        recall: (K,), non-decreasing.
        average_precision: Area under the curve, as a sum over its steps.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    average_precision: float

    def at(self, threshold: float) -> tuple[float, float]:
        """Return recall and precision at a threshold."""
        index = int(np.abs(self.thresholds - threshold).argmin())
        return float(self.recall[index]), float(self.precision[index])


def choose_faces(faces: Sequence[ScoredFace], each: int) -> list[str]:
    """Return the names of the best, median and worst faces by IoU, ``each`` of them, no duplicates.

    Raises:
        S3potError: No face has a score.
    """
    if not faces:
        raise S3potError("no face has a score to choose by; list the faces with --faces")
    ranked = sorted(faces, key=lambda face: (-face.iou, face.name))
    start = max(0, (len(ranked) - each) // 2)
    chosen = [*ranked[:each], *ranked[start : start + each], *ranked[-each:]]
    return list(dict.fromkeys(face.name for face in chosen))


def require_columns(columns: Sequence[str]) -> None:
    """Raise S3potError if a column is not one of ``FACE_COLUMNS``."""
    unknown = [column for column in columns if column not in FACE_COLUMNS]
    if unknown:
        raise S3potError(
            f"--columns: there is no column {unknown[0]!r}; choose from {', '.join(FACE_COLUMNS)}"
        )


def faces_figure(
    folder: Path,
    names: Sequence[str],
    columns: Sequence[str] = DEFAULT_COLUMNS,
    captions: Mapping[str, str] | None = None,
    heading: str = "",
) -> Figure:
    """Show faces in rows, with a picture in each column.

    Args:
        folder: Result folder with pictures.
        names: Faces, from the top.
        columns: Keys of ``FACE_COLUMNS``. A column that no face has a picture for is left out.
        captions: Face → text to the left of its row.
        heading: Line above the columns' headings; empty for none.

    Raises:
        S3potError: A column is unknown, or there is no picture at all.
    """
    from matplotlib.figure import Figure

    require_columns(columns)
    files = {(name, key): folder / f"{name}_{key}.png" for name in names for key in columns}
    used = [key for key in columns if any(files[name, key].is_file() for name in names)]
    if not used:
        raise S3potError(
            f"{folder} holds no pictures of {', '.join(names) or 'any face'}; "
            "run inference with --save_vis"
        )
    side = TEXT_WIDTH / len(used)
    above = 2 * LINE_HEIGHT if heading else LINE_HEIGHT
    with publication_style():
        figure = Figure(figsize=(TEXT_WIDTH, side * len(names) + above + 0.02))
        grid = figure.subplots(
            len(names),
            len(used),
            squeeze=False,
            gridspec_kw={"wspace": 0.03, "hspace": 0.03, "left": 0.03, "right": 0.999},
        )
        figure.subplots_adjust(bottom=0.002, top=1 - above / figure.get_figheight())
        if heading:
            figure.suptitle(_plain(heading), y=1 - 0.02 / figure.get_figheight(), va="top")
        for row, name in enumerate(names):
            for column, key in enumerate(used):
                _show_picture(grid[row, column], files[name, key])
                if row == 0:
                    grid[row, column].set_title(FACE_COLUMNS[key], pad=2)
            grid[row, 0].set_ylabel(_plain((captions or {}).get(name, "")), labelpad=2, fontsize=6)
    return figure


def iou_histogram(runs: Mapping[str, Sequence[ScoredFace]]) -> Figure:
    """Plot the distribution of the IoU over the faces, with a line for each run."""
    figure, axes = _single_axes(xlabel="occlusion IoU", ylabel="faces")
    with publication_style():
        for (label, faces), color in zip(runs.items(), _colors(len(runs))):
            ious = [face.iou for face in faces]
            axes.hist(ious, IOU_BINS, histtype="stepfilled", alpha=0.25, color=color)
            axes.hist(ious, IOU_BINS, histtype="step", color=color, label=_plain(label))
            axes.axvline(float(np.mean(ious)), color=color, linestyle="--", linewidth=0.8)
        axes.set_xlim(0, 1)
        axes.locator_params(axis="y", integer=True)  # faces are counted in whole numbers
        _legend(axes, len(runs))
    return figure


def iou_by_share(runs: Mapping[str, Sequence[ScoredFace]]) -> Figure:
    """Plot the IoU against ``true_share``: faces as dots, means of bins with intervals."""
    label = "true occlusion / (region and true occlusion together)"
    figure, axes = _single_axes(xlabel=label, ylabel="occlusion IoU")
    with publication_style():
        for (label, faces), color in zip(runs.items(), _colors(len(runs))):
            faces_with_share = [face for face in faces if face.true_share is not None]
            shares = np.array([face.true_share for face in faces_with_share], dtype=float)
            ious = np.array([face.iou for face in faces_with_share])
            axes.plot(shares, ious, ".", color=color, markersize=2.5, alpha=0.35)
            centers = []
            intervals = []
            for low, high in zip(SHARE_BINS[:-1], SHARE_BINS[1:]):
                inside = (shares > low) & (shares <= high)
                interval = bootstrap_interval(ious[inside].tolist())
                if interval is not None:
                    centers.append(float(shares[inside].mean()))
                    intervals.append(interval)
            means = [interval.mean for interval in intervals]
            axes.plot(centers, means, "o-", color=color, markersize=3, label=_plain(label))
            for center, interval in zip(centers, intervals):
                if interval.low is not None and interval.high is not None:
                    axes.vlines(center, interval.low, interval.high, color=color, linewidth=0.8)
        axes.set_ylim(0, 1)
        axes.set_xlim(left=0)
        _legend(axes, len(runs))
    return figure


def iou_by_kind(faces: Sequence[ScoredFace], run: str = "") -> Figure:
    """Plot the mean IoU of each kind of occluder with its interval, the best at the top.

    Args:
        faces: The faces of a run.
        run: The name of the run for the axis; empty to leave it out.
    """
    bars = []
    for kind in sorted({kind for face in faces for kind in face.occluder_kinds}):
        interval = bootstrap_interval([face.iou for face in faces if kind in face.occluder_kinds])
        if interval is not None:
            count = sum(1 for face in faces if kind in face.occluder_kinds)
            name = f"{kind.replace('_', ' ')} ({count})"
            bars.append(Bar(name, interval.mean, interval.low, interval.high))
    bars.sort(key=lambda bar: -bar.mean)
    label = "mean occlusion IoU, 95 % interval (number of faces)"
    return plot_intervals(bars, f"{_plain(run)}: {label}" if run else label)


def precision_recall(faces: Iterable[LogitFace]) -> PrecisionRecall:
    """Compute precision and recall over the pixels of all faces.

    Raises:
        S3potError: No pixel is truly occluded.
    """
    edges = np.linspace(-LOGIT_LIMIT, LOGIT_LIMIT, LOGIT_BINS + 1)
    true_counts = np.zeros(LOGIT_BINS, dtype=np.int64)
    false_counts = np.zeros(LOGIT_BINS, dtype=np.int64)
    total = 0
    for face in faces:
        inside = np.clip(face.logits[face.region].astype(np.float64), -LOGIT_LIMIT, LOGIT_LIMIT)
        is_true = face.truth[face.region]
        true_counts += np.histogram(inside[is_true], edges)[0]
        false_counts += np.histogram(inside[~is_true], edges)[0]
        total += int(face.truth.sum())
    if not total:
        raise S3potError("no pixel is truly occluded: there is no precision-recall curve")
    hits = true_counts.cumsum()
    predicted = hits + false_counts.cumsum()
    precision = np.where(predicted > 0, hits / np.maximum(predicted, 1), 1.0)
    recall = hits / total
    steps = np.diff(recall, prepend=0.0)
    return PrecisionRecall(edges[1:], precision, recall, float((steps * precision).sum()))


def precision_recall_figure(curves: Mapping[str, PrecisionRecall]) -> Figure:
    """Plot precision against recall; a dot marks the threshold 0, which the masks use."""
    figure, axes = _single_axes(xlabel="recall", ylabel="precision")
    with publication_style():
        for (label, curve), color in zip(curves.items(), _colors(len(curves))):
            name = f"{_plain(label)} (AP {curve.average_precision:.3f})"
            axes.plot(curve.recall, curve.precision, color=color, label=name)
            axes.plot(*curve.at(0.0), "o", color=color, markersize=4)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.01)
        axes.legend(loc="lower left").set_in_layout(False)
    return figure


def _show_picture(axes: Axes, path: Path) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if path.is_file():
        axes.imshow(read_rgb(path))


def _single_axes(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    with publication_style():
        figure = Figure(figsize=(COLUMN_WIDTH, COLUMN_WIDTH * 0.75), layout="constrained")
        axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
        axes.grid(linewidth=0.4, color="#dddddd")
        axes.set_axisbelow(True)
    return figure, axes


def _colors(count: int) -> list[str]:
    return [CYCLE[index] if index < len(CYCLE) else GRAY for index in range(count)]


def _legend(axes: Axes, count: int) -> None:
    if count > 1:
        axes.legend().set_in_layout(False)  # so that a long name does not squeeze the axes


def _plain(text: str) -> str:
    """Escape a text so that Matplotlib does not read it as a formula."""
    return text.replace("$", r"\$")

"""The curves of a training: total loss, its terms, the best epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from s3pot.io import atomic_path
from s3pot.training.history import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Blue and orange stay apart for color-blind eyes and in grey; a dash tells them apart as well.
TRAIN_STYLE = {"color": "#0072b2", "linestyle": "-"}
VAL_STYLE = {"color": "#d55e00", "linestyle": "--"}
TERMS = {
    "total": "total",
    "face": "face: minus mean p of the face points",
    "occlusion": "occlusion: mean p of the occlusion points",
    "hinge": "hinge: mean shortfall of the face points",
}


def write_curve(records: Sequence[Record], prefix: str) -> None:
    """Write ``<prefix>loss_curve.png``, whole; nothing without a record."""
    rows = [record.as_row() for record in records]
    if not rows:
        return
    figure = draw_curve(rows)
    with atomic_path(f"{prefix}loss_curve.png") as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def draw_curve(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Draw the total loss in a large panel and its three terms below, one panel each.

    Args:
        rows: Epochs in order, with the columns of ``EpochRecord`` or ``FitRecord``.

    Returns:
        The figure. The epoch of the lowest loss (of validation, if there is any) is marked.
    """
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(7, 5.5), layout="constrained")
    axes = figure.subplot_mosaic(
        [["total"] * 3, ["face", "occlusion", "hinge"]], height_ratios=[2, 1]
    )
    curves = _curves_of(rows[0])
    for term, title in TERMS.items():
        for prefix, (label, style) in curves.items():
            epochs = [row["epoch"] for row in rows]
            values = [row[prefix + term] for row in rows]
            axes[term].plot(epochs, values, label=label, linewidth=1.3, **style)
        axes[term].set_title(title.replace(": ", ":\n") if term != "total" else "", fontsize=8)
        axes[term].grid(color="0.9", linewidth=0.6)
        axes[term].tick_params(labelsize=8)
        axes[term].spines[["top", "right"]].set_visible(False)
    _mark_best(axes["total"], rows, "val_total" if "val_" in curves else f"{list(curves)[0]}total")
    axes["total"].set(xlabel="epoch", ylabel="total loss")
    axes["total"].legend(frameon=False, fontsize=9)
    return figure


def _curves_of(row: Mapping[str, float]) -> dict[str, tuple[str, dict[str, str]]]:
    """Label and style of each curve by the prefix of its columns."""
    if "train_total" not in row:
        return {"": ("training", TRAIN_STYLE)}
    curves = {"train_": ("training", TRAIN_STYLE)}
    if "val_total" in row:
        curves["val_"] = ("validation", VAL_STYLE)
    return curves


def _mark_best(axes: Axes, rows: Sequence[Mapping[str, float]], column: str) -> None:
    best = min(rows, key=lambda row: row[column])
    axes.plot(
        [best["epoch"]],
        [best[column]],
        marker="o",
        markersize=7,
        markerfacecolor="none",
        markeredgecolor="black",
        linestyle="none",
        label=f"best: {best[column]:.4f} in epoch {best['epoch']:.0f}",
    )

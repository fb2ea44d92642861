"""Training curves: the total loss, its terms and the best epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3pot.io import atomic_path
from s3pot.training.history import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Style:
    """The style and label of a curve."""

    label: str
    color: str
    linestyle: str


# Blue and orange are distinguishable with color blindness and in gray; a dash helps as well.
TRAIN = Style("training", "#0072b2", "-")
VAL = Style("validation", "#d55e00", "--")
TERMS = {
    "total": "",
    "face": "face\n-mean p of face points",
    "occlusion": "occlusion\nmean p of occlusion points",
    "hinge": "hinge\nmean shortfall of face points",
}


def write_curve(records: Sequence[Record], prefix: str) -> None:
    """Write ``<prefix>loss_curve.png`` atomically; without records, write nothing."""
    rows = [record.as_row() for record in records]
    if not rows:
        return
    figure = draw_curve(rows)
    with atomic_path(f"{prefix}loss_curve.png") as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def draw_curve(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Draw the total loss in a large panel, and its three terms in small panels below.

    Args:
        rows: Epochs in order, with the columns of ``EpochRecord`` or ``FitRecord``.

    Returns:
        The figure. The epoch with the lowest loss (on validation images, if there are any) is
        marked.
    """
    from matplotlib.figure import Figure  # slow to import
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 5.5), layout="constrained")
    axes = figure.subplot_mosaic(
        [["total"] * 3, ["face", "occlusion", "hinge"]], height_ratios=[2, 1]
    )
    curves = _curves_of(rows[0])
    for term, title in TERMS.items():
        for prefix, style in curves.items():
            axes[term].plot(
                [row["epoch"] for row in rows],
                [row[prefix + term] for row in rows],
                label=style.label,
                color=style.color,
                linestyle=style.linestyle,
                linewidth=1.3,
                marker="." if len(rows) == 1 else "",  # a single epoch does not form a line
            )
        axes[term].set_title(title, fontsize=8)
        axes[term].xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axes[term].grid(color="0.9", linewidth=0.6)
        axes[term].tick_params(labelsize=8)
        axes[term].spines[["top", "right"]].set_visible(False)
    _mark_best(axes["total"], rows, f"{list(curves)[-1]}total")
    axes["total"].set(xlabel="epoch", ylabel="total loss")
    axes["total"].legend(frameon=False, fontsize=9)
    return figure


def _curves_of(row: Mapping[str, float]) -> dict[str, Style]:
    """Return the curves by column prefix; the last one determines the best epoch."""
    if "train_total" not in row:
        return {"": TRAIN}
    if "val_total" not in row:
        return {"train_": TRAIN}
    return {"train_": TRAIN, "val_": VAL}


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

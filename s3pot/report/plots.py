"""Figures for papers: style, writing, and plots of means with intervals.

Matplotlib is used without pyplot, so no global state changes and no window system is needed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3pot.io import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN_WIDTH = 3.35  # inches: one column of a two-column paper
TEXT_WIDTH = 6.9  # both columns
PNG_DPI = 300

# The palette of Okabe and Ito (2008), which is distinguishable with color blindness.
BLUE = "#0072b2"
ORANGE = "#d55e00"
GREEN = "#009e73"
YELLOW = "#e69f00"
PURPLE = "#cc79a7"
GRAY = "#767676"
CYCLE = (BLUE, ORANGE, GREEN, YELLOW, PURPLE, GRAY)

_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "pdf.fonttype": 42,  # TrueType: publishers refuse type 3 fonts
    "svg.hashsalt": "s3pot",
}


@dataclass(frozen=True)
class Bar:
    """A mean with its interval.

    Attributes:
        name: Label on the axis.
        mean: The mean.
        low: Lower end of the interval; None for the mean of a single value, which has none.
        high: Upper end of the interval, or None.
        hollow: Whether it is drawn as a ring, for rows that do not compete with the others.
    """

    name: str
    mean: float
    low: float | None
    high: float | None
    hollow: bool = False


@contextmanager
def publication_style() -> Iterator[None]:
    """Use fonts and lines for a paper while the block runs."""
    from matplotlib import rc_context

    with rc_context(_STYLE):
        yield


def save_figure(figure: Figure, stem: Path) -> None:
    """Write ``<stem>.png`` and ``<stem>.pdf`` atomically; equal figures give equal bytes."""
    with publication_style():
        # The PDF first: beside it, the guard of output folders takes the PNG for no photo.
        for ending, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
            content = io.BytesIO()
            figure.savefig(content, format=ending, dpi=PNG_DPI, metadata=metadata)
            write_bytes(stem.with_name(f"{stem.name}.{ending}"), content.getvalue())


def plot_intervals(bars: Sequence[Bar], label: str) -> Figure:
    """Plot means with their intervals, the first at the top.

    Several means are drawn on an axis limited to their range, so that they can be compared. A
    single one is drawn on the whole scale, with its numbers.

    Args:
        bars: The means to plot, in [0, 1].
        label: Label of the axis.
    """
    from matplotlib.figure import Figure

    with publication_style():
        height = 0.6 + 0.2 * max(len(bars), 3)
        figure = Figure(figsize=(TEXT_WIDTH * 0.75, height), layout="constrained")
        axes = figure.add_subplot(xlabel=label)
        for position, bar in enumerate(bars):
            if bar.low is not None and bar.high is not None:
                axes.plot([bar.low, bar.high], [position, position], color=BLUE, linewidth=1)
            axes.plot(
                bar.mean,
                position,
                marker="o",
                markersize=4,
                clip_on=False,
                color=BLUE,
                markerfacecolor="white" if bar.hollow else BLUE,
            )
        if len(bars) == 1:
            axes.set_xlim(0, 1)
            only = bars[0]
            text = f"{only.mean:.3f}"
            if only.low is not None and only.high is not None:
                text += f" ({only.low:.3f} to {only.high:.3f})"
            axes.annotate(
                text,
                (only.mean, 0),
                xytext=(0, 6),
                textcoords="offset points",
                horizontalalignment="left" if only.mean < 0.5 else "right",
                fontsize=7,
            )
        axes.set_yticks(range(len(bars)), [bar.name.replace("$", r"\$") for bar in bars])
        axes.set_ylim(max(len(bars), 1) - 0.5, -0.5)
        axes.grid(axis="x", linewidth=0.4, color="#dddddd")
        axes.set_axisbelow(True)
    return figure

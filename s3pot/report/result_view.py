"""Views of a segmented face: in a notebook, as a figure, as a picture."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from s3pot.data.pixels import to_pil
from s3pot.report import vis
from s3pot.report.plots import TEXT_WIDTH, publication_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HTML_HEIGHT = 192  # height of a picture in a notebook, in CSS pixels
MOST_EMBEDDED = 512  # longer side in pixels; a notebook stores its pictures


@dataclass(frozen=True, eq=False)
class Picture:
    """A titled picture, uint8 (H, W, 3), RGB."""

    title: str
    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class ResultView:
    """The displayed data of a segmented face; all arrays are in the working frame.

    Attributes:
        image: The working image, uint8 (H, W, 3), RGB.
        reference: The clean face, the same shape.
        points: Prompt points in pixels, float (N, 2), x, y.
        point_labels: 1 is visible face, 0 is occlusion, (N,).
        occlusion: bool (H, W).
        caption: A line of text.
    """

    image: np.ndarray
    reference: np.ndarray
    points: np.ndarray
    point_labels: np.ndarray
    occlusion: np.ndarray
    caption: str

    def pictures(self) -> list[Picture]:
        """Return photo, reference, points and occlusion, all at one size."""
        large = vis.enlarged(self.image)
        height, width = self.image.shape[:2]
        shares = (self.points + 0.5) / (width, height)
        return [
            Picture("photo", self.image),
            Picture("reference", self.reference),
            Picture("points", vis.draw_points(large, shares, self.point_labels)),
            Picture("occlusion", vis.overlay(self.image, self.occlusion)),
        ]


def result_html(view: ResultView) -> str:
    """Render a result for a notebook: an HTML fragment with embedded pictures."""
    figures = "".join(
        f'<figure style="margin:0"><img alt="{escape(picture.title)}" '
        f'style="height:{HTML_HEIGHT}px" src="{_data_url(picture.pixels)}">'
        f"<figcaption>{escape(picture.title)}</figcaption></figure>"
        for picture in view.pictures()
    )
    row = f'<div style="display:flex;flex-wrap:wrap;gap:8px">{figures}</div>'
    return f"<div><div>{escape(view.caption)}</div>{row}</div>"


def result_figure(view: ResultView) -> Figure:
    """Draw a result as a figure for a paper; ``plots.save_figure`` writes it."""
    from matplotlib.figure import Figure

    pictures = view.pictures()
    height, width = view.image.shape[:2]
    with publication_style():
        size = (TEXT_WIDTH, TEXT_WIDTH / len(pictures) * height / width + 0.35)
        figure = Figure(figsize=size, layout="constrained")
        figure.suptitle(view.caption.replace("$", r"\$"))
        grid = figure.subplots(1, len(pictures), squeeze=False)
        for axes, picture in zip(grid[0], pictures):
            axes.imshow(picture.pixels)
            axes.set_title(picture.title)
            axes.set_axis_off()
    return figure


def _data_url(pixels: np.ndarray) -> str:
    """Encode a picture for embedding in a page, at most ``MOST_EMBEDDED`` large."""
    image = to_pil(pixels)
    image.thumbnail((MOST_EMBEDDED, MOST_EMBEDDED))
    content = io.BytesIO()
    image.save(content, format="PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii")

"""A result in a notebook and as a figure."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from s3pot.report import vis
from s3pot.report.result_view import ResultView, result_figure, result_html


@pytest.fixture
def view() -> ResultView:
    image = np.full((60, 40, 3), 90, np.uint8)
    occlusion = np.zeros((60, 40), bool)
    occlusion[30:] = True
    return ResultView(
        image=image,
        reference=image + 10,
        points=np.array([[9.5, 14.5], [29.5, 44.5]]),
        point_labels=np.array([1, 0]),
        occlusion=occlusion,
        caption="<b> $50 % occluded",
    )


class Pictures(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.images: list[np.ndarray] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        source = dict(attrs).get("src")
        if source:
            assert source.startswith("data:image/png;base64,")
            content = base64.b64decode(source.partition(",")[2])
            self.images.append(np.array(Image.open(io.BytesIO(content))))


def test_html_holds_the_pictures_and_escapes_the_caption(view: ResultView) -> None:
    text = result_html(view)
    page = Pictures()
    page.feed(text)
    assert "&lt;b&gt; $50 % occluded" in text and "b" not in page.tags
    photo, reference, points, overlay = page.images
    np.testing.assert_array_equal(photo, view.image)
    np.testing.assert_array_equal(reference, view.reference)
    np.testing.assert_array_equal(overlay, vis.overlay(view.image, view.occlusion))
    assert tuple(points[points.shape[0] // 4, points.shape[1] // 4]) == vis.FACE_COLOR
    assert tuple(points[points.shape[0] * 3 // 4, points.shape[1] * 3 // 4]) == vis.OCCLUSION_COLOR


@pytest.mark.slow
def test_large_pictures_are_made_smaller(view: ResultView) -> None:
    large = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3)).astype(np.uint8)
    big = ResultView(large, large, view.points, view.point_labels, large[..., 0] > 99, "")
    page = Pictures()
    page.feed(result_html(big))
    assert max(max(image.shape) for image in page.images) == 512


def test_figure_shows_four_pictures(view: ResultView) -> None:
    figure = result_figure(view)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["photo", "reference", "points", "occlusion"]
    assert [text.get_text() for text in figure.texts] == [r"<b> \$50 % occluded"]


def test_without_points(view: ResultView) -> None:
    empty = ResultView(
        view.image, view.reference, np.zeros((0, 2)), np.zeros(0), view.occlusion, ""
    )
    assert [picture.title for picture in empty.pictures()][2] == "points"

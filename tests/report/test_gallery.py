"""The page: relative links that resolve, escaped names, whole or absent."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from s3pot.data.image import write_png
from s3pot.report.gallery import write_gallery


class Links(HTMLParser):
    """Collects links and checks that tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.links += [value for key, value in attrs if key in ("href", "src")]
        if tag not in ("meta", "img", "!doctype"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(path: Path) -> Links:
    page = Links()
    page.feed(path.read_text(encoding="utf-8"))
    assert not page.open
    return page


def row(name: str, iou: float | None = None) -> dict[str, Any]:
    values = {"occluded": "yes", "occluded_share": 0.123, "occlusion_iou": iou}
    return {"name": name, **values, "positive_points": 7, "negative_points": 2}


def test_links_are_relative_and_resolve_whatever_the_name(tmp_path):
    name = 'sub/<b> & "q" #1?%20 ü'
    for kind in ("pair", "overlay"):
        write_png(tmp_path / f"{name}_{kind}.png", np.zeros((4, 4, 3), np.uint8))
    write_gallery(tmp_path, [row(name)])
    page = read(tmp_path / "index.html")
    assert len(page.links) == 4
    for link in page.links:
        assert ":" not in link and not link.startswith("/")
        assert (tmp_path / unquote(link)).is_file()
    assert name in page.text


def test_card_shows_the_numbers(tmp_path):
    write_gallery(tmp_path, [row("a", 0.5), row("b")])
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert text.count("12.3% of the region") == 2 and text.count("7 face, 2 occlusion") == 2
    assert text.count("IoU") == text.count("IoU: 0.500") == 1


def test_page_is_light_and_loads_nothing_from_elsewhere(tmp_path):
    write_gallery(tmp_path, [row(f"face {index}") for index in range(50)])
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert len(text) < 30_000
    assert "http" not in text and "<script" not in text and 'name="viewport"' in text
    assert text.count("<article>") == 50

"""The page: relative links that resolve, escaped names, whole or absent."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from s3pot.data.image import write_png
from s3pot.gallery import Card, write_gallery


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


def test_links_are_relative_and_resolve_whatever_the_name(tmp_path):
    name = 'sub/<b> & "q" #1?%20 ü'
    write_png(tmp_path / f"{name}_overlay.png", np.zeros((4, 4, 3), np.uint8))
    card = Card(name, [("occlusion", f"{name}_overlay.png")], [("IoU <x>", "0.5")])
    write_gallery(tmp_path / "index.html", "T & T", [card])
    page = read(tmp_path / "index.html")
    assert len(page.links) == 2
    for link in page.links:
        assert ":" not in link and not link.startswith("/")
        assert (tmp_path / unquote(link)).is_file()
    assert name in page.text and "IoU <x>" in page.text and "T & T" in page.text


def test_page_is_light_and_loads_nothing_from_elsewhere(tmp_path):
    cards = [Card(f"face {i}", [("a", f"{i}_overlay.png")], [("n", "1")]) for i in range(50)]
    write_gallery(tmp_path / "index.html", "many", cards)
    text = (tmp_path / "index.html").read_text()
    assert len(text) < 30_000
    assert "http" not in text and "<script" not in text and 'name="viewport"' in text
    assert "50 faces" in text

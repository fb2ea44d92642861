"""The gallery in a real browser: sorting, filters, images, the lightbox and its keys."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s3pot.data.image import write_png
from s3pot.report.gallery import write_gallery

pytest.importorskip("playwright", reason="needs the playwright package: pip install playwright")
from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_chromium() -> str | None:
    """Find Chromium on the path, or where ``playwright install chromium`` installs it."""
    installed = next((path for path in map(shutil.which, NAMES) if path), None)
    if installed is not None:
        return installed
    with sync_playwright() as playwright:
        brought = playwright.chromium.executable_path
    return brought if Path(brought).is_file() else None


CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="needs Chromium or Chrome: put one on the PATH, or run playwright install chromium",
)

ROWS: tuple[dict[str, Any], ...] = (
    {"name": "face 10", "occlusion_iou": 0.9, "occluded_share": 0.3, "kinds": "hand"},
    {"name": "face 2", "occlusion_iou": 0.2, "occluded_share": 0.5, "kinds": "cup hand"},
    {"name": "face 1", "occlusion_iou": None, "occluded_share": 0.0, "occluded": "no"},
    {
        "name": "<img src=x onerror=window.broken=1>",
        "occlusion_iou": 0.5,
        "occluded_share": 0.1,
        "quality": "doubtful: no face found",
    },
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    for index, row in enumerate(ROWS):
        for view in ("raw", "overlay", "attention"):
            write_png(
                tmp_path / f"{row['name']}_{view}.png", np.full((8, 8, 3), index * 40, np.uint8)
            )
    write_gallery(tmp_path, [{"occluded": "yes", **row} for row in ROWS])
    tab = browser.new_page()
    problems: list[str] = []
    tab.on("console", lambda message: problems.append(message.text))
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.goto((tmp_path / "index.html").as_uri())
    yield tab
    assert problems == []
    assert tab.evaluate("window.broken") is None
    tab.close()


def names(page: Page) -> list[str]:
    """Faces that pass the filters, in the order of the page."""
    cards = "[...document.querySelectorAll('article:not([hidden])')]"
    by_place = "sort((a, b) => a.style.order - b.style.order)"
    text = "map((card) => card.querySelector('h2').textContent)"
    return list(page.evaluate(f"{cards}.{by_place}.{text}"))


def test_sorts(page: Page) -> None:
    hostile = ROWS[3]["name"]
    assert names(page) == [hostile, "face 1", "face 2", "face 10"]
    page.select_option("#sort", "iou")
    assert names(page) == ["face 2", hostile, "face 10", "face 1"]  # without a score: last
    page.select_option("#sort", "iou_best")
    assert names(page) == ["face 10", hostile, "face 2", "face 1"]
    page.select_option("#sort", "share")
    assert names(page) == ["face 2", "face 10", hostile, "face 1"]
    page.select_option("#sort", "doubt")
    assert names(page)[0] == hostile


def test_filters(page: Page) -> None:
    page.select_option("#occluded", "no")
    assert names(page) == ["face 1"]
    assert page.inner_text("#count") == "1 of 4 faces"
    page.select_option("#occluded", "")
    page.select_option("#kind", "hand")
    assert names(page) == ["face 2", "face 10"]
    page.select_option("#kind", "")
    page.fill("#text", "NO FOUND")
    assert names(page) == [ROWS[3]["name"]]
    page.fill("#text", "cup")
    assert names(page) == ["face 2"]
    page.fill("#text", "nobody")
    assert page.is_visible("#nothing")
    page.fill("#text", "")
    page.check("#doubtful")
    assert names(page) == [ROWS[3]["name"]]


def test_a_reload_shows_the_same(page: Page) -> None:
    page.select_option("#sort", "iou")
    page.fill("#text", "face")
    page.click(".tools [data-view=attention]")
    page.reload()
    assert names(page)[:2] == ["face 2", ROWS[3]["name"]]
    assert page.input_value("#text") == "face"
    assert page.locator("article .view-attention").first.is_visible()


def test_pictures_are_switched_and_loaded_only_when_shown(page: Page) -> None:
    loaded = "[...document.querySelectorAll('.view-attention img')].filter(i => i.naturalWidth)"
    assert page.locator("article .view-raw").first.is_visible()
    assert not page.locator("article .view-attention").first.is_visible()
    assert page.evaluate(f"{loaded}.length") == 0
    page.click(".tools [data-view=attention]")
    page.wait_for_function(f"{loaded}.length > 0")
    page.click(".tools [data-view=raw]")
    assert not page.locator("article .view-raw").first.is_visible()


def test_lightbox_and_its_keys(page: Page) -> None:
    page.select_option("#kind", "hand")  # the arrow keys move only among the shown faces
    page.click("article[data-name='face 2'] a[data-view=overlay]")
    heading = page.locator("#lightbox strong")
    pressed = page.locator("#lightbox [aria-pressed=true]")
    assert (heading.inner_text(), pressed.inner_text()) == ("face 2", "3 occlusion")
    page.keyboard.press("ArrowRight")
    assert (heading.inner_text(), pressed.inner_text()) == ("face 10", "3 occlusion")
    page.keyboard.press("ArrowRight")
    assert heading.inner_text() == "face 2"
    page.keyboard.press("ArrowUp")
    assert pressed.inner_text() == "2 attention"
    page.keyboard.press(" ")
    assert pressed.inner_text() == "1 photo"
    page.keyboard.press(" ")
    assert pressed.inner_text() == "2 attention"
    page.keyboard.press("3")
    assert pressed.inner_text() == "3 occlusion"
    page.keyboard.press("Escape")
    assert not page.is_visible("#lightbox")


def test_phone_and_dark_mode(page: Page) -> None:
    for width in (390, 1600):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    for scheme, color in (("light", "rgb(246, 246, 244)"), ("dark", "rgb(21, 21, 20)")):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == color

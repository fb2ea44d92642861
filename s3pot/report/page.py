"""The page of cards used by the gallery and the comparison: one HTML file that opens from disk.

Everything except the pictures is in the file; pictures are relative links and are loaded lazily.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from s3pot.io import atomic_path
from s3pot.labels import CLASSES, COLORS
from s3pot.report import vis

TEMPLATES = Path(__file__).with_name("templates")
_ATTENTION_STOPS = np.linspace(0, 1, 9)


@dataclass(frozen=True)
class View:
    """A kind of picture that can be switched on and off for all cards.

    Attributes:
        key: A word of letters, digits and underscores.
        title: The text on the button and below the picture.
        shown: Whether it is on when the page opens.
    """

    key: str
    title: str
    shown: bool = False


@dataclass(frozen=True)
class Sort:
    """An order of the cards.

    Attributes:
        key: Key of ``Card.order``; cards without a value come last.
        title: The text in the menu.
        descending: Whether the largest values come first.
    """

    key: str
    title: str
    descending: bool = False


@dataclass(frozen=True)
class Fact:
    """A number in the header or on a card."""

    title: str
    value: str
    note: str = ""  # small text below it


@dataclass(frozen=True)
class Card:
    """One face.

    Attributes:
        name: The heading.
        facts: The numbers below it.
        pictures: View key → relative link, quoted.
        order: Sort key → number.
        occluded: The value that the filter uses.
        doubt: Why the result is doubtful; empty if it is not.
        occluder_kinds: Kinds of occluders, if they are known.
    """

    name: str
    facts: Sequence[Fact]
    pictures: Mapping[str, str]
    order: Mapping[str, float]
    occluded: bool
    doubt: str = ""
    occluder_kinds: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """The contents of a page.

    Attributes:
        title: Heading.
        facts: Numbers over all faces.
        views: In the order of the pictures on a card.
        sorts: In the order of the menu, in addition to the order by name.
        cards: Sorted by name.
        picture_size: Width of a picture on a card when the page opens, in CSS pixels.
        notes: Paragraphs below the numbers.
        differences: Rows of a table: setting, its value in the first run and in the second.
    """

    title: str
    facts: Sequence[Fact]
    views: Sequence[View]
    sorts: Sequence[Sort]
    cards: Sequence[Card]
    picture_size: int = 155
    notes: Sequence[str] = ()
    differences: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True)
class Swatch:
    """A color and its meaning in a legend."""

    title: str
    color: str  # CSS
    shape: str = "area"  # area, disc or square


def write_page(path: Path, page: Page) -> None:
    """Write a page atomically."""
    shown = {key for card in page.cards for key in card.pictures}
    sortable = {key for card in page.cards for key in card.order}
    text = _page_template().render(
        page=page,
        views=[view for view in page.views if view.key in shown],
        sorts=[sort for sort in page.sorts if sort.key in sortable],
        occluder_kinds=sorted({kind for card in page.cards for kind in card.occluder_kinds}),
        doubtful=sum(1 for card in page.cards if card.doubt),
        classes=_class_swatches(),
        points=_point_swatches(),
        errors=_error_swatches(),
        attention=[_css(color) for color in vis.attention_colors(_ATTENTION_STOPS).tolist()],
    )
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


@cache
def _page_template() -> Template:
    """Compile the template, which texts from files can only enter escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.jinja")


def relative_link(file: Path, page_folder: Path) -> str:
    """Return the link from a page in a folder to a file, with special characters quoted."""
    path = os.path.relpath(file, page_folder).replace(os.sep, "/")
    return quote(os.fsencode(path))


def _css(color: Sequence[int]) -> str:
    red, green, blue = color
    return f"rgb({red}, {green}, {blue})"


def _class_swatches() -> list[Swatch]:
    names = [*(name.replace("_", " ") for name in CLASSES), "occlusion"]
    return [Swatch(name, _css(color)) for name, color in zip(names, COLORS.tolist())]


def _point_swatches() -> list[Swatch]:
    return [
        Swatch("visible face", _css(vis.FACE_COLOR), "disc"),
        Swatch("occlusion", _css(vis.OCCLUSION_COLOR), "square"),
        Swatch("first point: most certainly visible face", _css(vis.FIRST_POINT_COLOR), "disc"),
    ]


def _error_swatches() -> list[Swatch]:
    return [
        Swatch("hit", _css(vis.HIT)),
        Swatch("miss", _css(vis.MISS)),
        Swatch("false alarm", _css(vis.FALSE_ALARM)),
    ]

"""One HTML page of pictures and numbers that opens from disk: no script, relative links, light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from s3pot.data.image import atomic_path

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.4 system-ui, sans-serif; margin: 0 auto; max-width: 1500px; padding: 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .2rem; }
p { margin: 0 0 1rem; }
article { border: 1px solid #8884; border-radius: 8px; margin: 0 0 1rem; padding: .8rem; }
h2 { font-size: 1.05rem; margin: 0; overflow-wrap: anywhere; }
dl { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; margin: .2rem 0 .7rem; }
dl div { display: flex; gap: .4rem; }
dt { opacity: .7; }
dt::after { content: ":"; }
dd { font-variant-numeric: tabular-nums; margin: 0; }
.row { display: grid; gap: .6rem; grid-template-columns: repeat(6, 1fr); }
figure { margin: 0; }
figure.wide { grid-column: span 2; }
img { background: #8882; border-radius: 4px; display: block; width: 100%; }
figcaption { font-size: .8rem; opacity: .7; }
@media (max-width: 900px) { .row { grid-template-columns: repeat(2, 1fr); } }
"""


@dataclass(frozen=True)
class Card:
    """One face of the page, with captions and files relative to the page, and names and values."""

    name: str
    pictures: Sequence[tuple[str, str]]
    numbers: Sequence[tuple[str, str]]


def write_gallery(path: Path, title: str, cards: Sequence[Card]) -> None:
    """Write the page, whole or not at all; the pictures lie beside or below it."""
    count = "1 face" if len(cards) == 1 else f"{len(cards)} faces"
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n<p>{count}</p>\n"
        f"{''.join(_article(card) for card in cards)}</body>\n</html>\n"
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _article(card: Card) -> str:
    rows = [f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in card.numbers]
    text = f"<article>\n<h2>{escape(card.name)}</h2>\n<dl>{''.join(rows)}</dl>\n"
    text += '<div class="row">'
    for caption, file in card.pictures:
        link, wide = quote(file), ' class="wide"' if file.endswith("_pair.png") else ""
        text += (
            f'<figure{wide}><a href="{link}"><img loading="lazy" src="{link}" '
            f'alt="{escape(f"{card.name}: {caption}")}"></a>'
            f"<figcaption>{escape(caption)}</figcaption></figure>\n"
        )
    return text + "</div>\n</article>\n"

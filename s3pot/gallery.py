"""One HTML page of pictures and numbers that opens from disk: no script, relative links, light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from s3pot.data.image import atomic_path

CAPTIONS = {
    "pair": "photo and reference",
    "classes": "parsing",
    "points": "prompts: face green, occlusion red",
    "attention": "attention on the prompts",
    "overlay": "occlusion",
}  # pictures ``<stem>_<key>.png`` of a face
_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>S³POT: occluded faces</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.4 system-ui, sans-serif; margin: 0 auto; max-width: 1500px; padding: 1rem; }
article { border: 1px solid #8884; border-radius: 8px; margin: 1rem 0; padding: .8rem; }
h1, h2 { font-size: 1.2rem; margin: 0; overflow-wrap: anywhere; }
.row { display: grid; gap: .6rem; grid-template-columns: repeat(6, 1fr); }
figure { font-size: .85rem; margin: 0; }
.pair { grid-column: span 2; }
img { background: #8882; border-radius: 4px; display: block; width: 100%; }
@media (max-width: 900px) { .row { grid-template-columns: repeat(2, 1fr); } }
</style></head><body><h1>S³POT: occluded faces</h1>
"""


def write_gallery(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``index.html``, whole or not at all: a card for each row of the folder's summary."""
    cards = "".join(_card(folder, row) for row in rows)
    with atomic_path(folder / "index.html") as temporary:
        temporary.write_text(f"{_HEAD}{cards}</body></html>\n", encoding="utf-8")


def _card(folder: Path, row: Mapping[str, Any]) -> str:
    name, iou = str(row["name"]), row["occlusion_iou"]
    text = f"occluded: {row['occluded']}, {row['occluded_share']:.1%} of the region · prompts: "
    text += f"{row['positive_points']} face, {row['negative_points']} occlusion"
    text += "" if iou is None else f" · occlusion IoU: {iou:.3f}"
    files = {kind: f"{name}_{kind}.png" for kind in CAPTIONS}
    figures = [
        f'<figure class="{kind}"><a href="{quote(file)}"><img loading="lazy" src="{quote(file)}" '
        f'alt="{CAPTIONS[kind]}"></a><figcaption>{CAPTIONS[kind]}</figcaption></figure>\n'
        for kind, file in files.items()
        if (folder / file).is_file()
    ]
    return (
        f"<article>\n<h2>{escape(name)}</h2>\n<p>{text}</p>\n"
        f'<div class="row">{"".join(figures)}</div>\n</article>\n'
    )

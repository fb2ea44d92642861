"""One HTML page of pictures and numbers that opens from disk: no script, relative links, light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from s3pot.io import atomic_path

CAPTIONS = {
    "pair": "photo and reference",
    "classes": "parsing",
    "points": "prompts: face green, occlusion red",
    "attention": "attention on the prompts",
    "overlay": "occlusion",
}  # pictures ``<stem>_<key>.png`` of a face


def write_gallery(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``index.html``, whole or not at all: a card for each row of the folder's summary."""
    page = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    page = page.replace("</body>", "".join(_card(folder, row) for row in rows) + "</body>")
    with atomic_path(folder / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")


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

"""The gallery of a result folder: ``index.html``, with a card for each face (see ``page``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s3pot.report.page import Card, Fact, Page, Sort, View, relative_link, write_page
from s3pot.statistics import bootstrap_interval

# Pictures ``<stem>_<key>.png`` of a face.
VIEWS = (
    View("raw", "photo", shown=True),
    View("reference", "reference", shown=True),
    View("classes", "parsing"),
    View("points", "points"),
    View("attention", "attention"),
    View("overlay", "occlusion", shown=True),
    View("truth", "truth"),
    View("error", "error map", shown=True),
    View("before", "before fitting", shown=True),
    View("loss_curve", "loss curve", shown=True),
)
SORTS = (
    Sort("iou", "IoU, worst first"),
    Sort("iou_best", "IoU, best first", descending=True),
    Sort("share", "occluded share, largest first", descending=True),
    Sort("doubt", "doubtful first", descending=True),
)


def write_gallery(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``index.html``, whole or not at all.

    Args:
        folder: Result folder; the pictures that lie there are shown.
        rows: Of its summary. ``name``, ``occluded`` and ``occluded_share`` are needed; the rest
            (scores, points, ``quality``, ``kinds``, ...) is shown where it is there.
    """
    page = Page(
        title="S³POT: occluded faces",
        facts=headline_facts(rows),
        views=VIEWS,
        sorts=SORTS,
        cards=[_card(folder, row) for row in sorted(rows, key=lambda row: str(row["name"]))],
    )
    write_page(folder / "index.html", page)


def headline_facts(rows: Sequence[Mapping[str, Any]]) -> list[Fact]:
    """Numbers of all faces of a run together."""
    occluded = [row for row in rows if is_occluded(row)]
    facts = [
        Fact("faces", str(len(rows))),
        Fact("occluded", str(len(occluded)), f"{len(rows) - len(occluded)} not"),
    ]
    doubtful = [row for row in rows if doubt_of(row)]
    if doubtful:
        facts.append(Fact("doubtful", str(len(doubtful))))
    scored = [row for row in rows if row.get("occlusion_iou") is not None]
    with_occlusion = [row for row in scored if row.get("true_share") != 0]
    ious = [float(row["occlusion_iou"]) for row in with_occlusion]
    interval = bootstrap_interval(ious)
    if interval is not None:
        note = f"95 % interval {interval.low:.3f} to {interval.high:.3f}, {len(ious)} faces"
        facts.append(Fact("mean occlusion IoU", f"{interval.mean:.3f}", note))
    bare = [row for row in scored if row.get("true_share") == 0]
    if bare:
        false_alarms = sum(1 for row in bare if is_occluded(row))
        mean_share = sum(float(row["occluded_share"]) for row in bare) / len(bare)
        note = f"of {len(bare)} bare faces; mean share {mean_share:.1%}"
        facts.append(Fact("false alarms", str(false_alarms), note))
    return facts


def is_occluded(row: Mapping[str, Any]) -> bool:
    """Whether a row of the summary calls its face occluded."""
    return bool(row["occluded"] == "yes")


def doubt_of(row: Mapping[str, Any]) -> str:
    """Why a row's result is doubtful; empty where it is not."""
    quality = str(row.get("quality") or "ok")
    return "" if quality == "ok" else quality.partition(": ")[2] or quality


def _card(folder: Path, row: Mapping[str, Any]) -> Card:
    name = str(row["name"])
    files = {view.key: folder / f"{name}_{view.key}.png" for view in VIEWS}
    doubt = doubt_of(row)
    order = {"share": float(row["occluded_share"]), "doubt": float(bool(doubt))}
    if row.get("occlusion_iou") is not None:
        order["iou"] = order["iou_best"] = float(row["occlusion_iou"])
    return Card(
        name=name,
        facts=_facts(row),
        pictures={
            key: relative_link(file, folder) for key, file in files.items() if file.is_file()
        },
        order=order,
        occluded=is_occluded(row),
        doubt=doubt,
        kinds=str(row.get("kinds") or "").split(),
    )


def _facts(row: Mapping[str, Any]) -> list[Fact]:
    facts = [
        Fact("occluded", str(row["occluded"])),
        Fact("share of the region", f"{row['occluded_share']:.1%}"),
    ]
    if row.get("occlusion_iou") is not None:
        facts.append(Fact("IoU", f"{row['occlusion_iou']:.3f}"))
    if row.get("positive_points") is not None:
        points = f"{row['positive_points']} face, {row['negative_points']} occlusion"
        facts.append(Fact("points", points))
    return facts

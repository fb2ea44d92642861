"""The gallery of a result folder: ``index.html``, with a card for each face (see ``page``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from s3pot.metrics import MaskScores
from s3pot.report.before_after import ADAPTERS_TABLE, FITTED, AdapterResult, read_adapters
from s3pot.report.page import Card, Fact, Page, Sort, View, relative_link, write_page
from s3pot.report.summary import SUMMARY, Failure, read_summary, require_results
from s3pot.statistics import bootstrap_interval
from s3pot.wording import counted

# Pictures ``<stem>_<key>.png`` of a face.
VIEWS = (
    View("raw", "photo", shown=True),
    View("reference", "reference", shown=True),
    View("classes", "parsing"),
    View("points", "points"),
    View("attention", "attention"),
    View("before", "before fitting", shown=True),
    View("overlay", "occlusion", shown=True),
    View("overlay_photo", "in the photo", shown=True),
    View("truth", "truth"),
    View("error", "error map", shown=True),
    View("loss_curve", "loss curve", shown=True),
)
SORTS = (
    Sort("iou", "IoU, worst first"),
    Sort("iou_best", "IoU, best first", descending=True),
    Sort("share", "occluded share, largest first", descending=True),
    Sort("doubt", "doubtful first", descending=True),
    Sort("gain", "fitting, gained most first", descending=True),
)
PAGE = "index.html"
TITLE = "S³POT: occluded faces"
MOST_BEFORE_TITLE = 2000  # characters of the page
TRUTH_VIEWS = ("truth", "error")  # pictures that show the ground truth
TRUTH_CHANGED = "truth_changed"  # key of a row whose ground truth is not that of its pictures
OTHER_RULES = "other_rules"  # key of a row that is scored by other rules than its pictures show


@dataclass(frozen=True)
class TruthChanges:
    """How the ground truth of the pictures in a result folder differs from that of later scores.

    Attributes:
        changed: Faces whose files of the ground truth have changed since.
        removed: Faces that no longer have a ground truth.
        other_rules: Faces whose ground truth was drawn by other rules, such as those for glasses.
    """

    changed: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    other_rules: frozenset[str] = frozenset()


def has_gallery(folder: Path) -> bool:
    """Whether a folder holds a gallery, and not a page of another program."""
    try:
        with (folder / PAGE).open(encoding="utf-8", errors="replace") as file:
            return f"<title>{TITLE}</title>" in file.read(MOST_BEFORE_TITLE)
    except OSError:
        return False


def write_gallery(
    folder: Path, rows: Sequence[Mapping[str, Any]], failures: Sequence[Failure] = ()
) -> None:
    """Write ``index.html`` atomically.

    Args:
        folder: Result folder; the pictures in it are shown.
        rows: Rows of its summary. ``name``, ``occluded`` and ``occluded_share`` are required; the
            rest (scores, points, ``quality``, ``kinds``, ...) is shown if it exists.
        failures: Faces that failed; they are listed at the top.
    """
    adapters = read_adapters(folder / ADAPTERS_TABLE)
    page = Page(
        title=TITLE,
        facts=headline_facts(rows, len(failures)),
        views=VIEWS,
        sorts=SORTS,
        notes=[*_failure_notes(failures), *_rule_notes(rows)],
        cards=[
            _card(folder, row, adapters.get(str(row["name"]), ()))
            for row in sorted(rows, key=lambda row: str(row["name"]))
        ],
    )
    write_page(folder / PAGE, page)


def _failure_notes(failures: Iterable[Failure]) -> list[str]:
    return [f"{entry.name} failed ({entry.stage}): {entry.reason}" for entry in failures]


def _rule_notes(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say that pictures show another rule than the scores, if any do."""
    count = sum(1 for row in rows if row.get(OTHER_RULES))
    if not count:
        return []
    return [
        f"The ground truth in the pictures of {counted(count, 'face')} follows other settings of "
        "truth.* than the scores. Inference with --save_vis and the settings of the scores draws "
        "them anew."
    ]


def update_gallery(
    folder: Path,
    scores: Mapping[str, MaskScores],
    occluder_kinds: Mapping[str, Iterable[str]],
    changes: TruthChanges,
) -> None:
    """Update a gallery with later scores and kinds; without a gallery, do nothing.

    Args:
        folder: Result folder.
        scores: Face → its scores.
        occluder_kinds: Face → kinds of its occluders, if they are known.
        changes: Whose ground truth differs from that in the pictures. Pictures of a ground truth
            that has changed are left out.
    """
    if not has_gallery(folder) or not (folder / SUMMARY).is_file():
        return
    summary = read_summary(folder)
    require_results(folder, summary.rows)
    rows = []
    for row in summary.rows:
        name = str(row["name"])
        updated = {**row, "kinds": " ".join(sorted(occluder_kinds.get(name, ())))}
        if row.get("occlusion_iou") is not None:  # a face without a score has no such pictures
            updated[TRUTH_CHANGED] = name in changes.changed or name in changes.removed
            updated[OTHER_RULES] = name in scores and name in changes.other_rules
        if name in scores:
            updated["occlusion_iou"] = scores[name].iou
            updated["true_share"] = scores[name].true_share
        elif name in changes.removed:
            updated["occlusion_iou"] = updated["true_share"] = None
        rows.append(updated)
    write_gallery(folder, rows, summary.failures)


def headline_facts(rows: Sequence[Mapping[str, Any]], failed: int = 0) -> list[Fact]:
    """Compute the overall numbers of a run.

    Args:
        rows: Rows of the summary.
        failed: The number of faces without a row.
    """
    occluded = [row for row in rows if is_occluded(row)]
    facts = [
        Fact("faces", str(len(rows))),
        Fact("occluded", str(len(occluded)), f"{len(rows) - len(occluded)} not"),
    ]
    if failed:
        facts.append(Fact("failed", str(failed)))
    doubtful = [row for row in rows if doubt_of(row)]
    if doubtful:
        facts.append(Fact("doubtful", str(len(doubtful))))
    scored = [row for row in rows if row.get("occlusion_iou") is not None]
    with_occlusion = [row for row in scored if is_truly_occluded(row)]
    ious = [float(row["occlusion_iou"]) for row in with_occlusion]
    interval = bootstrap_interval(ious)
    if interval is not None:
        note = counted(len(ious), "face")
        if interval.low is not None and interval.high is not None:
            note = f"95 % interval {interval.low:.3f} to {interval.high:.3f}, {note}"
        facts.append(Fact("mean occlusion IoU", f"{interval.mean:.3f}", note))
    unoccluded = [row for row in scored if not is_truly_occluded(row)]
    if unoccluded:
        false_alarms = sum(1 for row in unoccluded if is_occluded(row))
        mean_share = sum(float(row["occluded_share"]) for row in unoccluded) / len(unoccluded)
        note = f"of {counted(len(unoccluded), 'unoccluded face')}; mean share {mean_share:.1%}"
        facts.append(Fact("false alarms", str(false_alarms), note))
    return facts


def is_occluded(row: Mapping[str, Any]) -> bool:
    """Whether a row of the summary says that its face is occluded."""
    return bool(row["occluded"] == "yes")


def is_truly_occluded(row: Mapping[str, Any]) -> bool:
    """Whether a face with a score is occluded in its ground truth; without its share, it is."""
    return bool(row.get("true_share") != 0)


def doubt_of(row: Mapping[str, Any]) -> str:
    """Return why a row's result is doubtful; empty if it is not."""
    quality = str(row.get("quality") or "ok")
    return "" if quality == "ok" else quality.partition(": ")[2] or quality


def _card(folder: Path, row: Mapping[str, Any], adapters: Sequence[AdapterResult]) -> Card:
    name = str(row["name"])
    files = {view.key: folder / f"{name}_{view.key}.png" for view in VIEWS}
    doubt = doubt_of(row)
    order = {"share": float(row["occluded_share"]), "doubt": float(bool(doubt))}
    if row.get("occlusion_iou") is not None:
        order["iou"] = order["iou_best"] = float(row["occlusion_iou"])
    if row.get(TRUTH_CHANGED) or row.get(OTHER_RULES):  # the scores of the adapters are not new
        adapters = [replace(score, occlusion_iou=None) for score in adapters]
    elif _are_of(row, adapters):
        order["gain"] = _gain(adapters)
    if _are_of(row, adapters):
        facts = [*_facts(row), *(_adapter_fact(score) for score in adapters)]
    else:
        facts = _facts(row)
    return Card(
        name=name,
        facts=facts,
        pictures={
            key: relative_link(file, folder)
            for key, file in files.items()
            if file.is_file() and not (row.get(TRUTH_CHANGED) and key in TRUTH_VIEWS)
        },
        order=order,
        occluded=is_occluded(row),
        doubt=doubt,
        occluder_kinds=str(row.get("kinds") or "").split(),
    )


def _are_of(row: Mapping[str, Any], adapters: Sequence[AdapterResult]) -> bool:
    """Whether adapter scores belong to a row, and not to an earlier run in the same folder."""
    fitted = [score for score in adapters if score.adapter == FITTED]
    return bool(fitted) and fitted[0].occluded_share == row["occluded_share"]


def _gain(adapters: Sequence[AdapterResult]) -> float:
    """Return the fitted adapter's gain over the others, in IoU or, without a truth, in loss."""
    fitted = next(score for score in adapters if score.adapter == FITTED)
    others = [score for score in adapters if score.adapter != FITTED]
    ious = [score.occlusion_iou for score in others if score.occlusion_iou is not None]
    if fitted.occlusion_iou is not None and ious:
        return fitted.occlusion_iou - max(ious)
    return min((score.loss for score in others), default=fitted.loss) - fitted.loss


def _adapter_fact(score: AdapterResult) -> Fact:
    iou = "" if score.occlusion_iou is None else f", IoU {score.occlusion_iou:.3f}"
    text = f"loss {score.loss:.3f}, {score.occluded_share:.1%}{iou}"
    return Fact(f"{score.adapter} adapter", text)


def _facts(row: Mapping[str, Any]) -> list[Fact]:
    facts = [
        Fact("occluded", str(row["occluded"])),
        Fact("share of the region", f"{row['occluded_share']:.1%}"),
    ]
    if row.get("occlusion_iou") is not None:
        facts.append(Fact("IoU", f"{row['occlusion_iou']:.3f}"))
    if row.get(TRUTH_CHANGED):
        facts.append(Fact("ground truth", "changed after the pictures were drawn"))
    if row.get("positive_points") is not None:
        points = f"{row['positive_points']} face, {row['negative_points']} occlusion"
        facts.append(Fact("points", points))
    return facts

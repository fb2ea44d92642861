"""The comparison of two result folders: their common faces, the differences and the p-value."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from s3pot.data.image import MAX_PIXELS
from s3pot.data.masks import read_mask
from s3pot.data.output_guard import is_same_folder, refuse_other_kinds
from s3pot.io import read_yaml, write_csv
from s3pot.metrics import mask_scores
from s3pot.report.gallery import doubt_of, headline_facts, is_occluded, is_truly_occluded
from s3pot.report.page import Card, Fact, Page, Sort, View, relative_link, write_page
from s3pot.report.summary import SUMMARY, model_hashes_of, read_summary, require_results
from s3pot.statistics import paired_difference
from s3pot.types import S3potError
from s3pot.wording import brief, counted, reason_of

logger = logging.getLogger(__name__)

PAGE = "index.html"
TABLE = "compare.csv"

# Pictures that both runs share, and pictures of each run.
_COMMON_VIEWS = (View("raw", "photo", shown=True), View("truth", "truth"))
_VIEWS_PER_RUN = (
    View("overlay", "occlusion", shown=True),
    View("error", "error map", shown=True),
    View("reference", "reference"),
    View("classes", "parsing"),
    View("points", "points"),
    View("attention", "attention"),
)
SORTS = (
    Sort("loss", "IoU, where B loses most"),
    Sort("gain", "IoU, where B gains most", descending=True),
    Sort("agreement", "masks, least similar first"),
    Sort("iou_a", "IoU of A, worst first"),
    Sort("iou_b", "IoU of B, worst first"),
)


@dataclass(frozen=True)
class ResultFolder:
    """A result folder.

    Attributes:
        folder: Its path.
        rows: Rows of its summary by face.
        settings: ``section.key`` → value of the config that it was made with.
        failed: Names of the faces that failed in its last run. Masks of an earlier run may exist.
    """

    folder: Path
    rows: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, str]
    failed: Collection[str] = ()

    @property
    def max_pixels(self) -> int:
        """The largest image that the run was allowed to read, if its config says so."""
        try:
            return max(MAX_PIXELS, round(float(self.settings["run.max_megapixels"]) * 1e6))
        except (LookupError, ValueError, OverflowError):
            return MAX_PIXELS


@dataclass(frozen=True)
class Pair:
    """One face in both runs.

    Attributes:
        name: The face.
        first: Its row in run A.
        second: Its row in run B.
        agreement: IoU of the two occlusion masks, 1 if both are empty; None if a mask is missing or
            the sizes differ.
    """

    name: str
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    agreement: float | None

    @property
    def difference(self) -> float | None:
        """How much higher the IoU of B is; None without a ground truth."""
        iou_of_a = self.first.get("occlusion_iou")
        iou_of_b = self.second.get("occlusion_iou")
        if iou_of_a is None or iou_of_b is None:
            return None
        return float(iou_of_b) - float(iou_of_a)


def read_result_folder(folder: Path) -> ResultFolder:
    """Read a result folder.

    Raises:
        S3potError: The folder is not a result folder.
    """
    if folder.is_file():
        raise S3potError(f"{folder} is a file; expected the folder that inference.py writes.")
    if not folder.is_dir():
        raise S3potError(f"The folder {folder} does not exist; inference.py writes one.")
    path = folder / SUMMARY
    try:
        summary = read_summary(folder)
    except S3potError as error:
        raise S3potError(
            f"{folder} is not a result folder: {path.name} cannot be used ({error}); "
            "inference.py and train_per_image.py write one"
        ) from error
    require_results(folder, summary.rows)
    rows = {str(row["name"]): row for row in summary.rows}
    if not rows:
        raise S3potError(f"{path} has no rows: no face was finished there")
    return ResultFolder(
        folder=folder,
        rows=rows,
        failed={failure.name for failure in summary.failures},
        settings=_read_settings(folder / "config.yaml"),
    )


def refuse_repeated(runs: Sequence[ResultFolder]) -> None:
    """Make sure that no run is given twice, also by different spellings of its path.

    Raises:
        S3potError: Two of the folders are the same one.
    """
    for first, second in combinations(runs, 2):
        if is_same_folder(first.folder, second.folder):
            raise S3potError(
                f"{first.folder} and {second.folder} are the same result folder; give each run "
                "once."
            )


def compare_runs(first: ResultFolder, second: ResultFolder, output_dir: Path) -> list[Fact]:
    """Write ``index.html`` and ``compare.csv`` of the faces that both runs have.

    Returns:
        The facts at the top of the page.

    Raises:
        S3potError: The two are the same run, or have no face in common, or the output folder holds
            something of another command.
    """
    refuse_repeated([first, second])
    refuse_other_kinds(output_dir, "compare")
    if (output_dir / SUMMARY).is_file():
        raise S3potError(
            f"--output_dir {output_dir} is a result folder (it holds {SUMMARY}), whose gallery "
            f"{PAGE} the comparison would replace; choose another --output_dir."
        )
    names = sorted(first.rows.keys() & second.rows.keys())
    if not names:
        examples = f"{min(first.rows)!r} and {min(second.rows)!r}"
        raise S3potError(
            f"{first.folder} and {second.folder} have no face in common (they hold, for example, "
            f"{examples}); compare runs on the same --datapath"
        )
    pairs = [_pair(first, second, name) for name in names]
    write_csv(output_dir / TABLE, [_csv_row(pair) for pair in pairs])
    facts = _facts(pairs)
    for note in (*_left_out(first, second), *_other_rules(first, second)):
        logger.warning("%s", note)
    page = Page(
        title=f"S³POT: A {first.folder} and B {second.folder}",
        facts=facts,
        views=_views(),
        sorts=SORTS,
        cards=[_card(pair, first, second, output_dir) for pair in pairs],
        picture_size=135,
        notes=_notes(first, second, pairs),
        differences=_setting_differences(first, second),
    )
    write_page(output_dir / PAGE, page)
    return facts


def _pair(first: ResultFolder, second: ResultFolder, name: str) -> Pair:
    masks = [_read_mask(run, name) for run in (first, second)]
    agreement = None
    if masks[0] is not None and masks[1] is not None and masks[0].shape == masks[1].shape:
        agreement = mask_scores(masks[1], masks[0]).iou
    return Pair(name, first.rows[name], second.rows[name], agreement)


def _read_mask(run: ResultFolder, name: str) -> np.ndarray | None:
    """Read the mask of a face, bool (H, W); None if there is none."""
    path = run.folder / f"{name}_occlusion.png"
    return read_mask(path, max_pixels=run.max_pixels) if path.is_file() else None


def _read_settings(path: Path) -> dict[str, str]:
    """Read ``section.key`` → value; empty if there is no config file."""
    if not path.is_file():
        return {}
    try:
        tree = read_yaml(path)
        return {
            f"{section}.{key}": str(value)
            for section, values in tree.items()
            for key, value in values.items()
        }
    except (S3potError, AttributeError) as error:
        raise S3potError(f"{path} cannot be read as a config ({reason_of(error)})") from error


def _views() -> list[View]:
    both = [
        View(f"{view.key}_{run.lower()}", f"{run} {view.title}", view.shown)
        for view in _VIEWS_PER_RUN
        for run in ("A", "B")
    ]
    return [_COMMON_VIEWS[0], *both, _COMMON_VIEWS[1]]


def _facts(pairs: Sequence[Pair]) -> list[Fact]:
    facts = [Fact("faces in both", str(len(pairs)))]
    for run, rows in (
        ("A", [pair.first for pair in pairs]),
        ("B", [pair.second for pair in pairs]),
    ):
        facts += [
            Fact(f"{run}: {fact.title}", fact.value, fact.note) for fact in headline_facts(rows)[1:]
        ]
    scored = [
        pair for pair in pairs if pair.difference is not None and is_truly_occluded(pair.first)
    ]
    difference = paired_difference(
        [float(pair.second["occlusion_iou"]) for pair in scored],
        [float(pair.first["occlusion_iou"]) for pair in scored],
    )
    if difference is not None:
        note = f"p = {difference.p_value:.2g} (sign flips), {counted(difference.pairs, 'face')}"
        if difference.low is not None and difference.high is not None:
            note = f"95 % interval {difference.low:+.3f} to {difference.high:+.3f}, {note}"
        facts.append(Fact("IoU, B minus A", f"{difference.mean:+.3f}", note))
    changed = sum(1 for pair in pairs if is_occluded(pair.first) != is_occluded(pair.second))
    facts.append(Fact("different verdict", str(changed)))
    return facts


def _notes(first: ResultFolder, second: ResultFolder, pairs: Sequence[Pair]) -> list[str]:
    notes = _left_out(first, second)
    if not any(
        (run.folder / f"{pair.name}_overlay.png").is_file()
        for run in (first, second)
        for pair in pairs
    ):
        notes.append("There are no pictures: run inference with --save_vis.")
    return notes


def _left_out(first: ResultFolder, second: ResultFolder) -> list[str]:
    """Say which faces are not compared, and why."""
    notes = []
    for letter, run in (("A", first), ("B", second)):
        if run.failed:
            names = brief(sorted(run.failed))
            notes.append(f"Left out, because they failed in the last run of {letter}: {names}.")
    alone = (first.rows.keys() ^ second.rows.keys()) - {*first.failed, *second.failed}
    if alone:
        names = brief(sorted(alone))
        notes.append(f"Left out, because only one of the runs has them: {names}.")
    return notes


def _other_rules(first: ResultFolder, second: ResultFolder) -> list[str]:
    """Say that the runs were scored by different rules for the ground truth, if they were."""
    keys = [key for key, _, _ in _setting_differences(first, second) if key.startswith("truth.")]
    if not keys:
        return []
    return [
        f"The runs were scored with different values of {', '.join(keys)}, so part of the "
        "difference may lie in these rules and not in the masks; run inference.py again with one "
        "value for both."
    ]


def _setting_differences(first: ResultFolder, second: ResultFolder) -> list[tuple[str, str, str]]:
    """List config values and hashes of models that differ."""
    settings = [{**run.settings, **_hashes(run)} for run in (first, second)]
    keys = sorted(settings[0].keys() | settings[1].keys())
    rows = [(key, settings[0].get(key, "-"), settings[1].get(key, "-")) for key in keys]
    return [row for row in rows if row[1] != row[2]]


def _hashes(run: ResultFolder) -> dict[str, str]:
    """Return the hashes of the models, if they are the same for all faces."""
    return {
        f"sha256_{model}": min(hashes)[:12] if len(hashes) == 1 else f"{len(hashes)} different"
        for model, hashes in model_hashes_of(list(run.rows.values())).items()
    }


def _card(pair: Pair, first: ResultFolder, second: ResultFolder, page_folder: Path) -> Card:
    order: dict[str, float] = {}
    if pair.difference is not None:
        order["loss"] = order["gain"] = pair.difference
        order["iou_a"] = float(pair.first["occlusion_iou"])
        order["iou_b"] = float(pair.second["occlusion_iou"])
    if pair.agreement is not None:
        order["agreement"] = pair.agreement
    doubts = {
        f"{run}: {doubt_of(row)}"
        for run, row in (("A", pair.first), ("B", pair.second))
        if doubt_of(row)
    }
    return Card(
        name=pair.name,
        facts=_card_facts(pair),
        pictures=_pictures(pair.name, first.folder, second.folder, page_folder),
        order=order,
        occluded=is_occluded(pair.first) or is_occluded(pair.second),
        doubt="; ".join(sorted(doubts)),
        occluder_kinds=str(pair.first.get("kinds") or pair.second.get("kinds") or "").split(),
    )


def _card_facts(pair: Pair) -> list[Fact]:
    facts = []
    for run, row in (("A", pair.first), ("B", pair.second)):
        verdict = f"{row['occluded_share']:.1%}" if is_occluded(row) else "not occluded"
        facts.append(Fact(f"{run} share", verdict))
        if row.get("occlusion_iou") is not None:
            facts.append(Fact("IoU", f"{row['occlusion_iou']:.3f}"))
    if pair.difference is not None:
        facts.append(Fact("B minus A", f"{pair.difference:+.3f}"))
    if pair.agreement is not None:
        facts.append(Fact("mask IoU", f"{pair.agreement:.3f}"))
    return facts


def _pictures(name: str, first: Path, second: Path, page_folder: Path) -> dict[str, str]:
    files = {}
    for view in _COMMON_VIEWS:
        options = [folder / f"{name}_{view.key}.png" for folder in (first, second)]
        files[view.key] = next((path for path in options if path.is_file()), options[0])
    for view in _VIEWS_PER_RUN:
        files[f"{view.key}_a"] = first / f"{name}_{view.key}.png"
        files[f"{view.key}_b"] = second / f"{name}_{view.key}.png"
    return {key: relative_link(path, page_folder) for key, path in files.items() if path.is_file()}


def _csv_row(pair: Pair) -> dict[str, Any]:
    return {
        "name": pair.name,
        "occluded_a": pair.first["occluded"],
        "occluded_b": pair.second["occluded"],
        "occluded_share_a": pair.first["occluded_share"],
        "occluded_share_b": pair.second["occluded_share"],
        "occlusion_iou_a": pair.first.get("occlusion_iou"),
        "occlusion_iou_b": pair.second.get("occlusion_iou"),
        "difference": pair.difference,
        "agreement": pair.agreement,
    }

"""The rows and columns of a table of scores, and the comparison with the main row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from s3pot.metrics import MaskScores, ScoreSummary, summarize
from s3pot.statistics import PairedDifference, paired_difference


@dataclass(frozen=True)
class FaceScore:
    """One face in one row of a table.

    Attributes:
        row: Name of the row.
        face: Name of the face.
        scores: The scores of its occlusion mask.
        mask_seconds: The time from its prompts to its mask, see ``TableRow``; None if it is not
            known.
    """

    row: str
    face: str
    scores: MaskScores
    mask_seconds: float | None = None


@dataclass(frozen=True)
class Provenance:
    """The provenance of a row's numbers; empty where it is not known.

    Attributes:
        seed: Seed of training and of all other random numbers.
        commit: Commit of the code that scored, in a checkout; with ``+`` if files differ from it.
        version: Version of the package that scored, outside a checkout.
        config: Hash of the config.
        weights: Names of the models with the hashes of their files.
        truth: What the faces are scored against, and the rule for glasses.
    """

    seed: str = ""
    commit: str = ""
    version: str = ""
    config: str = ""
    weights: str = ""
    truth: str = ""


@dataclass(frozen=True)
class TableRow:
    """One line of a table.

    Attributes:
        name: The first column.
        summary: Scores of its faces.
        mask_seconds: Mean wall time from a face's prompts to its mask; None if it is not known. It
            includes adapter, decoder and fitting, or a baseline's rule, but not reference
            generation, SAM's encoder, FE and PS, whose results rows share. Faces that a CPU
            computes side by side slow each other down.
        difference: Difference of its IoU to the main row's, over the occluded faces of both; None
            for the main row, and if there is no main row.
        provenance: The provenance of its numbers.
        oracle: Whether it uses the ground truth, and is therefore not marked as the best.
    """

    name: str
    summary: ScoreSummary
    mask_seconds: float | None = None
    difference: PairedDifference | None = None
    provenance: Provenance = Provenance()
    oracle: bool = False


@dataclass(frozen=True)
class Evaluation:
    """A table, the scores behind it, and how many faces could not be scored."""

    rows: Sequence[TableRow]
    faces: Sequence[FaceScore]
    failed: int = 0


@dataclass(frozen=True)
class Column:
    """A column of the Markdown and LaTeX tables.

    Attributes:
        key: Key in ``cell_values``; also its heading in Markdown.
        title: Its heading in LaTeX, not escaped.
        best: "high" or "low", whichever is better; empty if neither is.
        interval: Whether ``<key>_low`` and ``<key>_high`` are shown with it, if they are known.
        signed: Whether a plus sign is written.
        paper: Whether it is also in the LaTeX table, which has to be narrow.
    """

    key: str
    title: str
    best: str = ""
    interval: bool = False
    signed: bool = False
    paper: bool = True

    def text(self, value: Any) -> str:
        """Format a value of this column: three digits, "-" for None."""
        if value is None:
            return "-"
        if not isinstance(value, float):
            return str(value)
        if self.key == "difference_p" and value < 0.001:
            return "<0.001"
        return f"{value:+.3f}" if self.signed else f"{value:.3f}"


COLUMNS = (
    Column("occlusion_iou", r"IoU $\uparrow$", best="high", interval=True),
    Column("f1", r"F1 $\uparrow$", best="high"),
    Column("precision", "Precision", paper=False),
    Column("recall", "Recall", paper=False),
    Column("boundary_f1", r"B-F1 $\uparrow$", best="high"),
    Column("visible_iou", r"Face $\uparrow$", best="high"),
    Column("pooled_iou", r"Pooled $\uparrow$", best="high"),
    Column("faces", "Faces"),
    Column("mask_seconds", "Mask, s"),
    Column("false_alarms", r"FA $\downarrow$", best="low"),
    Column("false_alarm_share", r"FA share $\downarrow$", best="low", paper=False),
    Column("difference", r"$\Delta$ IoU", interval=True, signed=True),
    Column("difference_p", "$p$"),
)


def make_row(
    name: str,
    entries: Sequence[FaceScore],
    main: Sequence[FaceScore] = (),
    provenance: Provenance | None = None,
    oracle: bool = False,
) -> TableRow:
    """Summarize the faces of one row.

    Args:
        name: The first column.
        entries: The scores of its faces.
        main: The scores of the row that it is compared with; empty for no comparison.
        provenance: The provenance of its numbers.
        oracle: See ``TableRow``.
    """
    times = [entry.mask_seconds for entry in entries if entry.mask_seconds is not None]
    return TableRow(
        name=name,
        summary=summarize([entry.scores for entry in entries]),
        mask_seconds=sum(times) / len(times) if times else None,
        difference=_difference(entries, main),
        provenance=provenance or Provenance(),
        oracle=oracle,
    )


def cell_values(row: TableRow) -> dict[str, Any]:
    """Convert a row to plain, unrounded values by the columns of ``table.csv``."""
    difference = row.difference
    return {
        "name": row.name,
        **asdict(row.summary),
        "mask_seconds": row.mask_seconds,
        "difference": None if difference is None else difference.mean,
        "difference_low": None if difference is None else difference.low,
        "difference_high": None if difference is None else difference.high,
        "difference_p": None if difference is None else difference.p_value,
        "difference_faces": None if difference is None else difference.pairs,
        **asdict(row.provenance),
    }


def used_columns(rows: Sequence[TableRow]) -> list[Column]:
    """Return the columns that are not empty in all rows."""
    values = [cell_values(row) for row in rows]
    return [column for column in COLUMNS if any(entry[column.key] is not None for entry in values)]


def provenance_lines(rows: Sequence[TableRow]) -> list[str]:
    """Describe the provenance, one line for each distinct origin; empty if it is not known."""
    origins: dict[str, list[str]] = {}
    for row in rows:
        parts = [f"{key} {value}" for key, value in asdict(row.provenance).items() if value]
        if parts:
            origins.setdefault(", ".join(parts), []).append(row.name)
    if len(origins) == 1 and len(next(iter(origins.values()))) == len(rows):
        return [f"all rows: {origin}" for origin in origins]
    return [f"{'; '.join(names)}: {origin}" for origin, names in origins.items()]


def _difference(entries: Sequence[FaceScore], main: Sequence[FaceScore]) -> PairedDifference | None:
    main_ious = {entry.face: entry.scores.iou for entry in main}
    both = [entry for entry in entries if entry.scores.occluded and entry.face in main_ious]
    return paired_difference(
        [entry.scores.iou for entry in both], [main_ious[entry.face] for entry in both]
    )

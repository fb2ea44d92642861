"""How tables of scores are summed up and written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from s3pot.io import atomic_path, write_csv
from s3pot.metrics import MaskScores, summarise

_HEADLINE = "{occlusion_iou} ({occlusion_iou_low} to {occlusion_iou_high})"


_OTHERS = "f1 precision recall boundary_f1 visible_iou pooled_iou faces seconds_per_face".split()


@dataclass(frozen=True)
class FaceScore:
    """One face in one row of a table."""

    row: str
    face: str
    scores: MaskScores
    seconds: float | None = None  # of the prediction, where that is known


@dataclass(frozen=True)
class Evaluation:
    """A table as plain values, the scores behind it, and how many faces could not be scored."""

    rows: Sequence[Mapping[str, Any]]
    faces: Sequence[FaceScore]
    failed: int = 0


def table_row(name: str, entries: Sequence[FaceScore]) -> dict[str, Any]:
    """Sum up the faces of one row; scores rounded to 4 digits."""
    times = [entry.seconds for entry in entries if entry.seconds is not None]
    values: dict[str, Any] = {
        "name": name,
        **asdict(summarise([entry.scores for entry in entries])),
    }
    values["seconds_per_face"] = sum(times) / len(times) if times else None
    return {key: round(v, 4) if isinstance(v, float) else v for key, v in values.items()}


def markdown(rows: Iterable[Mapping[str, Any]]) -> str:
    """The table for people: headline with its 95 % interval, then the other scores."""
    lines = [["name", "occlusion_iou (95 %)", *_OTHERS], ["---"] * (2 + len(_OTHERS))]
    for row in rows:
        texts = {key: _text(value) for key, value in row.items()}
        lines.append([texts["name"], _HEADLINE.format(**texts), *(texts[key] for key in _OTHERS)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def save(output_dir: Path, evaluation: Evaluation) -> None:
    """Write ``table.csv``, ``table.md`` and ``per_image.csv``."""
    write_csv(output_dir / "table.csv", evaluation.rows)
    with atomic_path(output_dir / "table.md") as temporary:
        temporary.write_text(markdown(evaluation.rows), encoding="utf-8")
    rows = [{**vars(entry), **asdict(entry.scores)} for entry in evaluation.faces]
    rows = [{key: value for key, value in row.items() if key != "scores"} for row in rows]
    write_csv(output_dir / "per_image.csv", rows)

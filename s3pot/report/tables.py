"""Writing tables of scores as CSV, Markdown, LaTeX and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3pot.io import write_bytes, write_csv
from s3pot.report.latex import latex
from s3pot.report.plots import Bar, plot_intervals, save_figure
from s3pot.report.rows import (
    Column,
    Evaluation,
    FaceScore,
    TableRow,
    cell_values,
    provenance_lines,
    used_columns,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save(output_dir: Path, evaluation: Evaluation) -> None:
    """Write ``table.csv``, ``table.md``, ``table.tex`` and ``per_image.csv``."""
    rows = evaluation.rows
    write_csv(output_dir / "table.csv", [cell_values(row) for row in rows])
    write_bytes(output_dir / "table.md", markdown(rows).encode("utf-8"))
    write_bytes(output_dir / "table.tex", latex(rows).encode("utf-8"))
    write_csv(output_dir / "per_image.csv", [_per_image_row(entry) for entry in evaluation.faces])


def save_plot(output_dir: Path, evaluation: Evaluation) -> None:
    """Write ``table.png`` and ``table.pdf``; see ``plot_rows``."""
    save_figure(plot_rows(evaluation.rows), output_dir / "table")


def plot_rows(rows: Sequence[TableRow]) -> Figure:
    """Plot the mean IoU of each row with its interval.

    If the rows have different numbers of faces, and are not all comparable, the numbers are shown.
    """
    shows_counts = len({row.summary.faces for row in rows}) > 1
    label = "mean occlusion IoU, 95 % interval"
    if shows_counts:
        label += "\n(number of faces)"
    if any(row.oracle for row in rows):
        label += "\n(rings: rows that use the ground truth)"
    return plot_intervals(_bars(rows, shows_counts), label)


def markdown(rows: Sequence[TableRow]) -> str:
    """Format the table in Markdown; columns that are empty in all rows are left out."""
    columns = used_columns(rows)
    headings = [f"{column.key} (95 %)" if column.interval else column.key for column in columns]
    titles = ["name", *headings]
    lines = [titles, ["---" for _ in titles]]
    for row in rows:
        values = cell_values(row)
        cells = [_markdown_cell(values, column) for column in columns]
        lines.append([_escaped(row.name), *cells])
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    notes = "".join(f"\n{_escaped(line)}\n" for line in provenance_lines(rows))
    return table + notes


def _markdown_cell(values: dict[str, Any], column: Column) -> str:
    text = column.text(values[column.key])
    if not column.interval or values[f"{column.key}_low"] is None:
        return text
    low = column.text(values[f"{column.key}_low"])
    high = column.text(values[f"{column.key}_high"])
    return f"{text} ({low} to {high})"


def _escaped(text: str) -> str:
    """Escape a text for a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def _bars(rows: Sequence[TableRow], shows_counts: bool) -> list[Bar]:
    bars = []
    for row in rows:
        scores = row.summary
        if scores.occlusion_iou is not None:
            bars.append(
                Bar(
                    name=f"{row.name} ({scores.faces})" if shows_counts else row.name,
                    mean=scores.occlusion_iou,
                    low=scores.occlusion_iou_low,
                    high=scores.occlusion_iou_high,
                    hollow=row.oracle,
                )
            )
    return bars


def _per_image_row(entry: FaceScore) -> dict[str, Any]:
    return {
        "row": entry.row,
        "face": entry.face,
        "mask_seconds": entry.mask_seconds,
        **asdict(entry.scores),
    }

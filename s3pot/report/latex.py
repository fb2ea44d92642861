r"""Tables for papers: a LaTeX ``tabular`` for the booktabs package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from s3pot.report.rows import Column, TableRow, cell_values, provenance_lines, used_columns

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "→": r"$\rightarrow$",
    "³": r"$^{3}$",
    "Δ": r"$\Delta$",
}

_USE = (
    r"Needs \usepackage{booktabs}. \input it in a table* of a page whose text is at least 6.875 in",
    r"wide, as in CVPR. On a narrower one: \resizebox{\textwidth}{!}{\input{table}} with graphicx.",
)
# For each column that does not explain itself, the lines that do.
_LEGEND: Mapping[str, tuple[str, ...]] = {
    "occlusion_iou": (
        "+-: half the width of the 95 % bootstrap interval over images; its ends are in table.csv.",
        "Pooled: IoU of all pixels together. B-F1: boundary F1. Face: IoU of the visible face.",
    ),
    "mask_seconds": (
        "Mask, s: mean wall time from a face's prompts to its mask (adapter, decoder, fitting; or",
        "a baseline's rule), without reference generation, SAM's encoder, FE and PS, whose results",
        "rows share. Faces that a CPU computes side by side slow each other down.",
    ),
    "false_alarms": (
        "FA: false-alarm rate, the share of unoccluded faces that are classified as occluded.",
    ),
    "difference": ("Delta IoU: paired difference to the main row; p: its sign-flip test.",),
}


LONG_NAME = 26  # characters; with longer names the first column breaks its lines
NAME_WIDTH = r"0.26\textwidth"


def escape(text: str) -> str:
    """Escape plain text for LaTeX, on one line."""
    return "".join(_ESCAPES.get(letter, letter) for letter in " ".join(text.split()))


def latex(rows: Sequence[TableRow]) -> str:
    r"""Write a ``tabular`` of at most 6.875 in; it needs only ``\usepackage{booktabs}``.

    It uses footnote size and narrow column spacing, and long names break.

    IoU and F1 are means over the occluded faces; "Pooled" is the IoU over all their pixels, B-F1
    the F1 of the outlines, "Face" the IoU of the visible face; "FA" is the false-alarm rate, the
    share of the unoccluded faces that are classified as occluded; "Mask, s" is the time from
    prompts to mask, see ``TableRow``.

    The best value of each column is bold. It is chosen among the rows that are not oracles and have
    the maximum number of faces, because means over other faces are not comparable. Oracle rows
    stand below a rule.
    """
    most_faces = max((row.summary.faces for row in rows), default=0)
    same_faces = all(row.summary.faces == most_faces for row in rows)
    columns = [
        column
        for column in used_columns(rows)
        if column.paper and not (column.key == "faces" and same_faces)
    ]
    rivals = [row for row in rows if not row.oracle and row.summary.faces == most_faces]
    best = {column.key: _best(rivals, column) for column in columns}

    names_break = any(len(row.name) > LONG_NAME for row in rows)

    def line(row: TableRow) -> str:
        values = cell_values(row)
        cells = [
            _cell(values, column, best[column.key] if row in rivals else None) for column in columns
        ]
        name = rf"\raggedright {escape(row.name)}" if names_break else escape(row.name)
        return " & ".join([name, *cells]) + r" \\"

    ordinary = [line(row) for row in rows if not row.oracle]
    oracles = [line(row) for row in rows if row.oracle]
    rule = [r"\midrule"] if ordinary and oracles else []
    headings = " & ".join(["Method", *(column.title for column in columns)]) + r" \\"
    first = f"p{{{NAME_WIDTH}}}" if names_break else "l"
    comments = list(_USE)
    if same_faces:
        comments.append(f"{most_faces} occluded faces in each row.")
    for column in columns:
        comments += _LEGEND.get(column.key, ())
    comments += provenance_lines(rows)
    lines = [
        *(f"% {' '.join(comment.split())}" for comment in comments),
        r"{\footnotesize\setlength{\tabcolsep}{3.5pt}%",
        rf"\begin{{tabular}}{{@{{}}{first}{'c' * len(columns)}@{{}}}}",
        r"\toprule",
        headings,
        r"\midrule",
        *ordinary,
        *rule,
        *oracles,
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    return "\n".join(lines) + "\n"


def _best(rows: Sequence[TableRow], column: Column) -> str | None:
    """Return the text of the best value, so that all rows that print the same are bold."""
    values = [cell_values(row)[column.key] for row in rows]
    numbers = [value for value in values if value is not None]
    if not column.best or not numbers:
        return None
    return column.text(max(numbers) if column.best == "high" else min(numbers))


def _cell(values: Mapping[str, Any], column: Column, best: str | None) -> str:
    value = values[column.key]
    text = column.text(value)
    if value is None:
        return "--"
    number = rf"\textbf{{{text}}}" if text == best else _math(text)
    if not column.interval or values[f"{column.key}_low"] is None:
        return number
    half_width = (values[f"{column.key}_high"] - values[f"{column.key}_low"]) / 2
    short = f"{half_width:.3f}".replace("0.", ".", 1)
    return rf"{number} {{\scriptsize $\pm$\,{short}}}"


def _math(text: str) -> str:
    """Format a number in math mode, which signs and comparisons need."""
    return f"${text}$" if text[:1] in "+-<" else text

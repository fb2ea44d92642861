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


def escape(text: str) -> str:
    """Turn plain text into LaTeX that prints it, on one line."""
    return "".join(_ESCAPES.get(letter, letter) for letter in " ".join(text.split()))


def latex(rows: Sequence[TableRow]) -> str:
    r"""Write a ``tabular``; ``\usepackage{booktabs}`` is all it needs.

    The best of each column is bold. It is chosen among the rows that are no oracle and have as many
    faces as any row, for means over other faces are no rivals. Oracle rows stand below a rule.
    """
    columns = used_columns(rows)
    most_faces = max((row.summary.faces for row in rows), default=0)
    rivals = [row for row in rows if not row.oracle and row.summary.faces == most_faces]
    best = {column.key: _best(rivals, column) for column in columns}

    def line(row: TableRow) -> str:
        values = cell_values(row)
        cells = [
            _cell(values, column, best[column.key] if row in rivals else None) for column in columns
        ]
        return " & ".join([escape(row.name), *cells]) + r" \\"

    ordinary = [line(row) for row in rows if not row.oracle]
    oracles = [line(row) for row in rows if row.oracle]
    rule = [r"\midrule"] if ordinary and oracles else []
    headings = " & ".join(["Method", *(column.title for column in columns)]) + r" \\"
    comments = ["needs \\usepackage{booktabs}", *provenance_lines(rows)]
    lines = [
        *(f"% {' '.join(comment.split())}" for comment in comments),
        rf"\begin{{tabular}}{{l{'c' * len(columns)}}}",
        r"\toprule",
        headings,
        r"\midrule",
        *ordinary,
        *rule,
        *oracles,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _best(rows: Sequence[TableRow], column: Column) -> str | None:
    """The text of the best value, so that rows that print the same are all bold."""
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
    if not column.interval:
        return number
    low = _math(column.text(values[f"{column.key}_low"]))
    high = _math(column.text(values[f"{column.key}_high"]))
    return rf"{number} {{\scriptsize [{low}, {high}]}}"


def _math(text: str) -> str:
    """A number; signs and comparisons need math mode."""
    return f"${text}$" if text[:1] in "+-<" else text

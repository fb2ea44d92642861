"""A run's losses by epoch: table, JSON lines, curve."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from s3pot.data.image import atomic_path

Row = Mapping[str, float]


def write_history(rows: Sequence[Row], csv_path: Path, jsonl_path: Path, curve_path: Path) -> None:
    """Write all epochs so far as CSV, JSON lines and a picture, each whole or not at all.

    Args:
        rows: One per epoch, same keys; ``epoch`` and the ``*total`` losses are drawn.
        csv_path: Table.
        jsonl_path: The same, one JSON object per line.
        curve_path: PNG.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    lines = "".join(json.dumps(dict(row)) + "\n" for row in rows)
    for path, content in ((csv_path, text.getvalue()), (jsonl_path, lines)):
        with atomic_path(path) as temporary:
            temporary.write_bytes(content.encode())
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="loss")
    for key in [key for key in rows[0] if key.endswith("total")]:
        axes.plot([row["epoch"] for row in rows], [row[key] for row in rows], label=key)
    axes.legend()
    with atomic_path(curve_path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)

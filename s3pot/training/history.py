"""The losses by epoch as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from s3pot.io import atomic_path, write_csv


def write_history(rows: Sequence[Mapping[str, float]], prefix: str) -> None:
    """Write ``<prefix>history.csv``, ``.jsonl`` and ``<prefix>loss_curve.png``, each whole.

    ``rows`` are epochs with the same keys; ``epoch`` and the losses ``*total`` are drawn.
    """
    write_csv(Path(f"{prefix}history.csv"), rows)
    with atomic_path(f"{prefix}history.jsonl") as temporary:
        temporary.write_text("".join(json.dumps(dict(row)) + "\n" for row in rows))
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="loss")
    for key in [key for key in rows[0] if key.endswith("total")]:
        axes.plot([row["epoch"] for row in rows], [row[key] for row in rows], label=key)
    axes.legend()
    with atomic_path(f"{prefix}loss_curve.png") as temporary:
        figure.savefig(temporary, format="png", dpi=100)

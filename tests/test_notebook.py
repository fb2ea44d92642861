"""The notebook runs from its first cell to its last, with few faces and epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"
# In the cell of settings, and in the one that draws faces of 256 pixels.
TINY = {"FACES = 12": "FACES = 2", "EPOCHS = 20": "EPOCHS = 1", "FACES, 256,": "FACES, 96,"}


def read_notebook() -> Any:
    nbformat = pytest.importorskip(
        "nbformat", reason="needs nbclient and ipykernel: pip install -r requirements-dev.txt"
    )
    return nbformat.read(NOTEBOOK, as_version=4)


def outputs_of(notebook: Any, mime: str) -> int:
    """Count the outputs of a kind in a notebook."""
    return sum(
        mime in output.get("data", {})
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    )


@pytest.mark.slow
def test_quickstart_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip(
        "nbclient", reason="needs nbclient and ipykernel: pip install -r requirements-dev.txt"
    )
    pytest.importorskip("ipykernel", reason="needs ipykernel: pip install -r requirements-dev.txt")
    notebook = read_notebook()
    for shipped, tiny in TINY.items():
        (cell,) = [cell for cell in notebook.cells if shipped in cell.source]
        cell.source = cell.source.replace(shipped, tiny)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    assert (tmp_path / "quickstart_run" / "compare" / "index.html").is_file()
    assert outputs_of(notebook, "image/png") >= 2  # the figure and the loss curve
    assert outputs_of(notebook, "text/html") >= 1  # the result
    assert outputs_of(notebook, "text/markdown") == 1  # the table


def test_what_is_shown_on_the_web_is_complete_and_has_no_foreign_paths() -> None:
    notebook = read_notebook()
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert all(cell.outputs for cell in notebook.cells if "plt.show" in cell.source)
    assert not any(folder in text for folder in ("/home/", "/tmp/", "/root/"))
    assert len(text) < 2_000_000

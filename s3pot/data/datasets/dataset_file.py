"""``dataset.json``, in which ``s3pot data convert`` records what it wrote into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3pot.io import BadFile, read_json

DATASET_FILE = "dataset.json"


def read_dataset_file(folder: Path) -> Mapping[str, Any]:
    """Read the file in a folder; empty if there is none, or one of another program."""
    try:
        content = read_json(folder / DATASET_FILE)
    except BadFile:
        return {}
    is_of_conversion = isinstance(content, dict) and isinstance(content.get("to"), str)
    return content if is_of_conversion and "s3pot" in content else {}


def recorded_layout(folder: Path) -> str | None:
    """Return the layout in which a conversion wrote a folder; None if the file does not say it."""
    return read_dataset_file(folder).get("to")

"""Files that are whole or absent: written aside, then moved into place; hashes, JSON, CSV."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from s3pot.types import S3potError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a name to write to: it becomes `path` when the block ends well, else it vanishes.

    Missing parent folders are made. The name ends in `.tmp`, so writers must be told the format.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_npy(path: str | Path, array: np.ndarray) -> None:
    """Write one array as `.npy` (never a pickle)."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def write_json(path: str | Path, value: Any) -> None:
    """Write plain Python data as JSON; NaN and infinity are refused, for they are no JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of plain values; columns are all keys in order of appearance; None is empty."""
    text = io.StringIO(newline="")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.getvalue().encode("utf-8"))


CHUNK = 1 << 20


def file_sha256(path: Path) -> str:
    """Hash a file, as 64 lower-case hex digits; S3potError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(CHUNK), b""):
                digest.update(block)
    except OSError as error:
        raise S3potError(f"{path} cannot be read ({error.strerror})") from error
    return digest.hexdigest()

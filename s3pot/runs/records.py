"""The provenance of an item, and the record that completes it.

An item is completed by a JSON record, written last. It lists all of the item's files with their
hashes, and what they were computed from. A later run skips an item if its record exists, its files
are unchanged, and it would be computed from the same inputs again. If it is computed from others,
the files of the earlier result that the new one lacks are removed: they would pass for its own.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from s3pot.io import file_sha256, leads_outside, read_json, write_json
from s3pot.types import S3potError
from s3pot.wording import brief

logger = logging.getLogger(__name__)

DIGEST = "sha256_of_record"  # key of the hash of all other values
EXTRAS = "extras"  # key of the kinds of optional files

# The parts of the package that determine prompts. Prompts computed by other code are not reused, so
# a changed rule takes effect at once.
CODE_OF_PROMPTS = (
    "build.py",
    "data",
    "device.py",
    "fe.py",
    "grid.py",
    "labels.py",
    "pipeline.py",
    "precision.py",
    "ps",
    "sam",
    "types.py",
    "weights",
)
# Those that determine an adapter which is trained on prompts.
CODE_OF_ADAPTERS = (
    *CODE_OF_PROMPTS,
    "adapter.py",
    "distributed.py",
    "losses.py",
    "seeding.py",
    "training",
)


@dataclass(frozen=True)
class ItemProvenance:
    """Everything that determines an item's result, as plain values.

    Attributes:
        inputs: SHA-256 of the files it is computed from, by role (``image``, ``parsing``); empty if
            there is no such file.
        models: SHA-256 of the weights, by model.
        settings: The config values and options that affect the result.
        extras: The optional files, by kind (``pictures``). They do not affect the others, so a
            result that has more of them than needed is kept.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    extras: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all but the extras as plain values, in the form in which JSON returns them."""
        parts = {"inputs": self.inputs, "models": self.models, "settings": self.settings}
        values: dict[str, Any] = json.loads(json.dumps(parts))
        return values


@dataclass(frozen=True)
class Record:
    """A record, as it was read.

    Attributes:
        provenance: See ``ItemProvenance.to_dict``.
        extras: See ``ItemProvenance``.
        files: File, relative to the folder of the files → SHA-256.
        content: What was passed to ``write_record``.
    """

    provenance: Mapping[str, Mapping[str, Any]]
    extras: frozenset[str]
    files: Mapping[str, str]
    content: Mapping[str, Any]

    def is_computed_like(self, provenance: ItemProvenance) -> bool:
        """Whether inputs, models and settings are the same; the extras may differ."""
        return self.provenance == provenance.to_dict()

    def unchanged_files(self, folder: Path) -> list[Path]:
        """List its files that exist with the recorded content."""
        paths = {folder / name: sha256 for name, sha256 in self.files.items()}
        return [path for path, sha256 in paths.items() if _sha256_or_none(path) == sha256]


def hash_inputs(paths: Mapping[str, Path | None]) -> dict[str, str]:
    """Hash input files; an empty string stands for a missing file."""
    return {
        role: file_sha256(path) if path is not None and path.is_file() else ""
        for role, path in paths.items()
    }


@cache
def code_sha256(parts: tuple[str, ...] = ()) -> str:
    """Hash the program, once per process: the Python files of this package, by their names.

    Args:
        parts: Only these files and folders of the package (``losses.py``, ``training``); empty for
            all of it.
    """
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if not parts or name.parts[0] in parts:
            digest.update(f"{name.as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def write_record(
    record: Path,
    provenance: ItemProvenance,
    files: Iterable[Path],
    content: Mapping[str, Any],
    folder: Path | None = None,
) -> None:
    """Complete an item, all of whose files have been written.

    Optional files of an earlier result stay if that was computed in the same way, and belong to
    the item like the new ones. If not, all of its files that the new result lacks are removed,
    except for those that were changed after they were written.

    Args:
        record: JSON file to write.
        provenance: What the item was computed from.
        files: Its other files, in ``folder`` or below.
        content: Further plain values to keep; their keys must not be those of the record itself.
        folder: The folder to which the files' names are relative; None for the record's folder.
    """
    root = folder or record.parent
    written = list(files)
    extras = set(provenance.extras)
    earlier = read_record(record)
    if earlier is not None:
        others = _without(earlier.unchanged_files(root), written)
        if not earlier.is_computed_like(provenance):
            _remove(_still_of(record, earlier, root, others))
        else:
            written += others
            if {root / name for name in earlier.files}.issubset(written):
                extras |= earlier.extras
    hashes = {path.relative_to(root).as_posix(): file_sha256(path) for path in written}
    recorded = {**provenance.to_dict(), EXTRAS: sorted(extras)}
    closed = {**content, "provenance": recorded, "files": hashes}
    write_json(record, {**closed, DIGEST: _digest(closed)})


def _without(paths: Sequence[Path], written: Sequence[Path]) -> list[Path]:
    """Leave out files that were written, whose names a disk may spell in another way."""
    same = {(stat.st_dev, stat.st_ino) for stat in (path.stat() for path in written)}
    stats = [(path, path.stat()) for path in paths]
    return [path for path, stat in stats if (stat.st_dev, stat.st_ino) not in same]


def _still_of(record: Path, earlier: Record, root: Path, paths: Sequence[Path]) -> list[Path]:
    """Leave out files that are not, or no longer, of the item that an earlier record describes.

    A further face of a photo, ``a_face2``, has a record of its own. If it has changed since, the
    face is that of a photo with this name now.
    """
    base = record.name.rpartition("_")[0]
    others: set[Path] = set()
    for name in earlier.files:
        path = root / name
        if path.suffix == record.suffix and path not in paths:
            changed = read_record(path)
            for of_other in () if changed is None else changed.files:
                others |= {root / of_other, path.parent / of_other}
    return [path for path in paths if path not in others and path.name.startswith(base)]


def _remove(paths: Sequence[Path]) -> None:
    """Remove files, those last by which results are recognized: they were written first."""
    removed = []
    for path in reversed(paths):
        try:
            path.unlink(missing_ok=True)
            removed.append(path)
        except OSError as error:
            logger.warning(
                "%s belongs to an earlier result, but cannot be removed: %s", path, error
            )
    if removed:
        logger.info("removed because they belong to an earlier result: %s", brief(removed))


def read_record(record: Path) -> Record | None:
    """Read the record of an item; None if it is missing, damaged or not written by s3pot."""
    try:
        content = dict(read_json(record))
        if content.pop(DIGEST) != _digest(content):
            return None
        recorded = content.pop("provenance")
        provenance = {part: dict(recorded[part]) for part in ("inputs", "models", "settings")}
        extras = frozenset(recorded[EXTRAS])
        files = dict(content.pop("files"))
        if any(leads_outside(name) for name in files):
            return None
        return Record(provenance, extras, files, content)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, S3potError):
        return None


def read_finished(
    record: Path, provenance: ItemProvenance, folder: Path | None = None
) -> dict[str, Any] | None:
    """Read the content of a finished item.

    Args:
        record: Its JSON file.
        provenance: What it would be computed from now.
        folder: As for ``write_record``.

    Returns:
        The content passed to ``write_record``; None if the item is missing, incomplete, damaged, or
        was computed from something else.
    """
    finished = read_record(record)
    if finished is None or not finished.is_computed_like(provenance):
        return None
    if not finished.extras.issuperset(provenance.extras):
        return None
    if len(finished.unchanged_files(folder or record.parent)) < len(finished.files):
        return None
    return dict(finished.content)


def _sha256_or_none(path: Path) -> str | None:
    """Hash a file; None if it cannot be read."""
    try:
        return file_sha256(path)
    except (OSError, ValueError, S3potError):
        return None


def _digest(values: Mapping[str, Any]) -> str:
    """Hash plain values, so that a damaged or edited record counts as missing."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()

"""Hashes of weight files, remembered in a lock file so that gigabytes are hashed only once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3pot.io import BadFile, file_sha256, read_json, share, write_json
from s3pot.locks import exclusive
from s3pot.types import S3potError
from s3pot.weights.contents import refuse_foreign

logger = logging.getLogger(__name__)

LOCK_NAME = "weights.lock.json"


class HashMismatch(S3potError):
    """A weight file does not have the expected hash."""


@dataclass(frozen=True)
class HashCheck:
    """A file that has been checked.

    Attributes:
        path: The file.
        sha256: Its hash, 64 lowercase hex digits.
        basis: What it was compared with: ``published``; ``first seen`` if no hash is published and
            the lock file has no entry for it; ``remembered`` if the lock file has one.
    """

    path: Path
    sha256: str
    basis: str


def checked_sha256(path: Path, expected: str | None, rehash: bool = False) -> str:
    """Return the hash of a file after checking it; see ``check_hash``."""
    return check_hash(path, expected, rehash).sha256


def check_hash(
    path: Path, expected: str | None, rehash: bool = False, name: str | None = None
) -> HashCheck:
    """Compare a weight file with its published or remembered hash.

    The lock file beside it stores hash, size and modification time; as long as the last two are
    unchanged, the file is not read again. If the folder cannot be written, nothing is stored.

    Args:
        path: Existing weight file.
        expected: Published hash; None pins the first one seen.
        rehash: Read the file even if the lock file has its hash.
        name: Final file name, if ``path`` is about to be renamed.

    Raises:
        HashMismatch: It is not the published or the remembered file.
        BadFile: It is clearly not a checkpoint, or it or the lock file cannot be read.
    """
    name = name or path.name
    lock_file = path.parent / LOCK_NAME
    with exclusive(path.parent / ".weights.lock"):
        book = _read_book(lock_file)
        remembered = book.get(name)
        status = path.stat()
        if not rehash and _is_unchanged(remembered, status.st_size, status.st_mtime_ns):
            digest = str(book[name]["sha256"])
        else:
            refuse_foreign(path, name)
            digest = file_sha256(path)
        _compare(path, digest, expected, remembered)
        entry = {"sha256": digest, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
        if remembered != entry:
            _remember(lock_file, {**book, name: entry})
    if expected is not None:
        return HashCheck(path, digest, "published")
    return HashCheck(path, digest, "first seen" if remembered is None else "remembered")


def _is_unchanged(remembered: Mapping[str, Any] | None, size: int, mtime_ns: int) -> bool:
    if remembered is None:
        return False
    return bool(remembered.get("size") == size and remembered.get("mtime_ns") == mtime_ns)


def _compare(
    path: Path, digest: str, expected: str | None, remembered: Mapping[str, Any] | None
) -> None:
    """Raise HashMismatch if a file is not the published or remembered one."""
    if expected is not None and digest != expected:
        raise HashMismatch(
            f"{path} has sha256 {digest}, expected {expected}: it is damaged or a different file. "
            "Move it away and download it again."
        )
    if expected is None and remembered is not None and digest != remembered["sha256"]:
        raise HashMismatch(
            f"{path} has sha256 {digest}, expected {remembered['sha256']}: it changed since its "
            f"first use. If that is on purpose, delete its entry in {path.parent / LOCK_NAME}."
        )


def _remember(lock_file: Path, book: Mapping[str, Any]) -> None:
    try:
        write_json(lock_file, dict(sorted(book.items())))
        share(lock_file)
    except OSError as error:
        logger.debug("%s cannot be written, so the hash is not remembered: %s", lock_file, error)


def _read_book(lock_file: Path) -> dict[str, dict[str, Any]]:
    """Read the lock file: file name → sha256, size, mtime_ns; empty if there is none."""
    if not lock_file.exists():
        return {}
    try:
        book = read_json(lock_file)
        damaged = not all(isinstance(entry, dict) and "sha256" in entry for entry in book.values())
    except (BadFile, AttributeError):
        damaged = True
    if damaged:
        raise BadFile(
            f"{lock_file} is damaged. Delete it; the weights are then hashed and pinned again."
        )
    return dict(book)

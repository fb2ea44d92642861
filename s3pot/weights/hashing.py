"""SHA-256 of weight files, remembered in a lock file: no start hashes gigabytes twice."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from s3pot.types import S3potError

logger = logging.getLogger(__name__)

LOCK_NAME = "weights.lock.json"
CHUNK = 1 << 20


class HashMismatch(S3potError):
    """A weight file is not the one it should be."""


def file_sha256(path: Path) -> str:
    """Hash a file, as 64 lower-case hex digits; a progress bar shows for files above 64 MB."""
    digest = hashlib.sha256()
    size = path.stat().st_size
    hidden = True if size < 64 * CHUNK else None  # tqdm: None hides the bar unless on a terminal
    bar = tqdm(total=size, unit="B", unit_scale=True, desc=f"sha256 {path.name}", disable=hidden)
    with path.open("rb") as file, bar:
        for block in iter(lambda: file.read(CHUNK), b""):
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest()


def checked_sha256(
    path: Path, expected: str | None, rehash: bool = False, name: str | None = None
) -> str:
    """Return a file's hash after comparing it with the published or the remembered one.

    The lock file beside ``path`` remembers hash, size and modification time; while the last two
    stay, the file is not read again. Without a published hash the first one seen is pinned.

    Args:
        path: Existing weight file.
        expected: Published hash, or None when there is none.
        rehash: Read the file even when the lock file knows it.
        name: Final file name, when ``path`` is about to be renamed.

    Raises:
        HashMismatch: The file differs from the published or pinned hash.
    """
    name = name or path.name
    if not os.access(path.parent, os.W_OK):
        logger.warning("%s is not writable: %s is hashed at every start", path.parent, name)
        return _check(path, name, expected, rehash, remember=False)
    with exclusive(path.parent / ".weights.lock"):
        return _check(path, name, expected, rehash, remember=True)


def _check(path: Path, name: str, expected: str | None, rehash: bool, remember: bool) -> str:
    book = _read_book(path.parent / LOCK_NAME)
    known = book.get(name, {})
    stamp = {"size": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns}
    unchanged = not rehash and all(known.get(key) == value for key, value in stamp.items())
    digest = str(known["sha256"]) if unchanged else file_sha256(path)
    wanted = expected or known.get("sha256", digest)
    if digest != wanted:
        cure = "damaged or another file; move it away, then: python -m s3pot.weights download"
        if not expected:
            cure = f"changed since its first use; if on purpose, delete its entry in {LOCK_NAME}"
        raise HashMismatch(f"{path} has sha256 {digest}, expected {wanted}: {cure}")
    if remember and known != {"sha256": digest, **stamp}:
        _write_book(path.parent / LOCK_NAME, {**book, name: {"sha256": digest, **stamp}})
    return digest


def _read_book(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    try:
        book = json.loads(path.read_text(encoding="utf-8"))
        if all(len(known["sha256"]) == 64 for known in book.values()):
            return dict(book)
    except (ValueError, TypeError, KeyError, AttributeError):
        logger.debug("unreadable lock file %s", path, exc_info=True)
    raise S3potError(f"{path} is damaged: delete it, and the weights are hashed and pinned anew")


def _write_book(path: Path, book: dict[str, dict[str, Any]]) -> None:
    tmp = path.with_name(path.name + ".tmp")
    tmp.write_text(json.dumps(book, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    tmp.replace(path)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock between processes: a file, left in place, that the system frees on death."""
    with path.open("a+b") as file:
        if not _try_lock(file):
            logger.info("waiting for another process that works on %s", path.parent)
            while not _try_lock(file):
                time.sleep(0.1)
        yield  # closing the file frees the lock


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True

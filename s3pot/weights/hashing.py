"""The hash of a weight file, remembered in a lock file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from s3pot.io import file_sha256
from s3pot.types import S3potError

LOCK_NAME = "weights.lock.json"


class HashMismatch(S3potError):
    """A weight file is not the one it should be."""


def checked_sha256(path: Path, expected: str | None, rehash: bool = False) -> str:
    """Return a file's hash; ``HashMismatch`` when it is not the published or remembered one.

    The lock file beside ``path`` remembers hash, size and modification time; while the last two
    stay, the file is not read again. In a read-only folder nothing is remembered.

    Args:
        path: Existing weight file.
        expected: Published hash; None pins the first one seen.
        rehash: Read the file even when the lock file knows it.
    """
    name, lock = path.name, path.parent / LOCK_NAME
    writable = os.access(path.parent, os.W_OK)
    with exclusive(path.parent / ".weights.lock") if writable else nullcontext():
        book = _read_book(lock)
        known = book.get(name, {})
        stamp = {"size": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns}
        unchanged = not rehash and known == {**known, **stamp}
        digest = str(known["sha256"]) if unchanged else file_sha256(path)
        wanted = expected or known.get("sha256", digest)
        if digest != wanted:
            pinned = f"changed since its first use; if on purpose, delete its entry in {LOCK_NAME}"
            cure = "move it away and download it again" if expected else pinned
            raise HashMismatch(f"{path} has sha256 {digest}, expected {wanted}: {cure}")
        if writable:
            book[name] = {"sha256": digest, **stamp}
            aside = lock.with_name(f"{LOCK_NAME}.tmp")
            aside.write_text(json.dumps(book, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            aside.replace(lock)
    return digest


def _read_book(lock: Path) -> dict[str, dict[str, Any]]:
    try:
        book = json.loads(lock.read_text(encoding="utf-8")) if lock.exists() else {}
        return {name: {"sha256": known["sha256"], **known} for name, known in book.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise S3potError(f"{lock} is damaged: delete it, weights are pinned anew") from None


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for a lock between processes: a file, left in place, that the system frees on death."""
    with path.open("a") as file:
        if sys.platform != "win32":  # there two downloads at once are not kept apart
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield

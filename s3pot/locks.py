"""Locks between processes; on a disk that has no locks, work continues without them."""

from __future__ import annotations

import inspect
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from s3pot.io import TEMPORARY, shared_mode
from s3pot.types import S3potError

logger = logging.getLogger(__name__)

SECONDS_UNTIL_WAIT_IS_TOLD = 5.0  # for a lock that another process holds, see _acquire


@contextmanager
def exclusive(path: Path, busy: str | None = None) -> Iterator[None]:
    """Hold an inter-process lock while the block runs.

    The lock is a file that stays in place; the system releases it when its holder dies. Where no
    lock is possible (a read-only folder, a disk without locks, a lock file of another user), the
    block runs without one.

    Args:
        path: The lock file.
        busy: The error message if another process holds the lock; None waits for it.

    Raises:
        S3potError: Another process holds the lock, and ``busy`` is given.
    """
    lock = _file_lock(path)
    held = False
    try:
        _acquire(lock, path, busy)
        held = True
    except (OSError, NotImplementedError) as error:
        logger.debug("continuing without the lock %s: %s", path, error)
    try:
        yield
    finally:
        if held:
            lock.release()


def _file_lock(path: Path) -> BaseFileLock:
    """Create a lock that the system releases when its holder dies, or that fails at once."""
    mode = shared_mode(path.parent)
    # A marker file in place of a lock would outlive a process that is killed. Older versions have
    # no such fallback.
    if "fallback_to_soft" in inspect.signature(FileLock.__init__).parameters:
        return FileLock(path, mode=mode, fallback_to_soft=False)
    return FileLock(path, mode=mode)


def _acquire(lock: BaseFileLock, path: Path, busy: str | None) -> None:
    """Wait for a lock, and log it if that takes a while.

    Raises:
        OSError: No lock is possible in this folder.
        S3potError: Another process holds it, and ``busy`` is given.
    """
    try:
        lock.acquire(timeout=0)
        return
    except Timeout:
        _check_locks(path.parent)
    if busy is not None:
        raise S3potError(busy)
    try:
        lock.acquire(timeout=SECONDS_UNTIL_WAIT_IS_TOLD)
    except Timeout:
        logger.info("waiting for another process, which holds %s", path)
        lock.acquire()


def _check_locks(folder: Path) -> None:
    """Try to take a lock that nobody else can hold.

    Older versions of filelock, such as the last one for Python 3.9, mistake a disk without locks
    for a lock that is held, and would wait forever.

    Raises:
        OSError: The lock cannot be taken, so this disk has no locks.
    """
    probe = folder / f"{TEMPORARY}{secrets.token_hex(8)}.tmp"
    try:
        with _file_lock(probe).acquire(timeout=0):
            pass
    except Timeout as error:
        raise OSError(f"the disk of {folder} does not support locks") from error
    finally:
        probe.unlink(missing_ok=True)

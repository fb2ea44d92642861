"""The official weight files: where they come from, where they lie, and that they are whole.

Downloads resume, check size, hash and free space, and run one process at a time. A lock file
remembers hashes: no start hashes gigabytes twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import yaml
from tqdm import tqdm

from s3pot.types import S3potError

LOCK_NAME = "weights.lock.json"
CHUNK = 1 << 20
SPARE_BYTES = 64 << 20  # left free on the disk
TIMEOUT = 60.0  # seconds without a byte until a connection counts as broken
PAPER_SET = ("sam_vit_h", "bisenet", "e4s", "yunet")  # what configs/paper.yaml needs


class MissingWeights(S3potError):
    """A weight file is not where it should be; the text says how to get it."""


class DownloadError(S3potError):
    """A download failed; what has come so far stays in the ``.part`` file."""


@dataclass(frozen=True)
class WeightFile:
    """One published file."""

    name: str  # what configs and commands call it
    file: str  # its name inside the weights folder
    url: str | None = None  # None where only a person can fetch it
    sha256: str | None = None  # None where nobody published it: pinned on first use
    size: int | None = None  # bytes, or None where nobody published it
    licence: str = "not known here; see its authors' page"
    note: str = ""  # what it is and where its authors offer it


@cache
def weight_files() -> dict[str, WeightFile]:
    """The published files by name, as ``registry.yaml`` lists them."""
    text = Path(__file__).with_name("registry.yaml").read_text(encoding="utf-8")
    return {name: WeightFile(name, **values) for name, values in yaml.safe_load(text).items()}


def default_folder() -> Path:
    """Where weights lie unless told otherwise: ``S3POT_WEIGHTS_DIR``, else ``./weights``."""
    return Path(os.environ.get("S3POT_WEIGHTS_DIR") or "weights").expanduser()


def find(name: str) -> WeightFile:
    """Return a registry entry; ``S3potError`` when there is none of this name."""
    known = weight_files()
    if name not in known:
        raise S3potError(f"no weights are called {name!r}; expected one of: {', '.join(known)}")
    return known[name]


def locate(name: str, weights_dir: Path | None = None) -> Path:
    """Find an official weight file by its name and check it; see ``verify``."""
    return verify(find(name), weights_dir)


def verify(entry: WeightFile, weights_dir: Path | None = None, rehash: bool = False) -> Path:
    """Return the path of a file in ``weights_dir``, else ``default_folder()``, once it is checked.

    Its hash is remembered, unless ``rehash`` has it read again. Raises ``MissingWeights`` when it
    is not there, ``S3potError`` when it has the wrong size or hash.
    """
    folder = Path(weights_dir or default_folder())
    path = folder / entry.file
    if not path.is_file():
        raise MissingWeights(f"{entry.name}: no file {path}{how_to_get(entry, folder)}")
    size = path.stat().st_size
    if entry.size not in (None, size):
        cure = f"move it away, then: python -m s3pot.weights download {entry.name}"
        raise S3potError(f"{path} has {size:,} bytes, expected {entry.size:,}: cut off; {cure}")
    checked_sha256(path, entry.sha256, rehash)
    return path


def download(entry: WeightFile, weights_dir: Path | None = None) -> Path:
    """Bring one file into ``weights_dir``, else ``default_folder()``; return its verified path.

    At once when it is there. Raises ``MissingWeights`` when there is no link a program can follow,
    ``DownloadError``, and ``S3potError`` when another file of that name is there.
    """
    folder = Path(weights_dir or default_folder())
    target, part = folder / entry.file, folder / f"{entry.file}.part"
    if entry.url is None and not target.exists():
        raise MissingWeights(f"{entry.name} has to be fetched by hand{how_to_get(entry, folder)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / f".{entry.file}.lock"):
            if entry.url and not target.exists():
                _fetch(entry, entry.url, part)
                part.replace(target)
                try:
                    checked_sha256(target, entry.sha256)
                except HashMismatch as error:
                    target.unlink()
                    raise DownloadError(f"another file came and was removed: {error}") from error
            return verify(entry, folder)
    except (DownloadError, HTTPException, OSError) as error:
        cure = f"run again to go on, behind a proxy with HTTPS_PROXY set{how_to_get(entry, folder)}"
        raise DownloadError(f"{entry.file} from {entry.url}: {error}; {cure}") from error


def _fetch(entry: WeightFile, url: str, part: Path) -> None:
    """Append what is missing of ``part``; start anew where the server cannot resume."""
    have = part.stat().st_size if part.exists() else 0
    if have == entry.size:
        return
    try:
        response = _open(url, have)
    except HTTPError as error:
        if have == 0 or error.code != 416:  # the part is longer than the file
            raise
        part.unlink()
        return _fetch(entry, url, part)
    with response:
        place = response.headers.get("Content-Range", "")
        have = have if place else 0
        if place and not place.startswith(f"bytes {have}-"):
            raise DownloadError(f"asked for byte {have}, got {place}; delete {part}")
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else entry.size
        if total is None or entry.size not in (None, total):
            raise DownloadError(f"length on offer: {total}, expected: {entry.size or 'any number'}")
        needed, free = total - have + SPARE_BYTES, shutil.disk_usage(part.parent).free
        if free < needed:
            cure = "make room or set S3POT_WEIGHTS_DIR to a folder on another disk"
            raise DownloadError(f"{part.parent} has {free:,} of {needed:,} free bytes: {cure}")
        bar: dict[str, Any] = {"total": total, "initial": have, "desc": part.stem, "disable": None}
        with part.open("ab" if have else "wb") as file, tqdm.wrapattr(response, "read", **bar) as s:
            shutil.copyfileobj(s, file, CHUNK)
    have = part.stat().st_size
    if have != total:
        raise DownloadError(f"the connection was cut at {have:,} of {total:,} bytes")


def _open(url: str, have: int) -> Any:
    """Ask for the bytes from ``have`` on; a web page (Google Drive's limits) is refused."""
    headers = {"User-Agent": "s3pot", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    if response.headers.get_content_type() == "text/html":
        response.close()
        raise DownloadError("a web page came instead of the file")
    return response


def how_to_get(entry: WeightFile, folder: Path) -> str:
    """Instructions, a new line each: the command, by hand, the hash, the offline alternative."""
    command = f"\n  run:      python -m s3pot.weights download {entry.name} --weights_dir {folder}"
    return (
        f"{command if entry.url else ''}\n  by hand:  {entry.url or entry.note}"
        f"\n  put it:   {folder / entry.file}{f', {entry.size:,} bytes' if entry.size else ''}"
        f"\n  sha256:   {entry.sha256 or 'none published; pinned on first use'}"
        "\n  offline:  --config configs/mini.yaml uses the small bundled models instead"
    )


def mini_path(name: str, folder: Path | None = None) -> Path:
    """Where a mini model (parser, generator, sam, adapter) lies, bundled or in ``folder``."""
    path = (folder or Path(__file__).parent / "mini") / f"{name}.pth"
    if not path.is_file():
        cure = "restore it from the repository or run: python tools/train_mini.py"
        raise MissingWeights(f"mini {name}: no file {path}; {cure}")
    return path


class HashMismatch(S3potError):
    """A weight file is not the one it should be."""


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

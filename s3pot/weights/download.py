"""Downloads that resume and are checked."""

from __future__ import annotations

import shutil
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from tqdm import tqdm

from s3pot.io import CHUNK
from s3pot.types import S3potError
from s3pot.weights.hashing import HashMismatch, checked_sha256, exclusive
from s3pot.weights.locate import verify
from s3pot.weights.registry import (
    MissingWeights,
    WeightFile,
    default_folder,
    how_to_get,
)

SPARE_BYTES = 64 << 20  # left free on the disk


TIMEOUT = 60.0  # seconds without a byte until a connection counts as broken


class DownloadError(S3potError):
    """A download failed; what has come so far stays in the ``.part`` file."""


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

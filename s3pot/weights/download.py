"""Download a weight file: resume, checks of size, hash and free space, one process at a time."""

from __future__ import annotations

import html
import re
import shutil
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin

from tqdm import tqdm

from s3pot.types import S3potError
from s3pot.weights.hashing import CHUNK, HashMismatch, checked_sha256, exclusive
from s3pot.weights.registry import MissingWeights, WeightFile, default_folder, how_to_get, verify

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
        raise MissingWeights(f"{entry.name} has to be fetched by hand\n{how_to_get(entry, folder)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / f".{entry.file}.lock"):
            if entry.url and not target.exists():
                _fetch(entry, entry.url, part)
                _check(entry, part)
                part.replace(target)
            return verify(entry, folder)
    except (DownloadError, HTTPException, OSError) as error:
        cure = (
            f"run again to go on, behind a proxy with HTTPS_PROXY set\n{how_to_get(entry, folder)}"
        )
        raise DownloadError(f"{entry.file} from {entry.url}: {error}; {cure}") from error


def _check(entry: WeightFile, part: Path) -> None:
    try:
        checked_sha256(part, entry.sha256, rehash=True, name=entry.file)
    except HashMismatch as error:
        part.unlink()
        raise DownloadError(f"another file came and was removed: {error}") from error


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
        if not place.startswith(f"bytes {have}-"):
            if place:
                part.unlink()
                raise DownloadError(f"asked for byte {have}, got {place}; what had come is removed")
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else entry.size
        if total is None or entry.size not in (None, total):
            expected = entry.size or "any number"
            raise DownloadError(f"length on offer: {total}, expected: {expected}; another file")
        needed, free = total - have + SPARE_BYTES, shutil.disk_usage(part.parent).free
        if free < needed:
            cure = "make room or set S3POT_WEIGHTS_DIR to a folder on another disk"
            raise DownloadError(f"{part.parent} has {free:,} of {needed:,} free bytes: {cure}")
        _copy(response, part, have, total)


def _open(url: str, have: int) -> Any:
    """Ask for the bytes from ``have`` on, past the "too large to scan" form of Google Drive."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    headers = {"User-Agent": "s3pot", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    for _ in range(2):
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
        if response.headers.get_content_type() != "text/html":
            return response
        with response:
            page = response.read(CHUNK).decode("utf-8", "replace")
        form = re.search(r'id="download-form" action="([^"]*)"', page)
        if form is None:
            break
        fields = re.findall(r'<input[^>]*name="([^"]*)"[^>]*value="([^"]*)"', page)
        query = urlencode([(name, html.unescape(value)) for name, value in fields])
        url = f"{urljoin(url, html.unescape(form.group(1)))}?{query}"
    raise DownloadError("a web page came instead of the file")


def _copy(response: Any, part: Path, have: int, total: int) -> None:
    bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=None)
    with part.open("ab" if have else "wb") as file, bar:
        while have < total:
            block = response.read(min(CHUNK, total - have))
            if not block:
                raise DownloadError(f"the connection was cut at {have:,} of {total:,} bytes")
            file.write(block)
            have += len(block)
            bar.update(len(block))

"""Downloading a weight file: resumable, with checks of size, hash and free space."""

from __future__ import annotations

import shutil
import urllib.request
from dataclasses import replace
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError

from tqdm import tqdm

from s3pot.io import HASH_CHUNK, BadFile, share
from s3pot.locks import exclusive
from s3pot.types import S3potError
from s3pot.weights.hashing import HashCheck, HashMismatch, check_hash
from s3pot.weights.locate import verify, weight_path
from s3pot.weights.registry import MissingWeights, WeightFile, how_to_get

SPARE_BYTES = 64 << 20  # kept free on the disk
TIMEOUT = 60.0  # seconds without data after which a connection counts as broken


class DownloadError(S3potError):
    """A download failed; the data received so far stays in the ``.part`` file."""


def download(entry: WeightFile, weights_dir: Path | None = None) -> HashCheck:
    """Download one file into its folder and check it; an existing file is only checked.

    Args:
        entry: The file.
        weights_dir: The folder for it; None for ``default_folder()``.

    Raises:
        MissingWeights: There is no link that a program can follow.
        DownloadError: The connection, the disk or the server failed, or a wrong file was received.
        S3potError: A different file with that name exists.
    """
    target = weight_path(entry, weights_dir)
    if entry.url is None and not target.exists():
        raise MissingWeights(
            f"{entry.name} has to be downloaded by hand.{how_to_get(entry, target.parent)}"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(target.parent / f".{entry.file}.lock"):
            if entry.url is not None and not target.exists():
                part = target.with_name(f"{target.name}.part")
                _fetch(entry, entry.url, part)
                check = _check_arrival(entry, part)
                part.replace(target)
                share(target)
                return replace(check, path=target)
    except (DownloadError, HTTPException, OSError) as error:
        raise DownloadError(
            f"{entry.file} from {entry.url}: {error}; run the command again to resume, behind a "
            f"proxy with HTTPS_PROXY set.{how_to_get(entry, target.parent)}"
        ) from error
    return verify(entry, weights_dir)


def _check_arrival(entry: WeightFile, part: Path) -> HashCheck:
    """Check a received file before it is moved into place; a wrong file is removed."""
    try:
        return check_hash(part, entry.sha256, rehash=True, name=entry.file)
    except (BadFile, HashMismatch) as error:
        part.unlink()
        raise DownloadError(f"a wrong file was received and removed: {error}") from error


def _fetch(entry: WeightFile, url: str, part: Path) -> None:
    """Append the missing bytes to ``part``; start again if the server cannot resume."""
    have = part.stat().st_size if part.exists() else 0
    if have == entry.size:
        return
    try:
        response = _open(url, have)
    except HTTPError as error:
        if have == 0 or error.code != 416:  # 416: the part is longer than the file
            raise
        part.unlink()
        _fetch(entry, url, part)
        return
    with response:
        start = _start_of_reply(response.headers, have, part)
        total = _total_length(entry, response.headers, start)
        if total is not None:
            _check_space(part.parent, total - start)
        _append(response, part, start, total)
    have = part.stat().st_size
    if total is not None and have != total:
        raise DownloadError(f"the connection was cut at {have:,} of {total:,} bytes")


def _open(url: str, have: int) -> HTTPResponse:
    """Request the bytes from ``have`` on; a web page (Google Drive's limits) is refused."""
    headers = {"User-Agent": "s3pot", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)
    response: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
    if response.headers.get_content_type() == "text/html":
        response.close()
        raise DownloadError("the server sent a web page instead of the file")
    return response


def _start_of_reply(headers: HTTPMessage, have: int, part: Path) -> int:
    """Read at which byte a reply starts: ``have`` if the server resumes, otherwise 0."""
    place = headers.get("Content-Range", "")
    if not place:
        return 0
    if not place.startswith(f"bytes {have}-"):
        raise DownloadError(f"asked for byte {have}, got {place}; delete {part}")
    return have


def _total_length(entry: WeightFile, headers: HTTPMessage, start: int) -> int | None:
    """Read the length of the whole file; None if neither server nor registry states it."""
    length = headers.get("Content-Length")
    total = start + int(length) if length else entry.size
    if entry.size is not None and total != entry.size:
        raise DownloadError(f"the server offers {total:,} bytes, expected {entry.size:,}")
    return total


def _check_space(folder: Path, missing: int) -> None:
    needed = missing + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DownloadError(
            f"{folder} has {free:,} bytes free, but {needed:,} are needed: free space, or set "
            "S3POT_WEIGHTS_DIR to a folder on another disk"
        )


def _append(response: HTTPResponse, part: Path, start: int, total: int | None) -> None:
    """Write a reply after the first ``start`` bytes of a file, with a progress bar."""
    progress = tqdm.wrapattr(
        response, "read", total=total, initial=start, desc=part.stem, disable=None
    )
    with part.open("ab" if start else "wb") as file, progress as stream:
        shutil.copyfileobj(stream, file, HASH_CHUNK)

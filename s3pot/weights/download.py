"""Download a weight file: resume, checks of size, hash and free space, one process at a time."""

from __future__ import annotations

import html
import http.client
import logging
import re
import shutil
import time
import urllib.error
import urllib.request
from contextlib import closing
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from tqdm import tqdm

from s3pot.types import S3potError
from s3pot.weights.hashing import CHUNK, HashMismatch, checked_sha256, exclusive
from s3pot.weights.registry import MissingWeights, WeightFile, default_folder, how_to_get, verify

logger = logging.getLogger(__name__)

SPARE_BYTES = 64 << 20  # left free on the disk


class DownloadError(S3potError):
    """A download failed; what has come so far stays in the ``.part`` file."""


class _Interrupted(Exception):
    """The connection broke; trying again may help."""


def download(
    entry: WeightFile,
    weights_dir: Path | None = None,
    attempts: int = 5,
    pause: float = 1.0,
    timeout: float = 60.0,
) -> Path:
    """Bring one file into the weights folder and verify it.

    Args:
        entry: Registry entry.
        weights_dir: Folder, created when missing; None for ``default_folder()``.
        attempts: Tries in all when the connection breaks.
        pause: Seconds before the second try; doubles each time.
        timeout: Seconds without a byte until a connection counts as broken.

    Returns:
        Path of the verified file; at once when it is there already.

    Raises:
        MissingWeights: The file has no link a program can follow.
        S3potError: The download failed, or a file of that name is there but is another one.
    """
    folder = Path(weights_dir or default_folder())
    target = folder / entry.file
    if target.exists():
        return verify(entry, folder)
    if entry.url is None:
        raise MissingWeights(f"{entry.name} has to be fetched by hand\n{how_to_get(entry, folder)}")
    part = folder / f"{entry.file}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / f".{entry.file}.lock"):
            if not target.exists():
                _fetch_patiently(entry, entry.url, part, attempts, pause, timeout)
                _check_part(entry, part)
                part.replace(target)
            return verify(entry, folder)
    except DownloadError as error:
        raise DownloadError(f"{error}\n{how_to_get(entry, folder)}") from error
    except OSError as error:
        raise DownloadError(f"cannot write {entry.file} into {folder}: {error}") from error


def _fetch_patiently(
    entry: WeightFile, url: str, part: Path, attempts: int, pause: float, timeout: float
) -> None:
    for attempt in range(attempts):
        try:
            return _fetch(entry, url, part, timeout)
        except _Interrupted as error:
            reason = error
            logger.warning("%s: %s", entry.file, error)
            if attempt < attempts - 1:
                time.sleep(pause * 2**attempt)
    raise DownloadError(f"{url}: {reason}; what has come is kept, run again to go on from there")


def _check_part(entry: WeightFile, part: Path) -> None:
    try:
        checked_sha256(part, entry.sha256, rehash=True, name=entry.file)
    except HashMismatch as error:
        part.unlink()
        raise DownloadError(f"{entry.url} gave another file; removed: {error}") from error


def _fetch(entry: WeightFile, url: str, part: Path, timeout: float) -> None:
    """Append what is missing of ``part``; start anew where the server cannot resume."""
    have = part.stat().st_size if part.exists() else 0
    if entry.size is not None and have == entry.size:
        return
    with closing(_ask(url, have, part, timeout)) as response:
        if response.status != http.client.PARTIAL_CONTENT:
            have = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink(missing_ok=True)
            raise _Interrupted("the server went on at another place; starting anew")
        total = _total(response, have, entry)
        _check_space(part.parent, total - have)
        _copy(response, part, have, total)


def _ask(url: str, have: int, part: Path, timeout: float) -> Any:
    """Open the answer and sort failures: final ones, and those that may pass."""
    try:
        return _open(url, have, timeout)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink(missing_ok=True)
        elif error.code < 500 and error.code not in (408, 429):
            raise DownloadError(f"{url} answered HTTP {error.code} {error.reason}") from error
        raise _Interrupted(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise DownloadError(
            f"cannot reach {url} ({error.reason}); check the network, or HTTPS_PROXY behind a proxy"
        ) from error
    except (http.client.HTTPException, OSError) as error:
        raise _Interrupted(f"the connection broke ({error!r})") from error


def _open(url: str, have: int, timeout: float) -> Any:
    """Ask for the bytes from ``have`` on, past one confirmation page at most."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    headers = {"User-Agent": "s3pot", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    for _ in range(2):
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=timeout)
        if response.headers.get_content_type() != "text/html":
            return response
        with closing(response):
            page = response.read(CHUNK).decode("utf-8", "replace")
        url = _confirmation(response.url, page) or url
    title = re.search(r"<title>([^<]*)", page)
    shown = html.unescape(title.group(1)).strip() if title else "without a title"
    raise DownloadError(f"{url} answered with a web page ({shown}), not with the file")


def _confirmation(url: str, page: str) -> str | None:
    """Return where the form of Google Drive's "too large to scan" page leads on the same host."""
    form = re.search(r'<form[^>]*id="download-form"[^>]*>', page)
    action = re.search(r'action="([^"]*)"', form.group(0)) if form else None
    if action is None:
        return None
    link = urljoin(url, html.unescape(action.group(1)))
    fields = re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]*)"[^>]*value="([^"]*)"', page)
    query = urlencode([(name, html.unescape(value)) for name, value in fields])
    same_host = urlsplit(link)[:2] == urlsplit(url)[:2]
    return f"{link}{'&' if urlsplit(link).query else '?'}{query}" if same_host else None


def _total(response: Any, have: int, entry: WeightFile) -> int:
    length = response.headers.get("Content-Length")
    if length is None and entry.size is None:
        raise DownloadError(f"{response.url} does not say how long the file is")
    total = have + int(length) if length is not None else int(entry.size or 0)
    if entry.size not in (None, total):
        raise DownloadError(
            f"{response.url} offers {total:,} bytes, expected {entry.size:,}: another file"
        )
    return total


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise DownloadError(
            f"{folder} has {free:,} bytes free, the download needs {needed + SPARE_BYTES:,}: "
            "make room or set S3POT_WEIGHTS_DIR to a folder on another disk"
        )


def _copy(response: Any, part: Path, have: int, total: int) -> None:
    bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=None)
    with part.open("ab" if have else "wb") as file, bar:
        while have < total:
            try:
                block = response.read(min(CHUNK, total - have))
            except (http.client.HTTPException, OSError) as error:
                raise _Interrupted(f"the connection broke ({error!r})") from error
            if not block:
                raise _Interrupted(f"the connection was cut at {have:,} of {total:,} bytes")
            file.write(block)
            have += len(block)
            bar.update(len(block))

"""Recognizing by its first bytes whether a weight file is a checkpoint or something else."""

from __future__ import annotations

import codecs
import zipfile
from pathlib import Path

from s3pot.io import BadFile, refuse_special
from s3pot.stored_zip import ZIP_MAGIC

HEAD_BYTES = 1024  # number of bytes that are inspected
_LFS_POINTER = "version https://git-lfs.github.com/spec/"
_HTML_STARTS = ("<!doctype html", "<html", "<head", "<body", "<script", "<!--")
# The first bytes of other file types.
_MAGIC: dict[bytes, str] = {
    b"%PDF": "a PDF document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x1f\x8b": "a gzip archive, which has to be unpacked",
    b"BZh": "a bzip2 archive, which has to be unpacked",
    b"\xfd7zXZ": "an xz archive, which has to be unpacked",
    b"7z\xbc\xaf": "a 7z archive, which has to be unpacked",
    b"Rar!": "a RAR archive, which has to be unpacked",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
}
_TAR_MAGIC = b"ustar"
_TAR_PLACE = 257


def refuse_foreign(path: Path, name: str | None = None) -> None:
    """Refuse a file that is clearly not a checkpoint.

    Args:
        path: Existing weight file.
        name: Its name, if that differs from the name in its path.

    Raises:
        BadFile: It is empty, text (a web page, a Git LFS pointer, an error message), an image, an
            archive of another kind or a zip archive whose end is missing.
    """
    kind = foreign_kind(path, name)
    if kind is not None:
        raise BadFile(f"{path} is {kind}. Move it away and fetch the real file.")


def foreign_kind(path: Path, name: str | None = None) -> str | None:
    """Name the type of a file that is clearly not a checkpoint; None if it may be one."""
    refuse_special(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error
    if not head:
        return "empty"
    if head.startswith(ZIP_MAGIC):
        return _zip_fault(path, Path(name or path).suffix)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return f"not a checkpoint but {kind}"
    if head.startswith(_TAR_MAGIC, _TAR_PLACE):
        return "not a checkpoint but a tar archive, which has to be unpacked"
    if not any(head):
        return "not a checkpoint: it begins with zeros, like a download that was cut off"
    return _text_kind(head)


def _zip_fault(path: Path, suffix: str) -> str | None:
    if not zipfile.is_zipfile(path):
        return f"cut off: its end is missing after {path.stat().st_size:,} bytes"
    if suffix not in (".pt", ".pth"):
        return "a zip archive, contrary to its name"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # a damaged directory raises almost any error, including struct.error
        return "a damaged archive"
    if not any(Path(name).name == "data.pkl" for name in names):
        return "not a checkpoint but a zip archive of other files, which has to be unpacked"
    return None


def _text_kind(head: bytes) -> str | None:
    """Name the type of a text by its beginning; None if it is not text."""
    text = _decoded(head)
    if text is None:
        return None
    start = text.lstrip().lower()
    if start.startswith(_LFS_POINTER):
        return "a Git LFS pointer and not the file itself, which 'git lfs pull' fetches"
    if start.startswith(_HTML_STARTS):
        title = _between(text, "<title>", "</title>")
        named = f" titled {title!r}" if title else ""
        return f"a web page{named}, saved in place of the file"
    if start.startswith(("<?xml", "<error")):
        return "an XML message from a server, saved in place of the file"
    if start.startswith(("{", "[")):
        return "JSON text, such as a server's message, and not a checkpoint"
    return f"text and not a checkpoint; it starts with {text.strip()[:40]!r}"


def _decoded(head: bytes) -> str | None:
    """Read the beginning of a file as text; None if it is binary."""
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        # A character cut by the end of the head is left out, as is a byte order mark.
        text = decoder.decode(head).lstrip("\ufeff")
    except UnicodeDecodeError:
        return None
    has_controls = any(ord(char) < 32 and char not in "\t\n\r\f" for char in text)
    return None if has_controls else text


def _between(text: str, start: str, end: str) -> str:
    """Return the text between two marks, ignoring case; empty if there is none."""
    lower = text.lower()
    left = lower.find(start)
    right = lower.find(end)
    if left < 0 or right < left:
        return ""
    return text[left + len(start) : right].strip()

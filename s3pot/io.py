"""Reading and writing files: atomic, bounded in size, with errors that name the file.

Everything that s3pot writes goes through ``atomic_path``: it is written under a temporary name in
the same folder and then renamed, so that a kill or a full disk leaves no partial file behind.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import logging
import math
import re
import secrets
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np
import yaml

from s3pot.stored_zip import ZIP_MAGIC
from s3pot.types import S3potError

logger = logging.getLogger(__name__)

HASH_CHUNK = 1 << 20  # bytes read at once
CSV_DIGITS = 6  # significant digits of numbers in CSV files; JSON holds them in full
MAX_TEXT_BYTES = 64 << 20  # largest JSON or text file that is read
MAX_YAML_BYTES = 256 << 10  # largest YAML file, because PyYAML is slow
MAX_YAML_NODES = 100_000  # of one YAML file after its aliases are expanded
SECONDS_OF_LONGEST_WRITE = 24 * 3600  # an older temporary file no longer has a writer
TEMPORARY = ".s3pot-"  # prefix of temporary files
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class BadFile(S3potError):
    """A file cannot be read, or does not contain what it should."""


def expand_home(path: str | Path) -> Path:
    """Replace a ``~`` or ``~user`` at the beginning of a path by that user's home folder.

    Raises:
        S3potError: There is no such user, or the home folder is not known, as in a container whose
            user has no entry in ``/etc/passwd``.
    """
    try:
        return Path(path).expanduser()
    except (RuntimeError, KeyError) as error:  # KeyError: in Python 3.9
        raise S3potError(
            f"{path}: the home folder that {Path(path).parts[0]} stands for is not known; give the "
            "path without ~, or set HOME."
        ) from error


def shared_mode(folder: Path) -> int:
    """Return the mode of a file that everyone who can write into its folder can write."""
    return 0o644 | (folder.stat().st_mode & 0o022)


def share(path: Path) -> None:
    """Let everyone who can write into the folder write a file in it, if the system allows it."""
    mode = shared_mode(path.parent)
    try:
        path.chmod(mode | 0o111 if path.is_dir() else mode)
    except OSError as error:
        logger.debug("%s keeps its permissions: %s", path, error)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name; on success the file is renamed to ``path``, otherwise removed.

    Missing parent folders are created. The temporary name has a fixed length, so a stem may be as
    long as the file system allows; it ends in ``.tmp``, so writers must be told the format. An
    ``OSError`` of the temporary file, or one that names no file, is changed to name ``path``; so is
    that of a full disk, for which copying a file names both, the original first.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target.parent)
    temporary = target.parent / f"{TEMPORARY}{secrets.token_hex(8)}.tmp"
    try:
        yield temporary
        temporary.replace(target)
    except OSError as error:
        names_nothing_else = error.filename in (None, str(temporary), temporary)
        if error.errno is not None and (names_nothing_else or disk_is_full(error)):
            error.filename = str(target)
            del error.filename2
        raise
    finally:
        temporary.unlink(missing_ok=True)


@cache  # once per process and folder
def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files left by killed processes: those older than any write can take."""
    oldest = time.time() - SECONDS_OF_LONGEST_WRITE
    try:
        for path in folder.glob(f"{TEMPORARY}*.tmp"):
            if path.stat().st_mtime < oldest:
                path.unlink()
    except OSError as error:
        logger.debug("leftovers in %s stay: %s", folder, error)


def disk_is_full(error: BaseException) -> bool:
    """Whether an error says that a disk, or the user's share of it, has no space left.

    Such an error will affect everything that is written after it.
    """
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_npy(path: str | Path, array: np.ndarray) -> None:
    """Write one array as ``.npy``, never as a pickle."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        # NumPy writes to a real file by itself, and its error on a full disk has no number by which
        # it could be recognized.
        np.save(SimpleNamespace(write=stream.write), array, allow_pickle=False)


def write_json(path: str | Path, value: Any) -> None:
    """Write plain Python data as JSON in UTF-8.

    NaN and infinity raise a ``ValueError``, because JSON has neither. File names that are not valid
    text (lone surrogates) are written as escapes, which readers turn back into the same name.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    text = _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
    write_bytes(path, (text + "\n").encode("utf-8"))


def write_csv(
    path: str | Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()
) -> None:
    """Write rows of plain values as CSV in UTF-8.

    None is an empty cell. Numbers that are not integers get CSV_DIGITS significant digits. Names
    that are not valid text (lone surrogates) are written with backslashes.

    Args:
        path: The file.
        rows: Column → value of each row.
        columns: The first columns, also if there is no row; the others are all further keys in
            order of appearance.
    """
    text = io.StringIO(newline="")
    names = list(dict.fromkeys([*columns, *(key for row in rows for key in row)]))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({column: _csv_value(value) for column, value in row.items()})
    write_bytes(path, text.getvalue().encode("utf-8", errors="backslashreplace"))


def _csv_value(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{CSV_DIGITS}g}")
    return value


def refuse_special(path: Path) -> None:
    """Refuse a pipe, socket or device, because reading it may never end.

    Files in ``/dev`` or ``/proc``, such as a shell's ``<(...)``, are allowed: they were given
    deliberately.

    Raises:
        BadFile: The file is one of these.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # opening it says why
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or path.parts[1:2] in (("dev",), ("proc",)):
        return
    raise BadFile(f"{path} is not a file but a pipe, a socket or a device.")


def leads_outside(name: str) -> bool:
    """Whether a file name found inside another file leads out of that file's folder."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


def read_bytes(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """Read a file that should be small.

    Raises:
        BadFile: The file is missing, unreadable, not a regular file or larger than ``max_bytes``.
    """
    refuse_special(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except FileNotFoundError as error:
        raise BadFile(f"{path} does not exist.") from error
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(content) > max_bytes:
        most = f"{max_bytes >> 20} MiB" if max_bytes >= 1 << 20 else f"{max_bytes >> 10} KiB"
        raise BadFile(f"{path} is larger than {most}, the limit for a file of its kind.")
    return content


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8 (a byte order mark is skipped), UTF-16 or UTF-32.

    Raises:
        BadFile: The file is missing, too large, in another encoding, nested too deeply or not JSON.
    """
    content = read_bytes(path)
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise BadFile(
            f"{path} is not encoded in UTF-8 (byte {error.start} does not fit). "
            "Open it in an editor with its own encoding and save it as UTF-8."
        ) from error
    except RecursionError as error:
        raise BadFile(f"{path} is nested too deeply for a JSON file of its kind.") from error
    except ValueError as error:
        raise BadFile(f"{path} is not a JSON file: {error}.") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is not a JSON number")


def read_yaml(path: Path, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """Read a YAML file in UTF-8.

    Args:
        path: The file.
        loader: A safe loader; a loader other than PyYAML's may keep more of the text.

    Raises:
        BadFile: The file is missing, too large or not YAML; its aliases expand to more than
            ``MAX_YAML_NODES`` values or contain themselves; or a key occurs twice in one mapping.
    """
    content = read_bytes(path, MAX_YAML_BYTES)
    try:
        stream = loader(content)
        try:
            node = stream.get_single_node()
            if node is None:
                return None
            if _expanded_size(node, {}) > MAX_YAML_NODES:
                raise BadFile(
                    f"{path} holds more than {MAX_YAML_NODES:,} values once its aliases are "
                    "expanded; write it without so many aliases."
                )
            repeated = _repeated_key(node)
            if repeated is not None:
                raise BadFile(
                    f"{path} holds {repeated.value!r} twice, the second time in line "
                    f"{repeated.start_mark.line + 1}; merge the two, because only one would count."
                )
            return stream.construct_document(node)
        finally:
            stream.dispose()
    except RecursionError as error:
        raise BadFile(f"{path} is nested too deeply, or an alias in it contains itself.") from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError) as error:
        # PyYAML reads a tag such as !!timestamp or !!int without looking at the text first.
        raise BadFile(f"{path} is not a YAML file: {error}") from error


def _expanded_size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Count the values below a node; an alias counts as often as it is used."""
    if id(node) not in sizes:
        size = 1
        if isinstance(node, yaml.SequenceNode):
            size += sum(_expanded_size(value, sizes) for value in node.value)
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                size += _expanded_size(key, sizes) + _expanded_size(value, sizes)
        sizes[id(node)] = size
    return sizes[id(node)]


def _repeated_key(node: yaml.Node) -> yaml.ScalarNode | None:
    """Find a key that occurs twice in one mapping, at any depth; PyYAML would drop the first."""
    waiting = [node]
    seen: set[int] = set()  # aliases lead to the same node
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, yaml.SequenceNode):
            waiting += current.value
        if not isinstance(current, yaml.MappingNode):
            continue
        keys: set[str] = set()
        for key, value in current.value:
            waiting.append(value)
            if isinstance(key, yaml.ScalarNode):
                if key.value in keys:
                    return key
                keys.add(key.value)
    return None


def read_npy(path: Path) -> np.ndarray:
    """Read one array of a ``.npy`` file, never a pickle.

    Raises:
        BadFile: The file is missing, truncated, an archive of several arrays or not ``.npy`` at
            all.
    """
    refuse_special(path)
    try:
        with path.open("rb") as stream:
            if stream.read(len(ZIP_MAGIC)) == ZIP_MAGIC:
                raise BadFile(
                    f"{path} is an .npz archive of arrays, although it is called .npy. "
                    "Save a single array with np.save."
                )
            stream.seek(0)
            return read_npy_stream(stream, path.stat().st_size, str(path))
    except FileNotFoundError as error:
        raise BadFile(f"{path} does not exist.") from error
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error


def read_npy_map(path: Path) -> np.ndarray:
    """Read one array as ``read_npy`` does; (1, H, W) and (H, W, 1) are reshaped to (H, W)."""
    array = read_npy(path)
    if array.ndim == 3 and array.shape[0] == 1:
        return array.squeeze(axis=0)
    if array.ndim == 3 and array.shape[2] == 1:
        return array.squeeze(axis=2)
    return array


def read_npy_stream(stream: BinaryIO, size: int, name: str) -> np.ndarray:
    """Read one array as ``read_npy`` does.

    Args:
        stream: At the beginning of a ``.npy`` file.
        size: The number of bytes that it holds.
        name: What to call it in messages.

    Raises:
        BadFile: It is truncated or not ``.npy``.
    """
    try:
        _check_npy_length(stream, size, name)
        stream.seek(0)
        return np.asarray(np.load(stream, allow_pickle=False))
    except BadFile:
        raise
    except Exception as error:  # NumPy reads the header as Python: SyntaxError, TokenError, ...
        reason = str(error) or type(error).__name__
        raise BadFile(f"{name} is damaged or not an .npy file: {reason}.") from error


def _check_npy_length(stream: BinaryIO, size: int, name: str) -> None:
    """Refuse a header that asks for more bytes than follow it, before memory is allocated."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    if min(shape, default=0) < 0:  # old versions of NumPy would continue reading
        raise BadFile(f"{name} is damaged: its header gives the shape {shape}.")
    wanted = math.prod(shape) * dtype.itemsize
    held = size - stream.tell()
    if wanted > held and not dtype.hasobject:
        raise BadFile(
            f"{name} is cut off or damaged: its header asks for {wanted:,} bytes of shape {shape}, "
            f"but {held:,} follow."
        )


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256 as 64 lowercase hex digits; BadFile if it cannot be read."""
    digest = hashlib.sha256()
    refuse_special(path)
    try:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(HASH_CHUNK), b""):
                digest.update(block)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error
    return digest.hexdigest()

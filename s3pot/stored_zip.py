"""A strict reader of zip directories, so that every reader sees the same archive contents.

Programs that write arrays (``torch.save``, ``np.savez``) store their members uncompressed, one
after another, with one directory at the end. Nothing else is accepted: no compression (a zip bomb),
no second directory, prefix or comment (which could make two readers see different archives), no
duplicate member, and no name that leads out of the archive.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

ZIP_MAGIC = b"PK\3\4"  # begins each member, and so the archive
MOST_MEMBERS = 100_000
MOST_DIRECTORY_BYTES = 32 << 20

_LOCAL = struct.Struct("<4s5H3L2H")  # header before each member's data
_CENTRAL = struct.Struct("<4s6H3L5H2L")  # entry of the directory
_END = struct.Struct("<4s4H2LH")  # end of the directory
_LOCATOR = struct.Struct("<4sLQL")  # position of the long form of the end
_LONG_END = struct.Struct("<4sQ2H2L4Q")  # the end with 64 bits
_ONES_16 = 0xFFFF  # placeholder for a value that only the long form has
_ONES_32 = 0xFFFFFFFF
_ENCRYPTED = 0x1  # bits of the flags
_SIZES_FOLLOW = 0x8
_LONG_FIELD = 0x0001  # extra field with 64-bit values


class BadArchive(ValueError):
    """An archive violates the rules; the message is a clause that starts with "it" or "its"."""


@dataclass(frozen=True)
class Member:
    """A file in an archive, stored uncompressed.

    Attributes:
        name: As it is written, with forward slashes.
        start: Offset of its first byte.
        size: Bytes.
    """

    name: str
    start: int
    size: int


@dataclass(frozen=True)
class _Directory:
    """The position of the directory.

    Attributes:
        start: Offset of its first entry.
        size: Bytes.
        count: Entries.
    """

    start: int
    size: int
    count: int


@dataclass(frozen=True)
class _Entry:
    """An entry of the directory: a member by name, size and the offset of its local header."""

    name: bytes
    size: int
    header: int


def read_members(stream: BinaryIO) -> dict[str, Member]:
    """Read the directory of an archive and check its whole structure, but not its contents.

    Args:
        stream: Open for reading and seekable; it is left at an arbitrary position.

    Returns:
        The members by name, in the order of their data.

    Raises:
        BadArchive: The archive violates the rules in the module's docstring.
    """
    size = stream.seek(0, os.SEEK_END)
    directory = _find_directory(stream, size)
    entries = sorted(_read_entries(stream, directory), key=lambda entry: entry.header)
    members: dict[str, Member] = {}
    end_of_last = 0
    for number, entry in enumerate(entries):
        if entry.header < end_of_last or (number == 0 and entry.header != 0):
            raise BadArchive("its members overlap, or do not start at its beginning")
        member = _read_member(stream, entry, limit=directory.start)
        if member.name in members:
            raise BadArchive(f"it holds {member.name!r} twice")
        members[member.name] = member
        end_of_last = member.start + member.size
    return members


def _find_directory(stream: BinaryIO, size: int) -> _Directory:
    """Find the only directory, which must end where the file ends."""
    if size < _END.size:
        raise BadArchive("its end is missing")
    end_at = size - _END.size
    fields = _unpack(stream, _END, end_at, b"PK\5\6", "its end is missing, or something follows it")
    _, disk, directory_disk, count_here, count, length, start, comment = fields
    if disk or directory_disk or count_here != count or comment:
        raise BadArchive("it has several parts or a comment")
    directory = _Directory(start, length, count)
    long_form = _find_long_form(stream, end_at)
    if long_form is not None:
        _check_same(directory, long_form)
        directory = long_form
        end_at -= _LOCATOR.size + _LONG_END.size
    if directory.start + directory.size != end_at:
        raise BadArchive("its directory is not where its end says, so there may be two")
    if directory.count > MOST_MEMBERS or directory.size > MOST_DIRECTORY_BYTES:
        raise BadArchive(f"it has {directory.count:,} members, more than any file of its kind")
    return directory


def _find_long_form(stream: BinaryIO, end_at: int) -> _Directory | None:
    """Read the 64-bit end of the directory; None if there is none."""
    locator_at = end_at - _LOCATOR.size
    if locator_at < _LONG_END.size:
        return None
    stream.seek(locator_at)
    magic, disk, long_end_at, disks = _LOCATOR.unpack(stream.read(_LOCATOR.size))
    if magic != b"PK\6\7":
        return None
    if disk or disks != 1 or long_end_at != locator_at - _LONG_END.size:
        raise BadArchive("the long form of its end is not where it should be")
    fault = "the long form of its end is damaged"
    fields = _unpack(stream, _LONG_END, long_end_at, b"PK\6\6", fault)
    _, length, _, _, disk, directory_disk, count_here, count, size, start = fields
    if length != _LONG_END.size - 12 or disk or directory_disk or count_here != count:
        raise BadArchive(fault)
    return _Directory(start, size, count)


def _check_same(short: _Directory, long: _Directory) -> None:
    """Compare both forms of the end; the short form may leave a value to the long form."""
    pairs = (
        (short.start, long.start, _ONES_32),
        (short.size, long.size, _ONES_32),
        (short.count, long.count, _ONES_16),
    )
    for short_value, long_value, ones in pairs:
        if short_value not in (long_value, ones):
            raise BadArchive("the two forms of its end name different directories")


def _read_entries(stream: BinaryIO, directory: _Directory) -> list[_Entry]:
    entries = []
    position = directory.start
    for _ in range(directory.count):
        fields = _unpack(stream, _CENTRAL, position, b"PK\1\2", "its directory is damaged")
        (_, _, _, flags, method, _, _, _, packed, size, name_length, extra_length) = fields[:12]
        comment_length, disk, _, _, header = fields[12:]
        name = stream.read(name_length)
        extra = stream.read(extra_length)
        packed, size, header = _long_values(extra, [size, packed, header])
        if method != 0 or packed != size or flags & _ENCRYPTED:
            raise BadArchive(f"{name!r} in it is compressed or encrypted")
        if comment_length or disk:
            raise BadArchive("it has several parts or comments")
        entries.append(_Entry(name, size, header))
        position += _CENTRAL.size + name_length + extra_length
    if position != directory.start + directory.size:
        raise BadArchive("its directory is longer than its entries")
    return entries


def _long_values(extra: bytes, values: list[int]) -> tuple[int, int, int]:
    """Take the values that do not fit 32 bits from the extra field.

    Args:
        extra: The extra field of an entry.
        values: Size, compressed size and offset; all bits are set if the value is in the extra
            field.

    Returns:
        Compressed size, size, offset.
    """
    long_field = b""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == _LONG_FIELD:
            long_field = extra[4 : 4 + length]
        extra = extra[4 + length :]
    complete = []
    for value in values:
        if value == _ONES_32:
            if len(long_field) < 8:
                raise BadArchive("a size in its directory is missing")
            value = int.from_bytes(long_field[:8], "little")
            long_field = long_field[8:]
        complete.append(value)
    size, packed, header = complete
    return packed, size, header


def _read_member(stream: BinaryIO, entry: _Entry, limit: int) -> Member:
    """Compare an entry with the header before its data, which other readers may use instead."""
    fault = f"{entry.name!r} in it has no header"
    fields = _unpack(stream, _LOCAL, entry.header, ZIP_MAGIC, fault)
    _, _, flags, method, _, _, _, packed, size, name_length, extra_length = fields
    name = stream.read(name_length)
    start = entry.header + _LOCAL.size + name_length + extra_length
    sizes_are_open = flags & _SIZES_FOLLOW or size == packed == _ONES_32
    if name != entry.name or method != 0 or not (sizes_are_open or size == packed == entry.size):
        raise BadArchive(f"{entry.name!r} in it has a header that contradicts the directory")
    if start + entry.size > limit:
        raise BadArchive(f"{entry.name!r} in it is cut off")
    return Member(_checked_name(name), start, entry.size)


def _checked_name(raw: bytes) -> str:
    """Decode a member's name; it may not lead out of the archive."""
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadArchive(f"it holds a member with the odd name {raw[:40]!r}") from error
    parts = name.split("/")
    if "\\" in name or not name.isprintable() or {"", ".", ".."} & set(parts):
        raise BadArchive(f"it holds a member with the odd name {name[:40]!r}")
    return name


def _unpack(
    stream: BinaryIO, layout: struct.Struct, position: int, magic: bytes, fault: str
) -> tuple[Any, ...]:
    """Read a record that starts with ``magic``."""
    stream.seek(position)
    raw = stream.read(layout.size)
    if len(raw) < layout.size or not raw.startswith(magic):
        raise BadArchive(fault)
    return layout.unpack(raw)

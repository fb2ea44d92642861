"""Checking a PyTorch pickle before it is loaded: only tensors and plain values are allowed.

``torch.load(weights_only=True)`` refuses code, but versions before 2.6 and 2.10 could be made to
run code, or to write outside a tensor (CVE-2025-32434, CVE-2026-24747). Therefore the file is first
walked through without creating any of its objects: each instruction, each name that it requests,
each place where it stores values, and whether every tensor lies inside the bytes of the file.

A file is either a zip archive (``data.pkl`` and the bytes of each storage) or, as torch wrote
before version 1.6, five consecutive pickles followed by the bytes of the storages.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import BinaryIO

from s3pot.stored_zip import ZIP_MAGIC, BadArchive, Member, read_members
from s3pot.weights.pickle_values import Container, DamagedPickle, UnsafePickle
from s3pot.weights.pickle_walk import MAX_PICKLE_BYTES, BoundedPickle, walk_pickle

# What older versions write at the beginning.
_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_OLD_PROTOCOL = 1001
# Members of an archive other than data.pkl and data/<key>.
_SMALL_MEMBERS = frozenset(
    ("version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id")
)
_MOST_SMALL_BYTES = 4096


def check_checkpoint(stream: BinaryIO) -> None:
    """Check a file of ``torch.save`` before it is loaded.

    Args:
        stream: Open for reading and seekable; it is left at its beginning.

    Raises:
        UnsafePickle: It requests code, or more memory than it has bytes, or is built so that two
            readers could see different contents.
        DamagedPickle: It is cut off or not a checkpoint.
    """
    stream.seek(0)
    if stream.read(len(ZIP_MAGIC)) == ZIP_MAGIC:
        _check_zip(stream)
    else:
        _check_old_format(stream)
    stream.seek(0)


def _check_zip(stream: BinaryIO) -> None:
    try:
        members = read_members(stream)
    except BadArchive as error:
        raise UnsafePickle(f"its zip structure is not as torch.save writes it: {error}") from error
    description, storages = _sort_members(members)
    if description.size > MAX_PICKLE_BYTES:
        raise UnsafePickle(f"its data.pkl has {description.size:,} bytes")
    stream.seek(description.start)
    pickle = io.BytesIO(stream.read(description.size))
    walk = walk_pickle(pickle)
    if pickle.read(1):
        raise UnsafePickle("something follows the pickle in data.pkl")
    for storage in walk.storages.values():
        held = storages[storage.key].size if storage.key in storages else 0
        if held != storage.size:
            raise UnsafePickle(
                f"storage {storage.key!r} should have {storage.size:,} bytes and has {held:,}"
            )


def _sort_members(members: Mapping[str, Member]) -> tuple[Member, dict[str, Member]]:
    """Separate the description of the tensors from their bytes, by key; allow nothing else."""
    top = next(iter(members), "").partition("/")[0]
    description: Member | None = None
    storages: dict[str, Member] = {}
    for name, member in members.items():
        folder, _, rest = name.partition("/")
        if folder != top:
            raise UnsafePickle(f"it holds {name!r}, which no checkpoint does")
        if rest == "data.pkl":
            description = member
        elif rest.startswith("data/"):
            storages[rest[len("data/") :]] = member
        elif rest not in _SMALL_MEMBERS or member.size > _MOST_SMALL_BYTES:
            raise UnsafePickle(f"it holds {name!r}, which no checkpoint does")
    if description is None:
        raise DamagedPickle("it has no data.pkl")
    return description, storages


def _check_old_format(stream: BinaryIO) -> None:
    """Check five pickles (magic number, protocol, system, content, keys) and the storages."""
    stream.seek(0)
    magic = walk_pickle(BoundedPickle(stream)).result
    protocol = walk_pickle(BoundedPickle(stream)).result
    if magic != _OLD_MAGIC or protocol != _OLD_PROTOCOL:
        raise DamagedPickle("it does not start as a file of torch.save does")
    walk_pickle(BoundedPickle(stream))
    content = walk_pickle(BoundedPickle(stream))
    keys = walk_pickle(BoundedPickle(stream)).result
    if not isinstance(keys, Container) or keys.kind != "list":
        raise DamagedPickle("its list of storages is missing")
    if sorted(map(repr, keys.items)) != sorted(map(repr, content.storages)):
        raise UnsafePickle("its list of storages differs from those that its content uses")
    for key in keys.items:
        storage = content.storages[key]
        count = int.from_bytes(stream.read(8), "little")
        if count * storage.item_size != storage.size:
            raise UnsafePickle(f"storage {key!r} differs in size from what its tensors state")
        stream.seek(storage.size, os.SEEK_CUR)
    position = stream.tell()
    size = stream.seek(0, os.SEEK_END)
    if position > size:
        raise DamagedPickle(f"it ends {position - size:,} bytes too early")
    if position < size:
        raise UnsafePickle(f"{size - position:,} bytes follow its last storage")

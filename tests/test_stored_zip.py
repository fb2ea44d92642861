"""Archives of torch and NumPy are read as zipfile reads them; anything ambiguous is refused."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Callable

import numpy as np
import pytest
import torch

from s3pot.stored_zip import BadArchive, read_members


def saved_by_torch() -> bytes:
    stream = io.BytesIO()
    torch.save({"a": torch.arange(5), "b": torch.ones(300)}, stream)
    return stream.getvalue()


def saved_by_numpy() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.arange(5), b=np.ones((3, 100)))
    return stream.getvalue()


def zipped(names: list[str], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), bytes(1000), method)
    return stream.getvalue()


@pytest.mark.parametrize("make", [saved_by_torch, saved_by_numpy])
def test_as_zipfile_reads_it(make: Callable[[], bytes]) -> None:
    content = make()
    members = read_members(io.BytesIO(content))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert set(members) == set(archive.namelist())
        for name, member in members.items():
            assert content[member.start : member.start + member.size] == archive.read(name)


def test_compressed_members_are_refused() -> None:
    with pytest.raises(BadArchive, match="compressed"):
        read_members(io.BytesIO(zipped(["a/x"], zipfile.ZIP_DEFLATED)))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_occurs_twice_is_refused() -> None:
    with pytest.raises(BadArchive, match="twice"):
        read_members(io.BytesIO(zipped(["a/x", "a/x"])))


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a//x", "a\\x", "./x", "a/"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(BadArchive, match="odd name"):
        read_members(io.BytesIO(zipped([name])))


def test_two_archives_in_one_file_are_refused() -> None:
    first = saved_by_torch()
    for content in (first + first, zipped(["a/x"]) + first, first + zipped(["a/x"])):
        with pytest.raises(BadArchive):
            read_members(io.BytesIO(content))


def test_bytes_before_or_behind_are_refused() -> None:
    for content in (b"#!/bin/sh\n" + saved_by_torch(), saved_by_torch() + b"\n"):
        with pytest.raises(BadArchive):
            read_members(io.BytesIO(content))


def test_a_comment_is_refused() -> None:
    stream = io.BytesIO(zipped(["a/x"]))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.comment = b"PK\5\6 another end"
    with pytest.raises(BadArchive):
        read_members(stream)


def test_a_local_header_that_differs_is_refused() -> None:
    content = bytearray(zipped(["a/x"]))
    content[30:33] = b"b/x"  # the name before the data
    with pytest.raises(BadArchive, match="a header that contradicts"):
        read_members(io.BytesIO(bytes(content)))
    content = bytearray(zipped(["a/x"]))
    struct.pack_into("<L", content, 22, 10)  # the size before the data
    with pytest.raises(BadArchive, match="a header that contradicts"):
        read_members(io.BytesIO(bytes(content)))


def test_members_that_overlap_are_refused() -> None:
    content = bytearray(zipped(["a/x", "a/y"]))
    second = content.rindex(b"PK\1\2")
    struct.pack_into("<L", content, second + 42, 0)  # both share the first one's bytes
    with pytest.raises(BadArchive, match="overlap|a header that contradicts"):
        read_members(io.BytesIO(bytes(content)))


def test_two_ends_that_disagree_are_refused() -> None:
    content = bytearray(saved_by_torch())
    struct.pack_into("<L", content, len(content) - 6, 5)  # the short form's offset
    with pytest.raises(BadArchive, match="different directories"):
        read_members(io.BytesIO(bytes(content)))


def test_damage_is_refused_or_does_not_matter() -> None:
    """After any bit flip or truncation: refused, or all members lie inside the file; no error."""
    random = np.random.default_rng(0)
    for whole in (saved_by_torch(), saved_by_numpy(), zipped(["a/x", "a/y"])):
        for _ in range(400):
            content = bytearray(whole)
            content[random.integers(len(content))] ^= 1 << random.integers(8)
            content = content[: len(content) - int(random.integers(2)) * int(random.integers(200))]
            try:
                members = read_members(io.BytesIO(bytes(content)))
            except BadArchive:
                continue
            for member in members.values():
                assert 0 <= member.start <= member.start + member.size <= len(content)

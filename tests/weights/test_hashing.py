"""The lock file: which files are hashed again, which are pinned, and what is an error."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from filelock import FileLock

from s3pot.io import HASH_CHUNK, file_sha256
from s3pot.types import S3potError
from s3pot.weights import hashing
from s3pot.weights.hashing import LOCK_NAME, HashMismatch, check_hash, checked_sha256

CONTENT = b"\x80content"
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small weight file."""
    path = tmp_path / "a.pth"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Collect the files that are really read."""
    seen: list[Path] = []

    def spy(path: Path) -> str:
        seen.append(path)
        return file_sha256(path)

    monkeypatch.setattr(hashing, "file_sha256", spy)
    return seen


def test_file_sha256_over_many_chunks(tmp_path: Path) -> None:
    content = os.urandom(HASH_CHUNK * 2 + 17)
    (tmp_path / "b").write_bytes(content)
    assert file_sha256(tmp_path / "b") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("expected", [SHA, None])
def test_is_hashed_once(file: Path, hashed: list[Path], expected: str | None) -> None:
    assert [checked_sha256(file, expected) for _ in range(3)] == [SHA] * 3
    assert hashed == [file]
    assert checked_sha256(file, expected, rehash=True) == SHA
    assert len(hashed) == 2


def test_touched_file_is_hashed_again(file: Path, hashed: list[Path]) -> None:
    checked_sha256(file, None)
    os.utime(file, ns=(1, 1))
    checked_sha256(file, None)
    checked_sha256(file, None)
    assert len(hashed) == 2


@pytest.mark.parametrize(
    ("expected", "said"), [(SHA, "Move it away"), (None, "changed since its first use")]
)
def test_changed_file_is_an_error_each_time(file: Path, expected: str | None, said: str) -> None:
    checked_sha256(file, expected)
    file.write_bytes(b"\x80changed")
    os.utime(file, ns=(1, 1))
    for _ in range(2):
        with pytest.raises(HashMismatch, match=f"expected {SHA}.*{said}"):
            checked_sha256(file, expected)


def test_deleting_the_entry_pins_anew(file: Path) -> None:
    checked_sha256(file, None)
    file.write_bytes(b"\x80on purpose")
    (file.parent / LOCK_NAME).write_text("{}", encoding="utf-8")
    assert checked_sha256(file, None) == hashlib.sha256(b"\x80on purpose").hexdigest()


def test_entries_of_other_files_stay(file: Path) -> None:
    other = file.with_name("b.pth")
    other.write_bytes(b"\x80other")
    checked_sha256(other, None)
    checked_sha256(file, SHA)
    book = json.loads((file.parent / LOCK_NAME).read_text(encoding="utf-8"))
    assert sorted(book) == ["a.pth", "b.pth"]
    assert not list(file.parent.glob("*.tmp"))


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]x", '{"a.pth": 3}', '{"a.pth": {}}', '{"a.pth": "sha256"}', "[1]", "[" * 5000],
)
def test_damaged_lock_file_is_named(file: Path, damage: str) -> None:
    (file.parent / LOCK_NAME).write_text(damage, encoding="utf-8")
    with pytest.raises(S3potError, match=f"{LOCK_NAME} is damaged. Delete it"):
        checked_sha256(file, None)


def test_folder_that_cannot_be_written(
    file: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(hashing, "write_json", refuse)
    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert [checked_sha256(file, SHA) for _ in range(2)] == [SHA] * 2
    assert len(hashed) == 2
    assert sorted(path.name for path in file.parent.iterdir()) == ["a.pth"]


def test_what_a_file_was_compared_with(file: Path) -> None:
    assert [check_hash(file, None).basis for _ in range(2)] == ["first seen", "remembered"]
    assert check_hash(file, SHA).basis == "published"

"""Files are whole or absent, and remains of a killed process are removed."""

from __future__ import annotations

import os
import time
from pathlib import Path

from s3pot.io import SECONDS_OF_LONGEST_WRITE, atomic_path, write_bytes


def test_a_temporary_file_that_is_older_than_any_write_goes(tmp_path: Path) -> None:
    old, young, other = (tmp_path / name for name in (".s3pot-1.tmp", ".s3pot-2.tmp", "a.tmp"))
    for path in (old, young, other):
        path.write_bytes(b"half")
    long_ago = time.time() - SECONDS_OF_LONGEST_WRITE - 60
    for path in (old, other):
        os.utime(path, (long_ago, long_ago))
    write_bytes(tmp_path / "x", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".s3pot-2.tmp", "a.tmp", "x"]


def test_the_temporary_file_lies_beside_its_place(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a" / ("n" * 255)) as temporary:
        assert temporary.parent == tmp_path / "a"
        temporary.write_bytes(b"x")
        assert list((tmp_path / "a").iterdir()) == [temporary]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["n" * 255]

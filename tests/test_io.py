"""Files are whole or absent, and remains of a killed process are removed."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from s3pot.build import weights_folder
from s3pot.config import find_config, load_config
from s3pot.io import (
    SECONDS_OF_LONGEST_WRITE,
    atomic_path,
    expand_home,
    write_bytes,
    write_csv,
    write_json,
    write_npy,
)
from s3pot.runs.suite_file import _located
from s3pot.types import S3potError
from s3pot.weights.__main__ import main
from s3pot.weights.registry import default_folder


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


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "new")]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_bytes(path, bytes(10**5)),
        lambda path: write_npy(path, np.zeros(10**5, np.uint8)),
        lambda path: write_json(path, "x" * 10**5),
    ],
    ids=["bytes", "npy", "json"],
)
def test_a_write_that_does_not_fit_has_its_reason_and_names_the_file(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    resource = pytest.importorskip("resource", reason="the system has no limit of file sizes")
    path = tmp_path / "a"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, before[1]))
    try:
        with pytest.raises(OSError) as caught:  # noqa: PT011  # its text depends on the system
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_to_a_full_disk_names_the_copy(tmp_path: Path) -> None:
    copied = tmp_path / "copy.jpg"
    reason = os.strerror(errno.ENOSPC)
    with pytest.raises(OSError, match="copy.jpg") as caught, atomic_path(copied) as temporary:
        raise OSError(errno.ENOSPC, reason, "original.jpg", None, str(temporary))
    assert str(caught.value) == f"[Errno {errno.ENOSPC}] {reason}: {str(copied)!r}"


def test_write_npy_and_json(tmp_path: Path) -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    write_npy(tmp_path / "a_mask.npy", labels)
    np.testing.assert_array_equal(np.load(tmp_path / "a_mask.npy", allow_pickle=False), labels)
    write_json(tmp_path / "a.json", {"naïve": [1, 2.5, None]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"naïve": [1, 2.5, None]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", float("nan"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a_mask.npy"]


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert expand_home("~/a") == tmp_path / "a"
    assert expand_home(Path("b/~")) == Path("b/~")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pwd")
def test_a_user_without_a_home_folder_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(S3potError, match="~/w: the home folder that ~ stands for is not known"):
        expand_home("~/w")


NOBODY = "~no_such_user_of_s3pot/x"


@pytest.mark.parametrize(
    "use",
    [
        lambda: expand_home(NOBODY),
        lambda: find_config(NOBODY),
        lambda: weights_folder(load_config(None, [f"model.weights_dir={NOBODY}"])),
        lambda: default_folder(),
        lambda: _located(NOBODY, Path("suites")),
    ],
    ids=["io", "config", "weights_dir", "environment", "suite"],
)
def test_a_home_folder_that_is_not_known_is_named(
    use: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3POT_WEIGHTS_DIR", NOBODY)
    with pytest.raises(S3potError, match=f"{NOBODY}: .*home folder.*give the path without ~"):
        use()


def test_the_program_of_the_weights_names_it_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("S3POT_WEIGHTS_DIR", NOBODY)
    assert main(["list"]) == 2
    assert f"{NOBODY}: " in caplog.text


def test_numbers_in_csv_have_six_significant_digits(tmp_path: Path) -> None:
    values = {
        "share": 0.8304362284228665,
        "seconds": 5.985000060172751e-05,
        "large": 1234567.8,
        "whole": 1.0,
        "numpy": np.float32(0.1),
        "count": 123456789,
        "text": "0.12345678",
        "flag": True,
        "nothing": None,
    }
    write_csv(tmp_path / "a.csv", [values, {"share": -1 / 3}])
    first, second = (tmp_path / "a.csv").read_text().splitlines()[1:]
    assert first == "0.830436,5.985e-05,1234570.0,1.0,0.1,123456789,0.12345678,True,"
    assert second == "-0.333333,,,,,,,,"
    write_csv(tmp_path / "a.csv", [{"b": 1}, {"c": 2, "a": 3}], columns=["a"])
    assert (tmp_path / "a.csv").read_text() == "a,b,c\n,1,\n3,,2\n"

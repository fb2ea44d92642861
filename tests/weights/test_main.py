"""The command line: list, download, verify, and its exit codes."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest

from s3pot.weights import __main__ as command
from s3pot.weights import registry
from s3pot.weights.__main__ import main
from s3pot.weights.registry import WeightFile

SHA = hashlib.sha256(b"\x80bc").hexdigest()


@pytest.fixture
def folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Path:
    """A weights folder, and a registry of two small files served from nowhere."""
    caplog.set_level(logging.INFO)
    entries = {
        "a": WeightFile("a", "a.pth", "http://127.0.0.1:9/a.pth", SHA, 3, "free", "Ann's"),
        "b": WeightFile("b", "b.pth", None, None, None, "free", "Bob's"),
    }
    monkeypatch.setattr(registry, "weight_files", lambda: entries)
    monkeypatch.setattr(registry, "PAPER_SET", ("a",))
    monkeypatch.setenv("S3POT_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path


def test_list_is_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "b.pth").write_bytes(b"\x80x")
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["NAME", "STATE", "SIZE", "FILE", "WHAT"],
        ["a", "missing", "(needed)", "3", "B", "a.pth", "Ann's"],
        ["b", "here", "unknown", "b.pth", "Bob's"],
    ]
    assert len({line.index(column) for line, column in zip(lines, ("FILE", "a.pth", "b.pth"))}) == 1
    assert f"The files belong in {folder}." in lines[4]
    assert "python -m s3pot.weights download" in lines[5]


def test_list_of_one_says_all_of_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "a"]) == 0
    text = capsys.readouterr().out
    assert "a: missing. Ann's; license: free" in text and f"{folder / 'a.pth'}, 3 bytes" in text
    assert SHA in text and "Bob's" not in text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "unknown"),
        (3, "3 B"),
        (232_589, "233 kB"),
        (53_289_463, "53 MB"),
        (2_564_550_879, "2.6 GB"),
    ],
)
def test_sizes_for_people(size: int | None, text: str) -> None:
    assert registry.size_text(size) == text


def test_verify(
    folder: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify"]) == 2
    assert "no weights in" in caplog.text
    (folder / "a.pth").write_bytes(b"\x80bc")
    assert main(["verify"]) == 0
    assert "a.pth is verified" in capsys.readouterr().out
    (folder / "b.pth").write_bytes(b"\x80x")
    assert main(["verify"]) == 0
    assert "b.pth is seen for the first time; no hash is published" in capsys.readouterr().out
    assert main(["verify"]) == 0
    assert "b.pth is unchanged since it was first seen" in capsys.readouterr().out
    (folder / "b.pth").write_bytes(b"\x80y")
    assert main(["verify"]) == 1
    assert "changed since its first use" in caplog.text
    assert main(["verify", "b"]) == 2


def test_verify_reads_the_file_again(folder: Path) -> None:
    path = folder / "a.pth"
    path.write_bytes(b"\x80bc")
    assert main(["verify", "a"]) == 0
    path.write_bytes(b"\x80bd")
    book = folder / "weights.lock.json"
    old, new = book.read_text(encoding="utf-8"), path.stat().st_mtime_ns
    before = old.split('"mtime_ns": ')[1].split(",")[0]
    book.write_text(old.replace(before, str(new)), encoding="utf-8")  # size and time agree
    assert main(["verify", "a"]) == 2


def test_download(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(["download"]) == 2
    assert "from http://127.0.0.1:9/a.pth" in caplog.text and "refused" in caplog.text
    (folder / "a.pth").write_bytes(b"\x80bc")
    assert main(["download"]) == 0
    assert main(["download", "a", "b"]) == 1
    assert "b has to be downloaded by hand" in caplog.text


def test_weights_dir_option(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "a.pth").write_bytes(b"\x80bc")
    assert main(["verify", "--weights_dir", str(folder / "other")]) == 0
    assert main(["verify", "a"]) == 2


def test_advice_names_the_folder_unless_it_is_the_default(
    folder: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    other = folder / "other"
    other.mkdir()
    option = f" --weights_dir {other}"
    assert main(["verify"]) == 2
    assert caplog.messages[-1].endswith("python -m s3pot.weights download")
    assert main(["verify", "--weights_dir", str(other)]) == 2
    assert caplog.messages[-1].endswith(f"python -m s3pot.weights download{option}")
    (other / "a.pth").write_bytes(b"\x80bcd")
    assert main(["verify", "--weights_dir", str(other)]) == 2
    assert caplog.messages[-1].endswith(f"python -m s3pot.weights download a{option}")
    assert main(["list", "--weights_dir", str(other)]) == 0
    text = capsys.readouterr().out
    assert f"weights download{option}\n" in text and f"weights list NAME{option}\n" in text


def test_bad_arguments(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(["download", "c"]) == 2
    assert "'c'; expected one of: a, b" in caplog.text
    with pytest.raises(SystemExit) as caught:
        main(["fetch"])
    assert caught.value.code == 2


def test_interrupt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "download", stop)
    assert main(["download", "a"]) == 130


@pytest.mark.parametrize("words", [["list"], ["list", "a"], ["verify"], ["verify", "a"]])
def test_a_folder_with_an_impossible_name_is_one_line(
    folder: Path, caplog: pytest.LogCaptureFixture, words: list[str]
) -> None:
    name = "x" * 5000
    assert main([*words, "--weights_dir", name]) == 2
    (record,) = caplog.records
    assert record.getMessage() == f"{name}/a.pth: File name too long"

"""Where official and mini weights are found, and the messages if they are not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from s3pot.types import S3potError
from s3pot.weights import locate as locate_module
from s3pot.weights.locate import locate, mini_path
from s3pot.weights.registry import PAPER_SET, MissingWeights, WeightFile, weight_files

ENTRY = WeightFile("tiny", "tiny.pth", "http://x/tiny.pth", None, 3, "free", "a test")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register one small file."""
    monkeypatch.setitem(weight_files(), "tiny", ENTRY)


def test_entries_are_sound() -> None:
    known = weight_files()
    assert {"sam_vit_h", "sam_vit_l", "sam_vit_b", "segnext_small", *PAPER_SET} <= set(known)
    assert len({entry.file for entry in weight_files().values()}) == len(weight_files())
    for name, entry in weight_files().items():
        assert entry.name == name
        assert entry.url is None or entry.url.startswith("https://")
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
        assert (entry.sha256 is None) == (entry.size is None)
        assert entry.license and "github.com/" in entry.note


@pytest.mark.parametrize("name", list(weight_files()))
def test_missing_file_says_everything(name: str, tmp_path: Path) -> None:
    entry = weight_files()[name]
    with pytest.raises(MissingWeights) as caught:
        locate(name, tmp_path)
    text = str(caught.value)
    command = f"python -m s3pot.weights download {name} --weights_dir {tmp_path}"
    assert (command in text) == (entry.url is not None)
    for part in (entry.url or entry.note, str(tmp_path / entry.file), "--config mini"):
        assert part in text
    assert (entry.sha256 or "none published") in text


def test_folder(tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("S3POT_WEIGHTS_DIR", raising=False)
    for folder in ("weights", "variable", "argument"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tiny.pth").write_bytes(b"\x80bc")
    assert locate("tiny") == Path("weights/tiny.pth")
    monkeypatch.setenv("S3POT_WEIGHTS_DIR", "variable")
    assert locate("tiny") == Path("variable/tiny.pth")
    assert locate("tiny", Path("argument")) == Path("argument/tiny.pth")


def test_wrong_size(tiny: None, tmp_path: Path) -> None:
    (tmp_path / "tiny.pth").write_bytes(b"\x80b")
    with pytest.raises(S3potError, match="2 bytes, expected 3"):
        locate("tiny", tmp_path)


def test_wrong_hash(tmp_path: Path) -> None:
    entry = weight_files()["yunet"]
    (tmp_path / entry.file).write_bytes(b"\x08" * (entry.size or 0))
    with pytest.raises(S3potError, match=f"expected {entry.sha256}"):
        locate("yunet", tmp_path)


def test_unknown_name() -> None:
    with pytest.raises(S3potError, match="'sam_vit_x'; expected one of: sam_vit_h"):
        locate("sam_vit_x")


def test_mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate_module, "MINI_FOLDER", tmp_path / "mini")
    (tmp_path / "mini").mkdir()
    with pytest.raises(MissingWeights, match=r"python -m s3pot_mini"):
        mini_path("parser")
    (tmp_path / "mini" / "parser.pth").write_bytes(b"x")
    assert mini_path("parser").read_bytes() == b"x"
    with pytest.raises(MissingWeights, match=r"parser\.safetensors does not exist"):
        mini_path("parser", tmp_path)

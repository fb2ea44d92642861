"""Mini models: written as safetensors, read from both formats, refused if their hash differs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from s3pot.types import S3potError
from s3pot.weights import locate
from s3pot.weights.hashing import HashMismatch
from s3pot.weights.load import METADATA_KEY, CheckpointError
from s3pot.weights.locate import MINI_FOLDER, mini_path
from s3pot.weights.mini_set import SUMS, read_mini, read_sums, write_mini, write_sums
from s3pot.weights.registry import MissingWeights

SIZE = {"width": 3, "depths": (1, 2), "wide": True, "share": 0.5}


def weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    shared = torch.randn(4, 3)
    return {"a": shared, "b": shared.t(), "count": torch.tensor(7), "c": torch.ones(2).bfloat16()}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = write_mini(tmp_path / "set", "parser", SIZE, weights())
    assert path.name == "parser.safetensors"
    content = read_mini("parser", tmp_path / "set")
    assert content["size"] == {**SIZE, "depths": [1, 2]}
    assert content["state_dict"].keys() == weights().keys()
    for key, value in weights().items():
        wanted = value.half() if value.is_floating_point() else value
        assert torch.equal(content["state_dict"][key], wanted)


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    paths = [write_mini(tmp_path / str(number), "sam", SIZE, weights()) for number in range(8)]
    assert len({path.read_bytes() for path in paths}) == 1


def test_metadata_hold_format_model_and_size(tmp_path: Path) -> None:
    path = write_mini(tmp_path, "sam", {"image": 64}, weights())
    with safe_open(str(path), framework="pt") as file:
        head = json.loads(file.metadata()[METADATA_KEY])
    assert head == {"format": 1, "model": "mini-sam", "size": {"image": 64}}


def test_an_older_form_is_read_until_a_newer_one_is_written(tmp_path: Path) -> None:
    old = {"format": 1, "model": "mini-sam", "size": {"image": 64}, "state_dict": weights()}
    torch.save(old, tmp_path / "sam.pth")
    assert mini_path("sam", tmp_path).name == "sam.pth"
    assert torch.equal(read_mini("sam", tmp_path)["state_dict"]["a"], weights()["a"])
    write_mini(tmp_path, "sam", {"image": 32}, weights())
    assert read_mini("sam", tmp_path)["size"] == {"image": 32}
    assert not (tmp_path / "sam.pth").exists()


def test_without_a_folder_the_bundled_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locate, "MINI_FOLDER", tmp_path)
    with pytest.raises(
        MissingWeights, match=r"parser\.safetensors does not exist, nor parser\.pth"
    ):
        read_mini("parser")
    write_mini(tmp_path, "parser", SIZE, weights())
    assert read_mini("parser")["size"]["width"] == 3


@pytest.mark.parametrize("wrong", [{"format": 2}, {"model": "mini-sam"}])
def test_another_model_or_format_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    content = {"format": 1, "model": "mini-parser", "size": {}, "state_dict": weights()}
    torch.save({**content, **wrong}, tmp_path / "parser.pth")
    with pytest.raises(S3potError, match=r"expected \(1, 'mini-parser'\)"):
        read_mini("parser", tmp_path)


@pytest.mark.parametrize("size", [None, [3], {"w": 10**9}, {"w": "x"}, {"w": [1, [2, -(10**6)]]}])
def test_a_size_that_is_none_is_refused(tmp_path: Path, size: Any) -> None:
    content = {"format": 1, "model": "mini-parser", "size": size, "state_dict": weights()}
    torch.save(content, tmp_path / "parser.pth")
    with pytest.raises(CheckpointError, match="not name a valid network size"):
        read_mini("parser", tmp_path)


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000])
def test_damaged_metadata_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "parser.safetensors"
    save_file({"a": torch.ones(2)}, path, metadata={METADATA_KEY: text})
    with pytest.raises(CheckpointError, match="parser.safetensors holds"):
        read_mini("parser", tmp_path)


def test_a_changed_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = write_mini(tmp_path, "parser", SIZE, weights())
    write_mini(tmp_path, "sam", SIZE, weights())
    assert set(read_sums(tmp_path)) == {"parser.safetensors", "sam.safetensors"}
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(HashMismatch, match=f"parser.safetensors has sha256 .* {SUMS} beside it"):
        read_mini("parser", tmp_path)
    assert read_mini("sam", tmp_path)
    (tmp_path / SUMS).unlink()
    with pytest.raises(CheckpointError):
        read_mini("parser", tmp_path)


def test_sums_are_as_sha256sum_writes_them(tmp_path: Path) -> None:
    (tmp_path / "b.pth").write_bytes(b"b")
    (tmp_path / "a.safetensors").write_bytes(b"a")
    (tmp_path / "other.txt").write_bytes(b"c")
    write_sums(tmp_path)
    hashes = [hashlib.sha256(text).hexdigest() for text in (b"a", b"b")]
    text = f"{hashes[0]}  a.safetensors\n{hashes[1]}  b.pth\n"
    assert (tmp_path / SUMS).read_text(encoding="utf-8") == text


def test_the_bundled_files_are_those_of_the_list() -> None:
    """After new weights: ``cd s3pot/weights/mini && sha256sum *.safetensors > SHA256SUMS``."""
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in MINI_FOLDER.iterdir()
        if path.suffix in (".pth", ".safetensors")
    }
    assert files == read_sums(MINI_FOLDER)

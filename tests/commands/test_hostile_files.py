"""Untrusted files, wherever a command reads them, are refused, and no code runs."""

from __future__ import annotations

import hashlib
import io
import shutil
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import torch
from builders import MakesFolder, inference_run

import generate_reference
import inference
import train_general
import train_per_image
from s3pot.data.face_folder import CACHE
from s3pot.data.image import write_png

Make = Callable[..., Path]
Run = Callable[..., int]


@pytest.fixture
def trap(tmp_path: Path) -> MakesFolder:
    return MakesFolder(tmp_path / "code_ran")


@pytest.fixture
def data(processed_folder: Make) -> Path:
    return processed_folder(3)


@pytest.fixture
def segment(tmp_path: Path, data: Path, mini_options: list[str]) -> Run:
    return inference_run(data, tmp_path / "out", mini_options)


@pytest.fixture
def train(tmp_path: Path, data: Path, mini_options: list[str]) -> Run:
    def call(*options: str) -> int:
        folders = ["--datapath", str(data), "--output_dir", str(tmp_path / "trained")]
        return train_general.main([*folders, "--epochs", "1", *mini_options, *options])

    return call


@pytest.fixture
def fit(tmp_path: Path, data: Path, mini_options: list[str]) -> Run:
    def call(*options: str) -> int:
        folders = ["--datapath", str(data), "--output_dir", str(tmp_path / "fitted")]
        return train_per_image.main([*folders, "--epochs", "2", *mini_options, *options])

    return call


def two_directories(content: Any) -> bytes:
    """A harmless archive followed by a hostile one."""
    parts = []
    for value in ({"a": torch.ones(1)}, content):
        stream = io.BytesIO()
        torch.save(value, stream)
        parts.append(stream.getvalue())
    return b"".join(parts)


def hostile_checkpoints(folder: Path, trap: MakesFolder) -> list[Path]:
    folder.mkdir()
    contents = {
        "reduce": trap,
        "nested": {"kind": "s3pot-adapter", "adapter": {"norm.bias": [{"x": (trap,)}]}},
        "optimizer": {"adapter": {"w": torch.ones(2)}, "optimizer": {"state": {0: trap}}},
    }
    for name, content in contents.items():
        torch.save(content, folder / f"{name}.pth")
        old = folder / f"{name}_old.pth"
        torch.save(content, old, _use_new_zipfile_serialization=False)
    (folder / "two_directories.pth").write_bytes(two_directories(trap))
    (folder / "pickle.safetensors").write_bytes((folder / "reduce.pth").read_bytes())
    return sorted(folder.iterdir())


def test_the_trap_works(tmp_path: Path, trap: MakesFolder) -> None:
    torch.save(trap, tmp_path / "x.pth")
    torch.load(tmp_path / "x.pth", weights_only=False)
    assert trap.target.exists()


@pytest.mark.slow
def test_adapters(
    tmp_path: Path,
    trap: MakesFolder,
    segment: Run,
    train: Run,
    fit: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in hostile_checkpoints(tmp_path / "strangers", trap):
        assert segment("--checkpoint", str(path)) == 2
        assert path.name in capsys.readouterr().err
        assert train("--init_checkpoint", str(path)) == 2
        assert path.name in capsys.readouterr().err
        assert fit("--init_checkpoint", str(path)) == 2
        assert path.name in capsys.readouterr().err
    assert not trap.target.exists()


@pytest.mark.slow
def test_a_training_to_go_on_from(
    tmp_path: Path, trap: MakesFolder, train: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train() == 0
    last = tmp_path / "trained" / "last.pth"
    content = torch.load(last, weights_only=True)
    content["optimizer"]["state"][0]["exp_avg"] = trap
    torch.save(content, last)
    capsys.readouterr()
    assert train("--resume") == 2
    assert "last.pth was refused" in capsys.readouterr().err
    assert not trap.target.exists()


WRONG_STATES: list[dict[str, Any]] = [
    {"history": 3},
    {"history": [{"epoch": "x"}]},
    {"epoch": 7},
    {"config": 3},
    {"config": {"train": 3}},
    {"config": {"train": {"epochs": [1]}}},
    {"optimizer": 3},
    {"optimizer": {}},
    {"optimizer": {"state": {}, "param_groups": []}},
    {"optimizer": {"state": {0: 3}, "param_groups": []}},
    {"scheduler": []},
    {"scheduler": {"last_epoch": "x"}},
    {"scheduler": {"base_lrs": [1.0, 2.0]}},
    {"rng": torch.ones(3)},
    {"rng": None},
    {"adapter": {}},
    {"adapter": {"norm.bias": torch.ones(3)}},
    {"adapter": 3},
    {"adapter": {"norm.bias": {"a": 1}}},
    {"sam_sha256": {}},
    {"kind": 3},
]


@pytest.mark.slow
def test_training_states_of_other_types(
    tmp_path: Path, train: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train() == 0
    last = tmp_path / "trained" / "last.pth"
    content = torch.load(last, weights_only=True)
    for change in WRONG_STATES:
        torch.save({**content, **change}, last)
        capsys.readouterr()
        assert train("--resume") == 2, change
        assert "last.pth" in capsys.readouterr().err, change
    for slot in (torch.ones(5), torch.tensor(float("nan")), 3, None):
        content["optimizer"]["state"][1]["exp_avg_sq"] = slot
        torch.save(content, last)
        capsys.readouterr()
        assert train("--resume") == 2, slot
        assert "last.pth" in capsys.readouterr().err, slot


@pytest.mark.parametrize("piece", ["sam", "parser", "generator", "adapter"])
def test_mini_models(
    tmp_path: Path,
    data: Path,
    mini_dir: Path,
    mini_options: list[str],
    trap: MakesFolder,
    capsys: pytest.CaptureFixture[str],
    piece: str,
) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(mini_dir, weights)
    for path in weights.glob(f"{piece}.*"):
        path.unlink()
    content = {"format": 1, "model": f"mini-{piece}", "size": {}, "state_dict": {"x": trap}}
    torch.save(content, weights / f"{piece}.pth")
    photos = tmp_path / "photos"
    write_png(photos / "a.png", np.zeros((64, 64, 3), np.uint8))
    out = ["--output_dir", str(tmp_path / "out")]
    if piece in ("sam", "adapter"):
        code = inference.main(
            ["--datapath", str(data), *out, *mini_options, f"model.weights_dir={weights}"]
        )
    else:
        code = generate_reference.main(
            ["--input_dir", str(photos), *out, *mini_options, f"model.weights_dir={weights}"]
        )
    assert code == 2
    assert f"{piece}.pth was refused" in capsys.readouterr().err
    assert not trap.target.exists()


def test_official_weights_are_hashed_before_they_are_read(
    tmp_path: Path,
    trap: MakesFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = tmp_path / "photos"
    write_png(photos / "a.png", np.zeros((64, 64, 3), np.uint8))
    weights = tmp_path / "weights"
    weights.mkdir()
    size = 53_289_463  # of the real file
    torch.save({"a": trap, "fill": torch.zeros(size // 4 - 1000)}, weights / "79999_iter.pth")
    with (weights / "79999_iter.pth").open("ab") as file:
        file.truncate(size)

    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("it was unpickled")

    monkeypatch.setattr(torch, "load", never)
    options = ["--input_dir", str(photos), "--output_dir", str(tmp_path / "out")]
    settings = ["align.mode=never", "run.device=cpu", f"model.weights_dir={weights}"]
    assert generate_reference.main([*options, *settings]) == 2
    message = capsys.readouterr().err
    assert "79999_iter.pth" in message and ("sha256" in message or "cut off" in message)
    assert not trap.target.exists()


def test_class_maps_with_objects(
    data: Path, segment: Run, trap: MakesFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = np.full((2, 2), trap, dtype=object)
    np.save(data / "face_01_parsing_mask.npy", objects, allow_pickle=True)
    assert segment() == 1
    assert "failed: face_01" in capsys.readouterr().err
    assert not trap.target.exists()


def masks_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*_occlusion.png")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["objects", "another SAM"])
def test_cache_entries_that_carry_the_right_digest(
    tmp_path: Path, data: Path, segment: Run, trap: MakesFolder, kind: str
) -> None:
    """A data folder from a stranger may contain a cache; its entries are computed again."""
    assert segment() == 0
    masks = masks_of(tmp_path / "out")
    entry = sorted((data / CACHE).glob("*.feat"))[0]
    digest_size = hashlib.sha256().digest_size
    arrays = dict(np.load(io.BytesIO(entry.read_bytes()[digest_size:])))
    if kind == "objects":
        arrays["points_sam"] = np.array([trap], dtype=object)
    else:
        arrays["image_tokens"] = arrays["image_tokens"][:-1]
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    payload = stream.getvalue()
    entry.write_bytes(hashlib.sha256(entry.stem.encode() + payload).digest() + payload)
    assert segment("--overwrite") == 0
    assert not trap.target.exists()
    assert masks_of(tmp_path / "out") == masks

"""Checkpoints: what is read, what is refused, and how differences are reported."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from s3pot.weights import load
from s3pot.weights.load import (
    CheckpointError,
    WeightMismatch,
    load_strict,
    read_checkpoint,
    state_dict_of,
)

SAFE_GLOBALS = hasattr(torch.serialization, "safe_globals")


class Blur(nn.Module):
    """Holds a constant, as StyleGAN2's blur does."""

    def __init__(self, value: float = 0.25) -> None:
        super().__init__()
        self.kernel: Tensor
        self.register_buffer("kernel", torch.full((2, 2), value))


class Net(nn.Module):
    """Every kind of entry that a published model has."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.body = nn.Linear(4, width)
        self.norm = nn.BatchNorm1d(width)
        self.blur = Blur()


class Evil:
    """Runs a command when it is unpickled unsafely."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.target),))


def random_state(seed: int = 0, width: int = 3) -> dict[str, Tensor]:
    """Weights that differ from a fresh ``Net``."""
    torch.manual_seed(seed)
    state = Net(width).state_dict()
    return {
        key: torch.randn(value.shape) if value.is_floating_point() else value + 7
        for key, value in state.items()
    }


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Compare two state dicts exactly."""
    return first.keys() == second.keys() and all(
        torch.equal(first[key], second[key].to(first[key].dtype)) for key in first
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_both_formats(tmp_path: Path, zipped: bool) -> None:
    state = random_state()
    content = {"state_dict": state, "epoch": 3}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(tmp_path / "a.pth")
    assert read["epoch"] == 3
    assert same(read["state_dict"], state)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    target = tmp_path / "made"
    content = {"a": Evil(target)}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"refused: it wants \w+\.mkdir.*not contain code"):
        read_checkpoint(tmp_path / "a.pth")
    assert not target.exists()


@pytest.mark.skipif(not SAFE_GLOBALS, reason="needs torch 2.5")
def test_namespace_alone_is_let_through(tmp_path: Path) -> None:
    torch.save({"opts": argparse.Namespace(a=1), "w": torch.ones(2)}, tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth")["opts"].a == 1
    with pytest.raises(pickle.UnpicklingError, match="argparse.Namespace"):
        torch.load(tmp_path / "a.pth", weights_only=True)  # the permission ended with the call


def test_namespace_with_an_old_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.serialization, "safe_globals", raising=False)
    torch.save({"opts": argparse.Namespace(a=1)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="argparse.Namespace.*needs torch 2.5"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipped", [True, False])
def test_cut_anywhere_is_named(tmp_path: Path, zipped: bool) -> None:
    torch.save(random_state(), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "a.pth").read_bytes()
    for step in range(60):
        (tmp_path / "b.pth").write_bytes(whole[: len(whole) * step // 60])
        with pytest.raises(CheckpointError, match=r"b\.pth (is cut off|is empty|was refused)"):
            read_checkpoint(tmp_path / "b.pth")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"PK\x03\x04 no archive", "is cut off: its end is missing"),
        (b"\x80\x02garbage", "is cut off, damaged or not a PyTorch checkpoint"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"a.pth {said}"):
        read_checkpoint(tmp_path / "a.pth")


def test_no_file_or_no_dict(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(CheckpointError, match="There is no checkpoint"):
            read_checkpoint(path)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds a value of type list; expected a dict"):
        read_checkpoint(tmp_path / "list.pth")


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("boxed", [True, False])
def test_load_strict_copies_everything(prefix: str, boxed: bool) -> None:
    state = random_state()
    given: dict[str, Any] = {prefix + key: value for key, value in state.items()}
    leftovers = {"latent_avg": torch.ones(2), "opts": {"a": 1}, "state_dict_ema": state, "epoch": 3}
    given = {"state_dict": given, **leftovers} if boxed else {**given, **leftovers}
    net = Net()
    load_strict(net, given, "file")
    assert same(net.state_dict(), state)


def test_a_model_without_memory_gets_the_tensors_themselves() -> None:
    state = {key: value.half() for key, value in random_state().items()}
    with torch.device("meta"):
        net = Net()
    load_strict(net, state, "file")
    assert {value.device.type for value in net.state_dict().values()} == {"cpu"}
    assert net.body.weight.dtype == torch.float32
    assert isinstance(net.body.weight, nn.Parameter)
    assert torch.equal(net.body.weight, state["body.weight"].float())


def test_half_precision_becomes_the_modules_own() -> None:
    state = {key: value.half() for key, value in random_state().items()}
    net = Net()
    load_strict(net, state, "file")
    assert net.body.weight.dtype == torch.float32
    assert torch.equal(net.body.weight, state["body.weight"].float())


def test_old_torch_and_blur_constants_may_be_missing() -> None:
    state = random_state()
    del state["norm.num_batches_tracked"], state["blur.kernel"]
    net = Net()
    load_strict(net, state, "file")
    assert torch.equal(net.blur.kernel, torch.full((2, 2), 0.25))
    assert net.norm.num_batches_tracked == 0
    assert torch.equal(net.body.weight, state["body.weight"])


def test_a_parameter_called_kernel_may_not_be_missing() -> None:
    net = nn.Sequential(nn.Linear(2, 2))
    net[0].register_parameter("kernel", nn.Parameter(torch.ones(2)))
    state = {key: value for key, value in net.state_dict().items() if key != "0.kernel"}
    with pytest.raises(WeightMismatch, match="1 missing: 0.kernel"):
        load_strict(net, state, "file")


@pytest.mark.parametrize("key", ["body.weight", "body.bias", "norm.weight", "norm.running_mean"])
def test_each_missing_key_is_an_error(key: str) -> None:
    state = random_state()
    del state[key]
    with pytest.raises(WeightMismatch, match=f"file does not fit:\n  1 missing: {key}"):
        load_strict(Net(), state, "file")


def test_difference_is_readable_and_nothing_is_loaded() -> None:
    state: dict[str, Any] = random_state(width=5)
    del state["norm.weight"]
    state.update(
        {f"extra.{index}": torch.ones(1) for index in range(50)}, **{"body.bias": torch.ones(5)}
    )
    net = Net()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(WeightMismatch) as caught:
        load_strict(net, state, "a.pth")
    assert str(caught.value).splitlines() == [
        "a.pth does not fit:",
        "  1 missing: norm.weight",
        "  50 unexpected: extra.0, extra.1, extra.2, extra.3 and 46 more",
        "  5 wrong shape: body.weight (5, 4) for (3, 4), body.bias (5,) for (3,), "
        "norm.bias (5,) for (3,), norm.running_mean (5,) for (3,) and 1 more",
    ]
    assert same(net.state_dict(), before)


@pytest.mark.parametrize("kind", [torch.int64, torch.uint8, torch.bool])
def test_whole_numbers_are_no_weights(kind: torch.dtype) -> None:
    state = Net().state_dict()
    net = Net()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state["body.weight"] = state["body.weight"].to(kind)
    with pytest.raises(WeightMismatch, match=f"1 wrong type .*: body.weight {kind}"):
        load_strict(net, state, "a.pth")
    assert same(net.state_dict(), before)


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, {"epoch": 3}, {"state_dict": [1]}])
def test_no_weights_at_all(content: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="a.pth holds no weights, only: "):
        state_dict_of(content, "a.pth")


def test_only_one_whole_prefix_is_dropped() -> None:
    one = torch.ones(1)
    assert list(state_dict_of({"module.module.a": one}, "file")) == ["module.a"]
    assert list(state_dict_of({"module.a": one, "b": one}, "file")) == ["module.a", "b"]


def sam_shapes(width: int, depth: int) -> nn.Module:
    """A module with the few keys that tell SAM sizes apart."""
    net = nn.Module()
    net.image_encoder = nn.Module()
    net.image_encoder.pos_embed = nn.Parameter(torch.zeros(1, 2, 2, width))
    net.image_encoder.blocks = nn.ModuleList(nn.LayerNorm(1) for _ in range(depth))
    return net


def test_wrong_model_type_is_recognized() -> None:
    asked, found = sam_shapes(1280, 32), sam_shapes(1024, 24)
    with pytest.raises(WeightMismatch, match="this is a SAM ViT-L, you asked for a SAM ViT-H\n"):
        load_strict(asked, found.state_dict(), "x.pth")
    with pytest.raises(WeightMismatch, match="x.pth does not fit: this is a SAM ViT-L\n"):
        load_strict(Net(), found.state_dict(), "x.pth")


def test_safetensors_are_read_beside_their_metadata(tmp_path: Path) -> None:
    state = random_state()
    save_file(state, tmp_path / "a.safetensors", metadata={"format": "pt"})
    content = read_checkpoint(tmp_path / "a.safetensors")
    assert content["format"] == "pt"
    assert same(content["state_dict"], state)
    whole = (tmp_path / "a.safetensors").read_bytes()
    for length in range(0, len(whole), 37):
        (tmp_path / "b.safetensors").write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="b.safetensors is (empty|cut off)"):
            read_checkpoint(tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    ("version", "holes"),
    [
        ("2.0.1+cpu", ["CVE-2025-32434", "CVE-2026-24747"]),
        ("2.8.0", ["CVE-2026-24747"]),
        ("2.10.0", []),
        ("2.14.1+cu130", []),
        ("3.0.0", []),
    ],
)
def test_known_holes_of_torch_are_told_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    version: str,
    holes: list[str],
) -> None:
    load._warn_of_known_holes.cache_clear()
    monkeypatch.setattr(torch, "__version__", version)
    torch.save(random_state(), tmp_path / "a.pth")
    save_file(random_state(), tmp_path / "a.safetensors")
    read_checkpoint(tmp_path / "a.safetensors")
    assert not caplog.records
    for _ in range(3):
        read_checkpoint(tmp_path / "a.pth")
    assert len(caplog.records) == bool(holes)
    assert all(hole in caplog.text for hole in holes)
    load._warn_of_known_holes.cache_clear()


def test_an_archive_with_a_damaged_directory_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(random_state(), path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"PK\1\2", b"PK\1\3"))
    with pytest.raises(CheckpointError, match="a.pth is a damaged archive"):
        read_checkpoint(path)

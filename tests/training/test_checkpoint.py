from __future__ import annotations

from pathlib import Path

import pytest
import torch

from s3pot.adapter import PromptAdapter
from s3pot.config import Config, config_to_dict, load_config
from s3pot.training.checkpoint import load_training, restore_adapter, save_checkpoint
from s3pot.types import S3potError


@pytest.fixture
def adapter() -> PromptAdapter:
    torch.manual_seed(0)
    return PromptAdapter(32)


def equal(one: dict, two: dict) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def restored(path: Path) -> dict:
    adapter = PromptAdapter(32)
    restore_adapter(adapter, path, "")
    return dict(adapter.state_dict())


def test_ours(adapter: PromptAdapter, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a" / "x.pth", adapter, epoch=3)
    assert equal(restored(tmp_path / "a" / "x.pth"), dict(adapter.state_dict()))
    content = torch.load(tmp_path / "a" / "x.pth", weights_only=True)
    assert (content["format"], content["kind"], content["epoch"]) == (1, "s3pot-adapter", 3)
    assert content["version"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.pth"]


def test_the_authors(adapter: PromptAdapter, tmp_path: Path) -> None:
    used = "module.transformer_decoder.transformer_self_attention_layers_0.0."
    state = {used + key: value for key, value in adapter.state_dict().items()}
    state["module.transformer_decoder.transformer_cross_attention_layers.0.norm.bias"] = torch.ones(
        3
    )
    torch.save(state, tmp_path / "x.pth")
    assert equal(restored(tmp_path / "x.pth"), dict(adapter.state_dict()))


def test_the_bundled(mini_dir: Path) -> None:
    state = restored(mini_dir / "adapter.pth")
    stored = torch.load(mini_dir / "adapter.pth", weights_only=True)["state_dict"]
    assert equal(state, {key: value.float() for key, value in stored.items()})


def test_what_is_no_adapter_is_refused(
    adapter: PromptAdapter, tmp_path: Path, mini_dir: Path
) -> None:
    before = {key: value.clone() for key, value in adapter.state_dict().items()}
    (tmp_path / "junk.pth").write_bytes(b"<html>")
    save_checkpoint(tmp_path / "wide.pth", PromptAdapter(64))
    torch.save({"config": 1}, tmp_path / "empty.pth")
    for path in (*tmp_path.iterdir(), mini_dir / "sam.pth", tmp_path / "none.pth"):
        with pytest.raises(S3potError, match=path.name):
            restore_adapter(adapter, path, "")
    assert equal(before, dict(adapter.state_dict()))


def test_a_pickle_that_wants_code_is_refused(adapter: PromptAdapter, tmp_path: Path) -> None:
    torch.save({"kind": "s3pot-adapter", "adapter": Path("x")}, tmp_path / "x.pth")
    with pytest.raises(S3potError, match="no code"):
        restore_adapter(adapter, tmp_path / "x.pth", "")


def test_another_sam_is_a_warning(adapter: PromptAdapter, tmp_path: Path, caplog) -> None:
    save_checkpoint(tmp_path / "x.pth", adapter, sam_sha256="a" * 64)
    restore_adapter(adapter, tmp_path / "x.pth", "a" * 64)
    assert not caplog.records
    restore_adapter(adapter, tmp_path / "x.pth", "b" * 64)
    assert "another SAM" in caplog.text


def test_a_cut_off_write_keeps_the_old_file(
    adapter: PromptAdapter, tmp_path: Path, monkeypatch
) -> None:
    path = tmp_path / "x.pth"
    save_checkpoint(path, adapter, epoch=1)
    before = path.read_bytes()

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, adapter, epoch=2)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_going_on_needs_the_same_settings(adapter: PromptAdapter, tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    save_checkpoint(path, adapter, optimizer={}, config=config_to_dict(Config()), sam_sha256="x")
    assert load_training(path, Config(), "x")["config"]["train"]["epochs"] == 50
    free = load_config(None, ["sam.batch=1", "train.keep=2", "cache.mode=off"])
    load_training(path, free, "x")
    for option in (
        "train.epochs=51",
        "train.batch_size=4",
        "loss.sharpness=9",
        "prompt.features=encoder",
    ):
        with pytest.raises(S3potError, match=option.split("=")[0]):
            load_training(path, load_config(None, [option]), "x")
    with pytest.raises(S3potError, match="sam_sha256"):
        load_training(path, Config(), "y")


def test_going_on_from_something_else(adapter: PromptAdapter, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "x.pth", adapter, config=config_to_dict(Config()))
    with pytest.raises(S3potError, match="no training state"):
        load_training(tmp_path / "x.pth", Config(), "")

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from s3pot.adapter import PromptAdapter
from s3pot.config import Config, config_to_dict, load_config
from s3pot.training import checkpoint
from s3pot.training.checkpoint import (
    TrainingState,
    decisive_settings,
    load_training_state,
    restore_adapter,
    save_training_state,
)
from s3pot.training.faces import FaceHashes
from s3pot.training.history import EpochRecord, MeanLosses
from s3pot.types import S3potError


@pytest.fixture
def adapter() -> PromptAdapter:
    torch.manual_seed(0)
    return PromptAdapter(32)


def save_checkpoint(path: Path, adapter: PromptAdapter, epoch: int = 1, sam: str = "") -> None:
    checkpoint.save_checkpoint(
        path, adapter, epoch=epoch, config=config_to_dict(Config()), sam_sha256=sam
    )


def equal(one: dict, two: dict) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def restored(path: Path) -> dict:
    adapter = PromptAdapter(32)
    restore_adapter(adapter, path, Config(), "")
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
    state = restored(mini_dir / "adapter.safetensors")
    stored = load_file(mini_dir / "adapter.safetensors")
    assert equal(state, {key: value.float() for key, value in stored.items()})


def test_safetensors_of_any_of_the_three_kinds(adapter: PromptAdapter, tmp_path: Path) -> None:
    weights = dict(adapter.state_dict())
    authors = "module.transformer_decoder.transformer_self_attention_layers_0.0."
    prefixed = {authors + key: value for key, value in weights.items()}
    save_file(weights, tmp_path / "plain.safetensors")
    save_file(prefixed, tmp_path / "authors.safetensors")
    note = {"s3pot": json.dumps({"format": 1, "model": "mini-adapter", "size": {"width": 32}})}
    save_file(weights, tmp_path / "ours.safetensors", metadata=note)
    for name in ("plain", "authors", "ours"):
        assert equal(restored(tmp_path / f"{name}.safetensors"), weights), name
    weights["norm.bias"] = torch.full((32,), torch.nan)
    save_file(weights, tmp_path / "nan.safetensors")
    with pytest.raises(
        S3potError, match="nan.safetensors holds values that are not finite numbers"
    ):
        restored(tmp_path / "nan.safetensors")


def test_metadata_that_claim_to_be_ours(adapter: PromptAdapter, tmp_path: Path) -> None:
    weights = dict(adapter.state_dict())
    save_file(weights, tmp_path / "x.safetensors", metadata={"kind": "s3pot-adapter"})
    assert equal(restored(tmp_path / "x.safetensors"), weights)


def test_what_is_no_adapter_is_refused(
    adapter: PromptAdapter, tmp_path: Path, mini_dir: Path
) -> None:
    before = {key: value.clone() for key, value in adapter.state_dict().items()}
    (tmp_path / "junk.pth").write_bytes(b"<html>")
    save_checkpoint(tmp_path / "wide.pth", PromptAdapter(64))
    torch.save({"config": 1}, tmp_path / "empty.pth")
    for path in (*tmp_path.iterdir(), mini_dir / "sam.safetensors", tmp_path / "none.pth"):
        with pytest.raises(S3potError, match=path.name):
            restore_adapter(adapter, path, Config(), "")
    assert equal(before, dict(adapter.state_dict()))


def test_a_pickle_that_wants_code_is_refused(adapter: PromptAdapter, tmp_path: Path) -> None:
    torch.save({"kind": "s3pot-adapter", "adapter": Path("x")}, tmp_path / "x.pth")
    with pytest.raises(S3potError, match="not contain code"):
        restore_adapter(adapter, tmp_path / "x.pth", Config(), "")


def test_another_sam_is_a_warning(
    adapter: PromptAdapter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_checkpoint(tmp_path / "x.pth", adapter, sam="a" * 64)
    restore_adapter(adapter, tmp_path / "x.pth", Config(), "a" * 64)
    assert not caplog.records
    restore_adapter(adapter, tmp_path / "x.pth", Config(), "b" * 64)
    assert "another SAM" in caplog.text


@pytest.mark.parametrize(
    "option",
    [
        "sam.normalize=false",
        "prompt.initial_anchor=corner",
        "prompt.initial_pick=product",
        "prompt.features=encoder",
        "prompt.selection=contrast",
    ],
)
def test_other_inputs_are_a_warning(
    adapter: PromptAdapter, tmp_path: Path, caplog: pytest.LogCaptureFixture, option: str
) -> None:
    path = tmp_path / "x.pth"
    save_checkpoint(path, adapter)
    free = ["sam.batch=1", "train.lr=1", "loss.sharpness=9", "mask.min_piece=0.1"]
    restore_adapter(adapter, path, load_config(None, free), "")
    assert not caplog.records
    restore_adapter(adapter, path, load_config(None, [option]), "")
    key, _, value = option.partition("=")
    (record,) = caplog.records
    assert f"x.pth was trained with other inputs ({key} was " in record.getMessage()
    assert f"is now {value}".lower() in record.getMessage().lower()


@pytest.mark.parametrize("config", [7, {"prompt": 7}, {"prompt": {"features": torch.ones(2)}}])
def test_a_strange_config_in_a_checkpoint_does_no_harm(
    adapter: PromptAdapter, tmp_path: Path, config: Any
) -> None:
    save_checkpoint(tmp_path / "x.pth", adapter)
    content = torch.load(tmp_path / "x.pth", weights_only=True)
    torch.save({**content, "config": config}, tmp_path / "x.pth")
    restore_adapter(adapter, tmp_path / "x.pth", Config(), "")


def test_a_cut_off_write_keeps_the_old_file(
    adapter: PromptAdapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


def trained(adapter: PromptAdapter) -> TrainingState:
    """A state after two epochs of one step each."""
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for _ in range(2):
        adapter(torch.randn(1, 3, 32))[0].sum().backward()
        optimizer.step()
        schedule.step()
    losses = MeanLosses(face=-0.5, occlusion=0.25, hinge=0.125, total=-0.1875)
    better = MeanLosses(face=-0.75, occlusion=0.25, hinge=0.125, total=-0.4375)
    return TrainingState(
        epoch=2,
        history=[EpochRecord(1, 0.1, losses, better), EpochRecord(2, 0.09, losses, losses)],
        adapter=adapter.state_dict(),
        optimizer=optimizer.state_dict(),
        scheduler=schedule.state_dict(),
        rng=torch.get_rng_state(),
        config=Config(),
        sam_sha256="x",
        faces=FaceHashes(train={"a/b": "0" * 64, "c": "1" * 64}, val={"d": "0" * 64}),
    )


def test_a_training_state_is_read_as_it_was_written(adapter: PromptAdapter, tmp_path: Path) -> None:
    state = trained(adapter)
    paths = [tmp_path / "model_epoch_2.pth", tmp_path / "last.pth"]
    save_training_state(paths, state)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    read = load_training_state(paths[1], Config(), "x")
    assert (read.epoch, read.history, read.config) == (state.epoch, state.history, state.config)
    assert read.faces == state.faces
    assert equal(read.adapter, state.adapter)
    assert torch.equal(read.rng, state.rng)
    assert read.scheduler == state.scheduler
    assert read.optimizer["param_groups"] == state.optimizer["param_groups"]
    for index, slots in state.optimizer["state"].items():
        assert equal(read.optimizer["state"][index], slots)
    assert read.best_loss == -0.4375


def test_a_state_that_was_read_is_written_with_the_same_bytes(
    adapter: PromptAdapter, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.pth", tmp_path / "second.pth"
    save_training_state([first], trained(adapter))
    save_training_state([second], load_training_state(first, Config(), "x"))
    assert first.read_bytes() == second.read_bytes()


def test_going_on_needs_the_same_settings(adapter: PromptAdapter, tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    save_training_state([path], trained(adapter))
    free = load_config(
        None,
        [
            "sam.batch=1",
            "train.keep=2",
            "cache.mode=off",
            "mask.sliver_width=0.05",
            "mask.min_piece=0.01",
            "mask.min_share=0.01",
            "run.device=cpu",
        ],
    )
    assert load_training_state(path, free, "x").epoch == 2
    for option in (
        "train.epochs=51",
        "train.batch_size=4",
        "loss.sharpness=9",
        "prompt.features=encoder",
        "mask.align_corners=false",
        "run.speed=fast",
    ):
        with pytest.raises(S3potError, match=option.split("=")[0]):
            load_training_state(path, load_config(None, [option]), "x")
    with pytest.raises(S3potError, match="sam_sha256"):
        load_training_state(path, Config(), "y")


def test_every_setting_of_training_either_decides_the_weights_or_does_not() -> None:
    """A new setting must be sorted into one of the two lists."""
    free = {
        "sam.batch",
        "mask.sliver_width",
        "mask.min_piece",
        "mask.min_share",
        "train.val_faces",
        "train.save_every",
        "train.keep",
        "train.tensorboard",
        "run.device",
        "run.deterministic",
        "run.max_megapixels",
    }
    values = config_to_dict(Config())
    sections = ("sam", "prompt", "mask", "loss", "train", "run")
    settings = {f"{section}.{key}" for section in sections for key in values[section]}
    assert settings == free | set(decisive_settings(Config()))


def test_a_setting_that_is_new_since_then_had_its_default(
    adapter: PromptAdapter, tmp_path: Path
) -> None:
    path = tmp_path / "last.pth"
    save_training_state([path], trained(adapter))
    content = torch.load(path, weights_only=True)
    del content["config"]["loss"]["hinge_margin"]
    content["config"]["run"]["of_an_older_version"] = True  # decides nothing
    torch.save(content, path)
    assert load_training_state(path, Config(), "x").config == Config()
    with pytest.raises(S3potError, match="loss.hinge_margin was 0.5, now 0.4"):
        load_training_state(path, load_config(None, ["loss.hinge_margin=0.4"]), "x")


@pytest.mark.parametrize(
    "faces", [7, {}, {"train": {}}, {"train": {"a": "0"}, "val": 7}, {"train": {"a": 0}, "val": {}}]
)
def test_a_damaged_list_of_faces_is_a_damaged_state(
    adapter: PromptAdapter, tmp_path: Path, faces: Any
) -> None:
    path = tmp_path / "last.pth"
    save_training_state([path], trained(adapter))
    content = torch.load(path, weights_only=True)
    torch.save({**content, "faces": faces}, path)
    with pytest.raises(S3potError, match="damaged training state"):
        load_training_state(path, Config(), "x")


def test_a_state_of_an_earlier_version_lists_no_faces(
    adapter: PromptAdapter, tmp_path: Path
) -> None:
    path = tmp_path / "last.pth"
    save_training_state([path], trained(adapter))
    content = torch.load(path, weights_only=True)
    del content["faces"]
    torch.save(content, path)
    assert load_training_state(path, Config(), "x").faces is None


def test_going_on_from_something_else(adapter: PromptAdapter, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "x.pth", adapter)
    with pytest.raises(S3potError, match="no training state"):
        load_training_state(tmp_path / "x.pth", Config(), "")


@pytest.mark.parametrize("value", [{"a": 1}, "x", None, [1.0]])
def test_weights_that_are_no_tensors_are_a_damaged_state(
    adapter: PromptAdapter, tmp_path: Path, value: Any
) -> None:
    path = tmp_path / "last.pth"
    save_training_state([path], trained(adapter))
    content = torch.load(path, weights_only=True)
    content["adapter"]["norm.bias"] = value
    torch.save(content, path)
    with pytest.raises(S3potError, match="damaged training state .*not tensors"):
        load_training_state(path, Config(), "x")


@pytest.mark.parametrize("tensor", [torch.zeros(3), torch.zeros(())])
@pytest.mark.parametrize("key", ["epoch", "history", "row", "loss", "rng", "faces", "optimizer"])
def test_tensors_in_the_place_of_plain_values_are_a_damaged_state(
    adapter: PromptAdapter, tmp_path: Path, key: str, tensor: torch.Tensor
) -> None:
    path = tmp_path / "last.pth"
    save_training_state([path], trained(adapter))
    content = torch.load(path, weights_only=True)
    if key == "row":
        content["history"][0] = tensor
    elif key == "loss":
        content["config"]["loss"] = tensor
    else:
        content[key] = tensor
    torch.save(content, path)
    with pytest.raises(S3potError, match="damaged training state"):
        load_training_state(path, Config(), "x")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(
    adapter: PromptAdapter, tmp_path: Path, value: float
) -> None:
    other = PromptAdapter(32)
    with torch.no_grad():
        other.self_attn.out_proj.weight[3, 5] = value
    torch.save(dict(other.state_dict()), tmp_path / "plain.pth")
    save_checkpoint(tmp_path / "ours.pth", other)
    before = {key: weight.clone() for key, weight in adapter.state_dict().items()}
    for name in ("plain.pth", "ours.pth"):
        with pytest.raises(S3potError, match=f"{name} holds values that are not finite numbers"):
            restore_adapter(adapter, tmp_path / name, Config(), "")
    assert equal(dict(adapter.state_dict()), before)

"""Types, merging and checks of configurations."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from s3pot import config as config_module
from s3pot.config import (
    Config,
    ConfigError,
    TrainConfig,
    config_from_dict,
    config_to_dict,
    load_config,
    save_config,
)

FIELDS = [
    (f"{section.name}.{entry.name}", entry)
    for section in dataclasses.fields(Config)
    for entry in dataclasses.fields(section.default_factory())  # type: ignore[misc]
]


def value_of(config: Config, key: str) -> Any:
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


def write(folder: Path, text: str) -> Path:
    path = folder / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.lr=1e-4", 1e-4),
        ("train.lr=2", 2.0),
        ("train.epochs=7", 7),
        ("train.epochs=1e2", 100),
        ("train.seed=9007199254740993", 9007199254740993),
        ("train.tensorboard=true", True),
        ("run.deterministic=no", False),
        ("cache.mode=off", "off"),
        ("run.device=cuda:1", "cuda:1"),
        ("model.weights_dir=2026", "2026"),
        ("model.weights_dir=a=b", "a=b"),
        ("model.weights_dir=~/my weights", "~/my weights"),
        ("model.weights_dir=", ""),
    ],
)
def test_values_take_the_type_of_their_field(override: str, expected: object) -> None:
    value = value_of(load_config(overrides=[override]), override.partition("=")[0])
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "kind"),
    [
        ("train.lr=fast", "a finite number"),
        ("train.lr=.nan", "a finite number"),
        ("train.lr=.inf", "a finite number"),
        ("train.lr=nan", "a finite number"),
        ("train.lr=true", "a finite number"),
        ("train.lr=", "a finite number"),
        ("train.epochs=", "a whole number"),
        ("train.lr=[1, 2]", "a finite number"),
        (f"train.lr=1{'0' * 400}", "a finite number"),
        ("train.epochs=2.5", "a whole number"),
        ("train.epochs=true", "a whole number"),
        ("train.epochs={a: 1}", "a whole number"),
        ("train.tensorboard=1", "true or false"),
        ("train.tensorboard='true'", "true or false"),
        ("train.lr={", "a finite number"),
        ("train.lr=2024-13-45", "a finite number"),
        (f"train.lr={'[' * 1500}", "a finite number"),
    ],
)
def test_values_of_another_type_are_refused_by_name(override: str, kind: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(ConfigError, match=f"^{key} is .*expected {kind}$"):
        load_config(overrides=[override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", "unknown config key train.epoch; did you mean train.epochs?"),
        ("trian.epochs=3", "unknown config key trian; did you mean train?"),
        ("sam.zebra=3", "unknown config key sam.zebra; known: normalize, batch"),
        ("align_mode=auto", "=, e.g. train.lr=1e-4. Did you mean align.mode?"),
        ("sam=mini", ". Did you mean model.sam, sam.normalize or sam.batch?"),
        ("zebra=3", "'zebra=3' is not an override; write section.key=value without spaces"),
        ("epochs=3", "write section.key=value"),
        ("train.epochs", "write section.key=value without spaces around the ="),
        ("train.=3", "write section.key=value"),
    ],
)
def test_overrides_that_name_no_key_say_what_to_write(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=[override])
    assert message in str(caught.value)


@pytest.mark.parametrize("key,entry", [f for f in FIELDS if "allowed" in f[1].metadata])
def test_choices_take_their_words_only(key: str, entry: dataclasses.Field) -> None:
    words = entry.metadata["allowed"]
    assert entry.default == words[0]
    with pytest.raises(ConfigError, match=f"^{key} is 'zebra'; it must be one of {words[0]}, "):
        load_config(overrides=[f"{key}=zebra"])


@pytest.mark.parametrize("key,entry", [f for f in FIELDS if "low" in f[1].metadata])
def test_numbers_keep_their_bounds(key: str, entry: dataclasses.Field) -> None:
    low, high = entry.metadata["low"], entry.metadata["high"]
    lowest = 1e-9 if entry.metadata.get("excludes_low") else low
    assert value_of(load_config(overrides=[f"{key}={lowest}"]), key) == lowest
    for outside in (low if lowest > low else low - 1, high + 1 if high < float("inf") else low - 2):
        with pytest.raises(ConfigError, match=f"^{key} is .*it must be "):
            load_config(overrides=[f"{key}={outside}"])


def test_an_empty_value_is_called_empty() -> None:
    with pytest.raises(ConfigError, match="^train.epochs is empty; expected a whole number$"):
        load_config(overrides=["train.epochs="])


def test_settings_with_which_nothing_is_learned_are_refused() -> None:
    for nothing in ("train.lr=0", "loss.sharpness=0"):
        with pytest.raises(ConfigError, match=f"{nothing[:-2]} is 0.0; it must be greater than 0"):
            load_config(overrides=[nothing])
    weights = [f"loss.{term}_weight=0" for term in ("face", "occlusion", "hinge")]
    assert load_config(overrides=weights[:2]).loss.hinge_weight > 0
    with pytest.raises(ConfigError, match="hinge_weight are all 0, so that an adapter would learn"):
        load_config(overrides=weights)


def test_bounds_hold_without_yaml_too() -> None:
    with pytest.raises(ConfigError, match="train.epochs is 0; it must be at least 1"):
        Config(train=TrainConfig(epochs=0))


def test_every_number_has_bounds() -> None:
    assert [k for k, e in FIELDS if e.type in ("int", "float") and "low" not in e.metadata] == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.set=mini"], "configs/mini.yaml"),
        (["model.sam=mini"], "configs/mini.yaml"),
        (["model.sam=mini_generic"], "configs/mini.yaml"),
        (["model.set=mini", "model.sam=mini", "model.parser=segnext"], "model.parser=bisenet"),
    ],
)
def test_models_must_fit_together(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=overrides)


def test_overrides_win_over_the_file_and_the_last_one_over_the_others(tmp_path: Path) -> None:
    path = write(tmp_path, "train:\n  lr: 1e-3\n  epochs: 5\nsam:\n")
    config = load_config(path, ["train.epochs=6", "train.epochs=7", "sam.batch=2"])
    assert (config.train.lr, config.train.epochs, config.sam.batch) == (1e-3, 7, 2)
    assert config.train.batch_size == Config().train.batch_size


@pytest.mark.parametrize("text", ["", "train:\n", "# nothing\n"])
def test_what_is_empty_is_the_defaults(tmp_path: Path, text: str) -> None:
    assert load_config(write(tmp_path, text)) == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "holds a value of type list; expected sections"),
        ("42\n", "holds a value of type int; expected sections"),
        ("train: 3\n", "train is 3; expected keys and values"),
        ("train: false\n", "train is False; expected keys and values"),
        ("train: {lr: [\n", "is not a YAML file"),
        ("1: {a: 2}\n", "unknown config key 1; known: model"),
    ],
)
def test_files_of_another_shape_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    for overrides in ([], ["train.epochs=3"]):
        with pytest.raises(ConfigError) as caught:
            load_config(path, overrides)
        assert message in str(caught.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a folder. Give the path of a YAML file"):
        load_config(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ConfigError, match="is not a YAML file"):
        load_config(tmp_path / "bytes.yaml")


@pytest.mark.parametrize(
    ("written", "value"), [("", ""), ("null", ""), ("~", ""), ("'null'", "null"), ("Null", "")]
)
def test_null_in_a_file_is_not_set(tmp_path: Path, written: str, value: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"truth: {{labels: {written}}}\nmodel:\n  weights_dir: {written}\n")
    config = load_config(path)
    assert (config.truth.labels, config.model.weights_dir) == (value, value)


def test_null_on_the_command_line_is_a_word() -> None:
    assert load_config(overrides=["model.weights_dir=null"]).model.weights_dir == "null"


@pytest.mark.parametrize("name", ["none.yaml", "none", "configs/none.yaml", "/none/mini.yaml"])
def test_a_missing_config_is_called_missing(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(name)
    assert f"The config {name} does not exist." in str(caught.value)
    assert "authors_code, mini, paper" in str(caught.value)
    with pytest.raises(ConfigError, match="The config '' does not exist"):
        load_config("")


@pytest.mark.parametrize("name", ["mini", "mini.yaml", "configs/mini.yaml", Path("configs/mini")])
def test_a_packaged_config_is_found_by_its_name_from_anywhere(
    name: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(name).model.set == "mini"


@pytest.mark.parametrize("name", ["mini", "mini.yaml"])
def test_a_path_wins_over_a_name_when_it_exists(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("train:\n  epochs: 7\n", encoding="utf-8")
    assert load_config(name).train.epochs == 7
    assert load_config(name).model.set == "official"


def test_a_folder_does_not_take_the_place_of_a_packaged_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a folder of results, ``--output_dir mini``."""
    monkeypatch.chdir(tmp_path)
    for name in ("mini", "configs", "own"):
        (tmp_path / name).mkdir()
    assert load_config("mini") == load_config("mini.yaml") == load_config("configs/mini")
    with pytest.raises(ConfigError, match="The config own is a folder"):
        load_config("own")


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="this system has no /dev/fd")
def test_the_pipe_of_a_shell_is_read_like_a_file() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"train: {epochs: 7}\n")
    os.close(writer)
    assert load_config(f"/dev/fd/{reader}").train.epochs == 7
    os.close(reader)


def test_an_installed_package_has_its_configs_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.yaml").write_text("train:\n  epochs: 8\n", encoding="utf-8")
    monkeypatch.setattr(config_module, "CONFIG_FOLDERS", (tmp_path, tmp_path / "absent"))
    assert load_config("own").train.epochs == 8


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    config = load_config(
        overrides=["train.lr=3e-7", "run.speed=fast", "model.weights_dir=off", "cache.max_gb=0"]
    )
    save_config(config, tmp_path / "a" / "b", "inference")
    folder = tmp_path / "a" / "b"
    assert [p.name for p in folder.iterdir()] == ["config.yaml"]
    assert load_config(folder / "config.yaml") == config
    assert config_from_dict(config_to_dict(config)) == config
    assert yaml.safe_load(yaml.safe_dump(config_to_dict(config))) == config_to_dict(config)


def test_nobody_changes_a_config() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().train.lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("name", ["mini", "paper", "authors_code"])
def test_a_packaged_config_has_a_name(name: str) -> None:
    folder = Path(__file__).resolve().parents[1] / "configs"
    assert load_config(name) == load_config(folder / f"{name}.yaml")


@pytest.mark.parametrize("value", ["!!timestamp x", "!!int 0x", "!!float x", "!!binary '!'"])
def test_a_tag_that_its_text_does_not_fit_is_named(tmp_path: Path, value: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(f"train: {{epochs: {value}}}", encoding="utf-8")
    with pytest.raises(ConfigError, match="odd.yaml"):
        load_config(path)


@pytest.mark.parametrize("override", ["train.epochs=0", "train.epoch=3", "trian.epochs=3"])
def test_an_error_of_an_override_does_not_name_the_file(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("mini", [override])
    assert "mini.yaml" not in str(caught.value)


def test_an_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text("train: {epoch: 3}", encoding="utf-8")
    with pytest.raises(ConfigError, match="epoch.*odd.yaml"):
        load_config(path)


@pytest.mark.parametrize("name", ["/", ".", "..", "", "configs"])
def test_a_folder_or_nothing_is_no_config(name: str) -> None:
    with pytest.raises(ConfigError, match="Give the path of a YAML file"):
        load_config(name)

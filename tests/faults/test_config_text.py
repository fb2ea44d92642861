"""Text values of the config are exactly what was typed, on the command line and in files.

Reported at hydra #1163, #2705.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from s3pot.config import ConfigError, load_config, save_config
from s3pot.typed_yaml import build_dataclass, read_config_tree

TYPED = [
    "/data/w #1/x",
    "2024_01",
    "0755",
    "0x1F",
    "1e5",
    "1_000.5",
    "12:30:45",
    "2024-01-31",
    "2024-13-45",
    "/data/a: b",
    "~",
    "~/w",
    "[old] w",
    "[",
    "{a: 1}",
    "{",
    "C:\\new\\w",
    "on",
    "yes",
    "No",
    "true",
    "null",
    "'q",
    "'quoted'",
    '"quoted"',
    "@share/w",
    "%APP%/w",
    "&anchor",
    "*alias",
    "!tag",
    "- a",
    "a=b",
    " spaces ",
    "",
    "日本",
]


@pytest.mark.parametrize("text", TYPED)
def test_on_the_command_line(text: str, tmp_path: Path) -> None:
    config = load_config(None, [f"model.weights_dir={text}"])
    assert config.model.weights_dir == text
    save_config(config, tmp_path, "inference")
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    "text", ["2024_01", "0755", "0x1F", "1e5", "12:30:45", "2024-01-31", "2024-13-45", "on", "no"]
)
def test_in_a_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"model:\n  weights_dir: {text}\ntrain:\n  epochs: 0x10\n", encoding="utf-8")
    config = load_config(path)
    assert (config.model.weights_dir, config.train.epochs) == (text, 16)
    path.write_text(f"model:\n  weights_dir: {yaml.safe_dump(text)}", encoding="utf-8")
    assert load_config(path).model.weights_dir == text


def test_other_values_are_still_yaml(tmp_path: Path) -> None:
    config = load_config(
        None,
        ["train.epochs=1_0", "train.lr=1e-3", "run.deterministic=on", "cache.mode=off"],
    )
    assert (config.train.epochs, config.train.lr, config.run.deterministic) == (10, 1e-3, True)
    assert config.cache.mode == "off"
    path = tmp_path / "a.yaml"
    path.write_text("cache: {mode: off}\nrun:\n  deterministic: yes\n")
    assert load_config(path).cache.mode == "off"
    assert load_config(path).run.deterministic is True


def test_anchors_and_merges_work_in_files(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("train: &all {epochs: 3}\nper_image:\n  <<: *all\n  patience: 2\n")
    config = load_config(path)
    assert (config.train.epochs, config.per_image.epochs, config.per_image.patience) == (3, 3, 2)


def test_messages_show_values_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("train:\n  lr: [1, fast]\n")
    with pytest.raises(ConfigError, match=r"train.lr is \[1, 'fast'\]; expected a finite number"):
        load_config(path)
    path.write_text("- a\n")
    with pytest.raises(ConfigError, match="holds a value of type list"):
        read_config_tree(path)
    with pytest.raises(ConfigError, match="expected keys and values"):
        build_dataclass(type(load_config()), 3, "")


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("train:\n  epochs: 3\ntrain:\n  lr: 0.1\n", "train", 3),
        ("train: {epochs: 3, lr: 0.1, epochs: 5}\n", "epochs", 1),
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, text: str, key: str, line: int) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"holds '{key}' twice, the second time in line {line}"):
        load_config(path)

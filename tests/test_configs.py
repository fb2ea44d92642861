"""Every file in configs/ loads and has the documented content."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from readme_commands import parse_command

from s3pot.config import Config, load_config

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
EVERYTHING = sorted((ROOT / "configs").rglob("*.yaml"))


def changed_keys(config: Config) -> dict[str, Any]:
    default = dataclasses.asdict(Config())
    return {
        f"{section}.{key}": value
        for section, values in dataclasses.asdict(config).items()
        for key, value in values.items()
        if value != default[section][key]
    }


def test_the_configs_are_all_there() -> None:
    assert {"paper.yaml", "mini.yaml", "authors_code.yaml"} <= {path.name for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_config_loads(path: Path) -> None:
    assert isinstance(load_config(path), Config)


def test_paper_is_the_defaults_spelled_out() -> None:
    path = ROOT / "configs" / "paper.yaml"
    assert load_config(path) == Config()
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    default = dataclasses.asdict(Config())
    assert {s: list(v) for s, v in written.items()} == {s: list(v) for s, v in default.items()}


@pytest.mark.parametrize("name", ["mini", "authors_code"])
def test_other_configs_hold_differences_only(name: str) -> None:
    path = ROOT / "configs" / f"{name}.yaml"
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    written = {f"{s}.{key}" for s, values in tree.items() for key in values}
    assert written == set(changed_keys(load_config(path)))


def test_authors_code_turns_every_switch_of_the_release() -> None:
    changed = changed_keys(load_config(ROOT / "configs" / "authors_code.yaml"))
    assert changed == {
        "align.borders": "black",
        "reference.noise": "random",
        "sam.normalize": False,
        "prompt.initial_anchor": "corner",
        "prompt.initial_pick": "product",
    }


@pytest.mark.parametrize("path", EVERYTHING, ids=lambda path: path.name)
def test_first_line_is_the_command(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# python ")
    assert path.relative_to(ROOT).as_posix() in first
    parse_command(shlex.split(first[2:]))

"""Any content of a config is converted to its type or refused with a ConfigError."""

from __future__ import annotations

import dataclasses
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from s3pot.config import Config, ConfigError, config_from_dict, config_to_dict, load_config

KEYS = [
    f"{section.name}.{field.name}"
    for section in dataclasses.fields(Config)
    for field in dataclasses.fields(getattr(Config(), section.name))
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["1e-4", "off", "2024_01", "0x10", "1:30", ".nan", "!!int x", "*a", "&a"]),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)


def is_sound(config: Config) -> bool:
    """Every value has its field's type."""
    for section in dataclasses.fields(config):
        values = getattr(config, section.name)
        for field in dataclasses.fields(values):
            default = getattr(getattr(Config(), section.name), field.name)
            if type(getattr(values, field.name)) is not type(default):
                return False
    return True


@pytest.mark.slow
@given(tree=TREES)
def test_any_tree(tree: Any) -> None:
    try:
        config = config_from_dict(tree)
    except ConfigError:
        return
    assert is_sound(config)


@pytest.mark.slow
@given(key=st.sampled_from(KEYS), value=TREES)
def test_any_value_of_a_known_key(key: str, value: Any) -> None:
    section, name = key.split(".")
    try:
        config = config_from_dict({section: {name: value}})
    except ConfigError:
        return
    assert is_sound(config)
    assert config_from_dict(config_to_dict(config)) == config


@given(key=st.sampled_from(KEYS), text=st.text(max_size=30))
def test_any_override(key: str, text: str) -> None:
    try:
        config = load_config(None, [f"{key}={text}"])
    except ConfigError:
        return
    assert is_sound(config)
    section, name = key.split(".")
    value = getattr(getattr(config, section), name)
    if isinstance(value, str):
        assert value == text


@given(text=st.text(max_size=60))
def test_any_override_at_all(text: str) -> None:
    with suppress(ConfigError):
        assert is_sound(load_config(None, [text]))


@pytest.mark.slow
@given(content=st.one_of(st.binary(max_size=200), TREES.map(lambda t: yaml.dump(t).encode())))
def test_any_file(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "odd.yaml"
        path.write_bytes(content)
        try:
            assert is_sound(load_config(path))
        except ConfigError as error:
            assert "odd.yaml" in str(error)

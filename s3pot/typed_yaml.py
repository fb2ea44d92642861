"""Typed settings from YAML: dataclasses whose errors name the key, the value and what is allowed.

The settings are declared in ``config.py`` and, for the tables, in ``runs/suite_file.py``.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from s3pot.io import BadFile, read_yaml, write_bytes
from s3pot.types import S3potError
from s3pot.wording import value_of_type

CONFIG_FILE = "config.yaml"  # of every run, in its output folder
_WRITTEN_BY = "# written by s3pot "  # followed by the command, the first line of that file
_LONGEST_LINE = 200  # bytes
# What a field of a type takes, for messages.
_EXPECTED = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
}


class ConfigError(S3potError):
    """A configuration key or value that cannot be used.

    Args:
        message: The message.
        key: The key that is to blame, with its section; empty if there is no single one.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


def choice(*allowed: str) -> Any:
    """Declare a field that takes one of the given words; the first is the default."""
    return field(default=allowed[0], metadata={"allowed": allowed})


def number(default: float, low: float, high: float = math.inf) -> Any:
    """Declare a field that takes a number from ``low`` to ``high``."""
    return field(default=default, metadata={"low": low, "high": high})


def positive_number(default: float) -> Any:
    """Declare a field that takes a number greater than 0."""
    return field(default=default, metadata={"low": 0, "high": math.inf, "excludes_low": True})


def check_bounds(name: str, value: Any, bounds: Mapping[str, Any]) -> None:
    """Check a value against the words or the range of its field's ``metadata``."""
    allowed = bounds.get("allowed")
    if allowed is not None and value not in allowed:
        words = ", ".join(allowed)
        raise ConfigError(f"{name} is {value!r}; it must be one of {words}", key=name)
    low = bounds.get("low")
    if low is None:
        return
    high = bounds.get("high", math.inf)
    if bounds.get("excludes_low") and value <= low:
        raise ConfigError(f"{name} is {value}; it must be greater than {low}", key=name)
    if not low <= value <= high:
        limit = f"at least {low}" if high == math.inf else f"from {low} to {high}"
        raise ConfigError(f"{name} is {value}; it must be {limit}", key=name)


@dataclass(frozen=True)
class Scalar:
    """A value as it was typed, and as YAML reads it."""

    text: str
    value: Any

    def __repr__(self) -> str:
        """Return the value, for messages."""
        return repr(self.value)


class _ScalarLoader(yaml.SafeLoader):
    """Keeps the text of every value: YAML alone reads ``2024_01`` as 202401, ``off`` as False."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep)
        try:
            value = super().construct_object(node, deep)
        except ValueError:  # a date that does not exist, such as 2024-13-01
            value = node.value
        # null is "not set", however it is written; the word itself has to be quoted.
        return Scalar("" if value is None else node.value, value)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        return {plain_value(key): value for key, value in mapping.items()}


def read_config_tree(path: Path) -> dict[str, Any]:
    """Read a YAML file as nested dicts and lists whose leaves are ``Scalar``.

    Raises:
        ConfigError: The file is unreadable or holds no keys and values.
    """
    try:
        tree = read_yaml(path, _ScalarLoader)
    except BadFile as error:
        raise ConfigError(f"The config cannot be used: {error}") from error
    tree = plain_value(tree)
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path} holds {value_of_type(tree)}; expected sections such as 'train:'."
        )
    return tree


def apply_override(tree: dict[str, Any], item: str) -> None:
    """Set one ``section.key=value`` in nested values."""
    key, sign, text = item.partition("=")
    section, dot, name = key.partition(".")
    if not (sign and dot and section and name):
        raise ConfigError(
            f"{item!r} is not an override; write section.key=value without spaces around the =, "
            "e.g. train.lr=1e-4"
        )
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        value = text  # text fields accept it; the others report a wrong type
    branch = plain_value(tree.get(section))
    if branch is None:
        branch = {}
    if isinstance(branch, dict):  # otherwise build_dataclass reports it
        tree[section] = {**branch, name: Scalar(text, value)}


def build_dataclass(cls: Any, tree: Any, prefix: str) -> Any:
    """Build a dataclass from nested values; an empty section stands for its defaults.

    Args:
        cls: A dataclass whose fields are dataclasses, text, numbers and switches.
        tree: Its values, plain or ``Scalar``.
        prefix: What precedes a key in messages, such as ``train.``.

    Raises:
        ConfigError: A key is unknown, or a value has the wrong type.
    """
    tree = plain_value(tree)
    if tree is None:
        tree = {}
    if not isinstance(tree, Mapping):
        where = prefix[:-1] or "the config"
        raise ConfigError(f"{where} is {tree!r}; expected keys and values.")
    types = get_type_hints(cls)
    values = {}
    for key, value in tree.items():
        if key not in types:
            hint = _suggestion(key, types, prefix)
            raise ConfigError(f"unknown config key {prefix}{key}; {hint}", key=f"{prefix}{key}")
        name = f"{prefix}{key}"
        if dataclasses.is_dataclass(types[key]):
            values[key] = build_dataclass(types[key], value, name + ".")
        else:
            values[key] = _convert(name, value, types[key])
    return cls(**values)


def _suggestion(key: Any, fields: Mapping[str, Any], prefix: str) -> str:
    close = difflib.get_close_matches(str(key), fields, n=1)
    if close:
        return f"did you mean {prefix}{close[0]}?"
    return f"known: {', '.join(fields)}"


def _convert(name: str, value: Any, wanted: type) -> Any:
    """Convert a value to its field's type; text fields take it as it was typed."""
    if wanted is str and isinstance(value, Scalar):
        return value.text
    value = plain_value(value)
    if wanted in (str, bool) and isinstance(value, wanted):
        return value
    if wanted in (int, float):
        finite = _finite_number(value)
        if finite is not None and (wanted is float or finite == int(finite)):
            return wanted(finite)
    shown = "empty" if value is None else repr(value)
    raise ConfigError(f"{name} is {shown}; expected {_EXPECTED[wanted]}", key=name)


def _finite_number(value: Any) -> float | int | None:
    """Read a finite number; YAML reads ``1e-4`` as text. Returns None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        parsed = value if isinstance(value, int) else float(value)
        return parsed if math.isfinite(parsed) else None
    except (TypeError, ValueError, OverflowError):
        return None


def plain_value(value: Any) -> Any:
    """Return a value as YAML reads it."""
    return value.value if isinstance(value, Scalar) else value


def write_settings(folder: Path, tree: Mapping[str, Any], command: str) -> None:
    """Write ``<folder>/config.yaml`` atomically; the folder is created if it is missing.

    Args:
        folder: Output folder of a run.
        tree: Its settings, nested plain values.
        command: Its name, which becomes the first line; see ``command_of``.
    """
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    write_bytes(folder / CONFIG_FILE, f"{_WRITTEN_BY}{command}\n{text}".encode())


def command_of(folder: Path) -> str | None:
    """Read which command wrote a folder; None without a config that says it."""
    try:
        with (folder / CONFIG_FILE).open("rb") as stream:
            first_line = stream.readline(_LONGEST_LINE).decode("utf-8", errors="replace")
    except OSError:
        return None
    is_named = first_line.startswith(_WRITTEN_BY)
    return first_line[len(_WRITTEN_BY) :].strip() if is_named else None

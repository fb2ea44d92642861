"""Typed configuration: defaults here < one YAML file < ``key.sub=value`` on the command line.

The defaults are the paper's (``configs/paper.yaml`` spells them out). Nobody changes a config
after it is loaded; it is written to ``<output>/config.yaml`` and into every checkpoint.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from s3pot.types import S3potError


class ConfigError(S3potError):
    """A configuration key or value that cannot be used."""


def _choice(*allowed: str) -> Any:
    """One of some words; the first is the default."""
    return field(default=allowed[0], metadata={"allowed": allowed})


def _number(default: float, low: float, high: float = math.inf) -> Any:
    """A number from ``low`` to ``high``."""
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True)
class ModelConfig:
    """Which networks are used."""

    set: str = _choice("official", "mini")  # published checkpoints, or the bundled small ones
    sam: str = _choice("vit_h", "vit_l", "vit_b", "mini")  # mini with the mini set
    parser: str = _choice("bisenet", "segnext")
    weights_dir: str = ""  # empty: $S3POT_WEIGHTS_DIR, then ./weights; mini: the bundled files


@dataclass(frozen=True)
class AlignConfig:
    """From the photo to the working image."""

    mode: str = _choice("auto", "always", "never")  # auto: unless the picture looks aligned
    size: int = _number(1024, low=16)  # side of the aligned crop, pixels
    borders: str = _choice("reflect", "black")  # as FFHQ does; as the authors' crop does
    min_score: float = _number(0.6, low=0, high=1)  # faces the detector is less sure of are no use


@dataclass(frozen=True)
class ReferenceConfig:
    """Regional GAN inversion."""

    noise: str = _choice("stored", "random")  # the checkpoint's, always the same; as the release
    seed: int = _number(0, low=0)  # of the random noise
    dtype: str = _choice("float32", "bfloat16")


@dataclass(frozen=True)
class SamConfig:
    """How SAM is fed."""

    normalize: bool = True  # SAM's own pixel mean and std; the release feeds [0, 1] pixels
    batch: int = _number(4, low=1)  # pictures encoded at once


@dataclass(frozen=True)
class PromptConfig:
    """FE and PS."""

    initial_anchor: str = _choice("center", "corner")  # of the first token; corner as the release
    initial_pick: str = _choice("region", "product")  # its best token; product as the release
    features: str = _choice("attended", "encoder")  # tokens that PS matches: with FE or without
    selection: str = _choice("greedy", "contrast")  # PS: the paper's matching, or in-place contrast


@dataclass(frozen=True)
class MaskConfig:
    """From the decoder's low-resolution logits to the sam frame."""

    align_corners: bool = True  # of the bilinear enlargement; true in the release


@dataclass(frozen=True)
class LossConfig:
    """The three objectives (paper section 3.4)."""

    sharpness: float = _number(10.0, low=0)  # p = sigmoid(sharpness * logit)
    hinge_margin: float = _number(0.5, low=0, high=1)  # face points below this p cost extra
    hinge_weight: float = _number(0.5, low=0)  # of that cost


@dataclass(frozen=True)
class TrainConfig:
    """Adapter training, general and per image."""

    batch_size: int = _number(3, low=1)  # faces per optimiser step
    lr: float = _number(1e-4, low=0)  # of AdamW
    weight_decay: float = _number(1e-6, low=0)  # of AdamW
    epochs: int = _number(50, low=1)  # of general training
    seed: int = _number(321, low=0)  # of weights, order and split
    val_fraction: float = _number(0.1, low=0, high=0.99)  # of a folder without train/ and val/
    val_faces: int = _number(0, low=0)  # validate on the first ones only; 0: on all
    save_every: int = _number(1, low=1)  # epochs between model_epoch_N.pth; the last one always is
    keep: int = _number(0, low=0)  # newest model_epoch_N.pth kept; 0: all
    tensorboard: bool = False  # write its event files besides


@dataclass(frozen=True)
class PerImageConfig:
    """Fine-tuning on one image; the optimiser's numbers are those of ``train``."""

    epochs: int = _number(100, low=1)  # at most
    patience: int = _number(5, low=1)  # epochs without an improvement before it stops
    min_delta: float = _number(1e-4, low=0)  # smallest improvement of the loss that counts


@dataclass(frozen=True)
class CacheConfig:
    """Features up to the prompts, kept per image pair."""

    mode: str = _choice("disk", "memory", "off")
    max_gb: float = _number(20.0, low=0)  # oldest entries of a folder's cache go first


@dataclass(frozen=True)
class RunConfig:
    """The machine."""

    device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
    deterministic: bool = False  # refuse non-deterministic GPU kernels
    speed: str = _choice("exact", "fast", "max")  # of SAM: float32; bfloat16; compiled, too


@dataclass(frozen=True)
class Config:
    """Everything that can be set; ``ConfigError`` where a value is out of range."""

    model: ModelConfig = field(default_factory=ModelConfig)
    align: AlignConfig = field(default_factory=AlignConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    sam: SamConfig = field(default_factory=SamConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    per_image: PerImageConfig = field(default_factory=PerImageConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        for section, values in vars(self).items():
            for entry in dataclasses.fields(values):
                _check(f"{section}.{entry.name}", getattr(values, entry.name), entry.metadata)
        model = self.model
        if (model.sam == "mini") != (model.set == "mini"):
            raise ConfigError(
                f"model.sam is {model.sam!r} but model.set is {model.set!r}: "
                "the mini SAM goes with the mini set only; --config configs/mini.yaml sets both"
            )
        if model.set == "mini" and model.parser != "bisenet":
            raise ConfigError("the mini set has no segnext parser; use model.parser=bisenet")


def packaged_configs() -> dict[str, Path]:
    """The configs that come with the package, by name (``mini``, ``paper``, ``authors_code``).

    They lie in ``configs/`` at the top of a checkout and in ``s3pot/configs/`` of a wheel.
    """
    package = Path(__file__).resolve().parent
    folders = (package / "configs", package.parent / "configs")
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_config(path: Path | str | None = None, overrides: Sequence[str] = ()) -> Config:
    """Merge defaults, one YAML file and overrides.

    Args:
        path: YAML file that holds only differences from the defaults, or the name of a packaged
            config; None for the defaults alone.
        overrides: ``section.key=value`` strings; later ones win.

    Raises:
        ConfigError: Unreadable file, unknown key (with a suggestion), or a value that its field
            does not take.
    """
    tree = {} if path is None else _read_yaml(_config_file(path))
    for item in overrides:
        _apply_override(tree, item)
    return config_from_dict(tree)


def config_from_dict(tree: Mapping[str, Any]) -> Config:
    """Build a config from nested plain values; errors as of ``load_config``."""
    return build_dataclass(Config, tree, "")


def config_to_dict(config: Config) -> dict[str, dict[str, Any]]:
    """All values as nested plain dicts."""
    return dataclasses.asdict(config)


def save_config(config: Config, folder: Path) -> None:
    """Write ``<folder>/config.yaml``, whole or not at all; the folder is made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    tmp = folder / "config.yaml.tmp"
    tmp.write_text(yaml.safe_dump(config_to_dict(config), sort_keys=False), encoding="utf-8")
    tmp.replace(folder / "config.yaml")


def _config_file(name: Path | str) -> Path:
    """The file that a path or a packaged config's name means; a name comes first.

    Raises:
        ConfigError: There is no such file.
    """
    packaged = packaged_configs()
    if str(name) in packaged:
        return packaged[str(name)]
    path = Path(name)
    if not path.is_file():
        raise ConfigError(
            f"there is no config file {path}; pass the path of a YAML file or one of the packaged "
            f"configs: {', '.join(packaged)}"
        )
    return path


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the config {path} as YAML: {error}") from error
    if not isinstance(tree, (dict, type(None))):
        raise ConfigError(f"{path} is a {type(tree).__name__}; expected sections such as 'train:'")
    return tree or {}


def _apply_override(tree: dict[str, Any], item: str) -> None:
    key, sign, text = item.partition("=")
    section, dot, name = key.partition(".")
    if not (sign and dot and section and name):
        raise ConfigError(f"{item!r} is no override; write section.key=value, e.g. train.lr=1e-4")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"cannot read the value of {item!r}: {error}") from error
    branch = tree.get(section)
    if isinstance(branch, (dict, type(None))):  # if not, build_dataclass says so
        tree[section] = {**(branch or {}), name: value}


def build_dataclass(cls: Any, tree: Any, prefix: str) -> Any:
    """A dataclass from nested values, keys and types checked; an empty section is its defaults."""
    if not isinstance(tree, (Mapping, type(None))):
        raise ConfigError(f"{prefix[:-1] or 'the config'} is {tree!r}; expected keys and values")
    known, values = get_type_hints(cls), {}
    for key, value in (tree or {}).items():
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {prefix}{close[0]}?" if close else f"known: {', '.join(known)}"
            raise ConfigError(f"unknown config key {prefix}{key}; {hint}")
        name, kind = f"{prefix}{key}", known[key]
        if dataclasses.is_dataclass(kind):
            values[key] = build_dataclass(kind, value, name + ".")
        else:
            values[key] = _convert(name, value, kind)
    return cls(**values)


def _convert(name: str, value: Any, kind: type) -> Any:
    """Bring a YAML value to its field's type; YAML reads ``1e-4`` as text, ``off`` as False."""
    if kind is str and value is False:
        return "off"
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and not isinstance(value, (bool, list, dict, type(None))):
        return str(value)
    if kind in (int, float) and not isinstance(value, bool):
        try:
            number = value if isinstance(value, int) else float(value)
            if math.isfinite(number) and (kind is float or number == int(number)):
                return kind(number)
        except (TypeError, ValueError, OverflowError):
            pass  # the error below says it
    raise ConfigError(f"{name} is {value!r}; expected {kind.__name__}")


def _check(name: str, value: Any, bounds: Mapping[str, Any]) -> None:
    allowed, low, high = bounds.get("allowed"), bounds.get("low"), bounds.get("high")
    if allowed and value not in allowed:
        raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
    if low is not None and not low <= value <= high:
        limit = f"at least {low}" if high == math.inf else f"from {low} to {high}"
        raise ConfigError(f"{name} is {value}; it must be {limit}")

"""Typed configuration: defaults here < one YAML file < ``key.sub=value`` on the command line.

The defaults are the paper's (``configs/paper.yaml`` spells them out). Nobody changes a config after it is loaded; it is
written to ``<output>/config.yaml`` and into every checkpoint.
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


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{key} is {value!r}; it must be one of {', '.join(allowed)}")


def _at_least(key: str, value: float, bound: float) -> None:
    if not value >= bound:
        raise ConfigError(f"{key} is {value}; it must be at least {bound}")


@dataclass(frozen=True)
class ModelConfig:
    """Which networks are used."""

    set: str = "official"  # official: published checkpoints; mini: the bundled small ones
    sam: str = "vit_h"  # vit_h, vit_l or vit_b; mini with the mini set
    parser: str = "bisenet"  # bisenet or segnext
    weights_dir: str = ""  # empty: $S3POT_WEIGHTS_DIR, then ./weights; for the mini set the bundled files

    def __post_init__(self) -> None:
        _one_of("model.set", self.set, ("official", "mini"))
        _one_of("model.sam", self.sam, ("vit_h", "vit_l", "vit_b", "mini"))
        _one_of("model.parser", self.parser, ("bisenet", "segnext"))
        if (self.sam == "mini") != (self.set == "mini"):
            raise ConfigError(
                f"model.sam is {self.sam!r} but model.set is {self.set!r}: "
                "the mini SAM goes with the mini set only; --config configs/mini.yaml sets both"
            )
        if self.set == "mini" and self.parser != "bisenet":
            raise ConfigError("the mini set has no segnext parser; use model.parser=bisenet")


@dataclass(frozen=True)
class AlignConfig:
    """From the photo to the working image."""

    mode: str = "auto"  # auto: detect and align unless the picture looks aligned; always; never: take it as it is
    size: int = 1024  # side of the aligned crop, pixels
    borders: str = "reflect"  # reflect as FFHQ does; black as the authors' crop does
    min_score: float = 0.6  # faces the detector is less sure of are not used

    def __post_init__(self) -> None:
        _one_of("align.mode", self.mode, ("auto", "always", "never"))
        _one_of("align.borders", self.borders, ("reflect", "black"))
        _at_least("align.size", self.size, 16)


@dataclass(frozen=True)
class ReferenceConfig:
    """Regional GAN inversion."""

    noise: str = "stored"  # stored: the checkpoint's buffers, same picture every time; random: as the release
    seed: int = 0  # of the random noise
    dtype: str = "float32"  # float32 or bfloat16

    def __post_init__(self) -> None:
        _one_of("reference.noise", self.noise, ("stored", "random"))
        _one_of("reference.dtype", self.dtype, ("float32", "bfloat16"))


@dataclass(frozen=True)
class SamConfig:
    """How SAM is fed."""

    normalize: bool = True  # SAM's own pixel mean and std; the release feeds [0, 1] pixels
    batch: int = 4  # pictures encoded at once


@dataclass(frozen=True)
class PromptConfig:
    """FE and PS."""

    initial_anchor: str = "center"  # first point at the token's center; corner as the release
    initial_pick: str = "region"  # best token of the region; product: cosine times mask, as the release
    features: str = "attended"  # what PS matches: attended (FE) or encoder tokens (without FE)

    def __post_init__(self) -> None:
        _one_of("prompt.initial_anchor", self.initial_anchor, ("center", "corner"))
        _one_of("prompt.initial_pick", self.initial_pick, ("region", "product"))
        _one_of("prompt.features", self.features, ("attended", "encoder"))


@dataclass(frozen=True)
class MaskConfig:
    """From the decoder's low-resolution logits to the sam frame."""

    align_corners: bool = True  # of the bilinear enlargement; true in the release


@dataclass(frozen=True)
class LossConfig:
    """The three objectives (paper section 3.4)."""

    sharpness: float = 10.0  # p = sigmoid(sharpness * logit)
    hinge_margin: float = 0.5  # face points below this probability cost extra
    hinge_weight: float = 0.5


@dataclass(frozen=True)
class TrainConfig:
    """Adapter training, general and per image."""

    batch_size: int = 3
    lr: float = 1e-4
    weight_decay: float = 1e-6
    epochs: int = 50
    seed: int = 321
    val_fraction: float = 0.1  # of a folder without train/ and val/
    val_faces: int = 0  # validate on the first ones only; 0: on all
    save_every: int = 1  # epochs between model_epoch_N.pth; the last epoch is always written
    keep: int = 0  # newest model_epoch_N.pth kept; 0: all
    tensorboard: bool = False
    workers: int = 2  # threads that read pictures ahead while SAM encodes

    def __post_init__(self) -> None:
        _at_least("train.batch_size", self.batch_size, 1)
        _at_least("train.epochs", self.epochs, 1)
        _at_least("train.lr", self.lr, 0.0)
        _at_least("train.val_faces", self.val_faces, 0)
        _at_least("train.save_every", self.save_every, 1)
        if not 0 <= self.val_fraction < 1:
            raise ConfigError(f"train.val_fraction is {self.val_fraction}; it must be in [0, 1)")


@dataclass(frozen=True)
class PerImageConfig:
    """Fine-tuning on one image; the optimiser's numbers are those of ``train``."""

    epochs: int = 100
    patience: int = 5  # epochs without an improvement of min_delta before it stops
    min_delta: float = 1e-4

    def __post_init__(self) -> None:
        _at_least("per_image.epochs", self.epochs, 1)
        _at_least("per_image.patience", self.patience, 1)


@dataclass(frozen=True)
class CacheConfig:
    """Features up to the prompts, kept per image pair."""

    mode: str = "disk"  # disk, memory or off
    max_gb: float = 20.0  # oldest entries of a folder's cache go first

    def __post_init__(self) -> None:
        _one_of("cache.mode", self.mode, ("disk", "memory", "off"))


@dataclass(frozen=True)
class RunConfig:
    """The machine."""

    device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
    deterministic: bool = False  # refuse non-deterministic GPU kernels
    amp: str = "off"  # off or bfloat16: SAM's image encoder in mixed precision on a GPU

    def __post_init__(self) -> None:
        _one_of("run.amp", self.amp, ("off", "bfloat16"))


@dataclass(frozen=True)
class Config:
    """Everything that can be set."""

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


def load_config(path: Path | str | None = None, overrides: Sequence[str] = ()) -> Config:
    """Merge defaults, one YAML file and overrides.

    Args:
        path: YAML file that holds only differences from the defaults; None for none.
        overrides: ``section.key=value`` strings; later ones win.

    Raises:
        ConfigError: Unreadable file, unknown key (with a suggestion), or a value its field does not take.
    """
    tree = {} if path is None else _read_yaml(Path(path))
    for item in overrides:
        _apply_override(tree, item)
    return config_from_dict(tree)


def config_from_dict(tree: Mapping[str, Any]) -> Config:
    """Build a config from nested plain values, as ``config_to_dict`` gives them; see ``load_config`` for errors."""
    return _build(Config, tree, "")


def config_to_dict(config: Config) -> dict[str, dict[str, Any]]:
    """All values as nested plain dicts."""
    return dataclasses.asdict(config)


def dump_config(config: Config) -> str:
    """The whole config as YAML text."""
    return yaml.safe_dump(config_to_dict(config), sort_keys=False)


def save_config(config: Config, folder: Path) -> None:
    """Write ``<folder>/config.yaml``, whole or not at all; the folder is made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    tmp = folder / "config.yaml.tmp"
    tmp.write_text(dump_config(config), encoding="utf-8")
    tmp.replace(folder / "config.yaml")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds a {type(tree).__name__}; expected sections such as 'train:'")
    return tree


def _apply_override(tree: dict[str, Any], item: str) -> None:
    key, sign, text = item.partition("=")
    section, dot, name = key.partition(".")
    if not (sign and dot and section and name):
        raise ConfigError(f"cannot read the override {item!r}; write it as section.key=value, e.g. train.lr=1e-4")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"cannot read the value of {item!r}: {error}") from error
    branch = tree.setdefault(section, {})
    if not isinstance(branch, dict):
        raise ConfigError(f"section {section!r} holds {branch!r}; expected keys and values")
    branch[name] = value


def _build(cls: type, tree: Any, prefix: str) -> Any:
    """A dataclass from nested values, keys and types checked."""
    where = prefix.rstrip(".") or "the config"
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{where} is {tree!r}; expected keys and values")
    known = get_type_hints(cls)
    values = {}
    for key, value in tree.items():
        if key not in known:
            raise ConfigError(_unknown(str(key), prefix, known))
        kind = known[key]
        name = f"{prefix}{key}"
        values[key] = (
            _build(kind, {} if value is None else value, name + ".")
            if dataclasses.is_dataclass(kind)
            else _convert(name, value, kind)
        )
    return cls(**values)


def _unknown(key: str, prefix: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {prefix}{close[0]}?" if close else f"known: {', '.join(known)}"
    return f"unknown config key {prefix}{key}; {hint}"


def _convert(name: str, value: Any, kind: type) -> Any:
    """Bring a YAML value to its field's type; YAML reads ``1e-4`` as text."""
    if kind is str and value is False:
        return "off"  # YAML's reading of a bare off
    problem = ConfigError(f"{name} is {value!r}; expected {kind.__name__}")
    if kind is bool or isinstance(value, bool):
        if kind is bool and isinstance(value, bool):
            return value
        raise problem
    if kind is str:
        if value is None or isinstance(value, (dict, list)):
            raise problem
        return str(value)
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise problem from error
    if not math.isfinite(number) or (kind is int and number != int(number)):
        raise problem
    return kind(number)

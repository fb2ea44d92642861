"""Typed configuration: defaults here < one YAML file < ``section.key=value`` on the command line.

The defaults are the paper's (``configs/paper.yaml`` spells them out). Nobody changes a config
after it is loaded; it is written to ``<output>/config.yaml`` and into every checkpoint.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3pot.io import expand_home
from s3pot.typed_yaml import (
    ConfigError,
    apply_override,
    build_dataclass,
    check_bounds,
    choice,
    number,
    positive_number,
    read_config_tree,
    write_settings,
)
from s3pot.wording import did_you_mean

# Folders of the configs that can be given by name: in an installed package, then in a checkout.
CONFIG_FOLDERS = (Path(__file__).parent / "configs", Path(__file__).parents[1] / "configs")
MINI_SAMS = ("mini", "mini_generic")  # those of the mini set
LARGEST_SEED = 2**63 - 1  # of PyTorch's and NumPy's generators, with room for derived seeds


@dataclass(frozen=True)
class ModelConfig:
    """Which networks are used."""

    set: str = choice("official", "mini")  # published checkpoints, or the bundled small ones
    # The last two belong to the mini set: mini was trained on drawn occlusions, mini_generic was
    # not.
    sam: str = choice("vit_h", "vit_l", "vit_b", "mini", "mini_generic")
    parser: str = choice("bisenet", "segnext")
    weights_dir: str = ""  # empty: $S3POT_WEIGHTS_DIR, then ./weights; mini: the bundled files


@dataclass(frozen=True)
class AlignConfig:
    """From the photo to the working image."""

    mode: str = choice("auto", "always", "never")  # auto: unless the photo looks aligned
    size: int = number(1024, low=16, high=16384)  # side of the aligned crop, pixels
    borders: str = choice("reflect", "black")  # as FFHQ does; as the authors' crop does
    min_score: float = number(0.6, low=0, high=1)  # faces with a lower detector score are ignored


@dataclass(frozen=True)
class ReferenceConfig:
    """Regional GAN inversion."""

    noise: str = choice("stored", "random")  # the checkpoint's; new noise, as in the release
    seed: int = number(0, low=0, high=LARGEST_SEED)  # of the random noise
    dtype: str = choice("float32", "bfloat16")


@dataclass(frozen=True)
class SamConfig:
    """The input of SAM."""

    normalize: bool = True  # SAM's own pixel mean and std; the release feeds [0, 1] pixels
    batch: int = number(4, low=1)  # images a GPU encodes, redraws or, in training, decodes at once


@dataclass(frozen=True)
class PromptConfig:
    """FE and PS."""

    initial_anchor: str = choice("center", "corner")  # of the first token; the release uses corner
    initial_pick: str = choice("region", "product")  # of the first token; the release uses product
    features: str = choice("attended", "encoder")  # tokens that PS matches: with FE or without
    selection: str = choice("greedy", "contrast")  # PS: the paper's matching, or in-place contrast


@dataclass(frozen=True)
class MaskConfig:
    """From the decoder's low-resolution logits to the occlusion mask."""

    align_corners: bool = True  # for the bilinear upsampling; true in the release
    # Which parts of the mask count, see occlusion_decision.py; with 0, as in the paper, all of it.
    # Thinner pieces along the rim are removed; share of the side of a square of the region's area.
    sliver_width: float = number(0.0, low=0, high=1)
    min_piece: float = number(0.0, low=0, high=1)  # smaller: removed; share of the region
    min_share: float = number(0.0, low=0, high=1)  # below: unoccluded face; share of the region


@dataclass(frozen=True)
class QualityConfig:
    """When a result is marked doubtful; quality.py has the limits that hold for all models."""

    min_score: float = number(0.75, low=0, high=1)  # below: the detector is unsure
    min_likeness: float = number(0.0, low=0, high=1)  # below: reference unlike the image; 0: off
    strict: bool = False  # a doubtful face counts as failed


@dataclass(frozen=True)
class LossConfig:
    """The three objectives (paper section 3.4)."""

    sharpness: float = positive_number(10.0)  # p = sigmoid(sharpness * logit)
    hinge_margin: float = number(0.5, low=0, high=1)  # face points with a lower p pay a hinge loss
    face_weight: float = number(1.0, low=0)  # of the mean p of the face points
    occlusion_weight: float = number(1.0, low=0)  # of the mean p of the occlusion points
    hinge_weight: float = number(0.5, low=0)  # of the hinge loss

    def __post_init__(self) -> None:
        if self.face_weight == self.occlusion_weight == self.hinge_weight == 0:
            raise ConfigError(
                "loss.face_weight, loss.occlusion_weight and loss.hinge_weight are all 0, so that "
                "an adapter would learn nothing; at least one must be greater than 0"
            )


@dataclass(frozen=True)
class TrainConfig:
    """Adapter training, general and per image."""

    batch_size: int = number(3, low=1)  # faces per optimizer step
    lr: float = positive_number(1e-4)  # of AdamW
    weight_decay: float = number(1e-6, low=0)  # of AdamW
    epochs: int = number(50, low=1)  # of general training
    seed: int = number(321, low=0, high=LARGEST_SEED)  # of weights, order and split
    val_fraction: float = number(0.1, low=0, high=0.99)  # of a folder without train/ and val/
    val_faces: int = number(0, low=0)  # validate on the first N only; 0: on all
    save_every: int = number(1, low=1)  # epochs between model_epoch_N.pth; the last always is
    keep: int = number(0, low=0)  # newest model_epoch_N.pth kept; 0: all
    tensorboard: bool = False  # also write event files for TensorBoard


@dataclass(frozen=True)
class PerImageConfig:
    """Fine-tuning on one image; the optimizer's settings are those of ``train``."""

    epochs: int = number(100, low=1)  # at most
    patience: int = number(5, low=1)  # epochs without an improvement before it stops
    min_delta: float = number(1e-4, low=0)  # smallest improvement of the loss that counts


@dataclass(frozen=True)
class TruthConfig:
    """What counts as occluded in a ground truth; several LabelMe labels are separated by commas."""

    labels: str = ""  # only these; empty: all that do not name the face or a part of it
    ignore: str = ""  # labels excluded in addition to __ignore__
    glasses: str = choice("keep", "occlusion", "ignore")  # as in the truth; occluded; not counted
    # For a mask of the visible face: differences between its outline and the region's that are
    # thinner than this are not counted; in the unit of mask.sliver_width.
    sliver_width: float = number(0.04, low=0, high=1)
    min_piece: float = number(0.005, low=0, high=1)  # likewise; in the unit of mask.min_piece


@dataclass(frozen=True)
class CacheConfig:
    """Features up to the prompts, kept per image pair."""

    mode: str = choice("disk", "memory", "off")
    max_gb: float = number(20.0, low=0)  # per folder; the oldest entries are removed first
    memory_gb: float = number(
        4.0, low=0
    )  # of prompts kept in memory, per process; see docs/USAGE.md


@dataclass(frozen=True)
class RunConfig:
    """The machine."""

    device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
    deterministic: bool = False  # refuse nondeterministic GPU kernels
    speed: str = choice("exact", "fast", "max")  # of SAM: float32; bfloat16; also compiled
    max_megapixels: float = number(179, low=1)  # larger images are refused before decoding

    @property
    def max_pixels(self) -> int:
        """The number of pixels of the largest photo that is read."""
        return round(self.max_megapixels * 1e6)


@dataclass(frozen=True)
class Config:
    """All settings.

    Raises:
        ConfigError: A value is out of range, or two values do not fit together.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    align: AlignConfig = field(default_factory=AlignConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    sam: SamConfig = field(default_factory=SamConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    quality: QualityConfig = field(default_factory=QualityConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    per_image: PerImageConfig = field(default_factory=PerImageConfig)
    truth: TruthConfig = field(default_factory=TruthConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        for section in dataclasses.fields(self):
            values = getattr(self, section.name)
            for entry in dataclasses.fields(values):
                name = f"{section.name}.{entry.name}"
                check_bounds(name, getattr(values, entry.name), entry.metadata)
        if (self.model.sam in MINI_SAMS) != (self.model.set == "mini"):
            raise ConfigError(
                f"model.sam is {self.model.sam!r}, but model.set is {self.model.set!r}. The mini "
                "SAMs work only with the mini set; the config mini (configs/mini.yaml) sets both."
            )
        if self.model.set == "mini" and self.model.parser != "bisenet":
            raise ConfigError(
                f"The mini set has no {self.model.parser} parser. Use model.parser=bisenet."
            )


def load_config(path: Path | str | None = None, overrides: Sequence[str] = ()) -> Config:
    """Merge defaults, one YAML file and overrides.

    Args:
        path: YAML file that holds only differences from the defaults, or the name of a packaged
            one, such as ``mini``; None for no file.
        overrides: ``section.key=value`` strings; later ones win. Text fields take what follows
            the ``=`` exactly as it is typed.

    Raises:
        ConfigError: The file is missing or unreadable, a key is unknown (with a suggestion), or a
            field does not accept its value.
    """
    file = None if path is None else find_config(path)
    tree = {} if file is None else read_config_tree(file)
    for item in overrides:
        try:
            apply_override(tree, item)
        except ConfigError as error:
            meant = _keys_meant(item)
            if not meant:
                raise
            raise ConfigError(f"{error}. {did_you_mean(meant)}", error.key) from error
    try:
        return config_from_dict(tree)
    except ConfigError as error:
        if file is None or is_overridden(error.key, overrides):
            raise
        raise ConfigError(f"{error} (The config is {file}.)", error.key) from error


def is_overridden(key: str, overrides: Sequence[str]) -> bool:
    """Whether one of the ``section.key=value`` overrides sets a key, or a value of a section."""
    return key != "" and any(item.startswith((f"{key}=", f"{key}.")) for item in overrides)


def _keys_meant(item: str) -> list[str]:
    """List the keys that an override may mean whose key has no section."""
    key, sign, _ = item.partition("=")
    return keys_like(key) if sign and "." not in key else []


def keys_like(name: str, others: Sequence[str] = ()) -> list[str]:
    """List what somebody may mean who writes a name without its section.

    Args:
        name: A section, a key of one without it, or both joined by ``_``; maybe mistyped.
        others: Further names that may be meant.

    Returns:
        The keys (``section.key``) of that name and all keys of the section of that name, or the
        keys and others with the closest name; empty if no name is close.
    """
    tree = config_to_dict(Config())
    if name in tree:
        namesakes = [f"{section}.{name}" for section in tree if name in tree[section]]
        return [*namesakes, *(f"{name}.{key}" for key in tree[name])]
    meant: dict[str, list[str]] = {other: [other] for other in others}
    for section, values in tree.items():
        for key in values:
            meant.setdefault(f"{section}_{key}", []).append(f"{section}.{key}")
            if key not in others:
                meant.setdefault(key, []).append(f"{section}.{key}")
    close = difflib.get_close_matches(name, meant, n=1)
    return meant[close[0]] if close else []


def packaged_configs() -> dict[str, Path]:
    """List the packaged configs by name (``mini``, ``paper``, ``authors_code``)."""
    configs: dict[str, Path] = {}
    for folder in CONFIG_FOLDERS:
        for path in sorted(folder.glob("*.yaml")):
            configs.setdefault(path.stem, path)
    return configs


def find_config(name: Path | str) -> Path:
    """Find a config: an existing file, or else a packaged config by its name.

    Args:
        name: A path, which takes precedence if there is such a file, or the name of a packaged
            config: ``mini``, ``mini.yaml`` or ``configs/mini.yaml``.

    Raises:
        ConfigError: Neither exists.
        S3potError: The path begins with the home folder of somebody unknown.
    """
    path = expand_home(name)
    is_folder = str(name) != "" and path.is_dir()
    if str(name) and path.exists() and not is_folder:  # a pipe is a file too
        return path
    parts = path.parts[1:] if path.parts[:1] == ("configs",) else path.parts
    if path.name and not path.is_absolute() and path.suffix in ("", ".yaml"):
        for folder in CONFIG_FOLDERS:
            packaged = folder.joinpath(*parts).with_suffix(".yaml")
            if packaged.is_file():
                return packaged
    raise ConfigError(
        f"The config {name or repr(name)} {'is a folder' if is_folder else 'does not exist'}. "
        f"Give the path of a YAML file, or one of these names: {', '.join(packaged_configs())}."
    )


def config_from_dict(tree: Mapping[str, Any]) -> Config:
    """Build a config from nested plain values; raises the errors of ``load_config``."""
    config: Config = build_dataclass(Config, tree, "")
    return config


def config_to_dict(config: Config) -> dict[str, dict[str, Any]]:
    """Return all values as nested plain dicts."""
    return dataclasses.asdict(config)


def save_config(config: Config, folder: Path, command: str) -> None:
    """Write ``<folder>/config.yaml``, and that this command wrote it; see ``write_settings``."""
    write_settings(folder, config_to_dict(config), command)

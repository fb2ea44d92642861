"""Loading the trained mini networks in full precision, for the recipes that build on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import Sam
from torch import nn

from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.rg.nets.e4s import E4SNet, E4SSize
from s3pot.sam.mini import MiniSamSize, build_mini_sam
from s3pot.weights.locate import MINI_ENDINGS
from s3pot.weights.mini_set import read_mini

PARSER, GENERATOR = "parser", "generator"


@dataclass(frozen=True)
class References:
    """The networks that generate references, frozen and in evaluation mode."""

    parser: BiSeNet
    generator: E4SNet


def has(name: str, folder: Path) -> bool:
    """Whether a folder holds an exported network."""
    return any((folder / f"{name}{ending}").exists() for ending in MINI_ENDINGS)


def load_parser(folder: Path) -> BiSeNet:
    """Load the mini parser from a folder."""
    content = read_mini(PARSER, folder)
    net = BiSeNet(content["size"]["classes"], content["size"]["width"])
    return _filled(net, content["state_dict"])


def load_generator(folder: Path) -> E4SNet:
    """Load the mini generator from a folder."""
    content = read_mini(GENERATOR, folder)
    size = {key: value for key, value in content["size"].items() if key != "input"}
    weights = {k: v for k, v in content["state_dict"].items() if k != "latent_avg"}
    return _filled(E4SNet(E4SSize(**size)), weights)


def load_sam(name: str, folder: Path) -> Sam:
    """Load a mini SAM from a folder, ``sam`` or ``sam_generic``."""
    content = read_mini(name, folder)
    return _filled(build_mini_sam(MiniSamSize(**content["size"])), content["state_dict"])


def load_references(folder: Path, device: torch.device) -> References | None:
    """Load parser and generator from a folder, frozen; None if one is missing."""
    if not has(PARSER, folder) or not has(GENERATOR, folder):
        return None
    nets = References(load_parser(folder), load_generator(folder))
    for net in (nets.parser, nets.generator):
        net.to(device).eval().requires_grad_(False)
    return nets


def _filled(net: Any, weights: dict[str, torch.Tensor]) -> Any:
    """Fill a network with weights that were stored in half precision."""
    full = {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}
    module: nn.Module = net
    module.load_state_dict(full)
    return net

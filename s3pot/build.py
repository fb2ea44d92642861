"""From a config to the stage objects, official or mini; weights are loaded strictly.

Missing weights and weights that do not fit are an S3potError that names the cure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from segment_anything import sam_model_registry
from torch import nn

from s3pot.adapter import PromptAdapter
from s3pot.config import Config
from s3pot.labels import BISENET_TO_12, CELEBAMASKHQ_TO_12, NATIVE_12
from s3pot.pipeline import PipelineSettings
from s3pot.rg.inverter import Inverter, load_e4s
from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.rg.nets.e4s import E4SNet, E4SSize
from s3pot.rg.nets.segnext import SegNeXt
from s3pot.rg.parser import Parser
from s3pot.sam.frozen import FrozenSam, freeze
from s3pot.sam.mini import MiniSamSize, build_mini_sam
from s3pot.types import S3potError
from s3pot.weights.hashing import checked_sha256, file_sha256
from s3pot.weights.load import load_strict, read_checkpoint, read_mini
from s3pot.weights.registry import find, locate, mini_path

Net = TypeVar("Net", bound=nn.Module)
PARSER_SIZE, GENERATOR_SIZE = 512, 512  # sides of the official models' inputs


def settings(config: Config) -> PipelineSettings:
    """The method's numbers as ``pipeline`` takes them."""
    prompt, attended = config.prompt, config.prompt.features == "attended"
    return PipelineSettings(
        prompt.initial_anchor, prompt.initial_pick, attended, config.mask.align_corners
    )


def weights_path(config: Config, piece: str) -> Path:
    """The verified file of sam, parser, generator, adapter (mini) or detector (official)."""
    if config.model.set == "mini":
        return mini_path(piece, _folder(config))
    return locate(_official_name(config, piece), _folder(config))


def model_hashes(config: Config, pieces: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the files behind ``pieces``, for cache keys and result files."""
    mini, paths = config.model.set == "mini", {p: weights_path(config, p) for p in pieces}
    return {
        piece: file_sha256(path)
        if mini
        else checked_sha256(path, find(_official_name(config, piece)).sha256)
        for piece, path in paths.items()
    }


def build_sam(config: Config, device: torch.device) -> FrozenSam:
    """SAM with its weights, frozen."""
    if config.model.set == "mini":
        weights = read_mini("sam", _folder(config))
        sam = build_mini_sam(MiniSamSize(**_plain(weights.size)))
        load_strict(sam, weights.state_dict, "mini sam")
    else:
        path = weights_path(config, "sam")
        sam = _loaded(sam_model_registry[config.model.sam](), path)
    return FrozenSam(sam, config.sam.normalize, config.run.amp == "bfloat16").to(device)


def build_adapter(sam: FrozenSam) -> PromptAdapter:
    """A fresh adapter of SAM's width, on SAM's device."""
    return PromptAdapter(sam.sam.prompt_encoder.embed_dim).to(sam.sam.device)


def build_parser(config: Config, device: torch.device) -> Parser:
    """The face parser with its weights, frozen."""
    if config.model.set == "mini":
        weights = read_mini("parser", _folder(config))
        size = _plain(weights.size)
        side = size.pop("input")
        net = BiSeNet(**size)
        load_strict(net, weights.state_dict, "mini parser")
        parser = Parser(net, side, NATIVE_12)
    elif config.model.parser == "bisenet":
        net = _loaded(BiSeNet(), weights_path(config, "parser"))
        parser = Parser(net, PARSER_SIZE, BISENET_TO_12)
    else:
        small = _loaded(SegNeXt("small"), weights_path(config, "parser"))
        parser = Parser(small, PARSER_SIZE, CELEBAMASKHQ_TO_12, False, output_size=1024)
    return freeze(parser).to(device)


def build_inverter(config: Config, device: torch.device) -> Inverter:
    """The reference generator with its weights, frozen."""
    if config.model.set == "mini":
        weights = read_mini("generator", _folder(config))
        size = _plain(weights.size)
        side, source = size.pop("input"), "mini generator"
        net = E4SNet(E4SSize(**size))
        content = {"state_dict": weights.state_dict, "latent_avg": weights.state_dict["latent_avg"]}
    else:
        path = weights_path(config, "generator")
        net, side, source, content = E4SNet(), GENERATOR_SIZE, str(path), read_checkpoint(path)
    load_e4s(net, content, source)
    half = config.reference.dtype == "bfloat16"
    return freeze(Inverter(net, side, config.reference.noise, half)).to(device)


def _loaded(net: Net, path: Path) -> Net:
    load_strict(net, read_checkpoint(path), str(path))
    return net


def _folder(config: Config) -> Path | None:
    text = config.model.weights_dir
    return Path(text).expanduser() if text else None


def _official_name(config: Config, piece: str) -> str:
    parser = "segnext_small" if config.model.parser == "segnext" else "bisenet"
    names = {"sam": f"sam_{config.model.sam}", "parser": parser}
    names.update(generator="e4s", detector="yunet")
    if piece not in names:
        raise S3potError(
            f"the official models have no {piece}; "
            "train one with train_general.py and pass it by --checkpoint"
        )
    return names[piece]


def _plain(size: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes as constructors take them; lists come back from a file where tuples went in."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in size.items()}

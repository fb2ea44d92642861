"""From a config to the stage objects, official or mini; weights are loaded strictly.

Missing weights and weights that do not fit are an S3potError that names the cure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TypeVar

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
from s3pot.weights.registry import locate, mini_path

Net = TypeVar("Net", bound=nn.Module)
PARSER_SIZE, GENERATOR_SIZE = 512, 512  # sides of the official models' inputs


def settings(config: Config) -> PipelineSettings:
    """The method's numbers as ``pipeline`` takes them."""
    prompt = config.prompt
    return PipelineSettings(
        prompt.initial_anchor,
        prompt.initial_pick,
        prompt.features == "attended",
        prompt.selection,
        config.mask.align_corners,
    )


def weights_path(config: Config, piece: str) -> Path:
    """The verified file of sam, parser, generator, adapter (mini) or detector (official)."""
    if config.model.set == "mini":
        return mini_path(piece, _folder(config))
    parser = "segnext_small" if config.model.parser == "segnext" else "bisenet"
    names = {"sam": f"sam_{config.model.sam}", "parser": parser}
    names.update(generator="e4s", detector="yunet")
    if piece not in names:
        cure = (
            "train one with train_general.py and pass --checkpoint, or --config configs/mini.yaml"
        )
        raise S3potError(f"the official models have no {piece}; {cure}")
    return locate(names[piece], _folder(config))


def model_hashes(config: Config, pieces: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the files behind ``pieces``, for cache keys and result files."""
    mini = config.model.set == "mini"
    hash_of = file_sha256 if mini else partial(checked_sha256, expected=None)
    return {piece: hash_of(weights_path(config, piece)) for piece in pieces}


def build_sam(config: Config, device: torch.device) -> FrozenSam:
    """SAM with its weights, frozen."""
    make = sam_model_registry.get(config.model.sam)
    if config.model.set == "mini":
        make = partial(build_mini_sam, MiniSamSize(**read_mini("sam", _folder(config)).size))
    sam = _loaded(make, config, "sam")
    return FrozenSam(sam, config.sam.normalize, config.run.amp == "bfloat16").to(device)


def build_adapter(sam: FrozenSam) -> PromptAdapter:
    """A fresh adapter of SAM's width, on SAM's device."""
    return PromptAdapter(sam.sam.prompt_encoder.embed_dim).to(sam.sam.device)


def build_parser(config: Config, device: torch.device) -> Parser:
    """The face parser with its weights, frozen."""
    if config.model.set == "mini":
        size = read_mini("parser", _folder(config)).size
        side = size.pop("input")
        parser = Parser(_loaded(partial(BiSeNet, **size), config, "parser"), side, NATIVE_12)
    elif config.model.parser == "bisenet":
        parser = Parser(_loaded(BiSeNet, config, "parser"), PARSER_SIZE, BISENET_TO_12)
    else:
        net = _loaded(partial(SegNeXt, "small"), config, "parser")
        parser = Parser(net, PARSER_SIZE, CELEBAMASKHQ_TO_12, False, output_size=1024)
    return freeze(parser).to(device)


def build_inverter(config: Config, device: torch.device) -> Inverter:
    """The reference generator with its weights, frozen."""
    path, size, side = weights_path(config, "generator"), E4SSize(), GENERATOR_SIZE
    content = read_checkpoint(path)
    if config.model.set == "mini":
        mini = read_mini("generator", _folder(config))
        side = mini.size.pop("input")
        size = E4SSize(**mini.size)
        content["latent_avg"] = mini.state_dict["latent_avg"]
    net = E4SNet(size)
    load_e4s(net, content, str(path))
    half = config.reference.dtype == "bfloat16"
    return freeze(Inverter(net, side, config.reference.noise, half)).to(device)


def _loaded(make: Callable[[], Net], config: Config, piece: str) -> Net:
    """A new network with the weights of ``piece``, whose file is looked for first."""
    path = weights_path(config, piece)
    net = make()
    load_strict(net, read_checkpoint(path), str(path))
    return net


def _folder(config: Config) -> Path | None:
    text = config.model.weights_dir
    return Path(text).expanduser() if text else None

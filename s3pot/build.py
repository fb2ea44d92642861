"""From a config to the stage objects, official or mini; weights are loaded strictly.

Missing weights and weights that do not fit are an S3potError that names the cure.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from segment_anything import sam_model_registry

from s3pot.adapter import PromptAdapter
from s3pot.config import Config
from s3pot.io import file_sha256
from s3pot.labels import BISENET_TO_12, CELEBAMASKHQ_TO_12, NATIVE_12
from s3pot.pipeline import PipelineSettings
from s3pot.rg.inverter import Inverter, load_e4s
from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.rg.nets.e4s import E4SNet, E4SSize
from s3pot.rg.nets.segnext import SegNeXt
from s3pot.rg.parser import Parser
from s3pot.sam.frozen import FrozenSam, freeze
from s3pot.sam.mini import MiniSamSize, build_mini_sam
from s3pot.sam.speed import has_compiler
from s3pot.types import S3potError
from s3pot.weights.hashing import checked_sha256
from s3pot.weights.load import load_strict, read_checkpoint, read_mini
from s3pot.weights.locate import locate, mini_path

PARSER_SIZE, GENERATOR_SIZE = 512, 512  # sides of the official models' inputs


def settings(config: Config) -> PipelineSettings:
    """The method's numbers as ``pipeline`` takes them."""
    prompt, attended = config.prompt, config.prompt.features == "attended"
    first = (prompt.initial_anchor, prompt.initial_pick)
    return PipelineSettings(*first, attended, prompt.selection, config.mask.align_corners)


def weights_path(config: Config, piece: str) -> Path:
    """The verified file of sam, parser, generator or (mini) adapter."""
    if config.model.set == "mini":
        return mini_path(piece, weights_folder(config))
    parser = "segnext_small" if config.model.parser == "segnext" else "bisenet"
    names = {"sam": f"sam_{config.model.sam}", "parser": parser, "generator": "e4s"}
    if piece not in names:
        cure = "train_general.py makes one for --checkpoint; or take --config configs/mini.yaml"
        raise S3potError(f"the official models have no {piece}; {cure}")
    return locate(names[piece], weights_folder(config))


def model_hashes(config: Config, pieces: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the files behind ``pieces``, for cache keys and result files."""
    mini = config.model.set == "mini"
    hash_of = file_sha256 if mini else partial(checked_sha256, expected=None)
    return {piece: hash_of(weights_path(config, piece)) for piece in pieces}


def build_sam(config: Config, device: torch.device) -> FrozenSam:
    """SAM with its weights, frozen."""
    content, source = _read(config, "sam")
    if config.model.set == "mini":
        sam = build_mini_sam(MiniSamSize(**content["size"]))
    else:
        sam = sam_model_registry[config.model.sam]()
    load_strict(sam, content, source)
    if config.run.speed == "max" and not has_compiler():
        raise S3potError(
            "run.speed is max, which compiles SAM's image encoder, but this machine has no C++ "
            "compiler (g++, clang++ or $CXX); install one or use run.speed=fast"
        )
    return FrozenSam(sam, config.sam.normalize, config.run.speed).to(device)


def build_adapter(sam: FrozenSam) -> PromptAdapter:
    """A fresh adapter of SAM's width, on SAM's device."""
    return PromptAdapter(sam.sam.prompt_encoder.embed_dim).to(sam.sam.device)


def build_parser(config: Config, device: torch.device) -> Parser:
    """The face parser with its weights, frozen."""
    content, source = _read(config, "parser")
    if config.model.set == "mini":
        side, net = content["size"].pop("input"), BiSeNet(**content["size"])
        parser = Parser(net, side, NATIVE_12)
    elif config.model.parser == "bisenet":
        parser = Parser(BiSeNet(), PARSER_SIZE, BISENET_TO_12)
    else:
        table = CELEBAMASKHQ_TO_12
        parser = Parser(SegNeXt("small"), PARSER_SIZE, table, False, output_size=1024)
    load_strict(parser.net, content, source)
    return freeze(parser).to(device)


def build_inverter(config: Config, device: torch.device) -> Inverter:
    """The reference generator with its weights, frozen."""
    content, source = _read(config, "generator")
    sizes: dict[str, Any] = {"input": GENERATOR_SIZE}
    if config.model.set == "mini":
        sizes = content["size"]
        content["latent_avg"] = content["state_dict"]["latent_avg"]
    side, net = sizes.pop("input"), E4SNet(E4SSize(**sizes))
    load_e4s(net, content, source)
    half = config.reference.dtype == "bfloat16"
    return freeze(Inverter(net, side, config.reference.noise, half)).to(device)


def _read(config: Config, piece: str) -> tuple[dict[str, Any], str]:
    """The checkpoint of ``piece``, and its path."""
    path = weights_path(config, piece)
    mini = config.model.set == "mini"
    return read_mini(piece, weights_folder(config)) if mini else read_checkpoint(path), str(path)


def weights_folder(config: Config) -> Path | None:
    """Where the config says that weights lie; None where it says nothing."""
    text = config.model.weights_dir
    return Path(text).expanduser() if text else None

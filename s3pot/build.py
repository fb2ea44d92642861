"""From a config to the stage objects, official or mini; weights are loaded strictly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from segment_anything import build_sam_vit_b, build_sam_vit_h, build_sam_vit_l
from segment_anything.modeling import Sam
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

SAM_BUILDERS: Mapping[str, Callable[[], Sam]] = {
    "vit_h": build_sam_vit_h,
    "vit_l": build_sam_vit_l,
    "vit_b": build_sam_vit_b,
}
PARSER_SIZE, GENERATOR_SIZE = 512, 512  # sides of the official models' inputs


def settings(config: Config) -> PipelineSettings:
    """The method's numbers as ``pipeline`` takes them."""
    prompt = config.prompt
    return PipelineSettings(
        initial_anchor=prompt.initial_anchor,
        initial_pick=prompt.initial_pick,
        attended=prompt.features == "attended",
        align_corners=config.mask.align_corners,
    )


def weights_path(config: Config, piece: str) -> Path:
    """The verified file of one piece.

    Args:
        config: ``model`` decides.
        piece: ``sam``, ``parser``, ``generator``; ``adapter`` (mini) or ``detector`` (official).

    Raises:
        MissingWeights: It is not there; the text says how to get it.
    """
    folder = _folder(config)
    if config.model.set == "mini":
        return mini_path(piece, folder)
    return locate(_official_name(config, piece), folder)


def model_hashes(config: Config, pieces: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the files behind ``pieces``, for cache keys and result files."""
    hashes = {}
    for piece in pieces:
        path = weights_path(config, piece)
        if config.model.set == "mini":
            hashes[piece] = file_sha256(path)
        else:
            hashes[piece] = checked_sha256(path, find(_official_name(config, piece)).sha256)
    return hashes


def build_sam(config: Config, device: torch.device) -> FrozenSam:
    """SAM with its weights, frozen.

    Raises:
        S3potError: The weights are missing or do not fit.
    """
    if config.model.set == "mini":
        weights = read_mini("sam", _folder(config))
        sam = build_mini_sam(MiniSamSize(**_plain(weights.size)))
        load_strict(sam, weights.state_dict, "mini sam")
    else:
        path = weights_path(config, "sam")
        sam = _loaded(SAM_BUILDERS[config.model.sam](), path)
    return FrozenSam(sam, config.sam.normalize, config.run.amp == "bfloat16").to(device)


def build_adapter(sam: FrozenSam) -> PromptAdapter:
    """A fresh adapter of SAM's width, on SAM's device."""
    return PromptAdapter(sam.sam.prompt_encoder.embed_dim).to(sam.sam.device)


def build_parser(config: Config, device: torch.device) -> Parser:
    """The face parser with its weights, frozen.

    Raises:
        S3potError: The weights are missing or do not fit.
    """
    if config.model.set == "mini":
        weights = read_mini("parser", _folder(config))
        size = _plain(weights.size)
        side = size.pop("input")
        net: nn.Module = BiSeNet(**size)
        load_strict(net, weights.state_dict, "mini parser")
        parser = Parser(net, side, NATIVE_12)
    elif config.model.parser == "bisenet":
        net = _loaded(BiSeNet(), weights_path(config, "parser"))
        parser = Parser(net, PARSER_SIZE, BISENET_TO_12)
    else:
        net = _loaded(SegNeXt("small"), weights_path(config, "parser"))
        parser = Parser(net, PARSER_SIZE, CELEBAMASKHQ_TO_12, native_resize=False, output_size=1024)
    return freeze(parser).to(device)


def build_inverter(config: Config, device: torch.device) -> Inverter:
    """The reference generator with its weights, frozen.

    Raises:
        S3potError: The weights are missing or do not fit.
    """
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


def _loaded(net: nn.Module, path: Path) -> nn.Module:
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

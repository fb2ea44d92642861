"""Build the pipeline's objects, official or mini, from a config; weights are loaded strictly.

Missing or mismatching weights raise an S3potError that says how to fix it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from s3pot.adapter import PromptAdapter
from s3pot.config import Config, TruthConfig
from s3pot.data.label_policy import LabelPolicy
from s3pot.data.truth import TruthPolicy
from s3pot.device import SMALL_IMAGE, prepare_process
from s3pot.io import expand_home, file_sha256
from s3pot.labels import BISENET_TO_12, CELEBAMASKHQ_TO_12, NATIVE_12
from s3pot.occlusion_decision import OcclusionDecision
from s3pot.pipeline import Encodings, OcclusionSegmenter, PipelineSettings, ReferenceGenerator
from s3pot.quality import QualityLimits
from s3pot.rg.align import FFHQ_FRAMING, MINI_FRAMING, FaceAligner, Refine, Rescue
from s3pot.rg.detect import Detector, FaceDetector
from s3pot.rg.inverter import Inverter, load_e4s
from s3pot.rg.mini_detector import load_mini_detector
from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.rg.nets.e4s import E4SNet, E4SSize
from s3pot.rg.nets.segnext import SegNeXt
from s3pot.rg.parser import Parser
from s3pot.rg.refine import LandmarkRefiner, likeliest_face
from s3pot.sam.frozen import FrozenSam, freeze
from s3pot.sam.mini import MiniSamSize, build_mini_sam
from s3pot.sam.official import build_official_sam
from s3pot.sam.speed import has_compiler
from s3pot.types import S3potError
from s3pot.weights.hashing import checked_sha256
from s3pot.weights.load import load_strict, read_checkpoint
from s3pot.weights.locate import locate, mini_path, weight_path
from s3pot.weights.mini_set import read_mini
from s3pot.weights.registry import (
    MissingWeights,
    WeightFile,
    default_folder,
    find,
    missing_text,
)

PARSER_SIZE = 512  # side of the official parsers' input
SEGNEXT_OUTPUT_SIZE = 1024  # side at which E4S takes the argmax of SegNeXt's logits
GENERATOR_SIZE = 512  # side of the official generator's input


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Create networks in float32, whatever default type the caller has set in PyTorch."""
    type_before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(type_before)


@contextmanager
def networks_for_weights() -> Iterator[None]:
    """Create networks whose weights come from files, without an effect on the caller.

    Their initial weights are drawn from PyTorch's global random numbers on the CPU, whose state is
    restored afterwards. The process is prepared for them, see ``prepare_process``.
    """
    prepare_process()
    with float32_by_default(), torch.random.fork_rng(devices=[]):
        yield


@networks_for_weights()
def build_aligner(config: Config) -> FaceAligner:
    """Build the aligner of photos; its networks are loaded only if the config aligns.

    The mini parser refines the crops of the small detector of the mini set, and confirms its
    detections of low score if there are no others.
    """
    is_mini = config.model.set == "mini"
    detector: Detector | None = None
    refine: Refine | None = None
    rescue: Rescue | None = None
    if config.align.mode != "never" and is_mini:
        parser = build_face_parser(config, torch.device("cpu"))
        refiner = LandmarkRefiner(parser, config.align.size)
        mini = load_mini_detector(
            weights_folder(config), config.align.min_score, confirm=refiner.confirm
        )
        refine = refiner.refine
        rescue = partial(likeliest_face, mini, refiner)
        detector = mini
    elif config.align.mode != "never":
        detector = FaceDetector(weights_path(config, "detector"), config.align.min_score)
    return FaceAligner(
        detector=detector,
        size=config.align.size,
        borders=config.align.borders,
        may_be_aligned=config.align.mode == "auto",
        framing=MINI_FRAMING if is_mini else FFHQ_FRAMING,
        refine=refine,
        rescue=rescue,
    )


def build_reference_generator(config: Config, device: torch.device) -> ReferenceGenerator:
    """Build RG with its weights, frozen."""
    return ReferenceGenerator(
        parser=build_face_parser(config, device),
        inverter=build_inverter(config, device),
        noise_seed=config.reference.seed,
        images_at_once=references_at_once(config, device),
    )


def references_at_once(config: Config, device: torch.device) -> int:
    """Return the batch size of RG.

    A GPU needs as much memory for a reference as for an image that SAM encodes, and generates few
    references much faster together. A CPU gains nothing, and random noise is drawn by image.
    """
    if device.type == "cpu" or config.reference.noise == "random":
        return 1
    return config.sam.batch


def build_segmenter(
    config: Config, device: torch.device, encodings: Encodings | None = None
) -> OcclusionSegmenter:
    """Build FE, PS and mask prediction with SAM's weights, frozen.

    A CPU encodes large images one by one, because batches of them need more memory and gain
    nothing. Of small ones, it encodes image and reference together: the encoder's weights, which do
    not fit into the fast caches, are then read once, which saves 5 % of the time.

    Args:
        config: Names the models, and has their settings.
        device: Where they compute.
        encodings: See ``OcclusionSegmenter``.
    """
    sam = build_sam(config, device)
    images_at_once = config.sam.batch
    if device.type == "cpu":
        images_at_once = 2 if sam.grid.size <= SMALL_IMAGE else 1
    return OcclusionSegmenter(
        sam, pipeline_settings(config), images_at_once=images_at_once, encodings=encodings
    )


def pipeline_settings(config: Config) -> PipelineSettings:
    """Convert the method's settings to the form the pipeline takes."""
    return PipelineSettings(
        initial_anchor=config.prompt.initial_anchor,
        initial_pick=config.prompt.initial_pick,
        attended=config.prompt.features == "attended",
        selection=config.prompt.selection,
        align_corners=config.mask.align_corners,
        decision=OcclusionDecision(
            sliver_width=config.mask.sliver_width,
            min_piece=config.mask.min_piece,
            min_share=config.mask.min_share,
        ),
    )


@networks_for_weights()
def build_sam(config: Config, device: torch.device) -> FrozenSam:
    """Build SAM with its weights, frozen."""
    if config.run.speed == "max" and not has_compiler():
        raise S3potError(
            "run.speed is max, which compiles SAM's image encoder, but this machine has no C++ "
            "compiler (g++, clang++ or $CXX); install one or use run.speed=fast"
        )
    if config.model.set == "mini":
        checkpoint = read_mini(_mini_name(config, "sam"), weights_folder(config))
        sam = build_mini_sam(MiniSamSize(**checkpoint["size"]))
    else:
        checkpoint = read_checkpoint(weights_path(config, "sam"))
        sam = build_official_sam(config.model.sam)
    load_strict(sam, checkpoint, str(weights_path(config, "sam")))
    frozen = FrozenSam(sam, normalize=config.sam.normalize, speed=config.run.speed)
    return frozen.to(device)


@float32_by_default()
def build_adapter(sam: FrozenSam) -> PromptAdapter:
    """Build an adapter of SAM's width on SAM's device, drawn from PyTorch's random numbers."""
    return PromptAdapter(sam.sam.prompt_encoder.embed_dim).to(sam.sam.device)


@networks_for_weights()
def build_face_parser(config: Config, device: torch.device) -> Parser:
    """Build the face parser with its weights, frozen."""
    path = weights_path(config, "parser")
    if config.model.set == "mini":
        checkpoint = read_mini("parser", weights_folder(config))
        size = checkpoint["size"]
        net = BiSeNet(classes=size["classes"], width=size["width"])
        parser = Parser(net, input_size=size["input"], table=NATIVE_12)
    elif config.model.parser == "bisenet":
        checkpoint = read_checkpoint(path)
        parser = Parser(BiSeNet(), input_size=PARSER_SIZE, table=BISENET_TO_12)
    else:
        checkpoint = read_checkpoint(path)
        parser = Parser(
            SegNeXt("small"),
            input_size=PARSER_SIZE,
            table=CELEBAMASKHQ_TO_12,
            native_resize=False,
            output_size=SEGNEXT_OUTPUT_SIZE,
        )
    load_strict(parser.net, checkpoint, str(path))
    return freeze(parser).to(device)


@networks_for_weights()
def build_inverter(config: Config, device: torch.device) -> Inverter:
    """Build the reference generator's network with its weights, frozen."""
    path = weights_path(config, "generator")
    checkpoint: dict[str, Any]
    if config.model.set == "mini":
        checkpoint = read_mini("generator", weights_folder(config))
        sizes = dict(checkpoint["size"])
        input_size = sizes.pop("input")  # of the inverter; the other sizes are those of the network
        net = E4SNet(E4SSize(**sizes))
        checkpoint["latent_avg"] = checkpoint["state_dict"]["latent_avg"]
    else:
        checkpoint = read_checkpoint(path)
        input_size = GENERATOR_SIZE
        net = E4SNet(E4SSize())
    load_e4s(net, checkpoint, str(path))
    inverter = Inverter(
        net,
        input_size=input_size,
        noise=config.reference.noise,
        half=config.reference.dtype == "bfloat16",
    )
    return freeze(inverter).to(device)


def models_of_photos(config: Config) -> list[str]:
    """List the models that segment photos, besides the adapter; SAM is the first."""
    return ["sam", *models_of_references(config)]


def models_of_references(config: Config) -> list[str]:
    """List the models that align photos and generate their references."""
    models = ["parser", "generator"]
    return models if config.align.mode == "never" else [*models, "detector"]


def require_weights(config: Config, models: Iterable[str]) -> None:
    """Make sure that the files of models exist, before the first of them is loaded.

    Raises:
        S3potError: See ``weights_path``.
    """
    needed = list(models)
    for model in needed:
        weights_path(config, model, needed)


def weights_path(config: Config, model: str, needed: Sequence[str] = ()) -> Path:
    """Return the verified file of a model: sam, parser, generator, detector or (mini) adapter.

    Args:
        config: Names the models.
        model: The model.
        needed: All models that the caller needs, for the message if files are missing; empty if it
            needs no other.

    Raises:
        S3potError: The file is missing or is not the expected one, or the set has no such model.
    """
    folder = weights_folder(config)
    if config.model.set == "mini":
        return mini_path(_mini_name(config, model), folder)
    try:
        return locate(official_name(config, model), folder)
    except MissingWeights as error:
        missing = _missing_official(config, folder)
        if len(missing) < 2:  # the error of that file says more
            raise
        names_needed = {official_name(config, name) for name in (model, *needed)}
        missing_here = [entry.name for entry in missing if entry.name in names_needed]
        if len(missing_here) == len(missing):
            missing_here = []
        where = folder or default_folder()
        raise MissingWeights(missing_text(missing, where, missing_here)) from error


def official_name(config: Config, model: str) -> str:
    """Return the registry's name of an official model; S3potError if there is none."""
    names = {
        "sam": f"sam_{config.model.sam}",
        "parser": "segnext_small" if config.model.parser == "segnext" else "bisenet",
        "generator": "e4s",
        "detector": "yunet",
    }
    if model not in names:
        raise S3potError(
            f"the official models have no {model}: train one with train_general.py and pass it as "
            "the checkpoint (--checkpoint), or use the mini models (--config mini, or "
            "s3pot.load('mini'))"
        )
    return names[model]


def _missing_official(config: Config, folder: Path | None) -> list[WeightFile]:
    """List the missing official files that some command needs with this config."""
    entries = [find(official_name(config, model)) for model in models_of_photos(config)]
    return [entry for entry in entries if not weight_path(entry, folder).is_file()]


def _mini_name(config: Config, model: str) -> str:
    """Return the name of a mini model's file; the generic SAM and its adapter have their own."""
    if config.model.sam == "mini_generic" and model in ("sam", "adapter"):
        return f"{model}_generic"
    return model


def model_hashes(config: Config, models: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of the files of ``models``, for cache keys and result files."""
    hashes = {}
    needed = list(models)
    for model in needed:
        path = weights_path(config, model, needed)
        if config.model.set == "mini":
            hashes[model] = file_sha256(path)
        else:
            hashes[model] = checked_sha256(path, expected=None)
    return hashes


def truth_policy(truth: TruthConfig) -> TruthPolicy:
    """Return which parts of a ground truth count, from the section ``truth`` of a config."""
    labels = LabelPolicy.from_text(truth.labels, truth.ignore)
    return TruthPolicy(labels, truth.glasses, truth.sliver_width, truth.min_piece)


def quality_limits(config: Config) -> QualityLimits:
    """Return the limits beyond which a result is marked doubtful."""
    return QualityLimits(
        min_score=config.quality.min_score,
        min_likeness=config.quality.min_likeness,
        strict=config.quality.strict,
    )


def weights_folder(config: Config) -> Path | None:
    """Return the weight folder that the config names; None if it names none."""
    text = config.model.weights_dir
    return expand_home(text) if text else None

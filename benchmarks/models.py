"""Networks with random weights, created on the device: speed does not depend on the weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from segment_anything.build_sam import sam_model_registry
from segment_anything.modeling import ImageEncoderViT, Sam
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from s3pot.grid import Grid
from s3pot.labels import BISENET_TO_12, NATIVE_12
from s3pot.rg.inverter import Inverter
from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.rg.nets.e4s import E4SNet, E4SSize
from s3pot.rg.parser import Parser
from s3pot.sam.frozen import freeze
from s3pot.sam.mini import MiniSamSize, build_mini_sam
from s3pot.types import Prompts

MINI_GENERATOR = E4SSize(
    style_dim=64,
    channels=(64, 64, 64, 64, 48, 24, 16),
    masked_codes=14,
    encoder_widths=(16, 24, 32, 48, 64),
    encoder_units=(1, 1, 2, 1),
    mlp_hidden=128,
    mapping_layers=0,
)
# label, center x, y, radius x, y in 1/512 of the side; later ones cover earlier ones
ELLIPSES = (
    (4, 256, 220, 170, 200),
    (8, 256, 520, 110, 130),
    (7, 134, 285, 22, 40),
    (7, 378, 285, 22, 40),
    (6, 256, 280, 122, 160),
    (2, 204, 218, 34, 9),
    (2, 308, 218, 34, 9),
    (3, 204, 248, 24, 12),
    (3, 308, 248, 24, 12),
    (5, 256, 302, 24, 46),
    (1, 256, 376, 48, 22),
    (9, 256, 376, 32, 8),
    (11, 144, 336, 6, 6),
    (11, 368, 336, 6, 6),
)


@dataclass(frozen=True)
class Sizes:
    """The sizes of the stages' inputs.

    Attributes:
        name: mini, vit_b, vit_l or vit_h.
        image: Side of the aligned images.
        points: Number of prompt points of a face.
    """

    name: str
    image: int
    points: int


def sizes_of(name: str) -> Sizes:
    """Return the sizes: 1024 pixels and 1,500 points for the published models, less for mini."""
    return Sizes(name, 256, 370) if name == "mini" else Sizes(name, 1024, 1500)


def new_sam(name: str, device: torch.device) -> Sam:
    """Create a SAM with random weights, including relative positions."""
    with device:
        sam = build_mini_sam(MiniSamSize()) if name == "mini" else sam_model_registry[name]()
    sam = sam.to(device)
    if isinstance(sam.image_encoder, ImageEncoderViT):
        for block in sam.image_encoder.blocks:
            nn.init.trunc_normal_(block.attn.rel_pos_h, std=0.02)
            nn.init.trunc_normal_(block.attn.rel_pos_w, std=0.02)
    return freeze(sam)


def new_parser(name: str, device: torch.device) -> Parser:
    """Create BiSeNet with its preprocessing and postprocessing."""
    if name == "mini":
        return freeze(Parser(BiSeNet(12, 16), 256, NATIVE_12)).to(device)
    return freeze(Parser(BiSeNet(), 512, BISENET_TO_12)).to(device)


def new_inverter(name: str, device: torch.device, half: bool = False) -> Inverter:
    """Create E4S with its preprocessing and postprocessing."""
    with device:
        net = E4SNet(MINI_GENERATOR if name == "mini" else E4SSize())
    size = 256 if name == "mini" else 512
    return freeze(Inverter(net, size, half=half)).to(device)


def encoder_operations(sam: Sam) -> float:
    """Count the operations (two per multiply-add) of pip's image encoder for one image."""
    encoder = copy.deepcopy(sam.image_encoder).to("meta")
    size = encoder.img_size
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(torch.empty(1, 3, size, size, device="meta"))
    return float(counter.get_total_flops())


def class_map(size: int) -> np.ndarray:
    """Draw a face of ellipses: uint8 (size, size), 11 of the 12 classes."""
    y, x = np.mgrid[:size, :size] * (512 / size)
    labels = np.zeros((size, size), dtype=np.uint8)
    for label, center_x, center_y, radius_x, radius_y in ELLIPSES:
        inside = ((x - center_x) / radius_x) ** 2 + ((y - center_y) / radius_y) ** 2 <= 1
        labels[inside] = label
    return labels


def new_prompts(sam: Sam, points: int, seed: int) -> Prompts:
    """Create prompts with so many points, two thirds of them positive, on random tokens."""
    device = sam.device
    side = sam.prompt_encoder.image_embedding_size[0]
    grid = Grid(sam.image_encoder.img_size, side)
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(side * side, generator=generator)[:points].sort().values
    labels = torch.zeros(points, dtype=torch.int64)
    labels[: 2 * points // 3] = 1
    width = sam.prompt_encoder.embed_dim
    prompts = Prompts(
        name=f"face {seed}",
        image_embedding=(torch.randn(width, side, side, generator=generator) * 0.2).half(),
        points_sam=grid.centers(cells),
        point_labels=labels,
        similarity=torch.zeros(side, side).half(),
        first_point_sam=torch.zeros(2),
        region_sam=torch.ones(grid.size, grid.size, dtype=torch.bool),
    )
    return prompts.to(device)

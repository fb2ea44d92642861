"""Models and faces so small that a command takes a second, for tests and mass trials.

The weights are random, so the masks are meaningless; files, formats and errors are the real ones.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from s3pot.adapter import PromptAdapter
from s3pot.data.face_folder import FaceFiles, output_files
from s3pot.data.image import write_png
from s3pot.io import write_npy
from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.rg.nets.e4s import E4SNet, E4SSize
from s3pot.rg.nets.stylegan_ops import NoiseInjection
from s3pot.sam.mini import MiniSamSize, build_mini_sam
from s3pot.weights.mini_set import write_mini

SIDE = 64  # side of the images, in pixels
TINY_SAM = MiniSamSize(
    image=SIDE, patch=8, widths=(8, 16, 16), depths=(1, 1, 1), tokens=32, decoder_mlp=32
)
TINY_GENERATOR = E4SSize(
    style_dim=16,
    channels=(16, 16, 16, 8, 8),
    masked_codes=10,
    encoder_input=SIDE,
    encoder_widths=(8, 8, 8, 8, 8),
    encoder_units=(1, 1, 1, 1),
    mlp_hidden=16,
    mapping_layers=0,
)


def write_tiny_set(folder: Path) -> Path:
    """Write the four models that the commands need, with fixed random weights.

    Args:
        folder: The folder for ``model.weights_dir``; created if it is missing.
    """
    torch.manual_seed(0)
    generator = E4SNet(TINY_GENERATOR)
    for module in generator.modules():
        if isinstance(module, NoiseInjection):
            nn.init.constant_(module.weight, 0.5)  # a fresh network ignores the noise
    models: list[tuple[str, dict[str, Any], nn.Module]] = [
        ("sam", dataclasses.asdict(TINY_SAM), build_mini_sam(TINY_SAM)),
        ("parser", {"classes": 12, "width": 4, "input": SIDE}, BiSeNet(12, 4)),
        ("generator", {**dataclasses.asdict(TINY_GENERATOR), "input": SIDE}, generator),
        ("adapter", {"width": TINY_SAM.tokens, "heads": 4}, PromptAdapter(TINY_SAM.tokens)),
    ]
    for name, size, module in models:
        state = dict(module.state_dict())
        if name == "generator":
            state["latent_avg"] = generator.latent_avg
        write_mini(folder, name, size, state)
    return folder


def tiny_options(weights: Path | str) -> list[str]:
    """Return overrides that make any command use the models of ``write_tiny_set``, on the CPU."""
    return [
        "model.set=mini",
        "model.sam=mini",
        f"model.weights_dir={weights}",
        "align.mode=never",
        "run.device=cpu",
    ]


def write_face(folder: Path, name: str, seed: int, size: int = SIDE) -> FaceFiles:
    """Write a face with its truth in the folder contract: an oval of skin, covered by a bar."""
    random = np.random.default_rng(seed)
    files = output_files(folder, name)
    clean = random.integers(60, 90, (size, size, 3)).astype(np.uint8)
    center = (size // 2 + int(random.integers(-4, 5)), size // 2)
    oval = np.zeros((size, size), np.uint8)
    cv2.ellipse(oval, center, (size // 3, size * 2 // 5), 0, 0, 360, 1, -1)
    clean[oval > 0] += random.integers(60, 100, 3).astype(np.uint8)
    bar = np.zeros_like(oval)
    top = int(random.integers(size // 4, size // 2))
    bar[top : top + size // 5, size // 4 :] = 1
    raw = np.where(bar[..., None] > 0, random.integers(0, 50, 3).astype(np.uint8), clean)
    write_png(files.raw, raw)
    write_png(files.reference, clean)
    write_npy(files.parsing, (oval * 6).astype(np.uint8))
    if files.occlusion_truth is not None and files.clean is not None:
        write_png(files.occlusion_truth, (bar & oval).astype(bool))
        write_png(files.clean, clean)
    return files

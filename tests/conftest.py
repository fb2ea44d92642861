"""What several test files share: tiny models with random weights, folders of drawn faces."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Callable

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from s3pot.adapter import PromptAdapter
from s3pot.data.face_folder import FaceFiles, output_files
from s3pot.data.image import write_png
from s3pot.io import write_npy
from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.rg.nets.e4s import E4SNet, E4SSize
from s3pot.rg.nets.stylegan_ops import NoiseInjection
from s3pot.sam.frozen import FrozenSam
from s3pot.sam.mini import MiniSamSize, build_mini_sam

TINY_SAM = MiniSamSize(
    image=64, patch=8, widths=(8, 16, 16), depths=(1, 1, 1), tokens=32, decoder_mlp=32
)
TINY_GENERATOR = E4SSize(
    style_dim=16,
    channels=(16, 16, 16, 8, 8),
    masked_codes=10,
    encoder_input=64,
    encoder_widths=(8, 8, 8, 8, 8),
    encoder_units=(1, 1, 1, 1),
    mlp_hidden=16,
    mapping_layers=0,
)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """The same sums in the same order in every run, and no fight for cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_sam() -> FrozenSam:
    """A 64 px SAM with an 8 x 8 token grid, 32 channels and random weights."""
    torch.manual_seed(0)
    return FrozenSam(build_mini_sam(TINY_SAM))


def _save(folder: Path, piece: str, size: dict[str, Any], state: dict[str, torch.Tensor]) -> None:
    half = {
        key: value.half() if value.is_floating_point() else value for key, value in state.items()
    }
    content = {"format": 1, "model": f"mini-{piece}", "size": size, "state_dict": half}
    torch.save(content, folder / f"{piece}.pth")


@pytest.fixture(scope="session")
def mini_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for ``model.weights_dir``: the four pieces of a mini set, tiny and random."""
    folder = tmp_path_factory.mktemp("tiny_weights")
    torch.manual_seed(0)
    generator = E4SNet(TINY_GENERATOR)
    for module in generator.modules():
        if isinstance(module, NoiseInjection):
            nn.init.constant_(module.weight, 0.5)  # a fresh one ignores the noise
    pieces: list[tuple[str, dict[str, Any], nn.Module]] = [
        ("sam", dataclasses.asdict(TINY_SAM), build_mini_sam(TINY_SAM)),
        ("parser", {"classes": 12, "width": 4, "input": 64}, BiSeNet(12, 4)),
        ("generator", {**dataclasses.asdict(TINY_GENERATOR), "input": 64}, generator),
        ("adapter", {"width": 32, "heads": 4}, PromptAdapter(32)),
    ]
    for piece, size, module in pieces:
        extra = {"latent_avg": generator.latent_avg} if piece == "generator" else {}
        _save(folder, piece, size, {**module.state_dict(), **extra})
    return folder


@pytest.fixture(scope="session")
def mini_options(mini_dir: Path) -> list[str]:
    """Overrides that make any command use the tiny models, on the CPU, without loader processes."""
    return [
        "model.set=mini",
        "model.sam=mini",
        f"model.weights_dir={mini_dir}",
        "align.mode=never",
        "run.device=cpu",
    ]


def write_face(folder: Path, name: str, seed: int, size: int = 64) -> FaceFiles:
    """Write a face with truth under the folder contract: an oval of skin, a bar over it in raw."""
    random = np.random.default_rng(seed)
    files = output_files(folder, name)
    clean = random.integers(60, 90, (size, size, 3)).astype(np.uint8)
    centre = (size // 2 + int(random.integers(-4, 5)), size // 2)
    oval = np.zeros((size, size), np.uint8)
    cv2.ellipse(oval, centre, (size // 3, size * 2 // 5), 0, 0, 360, 1, -1)
    clean[oval > 0] += random.integers(60, 100, 3).astype(np.uint8)
    bar = np.zeros_like(oval)
    top = int(random.integers(size // 4, size // 2))
    bar[top : top + size // 5, size // 4 :] = 1
    raw = np.where(bar[..., None] > 0, random.integers(0, 50, 3).astype(np.uint8), clean)
    write_png(files.raw, raw)
    write_png(files.reference, clean)
    write_npy(files.parsing, (oval * 6).astype(np.uint8))
    assert files.occlusion_truth is not None and files.clean is not None
    write_png(files.occlusion_truth, (bar & oval).astype(bool))
    write_png(files.clean, clean)
    return files


@pytest.fixture
def processed_folder(tmp_path: Path) -> Callable[..., Path]:
    """Maker of data folders: ``processed_folder(count=5, name="data", size=64) -> Path``."""

    def make(count: int = 5, name: str = "data", size: int = 64) -> Path:
        folder = tmp_path / name
        for index in range(count):
            write_face(folder, f"face_{index:02d}", seed=index, size=size)
        return folder

    return make

"""Helpers that tests in different folders share."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable

import numpy as np
import torch

import inference
from s3pot.data.image import write_png
from s3pot.rg.detect import Face
from s3pot.types import Prompts


def prompts_of(seed: int, count: int) -> Prompts:
    """Random prompts of ``count`` points, positive ones first, for the tiny SAM of 64 pixels."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count,), generator=random).sort(descending=True).values
    return Prompts(
        name=f"face_{seed}",
        image_embedding=torch.randn(32, 8, 8, generator=random),
        points_sam=torch.randint(0, 64, (count, 2), generator=random).float(),
        point_labels=labels,
        similarity=torch.zeros(8, 8),
        first_point_sam=torch.zeros(2),
        region_sam=torch.ones(64, 64, dtype=torch.bool),
    )


class MakesFolder:
    """Creates a folder when it is unpickled unsafely: a harmless stand-in for hostile code."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.target),))


def inference_run(datapath: Path, output_dir: Path, options: Sequence[str]) -> Callable[..., int]:
    """Return a function that runs ``inference.py`` on a folder and returns its exit code."""

    def run(*further: str) -> int:
        folders = ["--datapath", str(datapath), "--output_dir", str(output_dir)]
        return inference.main([*folders, *options, *further])

    return run


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read the rows of a table, by column."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_photo(path: Path, seed: int = 0, size: tuple[int, int] = (48, 48)) -> np.ndarray:
    """Write a photo of noise as PNG; returns its pixels, uint8 (H, W, 3)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    write_png(path, pixels)
    return pixels


class TwoFaces:
    """A detector that finds a large and a small face in every photo, in any orientation."""

    sure_score = 0.0
    likely_score = 1.0

    def detect(self, image: np.ndarray) -> list[Face]:
        near = np.array([[30, 40], [50, 40], [40, 50], [33, 60], [47, 60]], float)
        return [Face((20, 20, 40, 60), 0.9, near), Face((80, 20, 20, 30), 0.8, near / 2 + 60)]

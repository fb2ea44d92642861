"""Drawn training faces on disk: drawn once, read by every recipe.

A shard is one uint8 array (SHARD, S, S, 8): occluded face RGB, clean face RGB, 12-class labels,
occluder 0/1. Beside it, once parser and generator are trained, lies a second one (SHARD, S, S, 4):
generated reference RGB, predicted labels.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from s3pot.io import atomic_path
from s3pot.labels import REGION_CLASSES
from s3pot_synthetic import draw_face

SHARD = 250
SIZE = 256


@dataclass(frozen=True)
class Batch:
    """Faces as tensors.

    Attributes:
        raw: Occluded, (B, 3, S, S) in [0, 1].
        clean: Without occluder, same shape.
        labels: Classes of the clean face, int64 (B, S, S).
        occluder: bool (B, S, S).
        reference: Generated clean face, (B, 3, S, S) in [0, 1]; None before there is a generator.
        predicted: Predicted labels, int64 (B, S, S); None likewise.
    """

    raw: Tensor
    clean: Tensor
    labels: Tensor
    occluder: Tensor
    reference: Tensor | None = None
    predicted: Tensor | None = None

    @property
    def region(self) -> Tensor:
        """Where an occlusion can be asked for, by predicted labels if any; bool (B, S, S)."""
        labels = self.labels if self.predicted is None else self.predicted
        return torch.isin(labels, torch.tensor(REGION_CLASSES, device=labels.device))


def _draw(index: int, size: int) -> np.ndarray:
    """One face of a shard, uint8 (S, S, 8)."""
    face = draw_face(index, size=size, split="train")
    maps = np.stack((face.labels, face.occluder), axis=2).astype(np.uint8)
    return np.concatenate((face.raw, face.clean, maps), axis=2)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a ``.npy`` file whole or not at all."""
    with atomic_path(path) as aside, aside.open("wb") as file:
        np.save(file, array)


def draw_pool(folder: Path, count: int, workers: int) -> None:
    """Draw the train split's first ``count`` faces; finished shards are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [i for i in range(count // SHARD) if not (folder / f"faces_{i:04d}.npy").exists()]
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers) as pool:
        for shard in tqdm(missing, desc="drawing shards", disable=not missing):
            first = shard * SHARD
            draw = partial(_draw, size=SIZE)
            faces = pool.map(draw, range(first, first + SHARD), chunksize=5)
            save_array(folder / f"faces_{shard:04d}.npy", np.stack(faces))


class Pool:
    """Read access to the shards of a folder.

    Args:
        folder: Where ``draw_pool`` wrote.
        pairs: Take only shards that have generated references.
        holdout: Keep the first faces for validation, one shard unless given. The first: so they are
            the same with and without ``pairs``, and no stage trains on them.
    """

    def __init__(self, folder: Path, pairs: bool = False, holdout: int | None = None) -> None:
        names = sorted(folder.glob("faces_*.npy"))
        if pairs:
            names = [n for n in names if _partner(n).exists()]
        if not names:
            raise FileNotFoundError(f"no drawn faces in {folder}: run the step before this one")
        self._faces = [np.load(n, mmap_mode="r") for n in names]
        self._pairs = [np.load(_partner(n), mmap_mode="r") for n in names] if pairs else None
        self.total = len(names) * SHARD
        self.held_back = SHARD if holdout is None else holdout

    def take(
        self, indices: np.ndarray, device: torch.device, flip: np.ndarray | None = None
    ) -> Batch:
        """Faces by index; ``flip`` (B,) bool mirrors some of them."""
        faces = np.stack([self._faces[i // SHARD][i % SHARD] for i in indices])
        if self._pairs is not None:
            extra = np.stack([self._pairs[i // SHARD][i % SHARD] for i in indices])
            faces = np.concatenate((faces, extra), axis=3)
        planes = torch.from_numpy(faces).to(device).permute(0, 3, 1, 2)
        if flip is not None:
            turn = torch.from_numpy(flip).to(device)[:, None, None, None]
            planes = torch.where(turn, planes.flip(-1), planes)
        batch = Batch(
            planes[:, :3] / 255, planes[:, 3:6] / 255, planes[:, 6].long(), planes[:, 7].bool()
        )
        if self._pairs is None:
            return batch
        reference, predicted = planes[:, 8:11] / 255, planes[:, 11].long()
        return replace(batch, reference=reference, predicted=predicted)

    def draw(self, rng: np.random.Generator, size: int, device: torch.device) -> Batch:
        """A random training batch, half of it mirrored."""
        return self.take(
            rng.integers(self.held_back, self.total, size), device, rng.random(size) < 0.5
        )


def _partner(faces: Path) -> Path:
    return faces.with_name(faces.name.replace("faces", "pairs"))

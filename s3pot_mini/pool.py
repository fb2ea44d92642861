"""The pool of drawn training pictures on disk, which can be read while it is still growing.

A shard of faces is one uint8 array (N, S, S, 8): RGB of the occluded face, RGB of the clean face,
12-class labels of the clean face, occluder 0 or 1. A shard of scenes is one uint8 array (N, S, S,
5): RGB, number of the part, number of the object, as returned by ``s3pot_synthetic.segments``.
"""

from __future__ import annotations

import functools
import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from s3pot.io import write_npy
from s3pot.labels import REGION_CLASSES
from s3pot_synthetic import draw_face
from s3pot_synthetic.processes import draw_each
from s3pot_synthetic.segments import draw_scene_segments, texture_scene

logger = logging.getLogger(__name__)

SHARD = 100
SIZE = 256
SEGMENT_LIMIT = 64  # numbers of parts and objects stay below this
FACES, SCENES = "faces", "scenes"
HELD_OUT_SHARDS = {FACES: 2, SCENES: 1}  # the first ones, held out for measuring
SCENES_PER_FACE = 0.5
DRAWN_SCENE_SHARE = 0.4  # share of the scenes; the others are shapes with arbitrary surfaces
SCENE_SEED = 77
NICE = 10  # so that drawing does not slow down concurrent training


@dataclass(frozen=True)
class FaceBatch:
    """Faces as tensors.

    Attributes:
        raw: Occluded faces, (B, 3, S, S) in [0, 1].
        clean: Faces without occluders, same shape.
        labels: Classes of the clean face, int64 (B, S, S).
        occluder: bool (B, S, S).
    """

    raw: Tensor
    clean: Tensor
    labels: Tensor
    occluder: Tensor

    @property
    def region(self) -> Tensor:
        """The region in which occlusions are searched for, bool (B, S, S)."""
        return region_of(self.labels)


@dataclass(frozen=True)
class SceneBatch:
    """Pictures in which every segment is known.

    Attributes:
        image: (B, 3, S, S) in [0, 1].
        parts: Number of the finest segment of each pixel, int64 (B, S, S) below SEGMENT_LIMIT.
        things: Number of the whole object of each pixel, int64 (B, S, S) below SEGMENT_LIMIT.
    """

    image: Tensor
    parts: Tensor
    things: Tensor


@functools.cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Cache constants on a device; copying them each time would wait for a GPU's queue."""
    return torch.tensor(values, device=device)


def region_of(labels: Tensor) -> Tensor:
    """Return the prompt region of 12-class maps, bool, same shape."""
    return torch.isin(labels, constant(REGION_CLASSES, labels.device))


def draw_face_planes(index: int, size: int) -> np.ndarray:
    """Draw one face of the train split, uint8 (S, S, 8)."""
    face = draw_face(index, size=size, split="train")
    maps = np.stack((face.labels, face.occluder), axis=2).astype(np.uint8)
    return np.concatenate((face.raw, face.clean, maps), axis=2)


def draw_scene_planes(index: int, size: int) -> np.ndarray:
    """Draw one scene, uint8 (S, S, 5); numbers beyond SEGMENT_LIMIT become background."""
    rng = np.random.default_rng([SCENE_SEED, index])
    if rng.random() < DRAWN_SCENE_SHARE:
        scene = draw_scene_segments(index, size=size, seed=SCENE_SEED)
        image, parts, things = scene.image, scene.parts, scene.things
    else:
        image, parts = texture_scene(rng, size)
        things = parts
    maps = np.stack((parts, things), axis=2)
    maps = np.where((maps >= 0) & (maps < SEGMENT_LIMIT), maps, 0).astype(np.uint8)
    return np.concatenate((image, maps), axis=2)


def draw_shard(name: str, folder: Path, size: int, count: int) -> None:
    """Draw one shard, ``faces_0003`` or ``scenes_0003``, unless it exists.

    Args:
        name: Kind and number of the shard.
        folder: Folder for the shard.
        size: Side of the pictures, in pixels.
        count: The number of pictures in it.
    """
    path = folder / f"{name}.npy"
    if path.exists():
        return
    kind, number = name.split("_")
    draw = draw_face_planes if kind == FACES else draw_scene_planes
    first = int(number) * count
    write_npy(path, np.stack([draw(index, size) for index in range(first, first + count)]))


def draw_pool(folder: Path, face_count: int, workers: int) -> None:
    """Draw faces of the train split, and scenes; finished shards are kept.

    Args:
        folder: Folder for the shards.
        face_count: Total number of faces; there are SCENES_PER_FACE times as many scenes.
        workers: Processes that draw; with fewer than two, only this one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = shard_names(face_count)
    missing = [name for name in names if not (folder / f"{name}.npy").exists()]
    draw = partial(draw_shard, folder=folder, size=SIZE, count=SHARD)
    work = draw_each(draw, missing, workers, nice=NICE)
    for _ in tqdm(work, desc="drawing shards", total=len(missing)):
        pass


def shard_names(face_count: int) -> list[str]:
    """List all shards of a pool, faces and scenes alternating, so that it grows balanced."""
    face_shards = max(face_count // SHARD, HELD_OUT_SHARDS[FACES] + 1)
    scene_shards = max(round(face_shards * SCENES_PER_FACE), HELD_OUT_SHARDS[SCENES] + 1)
    places = [((i + 0.5) / face_shards, f"{FACES}_{i:04d}") for i in range(face_shards)]
    places += [((i + 0.5) / scene_shards, f"{SCENES}_{i:04d}") for i in range(scene_shards)]
    return [name for _, name in sorted(places)]


class Shards:
    """Read access to the shards of one kind; ``refresh`` finds those drawn since.

    Args:
        folder: The folder that ``draw_pool`` writes.
        kind: FACES or SCENES.
        device: Where the arrays are kept: in the memory of a GPU or, for the CPU, on disk.
    """

    def __init__(self, folder: Path, kind: str, device: torch.device) -> None:
        self.folder = folder
        self.kind = kind
        self.device = device
        self._shards: dict[str, Tensor] = {}
        self.refresh()

    def __len__(self) -> int:
        """The number of available pictures, including held-out ones."""
        return sum(len(shard) for shard in self._shards.values())

    @property
    def held_out(self) -> int:
        """How many pictures, from the first on, are kept for measuring."""
        return min(HELD_OUT_SHARDS[self.kind] * SHARD, len(self))

    def refresh(self) -> None:
        """Load the shards that were finished since the last call."""
        for path in sorted(self.folder.glob(f"{self.kind}_????.npy")):
            if path.name not in self._shards:
                array = np.load(path, mmap_mode="c")
                self._shards[path.name] = torch.from_numpy(array).to(self.device)

    def planes(self, indices: list[int]) -> Tensor:
        """Return pictures by index, float (B, planes, S, S), with values as drawn."""
        shards = list(self._shards.values())
        each = [shards[i // len(shards[0])][i % len(shards[0])] for i in indices]
        return torch.stack(each).permute(0, 3, 1, 2).float()

    def draw(self, count: int) -> Tensor:
        """Draw random pictures that are not held out, float (B, planes, S, S).

        Raises:
            FileNotFoundError: Only held-out shards exist.
        """
        if len(self) <= self.held_out:
            raise FileNotFoundError(
                f"{self.folder} holds {len(self)} {self.kind}, expected more than "
                f"{HELD_OUT_SHARDS[self.kind] * SHARD}: run python -m s3pot_mini pool"
            )
        return self.planes(torch.randint(self.held_out, len(self), (count,)).tolist())


class Pool:
    """Faces and scenes for the recipes.

    Args:
        folder: The folder that ``draw_pool`` writes.
        device: The device of the batches.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.device = device
        self.faces = Shards(folder, FACES, device)
        self.scenes = Shards(folder, SCENES, device)

    @property
    def held_out(self) -> int:
        """How many faces, from the first on, are kept for measuring."""
        return self.faces.held_out

    def refresh(self) -> None:
        """Load the shards that were drawn since the last call."""
        self.faces.refresh()
        self.scenes.refresh()

    def take(self, indices: list[int]) -> FaceBatch:
        """Return faces by index, as drawn."""
        return face_batch(self.faces.planes(indices))

    def take_scenes(self, indices: list[int]) -> SceneBatch:
        """Return scenes by index, as drawn."""
        return scene_batch(self.scenes.planes(indices))

    def draw_faces(self, count: int) -> FaceBatch:
        """Draw random faces, without augmentation."""
        return face_batch(self.faces.draw(count))

    def draw_scenes(self, count: int) -> SceneBatch:
        """Draw random scenes, without augmentation."""
        return scene_batch(self.scenes.draw(count))


def wait_for_pool(folder: Path, faces: int, patience: float = 600.0) -> None:
    """Wait until enough faces are drawn to start with.

    Args:
        folder: The folder into which another process draws.
        faces: The number of faces that suffices, including held-out ones.
        patience: Seconds after which the available faces must suffice.
    """
    deadline = time.monotonic() + patience
    wanted = -(-faces // SHARD)
    while time.monotonic() < deadline:
        if len(list(folder.glob(f"{FACES}_????.npy"))) >= wanted:
            return
        time.sleep(1)
    logger.warning("after %.0f s there are fewer than %d faces in %s", patience, faces, folder)


def face_batch(planes: Tensor) -> FaceBatch:
    """Convert the planes of a shard of faces, (B, 8, S, S), to a batch."""
    return FaceBatch(
        raw=planes[:, :3] / 255,
        clean=planes[:, 3:6] / 255,
        labels=planes[:, 6].long(),
        occluder=planes[:, 7] > 0.5,
    )


def scene_batch(planes: Tensor) -> SceneBatch:
    """Convert the planes of a shard of scenes, (B, 5, S, S), to a batch."""
    return SceneBatch(
        image=planes[:, :3] / 255, parts=planes[:, 3].long(), things=planes[:, 4].long()
    )

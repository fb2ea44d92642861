"""From faces on disk to prompts: each image pair goes through frozen SAM once, for all commands."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Union

from tqdm import tqdm

from s3pot.build import model_hashes, settings
from s3pot.config import Config, config_to_dict
from s3pot.data.cache import FeatureCache, entry_key, rounded
from s3pot.data.dataset import PairDataset
from s3pot.data.layout import FaceFiles, cache_folder
from s3pot.pipeline import prepare
from s3pot.sam.frozen import FrozenSam
from s3pot.types import Pair, Prompts, S3potError

logger = logging.getLogger(__name__)

Outcome = Union[Pair, S3potError]


@dataclass(frozen=True)
class Filled:
    """What ``PromptStore.fill`` found.

    Attributes:
        usable: Faces with at least one prompt point.
        empty: Faces without: no token centre lies in their region.
        failed: Faces that could not be read, and why.
    """

    usable: list[FaceFiles] = field(default_factory=list)
    empty: list[FaceFiles] = field(default_factory=list)
    failed: list[tuple[FaceFiles, S3potError]] = field(default_factory=list)


class PromptStore:
    """Prompts of faces, computed when missing and kept as ``cache.mode`` says.

    Args:
        sam: Frozen SAM.
        config: ``sam``, ``prompt`` and ``cache`` decide.
        datapath: Data folder that the cache belongs to; None keeps nothing on disk.
    """

    def __init__(self, sam: FrozenSam, config: Config, datapath: Path | None) -> None:
        self.sam, self.config = sam, config
        self.mode = config.cache.mode
        tree = config_to_dict(config)
        self.sam_sha256 = model_hashes(config, ["sam"])["sam"]
        self.made_by = {
            "sam": self.sam_sha256,
            "normalize": config.sam.normalize,
            "prompt": tree["prompt"],
            "device": sam.sam.device.type,
            "amp": config.run.amp,
        }
        self._disk = None
        if self.mode == "disk" and datapath is not None:
            self._disk = FeatureCache(cache_folder(datapath), int(config.cache.max_gb * 2**30))
        self._memory: dict[str, Prompts] = {}
        self._keys: dict[tuple[FaceFiles, bool], str] = {}

    @property
    def shared(self) -> bool:
        """Whether other processes find what this one computes."""
        return self._disk is not None

    def get(self, face: FaceFiles, oracle: bool = False) -> Prompts:
        """Prompts of one face, on SAM's device.

        Args:
            face: Its files.
            oracle: Take the true clean face as the reference.

        Raises:
            S3potError: A file is missing, damaged or does not fit the others.
        """
        found = self._kept(face, oracle)
        if found is None:
            pair = PairDataset([face], self.sam.grid.size, oracle)[0]
            found = self._compute([face], [pair], oracle)[0]
        moved = {k: v.to(self.sam.sam.device) for k, v in vars(found).items() if k != "name"}
        return Prompts(face.name, **moved)

    def fill(self, faces: Sequence[FaceFiles], oracle: bool = False, bar: bool = True) -> Filled:
        """Compute what is missing, in batches, and sort the faces by what came out.

        Args:
            faces: In the order of the result.
            oracle: See ``get``.
            bar: Show a progress bar on a terminal.
        """
        filled, missing = Filled(), []
        points: dict[FaceFiles, int] = {}
        for face in faces:
            try:
                kept = self._kept(face, oracle)
            except S3potError as error:
                filled.failed.append((face, error))
                continue
            if kept is None:
                missing.append(face)
            else:
                points[face] = len(kept.labels)
        progress = tqdm(total=len(missing), desc="SAM", unit="face", disable=None if bar else True)
        with progress:
            for batch in self._batches(missing, oracle):
                good = [(face, pair) for face, pair in batch if isinstance(pair, Pair)]
                filled.failed.extend((f, p) for f, p in batch if isinstance(p, S3potError))
                if good:
                    pairs = [pair for _, pair in good]
                    prompts = self._compute([face for face, _ in good], pairs, oracle)
                    points.update({f: len(p.labels) for (f, _), p in zip(good, prompts)})
                progress.update(len(batch))
        filled.usable.extend(face for face in faces if points.get(face))
        filled.empty.extend(face for face in faces if points.get(face) == 0)
        return filled

    def _batches(
        self, faces: Sequence[FaceFiles], oracle: bool
    ) -> Iterator[list[tuple[FaceFiles, Outcome]]]:
        """Faces in batches of pictures; on the CPU one by one.

        A CPU gains nothing by batches, and its sums may depend on them: then a face would depend
        on its neighbours.
        """
        on_cpu = self.sam.sam.device.type == "cpu"
        count = 1 if on_cpu else max(1, self.config.sam.batch // 2)
        batch: list[tuple[FaceFiles, Outcome]] = []
        dataset = PairDataset(faces, self.sam.grid.size, oracle)
        for face, outcome in zip(faces, _read_ahead(dataset, self.config.train.workers)):
            batch.append((face, outcome))
            if len(batch) == count:
                yield batch
                batch = []
        if batch:
            yield batch

    def _compute(
        self, faces: Sequence[FaceFiles], pairs: Sequence[Pair], oracle: bool
    ) -> list[Prompts]:
        found = [rounded(prompts) for prompts in prepare(self.sam, pairs, settings(self.config))]
        for face, prompts in zip(faces, found):
            if self._disk is not None:
                self._disk.write(self._key(face, oracle), prompts)
            elif self.mode != "off":
                self._memory[self._key(face, oracle)] = prompts
        return found

    def _kept(self, face: FaceFiles, oracle: bool) -> Prompts | None:
        key = self._key(face, oracle)
        found = self._memory.get(key)
        if found is None and self._disk is not None:
            found = self._disk.read(key, face.name)
        return found

    def _key(self, face: FaceFiles, oracle: bool) -> str:
        """Hash the files once a run."""
        slot = (face, oracle)
        if slot not in self._keys:
            self._keys[slot] = entry_key(face, oracle, self.made_by)
        return self._keys[slot]


def _read_ahead(dataset: PairDataset, workers: int) -> Iterator[Outcome]:
    """Pairs in order, or the reason why there is none; threads read a few ahead."""

    def read(index: int) -> Outcome:
        try:
            return dataset[index]
        except S3potError as error:
            return error

    if workers == 0:
        yield from map(read, range(len(dataset)))
        return
    with ThreadPoolExecutor(workers) as pool:
        queue = deque(pool.submit(read, index) for index in range(min(2 * workers, len(dataset))))
        for index in range(len(queue), len(dataset) + len(queue)):
            yield queue.popleft().result()
            if index < len(dataset):
                queue.append(pool.submit(read, index))

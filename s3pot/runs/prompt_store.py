"""From faces on disk to prompts: each image pair goes through frozen SAM once, for all commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from s3pot.build import model_hashes
from s3pot.config import Config, config_to_dict
from s3pot.data.cache import FeatureCache, entry_key
from s3pot.data.face_folder import FaceFiles, cache_folder, load_aligned_face
from s3pot.pipeline import OcclusionSegmenter
from s3pot.types import Prompts, S3potError, SamInputs

Filled = tuple[dict[FaceFiles, int], list[tuple[FaceFiles, S3potError]]]


class PromptStore:
    """Prompts of faces, computed when missing and kept as ``cache.mode`` says.

    The disk cache belongs to the data folder ``datapath``; None keeps nothing on disk.
    """

    def __init__(
        self, segmenter: OcclusionSegmenter, config: Config, datapath: Path | None
    ) -> None:
        self.segmenter, self.config = segmenter, config
        self.sam_sha256 = model_hashes(config, ["sam"])["sam"]
        self.made_by = {
            "sam": self.sam_sha256,
            "normalize": config.sam.normalize,
            "prompt": config_to_dict(config)["prompt"],
            "device": segmenter.device.type,
            "speed": config.run.speed,
        }
        self._disk = None
        if config.cache.mode == "disk" and datapath is not None:
            self._disk = FeatureCache(cache_folder(datapath), int(config.cache.max_gb * 2**30))
        self._memory: dict[str, Prompts] = {}
        self._keys: dict[tuple[FaceFiles, bool], str] = {}

    def get(self, face: FaceFiles, oracle: bool = False) -> Prompts:
        """Prompts of one face, on SAM's device; ``oracle`` takes the true clean face as reference.

        Raises:
            S3potError: A file is missing, damaged or does not fit the others.
        """
        return self.load(face, oracle).to(self.segmenter.device)

    def load(self, face: FaceFiles, oracle: bool = False) -> Prompts:
        """Prompts of one face, on the CPU; see ``get``."""
        found = self._kept(face, oracle)
        if found is None:
            found = self._compute([(face, self._read(face, oracle))], oracle)[0]
        return replace(found, name=face.name)

    def fill(self, faces: Sequence[FaceFiles], quiet: bool = False) -> Filled:
        """Compute what is missing, in batches: points of each face, and faces that cannot be read.

        A CPU takes pairs one by one: it gains nothing by batches, and its sums may depend on them.
        """
        points: dict[FaceFiles, int] = {}
        failed: list[tuple[FaceFiles, S3potError]] = []
        size = 1 if self.segmenter.device.type == "cpu" else max(1, self.config.sam.batch // 2)
        starts = range(0, len(faces), size)
        for start in tqdm(starts, desc="SAM", unit="batch", disable=quiet or None):
            batch = []
            for face in faces[start : start + size]:
                try:
                    kept = self._kept(face, False)
                    if kept is None:
                        batch.append((face, self._read(face, False)))
                    else:
                        points[face] = len(kept.point_labels)
                except S3potError as error:
                    failed.append((face, error))
            for (face, _), prompts in zip(batch, self._compute(batch, False)):
                points[face] = len(prompts.point_labels)
        return points, failed

    def _read(self, face: FaceFiles, oracle: bool) -> SamInputs:
        return self.segmenter.prepare(load_aligned_face(face, oracle))

    def _compute(self, batch: Sequence[tuple[FaceFiles, SamInputs]], oracle: bool) -> list[Prompts]:
        inputs = [entry for _, entry in batch]
        found = self.segmenter.select_prompts(inputs) if inputs else []
        found = [prompts.to("cpu") for prompts in found]
        for (face, _), prompts in zip(batch, found):
            if self._disk is not None:
                self._disk.write(self._key(face, oracle), prompts)
            elif self.config.cache.mode != "off":
                self._memory[self._key(face, oracle)] = prompts
        return found

    def _kept(self, face: FaceFiles, oracle: bool) -> Prompts | None:
        key = self._key(face, oracle)
        return self._disk.read(key, face.name) if self._disk else self._memory.get(key)

    def _key(self, face: FaceFiles, oracle: bool) -> str:
        """Hash the files once a run."""
        if (face, oracle) not in self._keys:
            self._keys[face, oracle] = entry_key(face, oracle, self.made_by)
        return self._keys[face, oracle]

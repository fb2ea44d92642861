"""Prompts of faces on disk: each face goes through the frozen SAM once, for all commands."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Union

from typing_extensions import override

from s3pot.build import model_hashes
from s3pot.config import Config, config_to_dict
from s3pot.data.cache import FeatureCache, entry_key, inputs_sha256
from s3pot.data.face_folder import FaceFiles, cache_folder, load_aligned_face
from s3pot.device import side_by_side
from s3pot.pipeline import OcclusionSegmenter
from s3pot.report.summary import Failure
from s3pot.runs.folder_job import FolderJob, Written
from s3pot.runs.folder_run import run_folder
from s3pot.runs.records import CODE_OF_PROMPTS, ItemProvenance, code_sha256
from s3pot.types import AlignedFace, Prompts, SamInputs
from s3pot.wording import subject

logger = logging.getLogger(__name__)

# Cached prompts, or the data they are computed from.
PromptSource = Union[Prompts, SamInputs]


class PromptStore:
    """Prompts of faces, computed if they are missing and cached according to ``cache.mode``.

    ``find``, ``read`` and ``keep`` may run in threads.

    Args:
        segmenter: Computes the prompts.
        config: Says whether they are cached, and is part of their cache key.
        datapath: Data folder that the disk cache belongs to; None caches nothing on disk.
        is_single_pass: Whether each face is requested only once, so that keeping prompts in memory
            would serve nothing.

    Attributes:
        sam_sha256: Hash of SAM's weights.
        settings: Everything that prompts depend on besides the face's files.
        batch_size: How many faces are computed at once. A CPU gains nothing from more than one.
        workers: How many threads may compute at once, see ``side_by_side``.
    """

    def __init__(
        self,
        segmenter: OcclusionSegmenter,
        config: Config,
        datapath: Path | None,
        is_single_pass: bool = False,
    ) -> None:
        self.segmenter = segmenter
        self.sam_sha256 = model_hashes(config, ["sam"])["sam"]
        self.settings: dict[str, Any] = {
            "code": code_sha256(CODE_OF_PROMPTS),
            "sam": self.sam_sha256,
            "normalize": config.sam.normalize,
            "prompt": config_to_dict(config)["prompt"],
            "device": segmenter.device.type,
            "speed": config.run.speed,
        }
        self.batch_size = 1
        if segmenter.device.type != "cpu":
            self.batch_size = max(1, config.sam.batch // 2)  # each has an image and a reference
        self.workers = side_by_side(segmenter.device, segmenter.sam.grid.size)
        self._disk: FeatureCache | None = None
        if config.cache.mode == "disk" and datapath is not None:
            self._disk = FeatureCache(cache_folder(datapath), int(config.cache.max_gb * 2**30))
        self._max_bytes = 0 if is_single_pass else int(config.cache.memory_gb * 2**30)
        self._bytes = 0  # of the prompts in memory
        self._is_off = config.cache.mode == "off"
        self._uses_memory = self._disk is None and not self._is_off
        self._memory_is_full = False
        self._memory: dict[str, Prompts] = {}
        self._max_pixels = config.run.max_pixels
        self._inputs_sha256: dict[tuple[FaceFiles, bool], str] = {}
        self._writing = threading.Lock()

    @property
    def is_shared(self) -> bool:
        """Whether other processes find the prompts that this one caches."""
        return self._disk is not None

    def get(self, face: FaceFiles, oracle: bool = False) -> Prompts:
        """Return the prompts of one face, on SAM's device.

        Args:
            face: Its files.
            oracle: Use the true clean face as the reference.

        Raises:
            S3potError: A file is missing, damaged or does not match the others.
        """
        return self.load(face, oracle).to(self.segmenter.device)

    def load(self, face: FaceFiles, oracle: bool = False) -> Prompts:
        """Return the prompts of one face, on the CPU; see ``get``."""
        source = self.read(face, oracle)
        if isinstance(source, Prompts):
            return source
        prompts = self.compute([source])[0].to("cpu")
        self.keep(face, prompts, oracle)
        return prompts

    def read(self, face: FaceFiles, oracle: bool = False) -> PromptSource:
        """Read the cached prompts of a face, on the CPU, or else its files; see ``get``."""
        prompts = self.find(face, oracle)
        if prompts is not None:
            return prompts
        return self.segmenter.prepare(self.aligned_face(face, oracle))

    def aligned_face(self, face: FaceFiles, oracle: bool = False) -> AlignedFace:
        """Read image, parsing and reference of a face; see ``get``."""
        return load_aligned_face(face, oracle, self._max_pixels)

    def find(self, face: FaceFiles, oracle: bool = False) -> Prompts | None:
        """Read the cached prompts of a face, on the CPU; None if there are none."""
        key = self._key(face, oracle)
        prompts = self._pop(key) if self._is_off else self._memory.get(key)
        if prompts is not None:
            return replace(prompts, name=face.name)
        if self._disk is not None:
            kept = self._disk.read(key, face.name)
            return kept if kept is not None and self._fits_sam(kept) else None
        return None

    def _pop(self, key: str) -> Prompts | None:
        """Return prompts from memory and remove them from it."""
        with self._writing:
            prompts = self._memory.pop(key, None)
            if prompts is not None:
                self._bytes -= prompts.nbytes
            return prompts

    def _fits_sam(self, prompts: Prompts) -> bool:
        """Whether prompts have this SAM's sizes: the key implies it, but a forged entry may lie."""
        grid = self.segmenter.sam.grid
        channels = self.segmenter.sam.sam.prompt_encoder.embed_dim
        embedding_fits = prompts.image_embedding.shape == (channels, grid.side, grid.side)
        return embedding_fits and prompts.region_sam.shape == (grid.size, grid.size)

    def compute(self, sources: Sequence[PromptSource]) -> list[Prompts]:
        """Return prompts on SAM's device; those not cached are computed in one batch."""
        inputs = [source for source in sources if isinstance(source, SamInputs)]
        computed = iter(self.segmenter.select_prompts(inputs) if inputs else [])
        return [
            next(computed) if isinstance(source, SamInputs) else source.to(self.segmenter.device)
            for source in sources
        ]

    def keep(self, face: FaceFiles, prompts: Prompts, oracle: bool = False) -> None:
        """Cache the prompts of a face, if ``cache.mode`` says so.

        If the disk cannot be written, memory takes its place from then on. In memory, prompts are
        kept up to ``cache.memory_gb``, and only if they may be requested again.
        """
        key = self._key(face, oracle)
        with self._writing:
            if self._disk is not None and not self._uses_memory:
                try:
                    self._disk.write(key, prompts)
                    return
                except OSError as error:
                    self._uses_memory = True
                    logger.warning(
                        "no feature cache in %s (%s); features %s",
                        self._disk.folder,
                        error.strerror or error,
                        "stay in memory for this run" if self._max_bytes else "are not kept",
                    )
            if self._uses_memory and self._max_bytes:
                self._keep_in_memory(key, prompts)

    def keep_until_requested(self, face: FaceFiles, prompts: Prompts) -> None:
        """Cache the prompts of a face; with ``cache.mode=off``, in memory until they are requested.

        So a face that was prepared for training is not computed a second time.
        """
        if self._is_off:
            with self._writing:
                self._keep_in_memory(self._key(face, oracle=False), prompts)
        else:
            self.keep(face, prompts)

    def _keep_in_memory(self, key: str, prompts: Prompts) -> None:
        """Keep prompts in memory if there is room; a warning is logged when there is no more."""
        if self._bytes + prompts.nbytes <= self._max_bytes:
            self._bytes += prompts.nbytes
            self._memory[key] = prompts.to("cpu")
        elif not self._memory_is_full:
            self._memory_is_full = True
            logger.warning(
                "%s kept in memory (cache.memory_gb); the others are computed again whenever they "
                "are needed",
                subject(len(self._memory), "face"),
            )

    def inputs_sha256(self, face: FaceFiles, oracle: bool = False) -> str:
        """Hash the files that a face's prompts are computed from, once per run.

        Raises:
            BadFace: A file is missing or cannot be read.
        """
        if (face, oracle) not in self._inputs_sha256:
            self._inputs_sha256[face, oracle] = inputs_sha256(face, oracle)
        return self._inputs_sha256[face, oracle]

    def fill(self, faces: Sequence[FaceFiles], quiet: bool = False) -> Filled:
        """Compute and cache what is missing; see ``keep_until_requested``.

        Args:
            faces: The faces.
            quiet: Show no progress.
        """
        outcome = run_folder(_FillJob(self), faces, progress=not quiet, log_failures=False)
        points = {content["face"]: content["points"] for content in outcome.contents}
        return Filled(points, outcome.failures)

    def _key(self, face: FaceFiles, oracle: bool) -> str:
        """Return the key of a cache entry."""
        return entry_key(self.inputs_sha256(face, oracle), self.settings)


@dataclass(frozen=True)
class Filled:
    """The result of ``PromptStore.fill``.

    Attributes:
        points: Number of prompt points of each face that did not fail.
        failures: The other faces.
    """

    points: dict[FaceFiles, int]
    failures: list[Failure]


@dataclass(frozen=True)
class _Source:
    """The data read for a face."""

    face: FaceFiles
    source: PromptSource


@dataclass(frozen=True)
class _Computed:
    """A face with its prompts; those that were not cached are new."""

    face: FaceFiles
    prompts: Prompts
    is_new: bool


class _FillJob(FolderJob[FaceFiles, _Source, _Computed]):
    """See ``PromptStore.fill``."""

    unit = "faces through SAM"

    def __init__(self, store: PromptStore) -> None:
        self.store = store
        self.batch_size = store.batch_size
        self.workers = store.workers

    @override
    def name(self, item: FaceFiles) -> str:
        return item.name

    @override
    def read(self, item: FaceFiles) -> _Source:
        return _Source(item, self.store.read(item))

    @override
    def compute(self, inputs: Sequence[_Source]) -> list[_Computed]:
        missing = [entry.source for entry in inputs if isinstance(entry.source, SamInputs)]
        computed = iter(self.store.compute(missing))
        return [
            _Computed(entry.face, next(computed), is_new=True)
            if isinstance(entry.source, SamInputs)
            else _Computed(entry.face, entry.source, is_new=False)
            for entry in inputs
        ]

    @override
    def write(self, output: _Computed, provenance: ItemProvenance) -> Written:
        if output.is_new:
            self.store.keep_until_requested(output.face, output.prompts)
        points = len(output.prompts.points_sam)
        return Written(content={"face": output.face, "points": points})

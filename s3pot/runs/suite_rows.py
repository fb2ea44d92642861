"""The rows of a table with their models and settings; ``suite_loading.py`` loads them.

``LoadedRow`` is the interface of a row; ``MethodRow`` runs the method or a baseline, and
``FolderRow`` reads masks that another program wrote.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from s3pot.adapter import PromptAdapter
from s3pot.baselines import BASELINES, Case
from s3pot.build import (
    truth_policy,
)
from s3pot.config import Config
from s3pot.data.face_folder import FaceFiles
from s3pot.data.mask_folder import MaskFolder
from s3pot.data.truth import FaceTruth, TruthPolicy, require_truth
from s3pot.data.truth_paths import truth_files
from s3pot.pipeline import OcclusionSegmenter
from s3pot.ps.variants import PointVariant
from s3pot.report.rows import Provenance
from s3pot.runs.prompt_store import PromptSource, PromptStore
from s3pot.runs.provenance import provenance_of, provenance_of_results
from s3pot.runs.suite_file import (
    FOLDER,
    MODEL,
    Row,
)
from s3pot.runs.suite_prompts import faces_for
from s3pot.training.per_image import fit_adapter
from s3pot.types import AlignedFace, Prompts, SamInputs


@dataclass(frozen=True, eq=False)
class FaceData:
    """The data read for a face in a row.

    Attributes:
        truth: The true occlusion, and the region.
        face: Image, parsing and the reference of the row; None for rows that read masks.
        source: Its prompts, if they were cached, or the data they are computed from; None for rows
            that read masks.
        mask: The mask that was read, bool (H, W); None for other rows.
    """

    truth: FaceTruth
    face: AlignedFace | None = None
    source: PromptSource | None = None
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class LoadedRow(ABC):
    """A row with everything that it needs.

    Attributes:
        row: The row as in the file.
        config: The config with the row's overrides.
        hashes: SHA-256 of its weights, by model.
    """

    row: Row
    config: Config
    hashes: Mapping[str, str]

    @property
    def truth_policy(self) -> TruthPolicy:
        """Which parts of a ground truth count."""
        return truth_policy(self.config.truth)

    @property
    def is_timed(self) -> bool:
        """Whether the time of ``predict`` is meaningful."""
        return True

    @property
    def workers(self) -> int:
        """The number of threads in which ``prompts`` and ``predict`` may run at once."""
        return 1

    @property
    @abstractmethod
    def encoder(self) -> Hashable:
        """A key that is equal for rows whose images the same SAM encodes."""

    @property
    @abstractmethod
    def group(self) -> Hashable:
        """A key that is equal for rows that share the data and the prompts of their faces."""

    @abstractmethod
    def provenance(self) -> Provenance:
        """Describe where the row's masks come from."""

    @abstractmethod
    def files_of(self, faces: Sequence[FaceFiles]) -> Sequence[FaceFiles]:
        """Return the faces of the table with the files that the row uses.

        Raises:
            S3potError: It would use one file for two faces.
        """

    @abstractmethod
    def inputs(self, files: FaceFiles) -> dict[str, Path | None]:
        """Return the files that determine the row's mask of a face, by role."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return everything else that determines it, as plain values."""

    @abstractmethod
    def read(self, files: FaceFiles) -> FaceData:
        """Read a face. Runs in a thread; rows of one group share the result."""

    @abstractmethod
    def prompts(self, files: FaceFiles, data: FaceData) -> Prompts | None:
        """Return the prompts of a face, shared like ``read``; None for rows that need none."""

    @abstractmethod
    def predict(self, data: FaceData, prompts: Prompts | None) -> np.ndarray:
        """Predict the occlusion of a face, bool (H, W)."""


@dataclass(frozen=True)
class MethodRow(LoadedRow):
    """The method, or a baseline that may use its parts.

    Attributes:
        segmenter: The segmenter with the row's settings.
        store: Its prompts, shared with the rows that have the same ones.
        variant: The change of their points.
        adapter: The row's adapter, or the one that fitting starts from; None for rows without one.
    """

    segmenter: OcclusionSegmenter
    store: PromptStore
    variant: PointVariant
    adapter: PromptAdapter | None

    @property
    @override
    def workers(self) -> int:
        return self.store.workers

    @property
    @override
    def encoder(self) -> Hashable:
        return id(self.segmenter.sam)

    @property
    @override
    def group(self) -> Hashable:
        return id(self.store), self.row.reference, self.truth_policy

    @override
    def provenance(self) -> Provenance:
        return provenance_of(self.config, self.hashes)

    @override
    def files_of(self, faces: Sequence[FaceFiles]) -> Sequence[FaceFiles]:
        return faces_for(self.row.reference, faces)

    @override
    def inputs(self, files: FaceFiles) -> dict[str, Path | None]:
        return {
            "image": files.raw,
            "reference": files.clean if self.row.is_oracle else files.reference,
            "parsing": files.parsing,
            **truth_files(files),
        }

    @override
    def settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "method": self.row.method,
            "adapter": self.row.adapter,
            "init": self.row.init,
            "threshold": self.row.threshold,
            "points": asdict(self.variant),
            "prompts": self.store.settings,
            "pipeline": asdict(self.segmenter.settings),
            "truth": asdict(self.config.truth),
        }
        if self.row.is_fitted:
            settings["loss"] = asdict(self.config.loss)
            settings["train"] = asdict(self.config.train)
            settings["per_image"] = asdict(self.config.per_image)
        return settings

    @override
    def read(self, files: FaceFiles) -> FaceData:
        face = self.store.aligned_face(files, self.row.is_oracle)
        truth = require_truth(files, self.truth_policy, face.size)
        source: PromptSource | None = self.store.find(files, self.row.is_oracle)
        if source is None:
            source = self.segmenter.prepare(face)
        return FaceData(truth, face=face, source=source)

    @override
    def prompts(self, files: FaceFiles, data: FaceData) -> Prompts | None:
        if data.source is None:
            return None
        prompts = self.store.compute([data.source])[0]
        if isinstance(data.source, SamInputs):
            self.store.keep(files, prompts, self.row.is_oracle)
        return prompts

    @override
    def predict(self, data: FaceData, prompts: Prompts | None) -> np.ndarray:
        if data.face is None or prompts is None:
            raise ValueError(f"row {self.row.name!r} needs a face and its prompts")
        prompts = self.variant.apply(prompts, self.segmenter.sam.grid)
        if self.row.method == MODEL:
            return self._segment(data.face, prompts)
        case = Case(
            face=data.face,
            prompts=prompts,
            segmenter=self.segmenter,
            threshold=self.row.threshold,
            threshold_rule=self.row.threshold_rule,
            truth=data.truth.occlusion if self.row.sees_the_truth else None,
        )
        return BASELINES[self.row.method](case)

    def _segment(self, face: AlignedFace, prompts: Prompts) -> np.ndarray:
        adapter = self.adapter
        if adapter is not None and self.row.is_fitted and prompts.has_points:
            adapter = deepcopy(adapter)
            fit_adapter(self.segmenter, prompts, adapter, self.config)
        return self.segmenter.segment(face, prompts, adapter).masks.occlusion


@dataclass(frozen=True)
class FolderRow(LoadedRow):
    """Masks that another program wrote, scored like those of all other rows.

    Attributes:
        masks: The folder of the masks.
    """

    masks: MaskFolder

    @property
    @override
    def is_timed(self) -> bool:
        return False

    @property
    @override
    def encoder(self) -> Hashable:
        return None

    @property
    @override
    def group(self) -> Hashable:
        return self.row.name

    @override
    def provenance(self) -> Provenance:
        # The config of this run says nothing about masks that another one computed.
        return provenance_of_results(self.masks.folder)

    @override
    def files_of(self, faces: Sequence[FaceFiles]) -> Sequence[FaceFiles]:
        self.masks.require_distinct([face.name for face in faces])
        return faces

    @override
    def inputs(self, files: FaceFiles) -> dict[str, Path | None]:
        return {
            "mask": self.masks.find(files.name),
            "image": files.raw,
            "parsing": files.parsing,
            **truth_files(files),
        }

    @override
    def settings(self) -> dict[str, Any]:
        return {
            "method": FOLDER,
            "masks": {"polarity": self.row.polarity, "size": self.row.size},
            "truth": asdict(self.config.truth),
        }

    @override
    def read(self, files: FaceFiles) -> FaceData:
        truth = require_truth(files, self.truth_policy, max_pixels=self.config.run.max_pixels)
        return FaceData(truth, mask=self.masks.read(files.name, truth.region.shape))

    @override
    def prompts(self, files: FaceFiles, data: FaceData) -> Prompts | None:
        return None

    @override
    def predict(self, data: FaceData, prompts: Prompts | None) -> np.ndarray:
        if data.mask is None:
            raise ValueError(f"row {self.row.name!r} needs a mask")
        return data.truth.region & ~data.mask if self.masks.marks_the_face else data.mask

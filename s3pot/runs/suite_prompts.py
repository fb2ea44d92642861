"""The prompts of a table's rows, with the reference that each row requests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from s3pot.config import Config
from s3pot.data.altered_reference import ALTERATIONS, with_next_references
from s3pot.data.face_folder import FaceFiles
from s3pot.pipeline import OcclusionSegmenter
from s3pot.runs.prompt_store import PromptStore
from s3pot.runs.suite_file import OTHER_REFERENCE
from s3pot.types import AlignedFace


class AlteredPromptStore(PromptStore):
    """Prompts of faces with deliberately degraded references, cached like all others.

    Args:
        segmenter: Computes the prompts.
        config: See ``PromptStore``.
        datapath: See ``PromptStore``.
        reference: The alteration of the reference, one of ``ALTERATIONS``.
    """

    def __init__(
        self,
        segmenter: OcclusionSegmenter,
        config: Config,
        datapath: Path | None,
        reference: str,
    ) -> None:
        super().__init__(segmenter, config, datapath)
        self.settings["reference"] = reference
        self.alter = ALTERATIONS[reference]

    @override
    def aligned_face(self, face: FaceFiles, oracle: bool = False) -> AlignedFace:
        return self.alter(super().aligned_face(face, oracle))


def store_for(
    reference: str, segmenter: OcclusionSegmenter, config: Config, datapath: Path
) -> PromptStore:
    """Create a store of prompts with a kind of reference; see ``Row``."""
    if reference in ALTERATIONS:
        return AlteredPromptStore(segmenter, config, datapath, reference)
    return PromptStore(segmenter, config, datapath)


def faces_for(reference: str, faces: Sequence[FaceFiles]) -> Sequence[FaceFiles]:
    """Return the faces with the files for a kind of reference; see ``Row``."""
    return with_next_references(faces) if reference == OTHER_REFERENCE else faces

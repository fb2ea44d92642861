"""The layout of the authors' own data: a numbered folder for each image.

It holds the image (``.jpg`` or ``.original``), ``Reference*.png``, ``*parsing_mask.npy`` and, where
the truth is known, an annotation drawn with LabelMe (``.json``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from typing_extensions import override

from s3pot.data.datasets.item import DatasetAdapter, DatasetError, DatasetItem, ItemLabels
from s3pot.data.datasets.labelme_folder import labelme_labels
from s3pot.data.face_folder import FaceFiles, find_faces, load_aligned_face
from s3pot.data.labelme import LabelPolicy


class AuthorsFolders(DatasetAdapter):
    """Working images with reference and parsing, and LabelMe files.

    Args:
        root: Folder of the numbered folders.
        policy: Which labels are occluders.
    """

    format_name = "authors"
    layout = "numbered folders with <image>.jpg, Reference*.png, *parsing_mask.npy and <image>.json"

    def __init__(self, root: Path, policy: LabelPolicy) -> None:
        super().__init__(root)
        self.policy = policy
        faces = [face for face in find_faces(root) if face.reference.name.startswith("Reference")]
        self.faces: dict[str, FaceFiles] = {face.name: face for face in faces}

    @override
    def items(self) -> Sequence[DatasetItem]:
        if not self.faces:
            raise DatasetError(f"{self.root} holds no {self.layout}.")
        return [DatasetItem(name, face.raw) for name, face in self.faces.items()]

    @override
    def labels(self, item: DatasetItem, size: tuple[int, int]) -> ItemLabels:
        face = self.faces[item.name]
        load_aligned_face(face)  # names a reference or parsing that is missing or does not fit
        if face.occlusion_truth is None:
            return ItemLabels()
        return labelme_labels(face.occlusion_truth, size, self.policy)

    @override
    def label_files(self, item: DatasetItem) -> Mapping[str, Path]:
        face = self.faces[item.name]
        files = {"reference": face.reference, "parsing": face.parsing}
        if face.occlusion_truth is not None:
            files["labels"] = face.occlusion_truth
        return files

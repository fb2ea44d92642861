"""Working images with references and parsings: the folder contract and the authors' layout.

In the authors' layout, a numbered folder for each image holds the image (``.jpg`` or
``.original``), ``Reference*.png``, ``*parsing_mask.npy`` and, if the ground truth is known, an
annotation drawn with LabelMe (``.json``).
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from typing_extensions import override

from s3pot.data.datasets.companions import files_by_owner
from s3pot.data.datasets.item import (
    DatasetAdapter,
    DatasetError,
    DatasetItem,
    ItemLabels,
    reserved_mark,
)
from s3pot.data.datasets.labelme_folder import labelme_labels
from s3pot.data.face_folder import (
    PARSING,
    REFERENCE,
    FaceFiles,
    find_faces,
    load_aligned_face,
    load_labels_of_image,
)
from s3pot.data.image import limit_of_size
from s3pot.data.label_policy import LabelPolicy
from s3pot.data.masks import read_mask_of_size
from s3pot.data.truth_paths import has_truth
from s3pot.labels import resize_labels


class FacesFolder(DatasetAdapter):
    """The layout that ``generate_reference.py`` writes.

    Args:
        root: Folder of the faces.
        policy: Which labels of LabelMe files are occluders.
    """

    format_name = "faces"
    layout = "<image>.png, <image>_ref.png and <image>_parsing_mask.npy, and truths beside them"

    def __init__(self, root: Path, policy: LabelPolicy) -> None:
        super().__init__(root)
        self.policy = policy
        self.faces: dict[str, FaceFiles] = {face.name: face for face in self._find(root)}

    def _find(self, root: Path) -> list[FaceFiles]:
        return find_faces(root)

    @override
    def items(self) -> Sequence[DatasetItem]:
        if not self.faces:
            raise DatasetError(f"{self.root} holds no {self.layout}.")
        return [
            DatasetItem(name, face.raw, problem=clash_of_names(name, self.faces))
            for name, face in self.faces.items()
        ]

    @override
    def labels(self, item: DatasetItem, size: tuple[int, int]) -> ItemLabels:
        face = self.faces[item.name]
        # Its errors name missing or mismatching files.
        parsed = load_aligned_face(face, max_pixels=limit_of_size(size)).parsing
        drawn = ItemLabels()
        occlusion: np.ndarray | None = None
        path = face.occlusion_truth
        if path is not None and path.suffix.lower() != ".json":
            occlusion = read_mask_of_size(path, size)
        elif path is not None and has_truth(path):
            drawn = labelme_labels(path, size, self.policy)
            occlusion = drawn.occlusion
        parsing: np.ndarray | None = None
        if face.true_parsing is not None:
            parsing = resize_labels(load_labels_of_image(face.true_parsing, size), size)
        return ItemLabels(
            occlusion=occlusion,
            visible_face=_mask(face.visible_face_truth, size, drawn.visible_face),
            ignored=_mask(face.ignore, size, drawn.ignored),
            parsing=parsing,
            parsed=resize_labels(parsed, size),
            shapes=drawn.shapes,
            oddities=drawn.oddities,
        )

    @override
    def label_files(self, item: DatasetItem) -> Mapping[str, Path]:
        face = self.faces[item.name]
        files = {
            "truth": face.occlusion_truth,
            "visible_face": face.visible_face_truth,
            "ignore": face.ignore,
            "true_parsing": face.true_parsing,
        }
        return {role: path for role, path in files.items() if path is not None}

    @override
    def companions(self, item: DatasetItem) -> Mapping[str, Path]:
        face = self.faces[item.name]
        named = {REFERENCE: face.reference, PARSING: face.parsing}  # the authors' have other names
        others = [face.raw, *named.values(), *self.label_files(item).values()]
        for ending, path in self._files_by_face.get(item.name, {}).items():
            if path not in others:
                named[ending] = path
        return named

    @cached_property
    def _files_by_face(self) -> Mapping[str, Mapping[str, Path]]:
        return files_by_owner(self.root, self.faces)


class AuthorsFolders(FacesFolder):
    """The authors' own layout; see the module's docstring."""

    format_name = "authors"
    layout = "numbered folders with <image>.jpg, Reference*.png, *parsing_mask.npy and <image>.json"

    @override
    def _find(self, root: Path) -> list[FaceFiles]:
        faces = find_faces(root)
        return [face for face in faces if face.reference.name.startswith("Reference")]


def clash_of_names(name: str, names: Container[str]) -> str | None:
    """Return why a face cannot lie beside the files of another one; None if it can.

    Beside prepared faces, ``face_folder`` tells the image of ``a_occlusion`` from the truth of
    ``a``; in a converted data set, each would replace the other.

    Args:
        name: The name of the face.
        names: The names of all faces.
    """
    mark = reserved_mark(name)
    other = name if mark is None else name[: -len(mark)]
    if mark is None or other not in names:
        return None
    return (
        f"The face {name!r} is named like a file of the face {other!r}, {mark} being the mark "
        "of files that s3pot writes; rename one of the two photos and prepare it again."
    )


def _mask(path: Path | None, size: tuple[int, int], drawn: np.ndarray | None) -> np.ndarray | None:
    """Read a mask beside a face or, without one, that of the LabelMe file."""
    return drawn if path is None else read_mask_of_size(path, size)

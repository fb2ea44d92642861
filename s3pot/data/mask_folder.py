"""Masks in a folder of ours or of another program, found by the names of the faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3pot.data.image import limit_of_size
from s3pot.data.masks import MARKS_FACE, find_mask, read_mask
from s3pot.labels import resize_labels
from s3pot.types import S3potError

SAME_SIZE = "exact"
RESIZE = "resize"
SIZES = (SAME_SIZE, RESIZE)


@dataclass(frozen=True)
class MaskFolder:
    """A folder of masks of the working images.

    The mask of a face ``a/b`` is ``a/b_occlusion.*`` or, for masks of the visible face,
    ``a/b_face.*``, as ``inference.py`` writes them; otherwise ``a/b.*``. Each may be an image with
    two values or a ``.npy`` array.

    Attributes:
        folder: The folder of the masks.
        polarity: What the masks mark: "occlusion" or "visible_face".
        size: "exact" refuses masks whose size differs from their images', "resize" resizes them.
    """

    folder: Path
    polarity: str
    size: str

    @property
    def marks_the_face(self) -> bool:
        """Whether the masks mark the visible face."""
        return self.polarity == MARKS_FACE

    def find(self, name: str) -> Path | None:
        """Find the mask of a face; None if there is none."""
        mask = find_mask(self.folder / f"{name}{self._ending}")
        return mask or find_mask(self.folder / name)

    @property
    def _ending(self) -> str:
        return "_face" if self.marks_the_face else "_occlusion"

    def require_distinct(self, names: Sequence[str]) -> None:
        """Make sure that each file is the mask of one face only.

        Args:
            names: The names of all faces.

        Raises:
            S3potError: The mask of a face is named like another face, such as ``a_occlusion``.
        """
        known = set(names)
        for name in names:
            other = f"{name}{self._ending}"
            path = self.find(name) if other in known else None
            if path is not None and path == self.find(other):
                raise S3potError(
                    f"{path} would be the mask of two faces, {name} and {other}. Add "
                    f"{other}{self._ending}.png, the mask of the second, or rename one of the two "
                    "faces."
                )

    def read(self, name: str, size: tuple[int, ...]) -> np.ndarray:
        """Read the mask of a face.

        Args:
            name: The face's name.
            size: Height and width of its working image.

        Returns:
            bool (H, W), what the mask marks.

        Raises:
            S3potError: The mask is missing, is not a mask, or has another size.
        """
        path = self.find(name)
        if path is None:
            raise S3potError(
                f"{self.folder} holds no mask of {name}: neither {name}{self._ending}.png nor "
                f"{name}.png nor either in another format"
            )
        mask = read_mask(path, max_pixels=limit_of_size(size))
        if mask.shape != tuple(size):
            if self.size != RESIZE:
                raise S3potError(
                    f"{path} is {mask.shape[1]} x {mask.shape[0]}, but its image is {size[1]} x "
                    f"{size[0]}. Write masks of the working images, as inference.py does, or "
                    "score them as a row of a suite with size: resize."
                )
            mask = resize_labels(mask, size)
        return mask

"""The ground truth of photos: found beside or apart from them, and cropped to their faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from s3pot.data.face_folder import CLEAN, IGNORE, OCCLUSION, TRUE_PARSING, VISIBLE_FACE, load_labels
from s3pot.data.image import read_rgb
from s3pot.data.label_policy import LabelPolicy
from s3pot.data.masks import read_mask_of_size
from s3pot.data.photos import Photo
from s3pot.data.truth import read_truth
from s3pot.data.truth_paths import find_further_truths, find_truth
from s3pot.geometry import Alignment
from s3pot.rg.warp import crop, crop_labels
from s3pot.types import S3potError


class PhotoTruths:
    """The ground truths of photos.

    Args:
        truth_dir: The folder that holds them; None if there are none.
        label_policy: Which labels of a LabelMe file count.
        max_pixels: Larger images are refused.
    """

    def __init__(self, truth_dir: Path | None, label_policy: LabelPolicy, max_pixels: int) -> None:
        self.truth_dir = truth_dir
        self.label_policy = label_policy
        self.max_pixels = max_pixels

    def paths(self, photo: Photo) -> dict[str, Path | None]:
        """Return the files of a photo's ground truth by their roles.

        Returns:
            The roles ``truth`` and ``clean``, None if there is no such file, and those of
            ``find_further_truths``.
        """
        return {
            "truth": self._truth_path(photo),
            "clean": self._clean_path(photo),
            **self._further_truths(photo),
        }

    def read(self, photo: Photo, size: Sequence[int]) -> dict[str, np.ndarray]:
        """Read the ground truth of a photo.

        Args:
            photo: The photo.
            size: Its height and width; further values are ignored.

        Returns:
            What exists, by the endings of the folder contract: masks, bool (H, W), the true class
            map, uint8 (H, W), and the true clean face, uint8 (h, w, 3).

        Raises:
            S3potError: A file is damaged, or has another size than the photo.
        """
        truths: dict[str, np.ndarray] = {}
        truth_path = self._truth_path(photo)
        if truth_path is not None:
            occlusion = read_truth(truth_path, size, self.label_policy, self.max_pixels)
            if occlusion is not None:
                truths[OCCLUSION] = occlusion
        for ending, path in self._further_truths(photo).items():
            if ending == TRUE_PARSING:
                truths[ending] = _labels_of_size(path, size)
            else:
                truths[ending] = read_mask_of_size(path, size, self.max_pixels)
        clean_path = self._clean_path(photo)
        if clean_path is not None:
            clean = read_rgb(clean_path, self.max_pixels)
            if clean.shape[:2] != size[:2]:
                raise S3potError(
                    f"{clean_path} has height and width {clean.shape[0]} and {clean.shape[1]}, but "
                    f"the photo has {size[0]} and {size[1]}; expected the same."
                )
            truths[CLEAN] = clean
        return truths

    def _truth_path(self, photo: Photo) -> Path | None:
        """Find the true occlusion of a photo; None if there is none."""
        if self.truth_dir is None:
            return None
        return find_truth(self.truth_dir, photo.name, photo.path)

    def _further_truths(self, photo: Photo) -> Mapping[str, Path]:
        """Find a photo's other ground truths, by the endings of the folder contract."""
        if self.truth_dir is None:
            return {}
        return find_further_truths(self.truth_dir, photo.name)

    def _clean_path(self, photo: Photo) -> Path | None:
        """Find the true clean face of a photo; None if there is none."""
        if self.truth_dir is None:
            return None
        path = self.truth_dir / f"{photo.name}{CLEAN}"
        return path if path.is_file() else None


def cropped_truths(truths: Mapping[str, np.ndarray], alignment: Alignment) -> dict[str, np.ndarray]:
    """Crop the ground truth of a face from that of its photo.

    A mask of the visible face says nothing about pixels outside the photo, so if there is one,
    these pixels are not counted.

    Args:
        truths: The ground truth of the photo, see ``PhotoTruths.read``.
        alignment: The position of the face in it.

    Returns:
        The ground truth of the working image, by the same endings.
    """
    cropped: dict[str, np.ndarray] = {}
    for ending, truth in truths.items():
        if ending == TRUE_PARSING:
            cropped[ending] = crop_labels(truth, alignment)
        else:
            cropped[ending] = crop(truth, alignment)
    if VISIBLE_FACE in truths:
        outside = ~crop(np.ones(alignment.photo_size, dtype=bool), alignment)
        if outside.any():
            cropped[IGNORE] = cropped.get(IGNORE, outside) | outside
    return cropped


def _labels_of_size(path: Path, size: Sequence[int]) -> np.ndarray:
    """Read the true class map of a photo of this height and width.

    Raises:
        S3potError: The map is damaged or has another size.
    """
    labels = load_labels(path)
    if labels.shape != tuple(size[:2]):
        raise S3potError(
            f"{path} is {labels.shape[1]} x {labels.shape[0]}, but its photo is {size[1]} x "
            f"{size[0]}; a true class map must have the size of its photo."
        )
    return labels

"""What the Python API returns: the masks of a face, as arrays, pictures and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from s3pot.data.image import ImageSource, limit_of_size, read_rgb, write_png
from s3pot.data.output_guard import refuse_face_or_result, result_files
from s3pot.geometry import Alignment
from s3pot.io import leads_outside, write_npy
from s3pot.occlusion_decision import occluded_share
from s3pot.quality import OK
from s3pot.report import vis
from s3pot.report.result_view import ResultView, result_figure, result_html
from s3pot.rg.warp import to_photo
from s3pot.types import Masks, S3potError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Segmentation(Masks):
    """A segmented face; all arrays are in the working frame, the image or its aligned crop.

    A notebook displays it with its pictures; ``plot`` returns them as a figure.

    Attributes:
        raw: The working image, uint8 (H, W, 3).
        reference: The clean face, uint8 (H, W, 3).
        points: Prompt points, float (N, 2), x, y in pixels of the working frame.
        labels: 1 is visible face, 0 is occlusion, int64 (N,).
        alignment: The transform back to the image, for ``s3pot.rg.warp.to_photo``.
        parts: Part of the face → share of it that is occluded, in [0, 1]; None if the parser found
            no such part.
        quality: ``ok``, or ``doubtful: `` followed by the reasons.
    """

    raw: np.ndarray
    reference: np.ndarray
    points: np.ndarray
    labels: np.ndarray
    alignment: Alignment
    parts: Mapping[str, float | None]
    quality: str

    @property
    def is_occluded(self) -> bool:
        """Whether anything is occluded."""
        return bool(self.occlusion.any())

    @property
    def occluded_share(self) -> float:
        """Share of the face region that is occluded, in [0, 1]."""
        return occluded_share(self.occlusion, self.occlusion | self.face)

    def __repr__(self) -> str:
        height, width = self.occlusion.shape
        return f"Segmentation({width} x {height}, {self._verdict()})"

    def overlay(self) -> np.ndarray:
        """Return the working image with the occlusion tinted and outlined, uint8 (H, W, 3)."""
        return vis.overlay(self.raw, self.occlusion)

    def in_photo(self) -> PhotoMasks:
        """Return the masks in the frame of the photo that was segmented."""
        return PhotoMasks(
            occlusion=to_photo(self.occlusion, self.alignment),
            face=to_photo(self.face, self.alignment),
        )

    def plot(self) -> Figure:
        """Return photo, reference, points and occlusion as a Matplotlib figure."""
        return result_figure(self._view())

    def save(self, folder: str | Path, name: str = "face") -> list[Path]:
        """Write ``<name>_occlusion.png``, ``_face.png``, ``_parsing.npy`` and ``_overlay.png``.

        Args:
            folder: Where to write; it need not exist.
            name: Start of the files' names; it may contain sub-folders (``a/b``).

        Returns:
            The paths of the files.

        Raises:
            S3potError: The folder is a file, the name leads outside of it, a file cannot be
                written, or one of the masks would replace a file that s3pot did not write, such as
                a ground truth, or a result of a run. Or a prepared face there has that name, so
                that the occlusion would count as its ground truth.
        """
        try:
            stem = _stem_for_results(folder, name)
            return self._write(Path(folder), stem, name)
        except OSError as error:
            raise S3potError(
                f"the results cannot be written to {folder} as {name!r}: "
                f"{error.strerror or error}; give another folder, or another name of the files"
            ) from error

    def _write(self, folder: Path, stem: Path, name: str) -> list[Path]:
        """Write the files of ``save``, whose paths begin with ``stem``."""
        refuse_face_or_result(stem)
        result_files(folder).require_written_by_s3pot([name])
        parsing_path = stem.with_name(f"{stem.name}_parsing.npy")
        write_npy(parsing_path, self.parsing)  # first, by which the others are recognized as ours
        pictures = {"occlusion": self.occlusion, "face": self.face, "overlay": self.overlay()}
        files = {key: stem.with_name(f"{stem.name}_{key}.png") for key in pictures}
        for key, pixels in pictures.items():
            write_png(files[key], pixels)
        return [*files.values(), parsing_path]

    def _repr_html_(self) -> str:
        return result_html(self._view())

    def _verdict(self) -> str:
        share = f"{self.occluded_share:.1%} occluded" if self.is_occluded else "not occluded"
        return share if self.quality == OK else f"{share}, {self.quality}"

    def _view(self) -> ResultView:
        return ResultView(
            image=self.raw,
            reference=self.reference,
            points=self.points,
            point_labels=self.labels,
            occlusion=self.occlusion,
            caption=self._verdict(),
        )


def _stem_for_results(folder: str | Path, name: str) -> Path:
    """Join the folder and the name of results.

    Raises:
        S3potError: No file can be written there, or it would be outside of the folder.
    """
    if not isinstance(folder, (str, Path)) or not isinstance(name, str):
        raise S3potError(
            f"the folder is {folder!r:.200} and the name is {name!r:.200}; expected a path and a "
            "text, such as save('out', 'face')"
        )
    folder = Path(folder)
    if "\0" in f"{folder}{name}" or leads_outside(name) or not PurePosixPath(name).name:
        raise S3potError(
            f"the name {name!r} does not name files in {folder}; give a name such as 'face' or "
            "'a/face', without '..' and zero bytes, and any other folder as the first argument"
        )
    stem = folder / name
    for place in stem.parents:
        if place.exists() and not place.is_dir():
            raise S3potError(
                f"the results cannot be written to {stem.parent}, because {place} is a file; give "
                "a folder, and the name of the files as the second argument"
            )
    return stem


@dataclass(frozen=True, eq=False)
class PhotoMasks:
    """The masks of a face in the photo's own frame, bool (H, W).

    Attributes:
        occlusion: Hidden parts of the face.
        face: Its visible parts.
    """

    occlusion: np.ndarray
    face: np.ndarray

    def overlay(self, photo: ImageSource) -> np.ndarray:
        """Return the photo with the occlusion tinted and outlined, uint8 (H, W, 3).

        Args:
            photo: The photo that was segmented; results do not keep it.

        Raises:
            S3potError: It cannot be read, or has another size.
        """
        pixels = read_rgb(photo, limit_of_size(self.occlusion.shape))
        if pixels.shape[:2] != self.occlusion.shape:
            raise S3potError(
                f"the photo is (height, width) {pixels.shape[:2]}, but the masks are "
                f"{self.occlusion.shape}; give the photo that was segmented"
            )
        return vis.overlay(pixels, self.occlusion)

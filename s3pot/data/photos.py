"""The photos of a run: the names of their faces, and which output file belongs to which photo."""

from __future__ import annotations

import bisect
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, takewhile
from pathlib import Path, PurePosixPath

from s3pot.data.face_folder import contract_names
from s3pot.data.folders import ignores_case
from s3pot.data.output_guard import OutputFiles
from s3pot.types import S3potError


@dataclass(frozen=True)
class Photo:
    """One photo of a folder.

    Attributes:
        path: The file.
        name: Stem of the files of its largest face; sub-folders are kept (``a/b``). Unique within
            a folder: a photo that cannot be processed because another one has this stem is called
            by its whole file name (``a/b.png``).
        problem: Why it cannot be processed, if that is known before it is read; otherwise None.
    """

    path: Path
    name: str
    problem: str | None = None

    @property
    def file(self) -> str:
        """Its path below the folder, with extension (``a/b.png``)."""
        return (PurePosixPath(self.name).parent / self.path.name).as_posix()


@dataclass(frozen=True)
class PhotoFolder:
    """The photos of a folder, and which photo owns which output file.

    Attributes:
        photos: Sorted by path.
        owners: For each file of a photo's largest face, relative to the output folder, the photo.
            On a disk that ignores case, the names are case-folded and their accents normalized.
        ignores_case: Whether the output folder's disk treats ``A.png`` and ``a.png`` as one file.
        outputs: What will be written for each face.
    """

    photos: tuple[Photo, ...]
    owners: Mapping[str, Path]
    ignores_case: bool = False
    outputs: Sequence[OutputFiles] = ()

    def rivals(self, photo: Photo) -> list[str]:
        """List photos whose names are those of further faces of a photo, ``a_face2`` for ``a``."""
        names = self._sorted_names
        beginning = f"{photo.name}_face"
        first = bisect.bisect_left(names, beginning)
        return list(takewhile(lambda name: name.startswith(beginning), islice(names, first, None)))

    @cached_property
    def _sorted_names(self) -> list[str]:
        """The names of the photos that may be processed."""
        return sorted(photo.name for photo in self.photos if photo.problem is None)

    def check(self, photo: Photo, faces: int = 1) -> None:
        """Make sure that a photo can be processed without overwriting the faces of others.

        It must be called before anything of the photo is written. The result depends only on the
        folder, not on what was processed before, so every process and every run decides alike.

        Args:
            photo: One of ``photos``.
            faces: The number of its faces to be written.

        Raises:
            S3potError: The photo has a problem, or one of its faces would replace a file of another
                photo or one that s3pot did not write.
        """
        if photo.problem is not None:
            raise S3potError(photo.problem)
        names = [face_name(photo.name, number) for number in range(1, faces + 1)]
        for output in self.outputs:
            output.require_written_by_s3pot(names)
        for number, name in enumerate(names, 1):
            for file in contract_names(name):
                owner = self.owners.get(_key(file, self.ignores_case), photo.path)
                if owner != photo.path:
                    raise S3potError(
                        f"Its face {number} would be called {name} and overwrite {file} of the "
                        f"photo {owner}. Rename one of the two photos."
                    )


def face_name(photo_name: str, number: int) -> str:
    """Name a face of a photo: ``a`` for the largest one, then ``a_face2``, ``a_face3``."""
    return photo_name if number == 1 else f"{photo_name}_face{number}"


def with_owners(
    photos: Sequence[Photo], output_dir: Path, outputs: Sequence[OutputFiles]
) -> PhotoFolder:
    """Assign each file of the photos' largest faces to the photo that writes it.

    Raises:
        S3potError: One of these files exists, and s3pot did not write it.
    """
    for output in outputs:
        output.require_written_by_s3pot(photo.name for photo in photos if photo.problem is None)
    folder_ignores_case = ignores_case(output_dir)
    owners: dict[str, Path] = {}
    for photo in photos:
        if photo.problem is None:
            for file in contract_names(photo.name):
                owners.setdefault(_key(file, folder_ignores_case), photo.path)
    return PhotoFolder(tuple(photos), owners, folder_ignores_case, tuple(outputs))


def _key(file: str, ignores_case: bool) -> str:
    """Return a key that is equal for two names that a disk treats as one."""
    return unicodedata.normalize("NFC", file).casefold() if ignores_case else file

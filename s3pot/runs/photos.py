"""The photos of an input folder, and which files each of them will make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from s3pot.data.face_folder import output_files
from s3pot.types import S3potError


@dataclass(frozen=True)
class PhotoFile:
    """One input file.

    Attributes:
        path: Where it is.
        name: Stem of the files made from it; sub-folders are kept (``a/b``).
        claimed_by: The file that comes before it and takes the same names; None if none does.
    """

    path: Path
    name: str
    claimed_by: Path | None = None


def find_photos(input_dir: Path, output_dir: Path) -> list[PhotoFile]:
    """Find all files that are not hidden, sorted; an output folder inside is left out.

    Raises:
        S3potError: There is no such folder, nothing in it, or it is the output folder too.
    """
    results = output_dir.resolve()
    if input_dir.resolve() == results:
        raise S3potError(
            f"--output_dir is the input folder {input_dir}; choose another one, for references "
            "would be taken for photos"
        )
    photos: list[PhotoFile] = []
    owners: dict[Path, Path] = {}  # file to be written → photo it is made from
    for path in sorted(input_dir.rglob("*")):
        where = path.relative_to(input_dir)
        is_hidden = any(part.startswith(".") for part in where.parts)
        if is_hidden or not path.is_file() or results in path.resolve().parents:
            continue
        name = where.with_suffix("").as_posix()
        others = [owners.setdefault(file, path) for file in files_of(Path(), name)]
        claimed_by = next((other for other in others if other != path), None)  # a.jpg and a.png
        photos.append(PhotoFile(path, name, claimed_by))
    if not photos:
        raise S3potError(f"--input_dir {input_dir} holds no files; expected a folder of photos")
    return photos


def files_of(folder: Path, name: str) -> list[Path]:
    """List the files that may be written for a face."""
    files = output_files(folder, name)
    paths = (
        files.raw,
        files.reference,
        files.parsing,
        files.align,
        files.occlusion_truth,
        files.clean,
    )
    return [path for path in paths if path is not None]

"""Companions: the files of an image that are named like it, such as ``a_clean.png`` of ``a.png``.

A file belongs to the image in its folder with the longest name that its own name begins with, where
``_`` or ``.`` follows: of the images ``a`` and ``a_b``, the file ``a_b_clean.png`` belongs to
``a_b``, and ``a.jpg.xmp`` belongs to ``a``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePath

from s3pot.data.folders import walk


def owner_of(file: PurePath, names: Collection[str]) -> str | None:
    """Return the name of the image that a file belongs to; None if there is none.

    Args:
        file: The file, relative to the folder to which the names are relative.
        names: The names of all images.
    """
    path = file.as_posix()
    folder_length = len(path) - len(file.name)
    for end in range(folder_length + len(file.stem), folder_length, -1):
        # "" follows a name without extension.
        if path[end : end + 1] in ("_", ".", "") and path[:end] in names:
            return path[:end]
    return None


def files_by_owner(
    folder: Path, names: Collection[str], files: Iterable[Path] | None = None
) -> Mapping[str, Mapping[str, Path]]:
    """Find the files of images in a folder and its sub-folders.

    Args:
        folder: The folder to which the names are relative.
        names: The names of all images.
        files: All files in the folder, if they are already known.

    Returns:
        Image name → ending, which is what follows the name (``_clean.png``) → file. Images without
        a file are missing.
    """
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in walk(folder).files if files is None else files:
        relative = path.relative_to(folder)
        owner = owner_of(relative, names)
        if owner is not None:
            found[owner][relative.as_posix()[len(owner) :]] = path
    return dict(found)

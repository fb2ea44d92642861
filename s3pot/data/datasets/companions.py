"""Companions: the files of an image that are named like it, such as ``a_clean.png`` of ``a.png``.

A file belongs to the image in its folder with the longest name that its own name begins with, where
``_`` or ``.`` follows: of the images ``a`` and ``a_b``, the file ``a_b_clean.png`` belongs to
``a_b``, and ``a.jpg.xmp`` belongs to ``a``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path, PurePath

from s3pot.data.folders import walk


def owner_of(file: PurePath, names: Collection[str]) -> str | None:
    """Return the name of the image that a file belongs to; None if there is none.

    Args:
        file: The file, relative to the folder to which the names are relative.
        names: The names of all images.
    """
    for end in range(len(file.stem), 0, -1):
        if file.name[end : end + 1] in ("_", ".", ""):  # "" follows a name without extension
            name = (file.parent / file.name[:end]).as_posix()
            if name in names:
                return name
    return None


def files_by_owner(folder: Path, names: Collection[str]) -> Mapping[str, Mapping[str, Path]]:
    """Find the files of images in a folder and its sub-folders.

    Args:
        folder: The folder to which the names are relative.
        names: The names of all images.

    Returns:
        Image name → ending, which is what follows the name (``_clean.png``) → file. Images without
        a file are missing.
    """
    files: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in walk(folder).files:
        relative = path.relative_to(folder)
        owner = owner_of(relative, names)
        if owner is not None:
            files[owner][relative.as_posix()[len(owner) :]] = path
    return dict(files)

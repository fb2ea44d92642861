"""Walking a data folder: links are followed, loops are not, hidden folders are left out.

Folders in which operating systems keep files of their own (thumbnails, resource forks, trash) are
left out as well.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)


SYSTEM_FOLDERS = ("@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "System Volume Information")


@dataclass(frozen=True)
class FolderTree:
    """The contents of a folder, including its sub-folders.

    Attributes:
        folders: The folder itself and all below it, sorted by path, each real folder once; those
            that cannot be read are missing.
        files: All files in them, sorted by path.
        dead_links: Links to something that does not exist, sorted.
    """

    folders: tuple[Path, ...]
    files: tuple[Path, ...]
    dead_links: tuple[Path, ...]


def walk(root: Path, leave_out: Path | None = None) -> FolderTree:
    """List everything below a folder.

    Args:
        root: An existing folder.
        leave_out: A folder to skip, such as that of the results.

    Returns:
        The tree. A folder that is reached twice through a link is listed once, under its real path
        if that lies in the tree; a link to a folder that contains ``root`` is not followed. A
        folder that cannot be read is left out with a warning.
    """
    seen = set(root.resolve().parents)
    if leave_out is not None:
        seen.add(leave_out.resolve())
    folders: list[Path] = []
    files: list[Path] = []
    dead_links: list[Path] = []
    waiting = [root]
    linked: list[Path] = []  # entered after all real folders
    while waiting or linked:
        folder = waiting.pop() if waiting else linked.pop(0)
        place = folder.resolve()
        if place in seen:
            logger.debug("%s is not entered: %s is already listed or contains it", folder, place)
            continue
        seen.add(place)
        try:
            entries = _entries(folder)
        except OSError as error:
            logger.warning("the folder %s is left out: %s", folder, error.strerror or error)
            continue
        folders.append(folder)
        files += entries.files
        dead_links += entries.dead_links
        for path in entries.folders:
            (linked if path.is_symlink() else waiting).append(path)
    return FolderTree(tuple(sorted(folders)), tuple(sorted(files)), tuple(sorted(dead_links)))


def ignores_case(folder: Path) -> bool:
    """Whether a folder's disk treats ``A.png`` and ``a.png`` as one file, as exFAT and SMB do.

    The test uses the nearest existing parent folder that has letters in its name.
    """
    for place in (folder.absolute(), *folder.absolute().parents):
        other = place.parent / place.name.swapcase()  # a root has neither name nor letters
        if place.exists() and other != place:
            return other.exists() and other.samefile(place)
    return False


def _entries(folder: Path) -> FolderTree:
    """List what lies directly in a folder.

    Raises:
        OSError: The folder, or what it contains, may not be read.
    """
    folders = []
    files = []
    dead_links = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in SYSTEM_FOLDERS:
            continue
        if path.is_dir():
            folders.append(path)
        elif path.is_file():
            files.append(path)
        elif path.is_symlink():
            dead_links.append(path)
    return FolderTree(tuple(folders), tuple(files), tuple(dead_links))

"""Which file holds the ground truth of a face or a photo.

A ground truth is the first of these three that exists:

1. ``<stem>_occlusion.png``: the occlusion itself, including its parts outside the parsed region.
2. ``<stem>.json``: an annotation drawn with LabelMe, whose shapes are the occluders.
3. ``<stem>_visible_face.png``: the visible face.

In addition, ``<stem>_ignore.png`` marks pixels excluded from all scores, and
``<stem>_true_parsing.npy`` holds the true parts of the face, of which the glasses are used.
``truth.py`` reads these files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from s3pot.data.face_folder import IGNORE, TRUE_PARSING, VISIBLE_FACE, FaceFiles, find_faces
from s3pot.data.labelme import find_labelme, holds_shapes
from s3pot.data.masks import find_mask
from s3pot.types import S3potError

TRUTH_ROLES = ("truth", "visible_face", "ignore", "true_parsing")  # keys of ``truth_files``


def faces_with_truth(datapath: Path) -> list[FaceFiles]:
    """Find the faces of a folder that can be scored, sorted by name.

    A JSON file of another tool, without LabelMe's ``shapes``, is not a ground truth.

    Raises:
        S3potError: There are none.
    """
    faces = [face for face in find_faces(datapath) if truth_file(face) is not None]
    if not faces:
        raise S3potError(
            f"No face in {datapath} has a truth: <stem>_occlusion.png, a LabelMe <stem>.json or "
            f"<stem>{VISIBLE_FACE}. generate_reference.py --truth_dir brings the truth of photos "
            "along."
        )
    return faces


def truth_file(face: FaceFiles) -> Path | None:
    """Return the ground-truth file of a face; None if there is none."""
    if has_truth(face.occlusion_truth):
        return face.occlusion_truth
    return face.visible_face_truth


def known_truth_file(face: FaceFiles) -> Path | None:
    """Return the file of a face known to have a truth; JSON is opened only if in doubt."""
    is_only_one = face.visible_face_truth is None
    return face.occlusion_truth if is_only_one else truth_file(face)


def truth_files(face: FaceFiles) -> dict[str, Path | None]:
    """Return all files of a face's ground truth by their roles.

    The role ``truth`` is always among them, the others only if their files exist.
    """
    paths = (face.occlusion_truth, face.visible_face_truth, face.ignore, face.true_parsing)
    files = dict(zip(TRUTH_ROLES, paths))
    return {role: path for role, path in files.items() if role == "truth" or path is not None}


def has_truth(path: Path | None) -> bool:
    """Whether a file exists and is a ground truth."""
    if path is None:
        return False
    return path.suffix.lower() != ".json" or holds_shapes(path)


def find_truth(truth_dir: Path, name: str, photo: Path | None = None) -> Path | None:
    """Find the true occlusion of a photo.

    Args:
        truth_dir: Folder of ground truths; it may be that of the photos.
        name: The photo's path below its own folder, without its extension (``a/b``).
        photo: The photo, which is not its own truth.

    Returns:
        The first that exists of ``<name>_occlusion.png`` (or another mask file), a LabelMe
        ``<name>.json``, and a mask ``<name>.png`` (or another mask file); None if there is none.
    """
    stem = truth_dir / name
    mask = find_mask(stem.with_name(f"{stem.name}_occlusion"))
    if mask is not None:
        return mask
    annotation = find_labelme(stem)
    if annotation is not None:
        return annotation
    if photo is not None and photo.parent.resolve() == stem.parent.resolve():
        return None
    return find_mask(stem)


def find_further_truths(truth_dir: Path, name: str) -> Mapping[str, Path]:
    """Find the other ground-truth files of a photo, besides its occlusion.

    Args:
        truth_dir: Folder of ground truths.
        name: The photo's path below its own folder, without its extension.

    Returns:
        The files that exist of ``VISIBLE_FACE``, ``IGNORE`` and ``TRUE_PARSING``, by these endings.
        Masks may be of any format that ``masks`` reads.
    """
    truths = {}
    for ending in (VISIBLE_FACE, IGNORE):
        path = find_mask(truth_dir / f"{name}{Path(ending).stem}")
        if path is not None:
            truths[ending] = path
    parsing = truth_dir / f"{name}{TRUE_PARSING}"
    if parsing.is_file():
        truths[TRUE_PARSING] = parsing
    return truths

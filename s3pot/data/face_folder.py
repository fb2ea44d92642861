"""The folder contract: the files of a face, their names, and how they are read.

Reference generation writes ``<stem>.png``, ``<stem>_ref.png``, ``<stem>_parsing_mask.npy``,
``<stem>_align.json`` and, if the ground truth is known, ``<stem>_occlusion.png`` or
``<stem>_visible_face.png``, ``<stem>_ignore.png``, ``<stem>_true_parsing.npy`` and
``<stem>_clean.png``; all other commands read them. The authors' own layout (one numbered folder per
image) is read as well.
"""

from __future__ import annotations

import logging
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from s3pot.data.folders import walk
from s3pot.data.image import MAX_PIXELS, read_rgb
from s3pot.data.labelme import JSON_FILES, LABELME_SUFFIXES
from s3pot.data.masks import mask_names
from s3pot.io import BadFile, read_npy_map
from s3pot.labels import NUM_CLASSES
from s3pot.types import AlignedFace, S3potError
from s3pot.wording import counted

logger = logging.getLogger(__name__)

RAW = ".png"
REFERENCE = "_ref.png"
PARSING = "_parsing_mask.npy"
ALIGN = "_align.json"
OCCLUSION = "_occlusion.png"
VISIBLE_FACE = "_visible_face.png"
IGNORE = "_ignore.png"
TRUE_PARSING = "_true_parsing.npy"
CLEAN = "_clean.png"
TRUTH_ENDINGS = (OCCLUSION, VISIBLE_FACE, IGNORE, TRUE_PARSING, CLEAN)
CONTRACT_ENDINGS = (REFERENCE, PARSING, ALIGN, *TRUTH_ENDINGS)  # endings of files written by s3pot
CACHE = ".s3pot_cache"


class BadFace(S3potError):
    """One of a face's files is missing, damaged or does not match the others."""


@dataclass(frozen=True)
class FaceFiles:
    """The paths of the files of one face.

    Attributes:
        name: Stem relative to the data folder, including sub-folders (``a/b``).
        raw: Working image.
        reference: Clean face of the same size.
        parsing: 12-class map, ``.npy``.
        align: The alignment, which leads back to the photo.
        occlusion_truth: Ground truth, a mask file or LabelMe JSON.
        visible_face_truth: Mask of the true visible face; see ``truth``.
        ignore: Mask of the pixels excluded from all scores.
        true_parsing: True 12-class map, ``.npy``.
        clean: True clean face, known for drawn faces only.
    """

    name: str
    raw: Path
    reference: Path
    parsing: Path
    align: Path | None = None
    occlusion_truth: Path | None = None
    visible_face_truth: Path | None = None
    ignore: Path | None = None
    true_parsing: Path | None = None
    clean: Path | None = None


def output_files(folder: Path, name: str) -> FaceFiles:
    """Return all paths of a face under the contract, whether or not they exist."""
    return FaceFiles(
        name=name,
        raw=folder / f"{name}{RAW}",
        reference=folder / f"{name}{REFERENCE}",
        parsing=folder / f"{name}{PARSING}",
        align=folder / f"{name}{ALIGN}",
        occlusion_truth=folder / f"{name}{OCCLUSION}",
        visible_face_truth=folder / f"{name}{VISIBLE_FACE}",
        ignore=folder / f"{name}{IGNORE}",
        true_parsing=folder / f"{name}{TRUE_PARSING}",
        clean=folder / f"{name}{CLEAN}",
    )


def contract_names(name: str) -> list[str]:
    """List all files that may be written for a face, relative to the output folder."""
    return [f"{name}{ending}" for ending in (RAW, *CONTRACT_ENDINGS)]


def face_from(
    raw: Path,
    reference: Path,
    parsing: Path,
    name: str | None = None,
    neighbors: Set[str] | None = None,
) -> FaceFiles:
    """Build a face from three given files; the optional files are those found beside ``raw``.

    Args:
        raw: Working image.
        reference: Clean face.
        parsing: 12-class map.
        name: The face's name; None for the stem of ``raw``.
        neighbors: Names of the files beside ``raw``, if they are already known.
    """
    if neighbors is None:
        neighbors = {path.name for path in raw.parent.glob("*")}
    clean = raw.stem + CLEAN
    truth = _mask_beside(raw, OCCLUSION, neighbors) or _labelme_beside(raw, neighbors)
    return FaceFiles(
        name=name or raw.stem,
        raw=raw,
        reference=reference,
        parsing=parsing,
        align=_existing(raw.with_name(raw.stem + ALIGN)),
        occlusion_truth=truth,
        visible_face_truth=_mask_beside(raw, VISIBLE_FACE, neighbors),
        ignore=_mask_beside(raw, IGNORE, neighbors),
        true_parsing=_existing(raw.with_name(raw.stem + TRUE_PARSING)),
        clean=None if _is_face(clean, neighbors) else _existing(raw.with_name(clean)),
    )


def _is_face(name: str, neighbors: Set[str]) -> bool:
    """Whether a file is the image of a face, whatever its name: ``a_occlusion.png`` may be one."""
    return name.endswith(RAW) and f"{name[: -len(RAW)]}{PARSING}" in neighbors


def _mask_beside(raw: Path, ending: str, neighbors: Set[str]) -> Path | None:
    """Find a mask beside an image, in any file format."""
    for name in mask_names(raw.stem + PurePath(ending).stem):
        if name in neighbors and not _is_face(name, neighbors):
            return _existing(raw.with_name(name))
    return None


def _labelme_beside(raw: Path, neighbors: Set[str]) -> Path | None:
    """Find a JSON file beside an image; it is not opened, and may be of another tool."""
    for suffix in LABELME_SUFFIXES:
        if raw.stem + suffix in neighbors:
            return _existing(raw.with_name(raw.stem + suffix))
    return None


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def find_faces(datapath: Path) -> list[FaceFiles]:
    """Find all faces below a folder, sorted by name; linked folders are followed.

    An incomplete face is returned too if its map, or its image and reference, exist: the error
    raised on reading it names what is missing.

    Raises:
        S3potError: The folder does not exist, is a file, or holds no face.
    """
    if datapath.is_file():
        raise S3potError(
            f"{datapath} is a file; expected the folder that generate_reference.py writes."
        )
    if not datapath.is_dir():
        raise S3potError(f"The folder {datapath} does not exist; generate_reference.py writes one.")
    faces: dict[str, FaceFiles] = {}
    tree = walk(datapath)
    names: dict[Path, set[str]] = {folder: set() for folder in tree.folders}
    for path in (*tree.files, *tree.dead_links):
        names[path.parent].add(path.name)
    for folder in tree.folders:
        where = folder.relative_to(datapath)
        faces_here = _authors_face(folder, where)
        if not faces_here:
            faces_here = _contract_faces(folder, where, names[folder])
        faces.update({face.name: face for face in faces_here})
    if tree.dead_links:
        links = ", ".join(str(link) for link in tree.dead_links[:4])
        broken = counted(len(tree.dead_links), "broken link")
        logger.warning("%s below %s, such as %s", broken, datapath, links)
    if not faces:
        raise S3potError(
            f"{datapath} holds no face; generate_reference.py writes <stem>{RAW}, "
            f"<stem>{REFERENCE} and <stem>{PARSING} for each."
        )
    return [faces[name] for name in sorted(faces)]


def _contract_faces(folder: Path, where: Path, names: Set[str]) -> list[FaceFiles]:
    """Find the faces among the files of a folder under the contract, in any order."""
    stems = {name[: -len(PARSING)] for name in names if name.endswith(PARSING)}
    if "" in stems:
        logger.warning("%s is not read: its name lacks that of an image", folder / PARSING)
        stems.remove("")
    for name in names:
        stem = name[: -len(REFERENCE)]
        # Only with an image: the image of a face called x_ref is not a reference of a face called
        # x.
        if name.endswith(REFERENCE) and f"{stem}{RAW}" in names:
            stems.add(stem)
    faces = []
    for stem in stems:
        files = output_files(folder, stem)
        name = (where / stem).as_posix()
        faces.append(face_from(files.raw, files.reference, files.parsing, name, names))
    return faces


def _authors_face(folder: Path, where: Path) -> list[FaceFiles]:
    """Find the face of a folder in the authors' layout; empty if the layout is different."""
    if not folder.name.isdigit() or not any(folder.glob("Reference*.png")):
        return []
    face = FaceFiles(
        name=where.as_posix() if where.parts else folder.name,
        raw=_first(folder, "*.jpg", "*.original"),
        reference=_first(folder, "Reference*.png"),
        parsing=_first(folder, "*parsing_mask.npy"),
        occlusion_truth=_existing(_first(folder, JSON_FILES)),
    )
    return [face]


def _first(folder: Path, *patterns: str) -> Path:
    """Return the first file of the first pattern that matches, or a path that names the gap."""
    for pattern in patterns:
        matches = sorted(folder.glob(pattern))
        if matches:
            return matches[0]
    return folder / patterns[0]


def cache_folder(datapath: Path) -> Path:
    """Return a data folder's cache folder; ``train`` and ``val`` share that of their parent."""
    whole = datapath.resolve()
    return (whole.parent if whole.name in ("train", "val") else whole) / CACHE


def load_labels(path: Path) -> np.ndarray:
    """Read a 12-class map.

    Args:
        path: ``.npy`` with integer values of any type, (H, W), (1, H, W) or (H, W, 1).

    Returns:
        uint8 (H, W), values 0..11.

    Raises:
        BadFace: The file is missing, damaged, or holds something else.
    """
    try:
        labels = read_npy_map(path)
    except BadFile as error:
        raise BadFace(f"{error} generate_reference.py writes it again.") from error
    if labels.ndim != 2 or labels.dtype.kind not in "buif" or labels.size == 0:
        raise BadFace(
            f"{path} holds {labels.dtype} of shape {labels.shape}; expected a class map (H, W) of "
            f"integers from 0 to {NUM_CLASSES - 1}."
        )
    low = labels.min()
    high = labels.max()
    in_range = low >= 0 and high < NUM_CLASSES  # False for NaN
    if not in_range or not np.array_equal(labels, labels.astype(np.uint8)):
        raise BadFace(
            f"{path} holds values {low} to {high}; expected integers from 0 to "
            f"{NUM_CLASSES - 1}, the classes of s3pot. generate_reference.py writes them."
        )
    return labels.astype(np.uint8)


def load_labels_of_image(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Read a class map whose image has this height and width.

    Returns:
        uint8 (H', W'), values 0..11; of any size, with the aspect ratio of its image but for
        rounding, or square: the parser squeezes an image that is not.

    Raises:
        BadFace: As for ``load_labels``; also if it has neither aspect ratio.
    """
    labels = load_labels(path)
    height, width = size
    difference = abs(labels.shape[0] * width - labels.shape[1] * height)
    is_square = labels.shape[0] == labels.shape[1]
    if not is_square and difference > max(*labels.shape, *size):
        raise BadFace(
            f"{path} is {_size_text(labels)}, but its image is {width} x {height}: the aspect "
            "ratios differ, so the frames do too. Run generate_reference.py again."
        )
    return labels


def load_aligned_face(
    face: FaceFiles, oracle: bool = False, max_pixels: int = MAX_PIXELS
) -> AlignedFace:
    """Read image, reference and parsing of a face.

    Args:
        face: Its files.
        oracle: Use the true clean face as the reference.
        max_pixels: Larger images are refused.

    Returns:
        The face; image and reference have the same size, the parsing may have another one.

    Raises:
        BadFace, BadImage: A file is missing, damaged or in a different frame.
    """
    reference_path = face.reference
    if oracle:
        if face.clean is None:
            raise BadFace(
                f"{face.name}{CLEAN} is missing; generate_reference.py --truth_dir writes it."
            )
        reference_path = face.clean
    image = read_rgb(face.raw, max_pixels)
    reference = read_rgb(reference_path, max_pixels)
    if image.shape != reference.shape:
        raise BadFace(
            f"{face.raw} is {_size_text(image)}, but {reference_path} is {_size_text(reference)}. "
            "Both must have the same frame: run generate_reference.py again."
        )
    return AlignedFace(
        name=face.name,
        image=image,
        parsing=load_labels_of_image(face.parsing, (image.shape[0], image.shape[1])),
        reference=reference,
    )


def _size_text(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"

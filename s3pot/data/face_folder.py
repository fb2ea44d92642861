"""The folder contract: a face's files, their names, and how they are read.

Reference generation writes ``<stem>.png``, ``<stem>_ref.png``, ``<stem>_parsing_mask.npy``,
``<stem>_align.json`` and, where truth is known, ``<stem>_occlusion.png`` and ``<stem>_clean.png``;
everything else reads them. The authors' own layout (one numeric folder per image) is read too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3pot.data.image import read_rgb
from s3pot.labels import NUM_CLASSES
from s3pot.types import AlignedFace, S3potError

REFERENCE, PARSING = "_ref.png", "_parsing_mask.npy"
ALIGN, OCCLUSION, CLEAN = "_align.json", "_occlusion.png", "_clean.png"
CACHE = ".s3pot_cache"


class BadFace(S3potError):
    """A member of a face's files is missing, damaged or does not fit the others."""


@dataclass(frozen=True)
class FaceFiles:
    """Paths of one face.

    Attributes:
        name: Stem relative to the data folder, sub-folders kept (``a/b``).
        raw: Working image.
        reference: Clean face of the same size.
        parsing: 12-class map, ``.npy``.
        align: The way back to the photo.
        occlusion_truth: Ground truth, PNG or LabelMe JSON.
        clean: True clean face, known for drawn faces only.
    """

    name: str
    raw: Path
    reference: Path
    parsing: Path
    align: Path | None = None
    occlusion_truth: Path | None = None
    clean: Path | None = None


def output_files(folder: Path, name: str) -> FaceFiles:
    """All paths of a face under the contract, whether or not they exist yet."""
    ends = (".png", REFERENCE, PARSING, ALIGN, OCCLUSION, CLEAN)
    return FaceFiles(name, *(Path(f"{folder / name}{end}") for end in ends))


def face_from(raw: Path, reference: Path, parsing: Path, name: str | None = None) -> FaceFiles:
    """A face of three given files; the optional ones are those that lie beside ``raw``."""
    ends = (ALIGN, OCCLUSION, CLEAN, ".json")
    beside = [raw.with_name(raw.stem + end) for end in ends]
    align, truth, clean, labelme = (path if path.is_file() else None for path in beside)
    return FaceFiles(name or raw.stem, raw, reference, parsing, align, truth or labelme, clean)


def find_faces(datapath: Path) -> list[FaceFiles]:
    """All faces below a folder, sorted by name; S3potError where there is none.

    An incomplete face is returned too, if its map, or picture and reference, are there: reading
    it names what is missing.
    """
    if not datapath.is_dir():
        raise S3potError(f"there is no folder {datapath}; generate_reference.py writes one")
    faces: dict[str, FaceFiles] = {}
    for folder in [datapath, *(path for path in sorted(datapath.rglob("*")) if path.is_dir())]:
        where = folder.relative_to(datapath)
        if not any(part.startswith(".") for part in where.parts):
            found = _authors_face(folder, where) or _contract_faces(folder, where)
            faces.update({face.name: face for face in found})
    if not faces:
        wanted = f"<stem>.png, <stem>{REFERENCE} and <stem>{PARSING}"
        raise S3potError(f"{datapath} holds no face: generate_reference.py writes {wanted}")
    return [faces[name] for name in sorted(faces)]


def _contract_faces(folder: Path, where: Path) -> list[FaceFiles]:
    names = {path.name for path in folder.iterdir()}
    parsed = {n[: -len(PARSING)] for n in names if n.endswith(PARSING)}
    # Not without a picture: that of a face called x_ref is no reference of a face called x.
    referred = {n[: -len(REFERENCE)] for n in names if n.endswith(REFERENCE)}
    pictured = {stem for stem in referred if f"{stem}.png" in names}
    files = [output_files(folder, stem) for stem in parsed | pictured]
    return [face_from(f.raw, f.reference, f.parsing, (where / f.name).as_posix()) for f in files]


def _authors_face(folder: Path, where: Path) -> list[FaceFiles]:
    if not folder.name.isdigit() or not any(folder.glob("Reference*.png")):
        return []
    name = where.as_posix() if where.parts else folder.name
    raw, truth = _first(folder, "*.jpg", "*.original"), _first(folder, "*.json")
    reference, parsing = _first(folder, "Reference*.png"), _first(folder, "*parsing_mask.npy")
    return [FaceFiles(name, raw, reference, parsing, None, truth if truth.is_file() else None)]


def _first(folder: Path, *patterns: str) -> Path:
    """First file of the first pattern that has any, else a path that names what is missing."""
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    return found[0] if found else folder / patterns[0]


def cache_folder(datapath: Path) -> Path:
    """Where the features of a data folder are kept; ``train`` and ``val`` share their parent's."""
    whole = datapath.resolve()
    return (whole.parent if whole.name in ("train", "val") else whole) / CACHE


def load_labels(path: Path) -> np.ndarray:
    """Read a 12-class map as uint8 (H, W), values 0..11; BadFace names what is wrong with it."""
    try:
        labels = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BadFace(f"{path} is missing or damaged ({error}): generate_reference.py") from error
    if labels.ndim == 3 and 1 in (labels.shape[0], labels.shape[2]):
        labels = labels.squeeze(0 if labels.shape[0] == 1 else 2)
    if labels.ndim != 2 or labels.dtype.kind not in "buif" or not labels.size:
        raise BadFace(f"{path} holds {labels.dtype} of shape {labels.shape}; expected (H, W)")
    low, high = labels.min(), labels.max()
    if not (low >= 0 and high < NUM_CLASSES and np.array_equal(labels, labels.astype(np.uint8))):
        raise BadFace(f"{path} holds values {low} to {high}; expected classes 0 to 11")
    return labels.astype(np.uint8)


def load_aligned_face(face: FaceFiles, oracle: bool = False) -> AlignedFace:
    """Read image, reference and parsing; the first two agree in size, the parsing may have any.

    ``oracle`` takes the true clean face as the reference. S3potError names a member that is
    missing, damaged or of another frame.
    """
    if oracle and face.clean is None:
        raise BadFace(f"{face.name}{CLEAN} is missing; generate_reference.py --truth_dir brings it")
    chosen = face.clean if oracle and face.clean else face.reference
    image, reference = read_rgb(face.raw), read_rgb(chosen)
    if image.shape != reference.shape:
        sizes = f"{face.raw} is {_size(image)}, but {chosen} is {_size(reference)}"
        raise BadFace(f"{sizes}; both must show one frame: run generate_reference.py again")
    return AlignedFace(face.name, image, load_labels(face.parsing), reference)


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"

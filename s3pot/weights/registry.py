"""The official weight files: their names, where they come from, where they lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from s3pot.types import S3potError
from s3pot.weights.hashing import checked_sha256

_META = "https://dl.fbaipublicfiles.com/segment_anything/"
_DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
_ZOO = "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/"
_E4S = "E4S regional GAN inversion; github.com/e4s2022/e4s"
_SEGNEXT = "SegNeXt face parser, optional; ask for it at github.com/e4s2022/e4s"
_SHA256 = {
    "sam_vit_h": "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    "sam_vit_l": "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    "sam_vit_b": "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
}


class MissingWeights(S3potError):
    """A weight file is not where it should be; the text says how to get it."""


@dataclass(frozen=True)
class WeightFile:
    """One published file."""

    name: str  # what configs and commands call it
    file: str  # its name inside the weights folder
    url: str | None = None  # None where only a person can fetch it
    sha256: str | None = None  # None where nobody published it: pinned on first use
    size: int | None = None  # bytes, or None where nobody published it
    licence: str = "not known here; see its authors' page"
    note: str = ""  # what it is and where its authors offer it


def _sam(name: str, file: str, size: int) -> WeightFile:
    note = "Segment Anything; github.com/facebookresearch/segment-anything"
    return WeightFile(name, file, _META + file, _SHA256[name], size, "Apache-2.0", note)


_FILES = (
    _sam("sam_vit_h", "sam_vit_h_4b8939.pth", 2_564_550_879),
    _sam("sam_vit_l", "sam_vit_l_0b3195.pth", 1_249_524_607),
    _sam("sam_vit_b", "sam_vit_b_01ec64.pth", 375_042_383),
    WeightFile(
        "bisenet",
        "79999_iter.pth",
        _DRIVE + "154JgKpzCPW82qINcVieuPH3fZ2e0P812",
        "468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567",
        53_289_463,
        "MIT (code); trained on CelebAMask-HQ, non-commercial research",
        "BiSeNet face parser, 19 classes; github.com/zllrunning/face-parsing.PyTorch",
    ),
    WeightFile(
        "e4s", "iteration_300000.pt", _DRIVE + "1cyJTYRO5G4kcugAcgSJ7cMsE96GzV_hq", note=_E4S
    ),
    WeightFile("segnext_small", "segnext.small.best_mIoU_iter_140000.pth", note=_SEGNEXT),
    WeightFile(
        "yunet",
        "face_detection_yunet_2023mar.onnx",
        _ZOO + "face_detection_yunet_2023mar.onnx",
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        232_589,
        "MIT",
        "YuNet detector; github.com/opencv/opencv_zoo, models/face_detection_yunet",
    ),
)
REGISTRY = {entry.name: entry for entry in _FILES}
PAPER_SET = ("sam_vit_h", "bisenet", "e4s", "yunet")  # what configs/paper.yaml needs


def default_folder() -> Path:
    """Where weights lie unless told otherwise: ``S3POT_WEIGHTS_DIR``, else ``./weights``."""
    return Path(os.environ.get("S3POT_WEIGHTS_DIR") or "weights").expanduser()


def find(name: str) -> WeightFile:
    """Return a registry entry; ``S3potError`` when there is none of this name."""
    if name not in REGISTRY:
        raise S3potError(f"no weights are called {name!r}; expected one of: {', '.join(REGISTRY)}")
    return REGISTRY[name]


def locate(name: str, weights_dir: Path | None = None) -> Path:
    """Find an official weight file by its name and check it; see ``verify``."""
    return verify(find(name), weights_dir)


def verify(entry: WeightFile, weights_dir: Path | None = None, rehash: bool = False) -> Path:
    """Return the path of a file in ``weights_dir``, else ``default_folder()``, once it is checked.

    Its hash is remembered, unless ``rehash`` has it read again. Raises ``MissingWeights`` when it
    is not there, ``S3potError`` when it has the wrong size or hash.
    """
    folder = Path(weights_dir or default_folder())
    path = folder / entry.file
    if not path.is_file():
        raise MissingWeights(f"{entry.name}: no file {path}{how_to_get(entry, folder)}")
    size = path.stat().st_size
    if entry.size not in (None, size):
        cure = f"move it away, then: python -m s3pot.weights download {entry.name}"
        raise S3potError(f"{path} has {size:,} bytes, expected {entry.size:,}: cut off; {cure}")
    checked_sha256(path, entry.sha256, rehash)
    return path


def how_to_get(entry: WeightFile, folder: Path) -> str:
    """Instructions, a new line each: the command, by hand, the hash, the offline alternative."""
    command = f"\n  run:      python -m s3pot.weights download {entry.name} --weights_dir {folder}"
    return (
        f"{command if entry.url else ''}\n  by hand:  {entry.url or entry.note}"
        f"\n  put it:   {folder / entry.file}{f', {entry.size:,} bytes' if entry.size else ''}"
        f"\n  sha256:   {entry.sha256 or 'none published; pinned on first use'}"
        "\n  offline:  --config configs/mini.yaml uses the small bundled models instead"
    )


def mini_path(name: str, folder: Path | None = None) -> Path:
    """Where a mini model (parser, generator, sam, adapter) lies, bundled or in ``folder``."""
    path = (folder or Path(__file__).parent / "mini") / f"{name}.pth"
    if not path.is_file():
        cure = "restore it from the repository or run: python tools/train_mini.py"
        raise MissingWeights(f"mini {name}: no file {path}; {cure}")
    return path

"""The image formats that are read, and advice on the others."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from s3pot.types import S3potError

# Pillow can decode more formats, but the others are old, rare or run programs.
IMAGE_FORMATS = (
    "PNG",
    "JPEG",  # and MPO, which several cameras write
    "WEBP",
    "BMP",
    "TIFF",
    "GIF",
    "PPM",
    "JPEG2000",
    "AVIF",
    "HEIF",
)
# File name extensions of these formats, and of camera RAW, which Pillow cannot decode.
IMAGE_SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .mpo .webp .bmp .dib .tif .tiff .gif .ppm .pgm .pbm .pnm .jp2 .j2k "
    ".jpx .avif .heic .heif .hif".split()
)
RAW_SUFFIXES = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef "
    ".raf .raw .rw2 .rwl .sr2 .srf .srw .x3f".split()
)
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")


class BadImage(S3potError):
    """An image cannot be read; the message names the file and the reason."""


def known_formats(head: bytes, name: str) -> list[str]:
    """List the ``IMAGE_FORMATS`` that this Pillow supports; BadImage with advice for the others."""
    if Path(name).suffix.lower() in RAW_SUFFIXES:
        raise BadImage(
            f"{name} is a camera RAW file, which s3pot cannot read. "
            "Export it from your photo program as JPEG, PNG or TIFF."
        )
    Image.init()
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand in _HEIC_BRANDS and not _has_heif():
        raise BadImage(
            f"{name} is a HEIC photo, a format of phones. To read it: pip install pillow-heif"
        )
    if brand in _AVIF_BRANDS and "AVIF" not in Image.OPEN:
        raise BadImage(
            f"{name} is an AVIF image, which this Pillow cannot read. "
            "To read it: pip install --upgrade pillow"
        )
    return [form for form in IMAGE_FORMATS if form in Image.OPEN]


def _has_heif() -> bool:
    """Register HEIC in Pillow if pillow-heif is installed."""
    if "HEIF" in Image.OPEN:
        return True
    try:
        from pillow_heif import register_heif_opener  # noqa: PLC0415
    except ImportError:
        return False
    register_heif_opener()
    return "HEIF" in Image.OPEN

"""Image files: reading any kind as upright 8-bit RGB, and writing PNG.

``image_formats.py`` lists the formats, and ``pixels.py`` converts and resizes images in memory.
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Union

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from s3pot.data.image_formats import BadImage, known_formats
from s3pot.data.pixels import to_pil
from s3pot.io import refuse_special, write_bytes
from s3pot.wording import value_of_type

logger = logging.getLogger(__name__)

ImageSource = Union[str, Path, BinaryIO, Image.Image, np.ndarray]

MAX_PIXELS = 179_000_000  # of one image, by default (run.max_megapixels)

MAX_STREAM_BYTES = 1 << 30  # of an image read from a network stream

EXIF_ORIENTATION = 0x0112
_SAMPLE_BITS = (8, 10, 12, 14, 16)  # depths that sensors and microscopes store in 16-bit files
_pillow_limit = threading.Lock()


def read_rgb(source: ImageSource, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read an image as upright 8-bit RGB; of an animation, the first frame.

    EXIF orientation is applied; transparency is composited over white; 16-bit samples, gray or
    color, are scaled from the bits that they use (8, 10, 12, 14 or 16); float samples are taken as
    [0, 1] if none is above 1, otherwise as [0, 255].

    Args:
        source: Path, open binary file, PIL image, or uint8 array (H, W), (H, W, 1), (H, W, 3) or
            (H, W, 4).
        max_pixels: Images whose header declares more pixels are refused before they are decoded.

    Returns:
        uint8 (H, W, 3), contiguous, owned by the caller.

    Raises:
        BadImage: The file is missing, truncated, too large or not an image in one of
            ``IMAGE_FORMATS``, or the source has another type.
    """
    if isinstance(source, np.ndarray):
        source = _image_from_array(source)
    with opened_image(source, max_pixels) as image:
        orientation = orientation_of(image, _name_of(source))
        return np.array(rotated_upright(_as_rgb(image), orientation))


def limit_of_size(size: Sequence[int], max_pixels: int = MAX_PIXELS) -> int:
    """Return the limit on pixels for an image that belongs to one that was read already.

    The other one may have been allowed to be larger than the default; this one must have its size.

    Args:
        size: Height and width of the other one; further values are ignored.
        max_pixels: The limit on smaller images.
    """
    return max(max_pixels, size[0] * size[1])


@contextmanager
def opened_image(source: ImageSource, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Open and decode an image as it is stored: in its own mode, EXIF orientation not applied.

    Args:
        source: As for ``read_rgb``, except arrays.
        max_pixels: As for ``read_rgb``.

    Raises:
        BadImage: As for ``read_rgb``; also for errors inside the block.
    """
    name = _name_of(source)
    if isinstance(source, str) and not source:
        raise BadImage("The path of the image is empty; give the path of an image file.")
    if isinstance(source, io.TextIOBase):
        raise BadImage(f'{name} is open as text; open it in binary mode, open(path, "rb").')
    try:
        if isinstance(source, Image.Image):
            source.load()
            yield source
        else:
            source = _seekable(source)
            place = source.tell() if hasattr(source, "tell") else 0
            with _open(source, name, max_pixels) as image:
                is_deep = _has_deep_color(image)
                image.load()
                yield _from_deep_color(image, source, place) if is_deep else image
    except BadImage:
        raise
    except FileNotFoundError as error:
        raise BadImage(f"{name} does not exist.") from error
    except IsADirectoryError as error:
        raise BadImage(f"{name} is a folder; expected an image.") from error
    except UnidentifiedImageError as error:  # its own text holds an address, or the name again
        raise BadImage(f"{name} is not a readable image: its format is not recognized.") from error
    except Exception as error:  # Pillow's decoders raise almost any type on damaged data
        reason = str(error).rstrip(".") or type(error).__name__
        raise BadImage(f"{name} is not a readable image: {reason}.") from error


def _seekable(source: Any) -> Any:
    """Return a seekable file: a network stream is read into memory."""
    if not hasattr(source, "read") or not hasattr(source, "seekable") or source.seekable():
        return source
    return io.BytesIO(source.read(MAX_STREAM_BYTES))


def _has_deep_color(image: Image.Image) -> bool:
    """Whether a not yet decoded file holds 16-bit colors, of which Pillow keeps 8 bits."""
    if image.format not in ("PNG", "TIFF") or len(image.getbands()) == 1:
        return False
    is_turned = image.format == "TIFF" and image.getexif().get(EXIF_ORIENTATION, 1) != 1
    return not is_turned and any(";16" in str(tile[3]) for tile in getattr(image, "tile", []))


def _from_deep_color(image: Image.Image, source: Any, place: int) -> Image.Image:
    """Read 16-bit colors again with all their bits, and scale them from the bits that they use.

    Pillow keeps the upper 8 bits, and so loses a mask of 0 and 255, and most of a 12-bit photo.

    Args:
        image: The image as Pillow decodes it; returned if OpenCV cannot read the file.
        source: Path or open file.
        place: Position in an open file at which the image begins.
    """
    if isinstance(source, (str, Path)):
        content = Path(source).read_bytes()
    else:
        source.seek(place)
        content = source.read()
    samples = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16 or samples.ndim != 3:
        return image
    pixels = _to_8_bits(samples[:, :, 2::-1])  # OpenCV returns BGR
    if samples.shape[2] == 4:
        pixels = np.dstack([pixels, _to_8_bits(samples[:, :, 3])])
    deep = Image.fromarray(pixels)
    deep.info = dict(image.info)
    deep.format = image.format
    return deep


def image_size(source: str | Path | BinaryIO, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Read height and width of an image as stored, from its header only.

    Raises:
        BadImage: It is missing, not an image in one of ``IMAGE_FORMATS``, or has more than
            ``max_pixels``.
    """
    name = _name_of(source)
    try:
        with _open(source, name, max_pixels) as image:
            return image.height, image.width
    except BadImage:
        raise
    except Exception as error:  # a damaged header may raise anything
        raise BadImage(f"{name} is not a readable image: {error}.") from error


def is_image(path: Path) -> bool:
    """Whether a file's header is that of an image in ``IMAGE_FORMATS``; the rest may be damaged."""
    try:
        with _open(path, str(path), max_pixels=None):
            return True
    except (BadImage, OSError):
        return False
    except Exception:  # a damaged header may raise anything
        return False


def _name_of(source: object) -> str:
    return str(source) if isinstance(source, (str, Path)) else "the given image"


def _image_from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    has_channels = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype == np.uint8 and has_channels and array.size > 0:
        return to_pil(array)
    raise BadImage(
        f"The array is {array.dtype} {array.shape}{_range_of(array)}; expected uint8 (H, W, 3) in "
        f"0..255.{_cure_of_array(array)}"
    )


def _range_of(array: np.ndarray) -> str:
    """Describe the values of an array that is not uint8; empty if it has no finite numbers."""
    if array.dtype == np.uint8 or array.dtype.kind not in "iuf":
        return ""
    values = array[np.isfinite(array)]
    return f" with values {values.min():.6g} to {values.max():.6g}" if values.size else ""


def _cure_of_array(array: np.ndarray) -> str:
    """Say how to turn an array into an image without changing the picture."""
    if array.size == 0:
        return " It has no pixels."
    if array.ndim == 4 and array.shape[0] == 1:
        return " It is a batch of one image; pass that image: array[0]."
    if array.ndim == 4:
        return " It holds several images: pass them to segment_batch in Python, or one of them."
    if array.ndim not in (2, 3):
        return " An image has height, width and channels."
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        if array.shape[0] in (1, 3, 4):
            return " Put its channels last: array.transpose(1, 2, 0)."
        if array.shape[2] == 2:
            return " If its channels are gray and alpha, pass the gray ones: array[:, :, 0]."
        return " Choose three of its channels as red, green and blue: array[:, :, [0, 1, 2]]."
    return _cure_of_values(array)


def _cure_of_values(array: np.ndarray) -> str:
    """Say how to turn the values of an array, (H, W) or (H, W, C), into 0..255."""
    if array.dtype.kind == "b":
        return " Convert it: array.astype(np.uint8) * 255."
    if array.dtype.kind not in "iuf":
        return " Convert it to numbers in 0..255, and these with astype(np.uint8)."
    if not np.isfinite(array).all():
        return " Some of its values are not finite numbers: replace them first, see np.nan_to_num."
    lowest, highest = array.min(), array.max()
    if lowest >= 0 and highest <= 1:
        return " Scale it and convert it: (array * 255.0).round().astype(np.uint8)."
    if lowest >= 0 and highest <= 255:
        return " Convert it: array.round().astype(np.uint8)."
    if array.dtype.kind == "f" and lowest >= -1 and highest <= 1:
        return " If it is in -1..1, convert it: ((array + 1) * 127.5).round().astype(np.uint8)."
    if array.dtype == np.uint16:
        bits = _bits_of(int(highest))
        return f" If it has {bits} bits, convert it: (array >> {bits - 8}).astype(np.uint8)."
    return " Scale its values to 0..255 first, then convert it: array.round().astype(np.uint8)."


def _open(source: object, name: str, max_pixels: int | None) -> Image.Image:
    """Open a file and check its header; nothing is decoded yet."""
    if not isinstance(source, (str, Path)) and not hasattr(source, "read"):
        cure = "wrap bytes in io.BytesIO" if isinstance(source, bytes) else "convert it"
        raise BadImage(
            f"An image cannot be read from {value_of_type(source)}; expected a path, an open "
            f"binary file, a PIL image or a uint8 array (H, W, 3): {cure}."
        )
    formats = known_formats(_head_of(source), name)
    with _pillow_limit:  # Pillow's limit is a global variable; ours is explicit and can be set
        limit_before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            image: Image.Image = Image.open(source, formats=formats)  # type: ignore[arg-type]
        finally:
            Image.MAX_IMAGE_PIXELS = limit_before
    pixels = image.width * image.height
    if max_pixels is not None and pixels > max_pixels:
        image.close()
        raise BadImage(
            f"{name} has {image.width} x {image.height} pixels, {pixels / 1e6:.0f} million; the "
            f"limit is {max_pixels / 1e6:.0f} million. Reduce it, or set "
            f"run.max_megapixels={-(-pixels // 1_000_000)} if you trust it."
        )
    return image


def _head_of(source: Any) -> bytes:
    """Return the first bytes of a file; an open file keeps its position."""
    if isinstance(source, (str, Path)):
        refuse_special(Path(source))
        with Path(source).open("rb") as stream:
            return stream.read(16)
    place = source.tell()
    head: bytes = source.read(16)
    source.seek(place)
    return head


def orientation_of(image: Image.Image, name: str) -> int:
    """Read the EXIF orientation of a decoded image (Pillow already applies it to TIFF).

    Args:
        image: As ``opened_image`` returns it.
        name: Its name in a warning.

    Returns:
        1 to 8; 1 (unchanged) if there is none or the EXIF data is damaged.
    """
    try:
        orientation = int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception as error:  # a damaged EXIF block may raise almost any error
        logger.warning("%s: its EXIF data is damaged and is not applied (%s)", name, error)
        return 1
    return orientation if orientation in range(1, 9) else 1


def rotated_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Apply an EXIF orientation, 1 to 8, and remove it from the image."""
    if orientation == 1:
        return image
    copy = image.copy()
    copy.info = {}
    copy.getexif()[EXIF_ORIENTATION] = orientation  # only this one: other tags may be damaged
    return ImageOps.exif_transpose(copy) or copy


def has_alpha(image: Image.Image) -> bool:
    """Whether an image has an alpha channel, or a color that marks transparency."""
    return "transparency" in image.info or image.mode in ("RGBA", "RGBa", "LA", "La", "PA")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_to_8_bits(np.asarray(image))).convert("RGB")
    if has_alpha(image):
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(samples: np.ndarray) -> np.ndarray:
    """Convert samples of more than 8 bits, integer or float, of any shape, to uint8."""
    if samples.dtype.kind in "iu":
        bits = _bits_of(int(samples.max()))
        return np.asarray(samples.clip(0, 65535) >> (bits - 8), dtype=np.uint8)
    finite = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    scale = 255.0 if finite.max() <= 1.0 else 1.0
    return np.asarray((finite * scale).clip(0, 255).round(), dtype=np.uint8)


def _bits_of(highest: int) -> int:
    """Return the depth of samples of which ``highest`` is the largest, one of _SAMPLE_BITS."""
    return next((bits for bits in _SAMPLE_BITS if highest < 1 << bits), _SAMPLE_BITS[-1])


def write_png(path: str | Path, array: np.ndarray) -> None:
    """Write an input of ``to_pil`` as PNG, twice as fast as Pillow at about the same size."""
    pixels = array.astype(np.uint8) * 255 if array.dtype == np.bool_ else array
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)  # OpenCV expects BGR
    parameters = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    if pixels.ndim == 3:  # photos hardly repeat, so searching for matches does not pay
        parameters += [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # OpenCV 4.10 does not have it
        parameters += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    content = cv2.imencode(".png", np.ascontiguousarray(pixels), parameters)[1]
    write_bytes(path, content.tobytes())

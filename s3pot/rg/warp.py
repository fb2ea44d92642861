"""The warp between a photo and its working image: the crop, and the way back.

Points in the photo frame name pixel centres by integers, as landmark detectors do. A working image
of S pixels spans the quad: the centre of its pixel i lies at (i + 0.5) / S of the quad's side.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageFilter

from s3pot.data.image import as_array, resized, to_pil
from s3pot.geometry import Alignment, image_corners
from s3pot.types import S3potError

BILINEAR = Image.Resampling.BILINEAR


def crop(photo: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Cut the working image out of a photo, or a mask out of one that belongs to it.

    Args:
        photo: Picture uint8 (H, W, 3) or mask bool (H, W), empty outside; the result's kind too.
        alignment: Made for a photo of this size; else ``S3potError``.
    """
    _check_size(photo, alignment)
    if alignment.is_whole:
        return resized(photo, alignment.size)
    # Keep what the crop needs of the photo, in whole cells of the reduced one.
    border, step = max(round(0.1 * alignment.side), 3), alignment.shrink
    limit, corners = np.array(alignment.photo_size[::-1]), alignment.corners
    low, high = corners.min(axis=0) - border, corners.max(axis=0) + border
    start = np.clip(np.floor(low / step).astype(int) * step, 0, limit - 1)
    stop = np.clip(np.ceil(high / step).astype(int) * step, start + 1, limit)
    image = to_pil(photo[start[1] : stop[1], start[0] : stop[0]])
    quad = corners + 0.5 - start  # counted from the corner of a pixel
    if step > 1:
        # Release: divides the quad by the integer, half pixel included, which shifts the crop.
        width, height = (max(1, round(side / step)) for side in image.size)
        quad *= np.array([width, height]) / image.size
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    if photo.ndim == 3 and alignment.borders == "reflect":
        image, quad = _reflected(image, quad)
    size, data = alignment.size[::-1], quad.ravel().tolist()
    return as_array(image.transform(size, Image.Transform.QUAD, data, BILINEAR), photo)


def _reflected(image: Image.Image, quad: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """Mirror a picture where the quad leaves it, fading to a blur and then to the median colour.

    As in FFHQ, but the picture's own pixels stay as they are. Returns it with the quad in it.
    """
    before = np.maximum(3 - np.floor(quad.min(axis=0)), 0).astype(int)
    after = np.maximum(np.ceil(quad.max(axis=0)) + 3 - image.size, 0).astype(int)
    if not before.any() and not after.any():
        return image, quad
    inside, side = np.asarray(image), float(np.hypot(*(quad[3] - quad[0])))
    padding = [(before[1], after[1]), (before[0], after[0]), (0, 0)]
    mirrored = np.pad(inside, padding, mode="reflect")
    outside = np.pad(np.zeros(inside.shape[:2], np.uint8), padding[:2], constant_values=1)
    distance = cv2.distanceTransform(outside, cv2.DIST_C, cv2.DIST_MASK_3)[..., None]
    share = distance / np.float32(max(before.max(), after.max(), 0.3 * side))
    blurred = np.asarray(Image.fromarray(mirrored).filter(ImageFilter.GaussianBlur(0.02 * side)))
    mixed = mirrored + (blurred - mirrored.astype(np.float32)) * np.minimum(3 * share, 1)
    mixed += (np.median(inside, axis=(0, 1)).astype(np.float32) - mixed) * share
    return Image.fromarray(mixed.round().astype(np.uint8)), quad + before


def inverse_coefficients(quad: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """PIL's 8 ``PERSPECTIVE`` coefficients, float64, from quad (4, 2) to a height and width."""
    targets = image_corners(size) + 0.5
    rows = []
    for (x, y), (u, v) in zip(quad + 0.5, targets):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    return np.asarray(np.linalg.lstsq(np.array(rows), targets.ravel(), rcond=None)[0])


def to_photo(
    image: np.ndarray, alignment: Alignment, photo: np.ndarray | None = None, feather: float = 0.05
) -> np.ndarray:
    """Bring a working image or mask back to the photo frame, in the photo's size.

    Args:
        image: Picture uint8 (h, w, 3) or mask bool (h, w); spans the quad at whatever size.
        alignment: Where it came from.
        photo: A picture is laid over this uint8 (H, W, 3); None means over black.
        feather: A picture fades in over this share of its side; 0 gives a hard edge.
    """
    if photo is not None:
        _check_size(photo, alignment)
    if alignment.is_whole:
        return resized(image, alignment.photo_size)
    layer, box = to_pil(image), alignment.photo_size[::-1]
    if image.ndim == 3:
        layer.putalpha(_alpha(layer.size, feather))
    data = inverse_coefficients(alignment.corners, (image.shape[0], image.shape[1])).tolist()
    layer = layer.transform(box, Image.Transform.PERSPECTIVE, data, BILINEAR)
    if image.ndim == 3:
        under = Image.new("RGB", box) if photo is None else to_pil(photo)
        under.paste(layer, mask=layer)
        layer = under
    return as_array(layer, image)


def _check_size(photo: np.ndarray, alignment: Alignment) -> None:
    if photo.shape[:2] != alignment.photo_size:
        sizes = f"(height, width) {photo.shape[:2]}, expected {alignment.photo_size}"
        raise S3potError(f"the photo is {sizes}: the same upright photo")


def _alpha(size: tuple[int, int], feather: float) -> Image.Image:
    """Opacity that rises from the border to full over `feather` of the shorter side."""
    columns, rows = (np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5 for n in size)
    share = np.minimum(rows[:, None], columns[None, :]) / max(feather * min(size), 0.5)
    return Image.fromarray((share.clip(0, 1) * 255).round().astype(np.uint8))

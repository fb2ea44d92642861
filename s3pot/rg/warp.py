"""The warp between a photo and its working image, in both directions.

In the photo frame, integer coordinates are pixel centers, as in landmark detectors. A working image
of S pixels spans the quad: the center of its pixel i lies at (i + 0.5) / S of the quad's side.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageFilter

from s3pot.data.pixels import as_array, resized, to_pil
from s3pot.geometry import Alignment, image_corners
from s3pot.types import S3potError

BILINEAR = Image.Resampling.BILINEAR


def crop(photo: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Crop the working image from a photo, or the corresponding part of a mask of the photo.

    Args:
        photo: uint8 (H, W, 3), or a mask, bool (H, W) or uint8 (H, W) from 0 to 255, which is empty
            outside the photo.
        alignment: The position of the working image.

    Returns:
        uint8 (h, w, 3), bool (h, w) or uint8 (h, w), like ``photo``.

    Raises:
        S3potError: The alignment was made for a photo of another size.
    """
    _check_size(photo, alignment)
    if alignment.is_whole:
        return resized(photo, alignment.size)
    # Keep the part of the photo that the crop needs, in whole pixels of the reduced photo.
    border = max(round(0.1 * alignment.side), 3)
    step = alignment.shrink
    limit = np.array(alignment.photo_size[::-1])
    corners = alignment.corners
    low = corners.min(axis=0) - border
    high = corners.max(axis=0) + border
    start = np.clip(np.floor(low / step).astype(int) * step, 0, limit - 1)
    stop = np.clip(np.ceil(high / step).astype(int) * step, start + 1, limit)
    image = to_pil(photo[start[1] : stop[1], start[0] : stop[0]])
    quad = corners + 0.5 - start  # relative to the corner of a pixel
    if step > 1:
        # Release: divides the quad by the integer with the half pixel, which shifts the crop.
        width = max(1, round(image.width / step))
        height = max(1, round(image.height / step))
        quad *= np.array([width, height]) / image.size
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    if photo.ndim == 3 and alignment.borders == "reflect":
        image, quad = _reflected(image, quad)
    size = alignment.size[::-1]
    working = image.transform(size, Image.Transform.QUAD, quad.ravel().tolist(), BILINEAR)
    return as_array(working, photo)


def crop_labels(labels: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Crop the class map of a working image from that of its photo.

    Each pixel takes the class that covers most of it; outside the photo it is class 0.

    Args:
        labels: uint8 (H, W).
        alignment: Where the working image lies.

    Returns:
        uint8 (h, w).

    Raises:
        S3potError: The alignment was made for a photo of another size.
    """
    classes = np.unique(labels)
    result = np.zeros(alignment.size, np.uint8)
    most = np.zeros(alignment.size, np.uint8)
    for label in classes:
        coverage = crop((labels == label).astype(np.uint8) * 255, alignment)
        wins = coverage > most
        result[wins] = label
        most[wins] = coverage[wins]
    return result


def _reflected(image: Image.Image, quad: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """Reflect an image where the quad leaves it, fading to a blur and then to the median color.

    This is done as in FFHQ, except that the image's own pixels stay unchanged.

    Args:
        image: RGB.
        quad: Corners (4, 2), relative to the corner of a pixel.

    Returns:
        The larger image, and the quad in it.
    """
    before = np.maximum(3 - np.floor(quad.min(axis=0)), 0).astype(int)
    after = np.maximum(np.ceil(quad.max(axis=0)) + 3 - image.size, 0).astype(int)
    if not before.any() and not after.any():
        return image, quad
    inside = np.asarray(image)
    edge = quad[3] - quad[0]
    side = float(np.hypot(edge[0], edge[1]))
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
    """Compute Pillow's ``PERSPECTIVE`` coefficients from a quad to an image.

    Args:
        quad: Corners (4, 2) in the photo frame.
        size: Height and width of the image that spans it.

    Returns:
        float64 (8,).
    """
    targets = image_corners(size) + 0.5
    rows = []
    for (x, y), (u, v) in zip(quad + 0.5, targets):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    return np.asarray(np.linalg.lstsq(np.array(rows), targets.ravel(), rcond=None)[0])


def to_photo(image: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Warp a working image or mask back to the photo frame, at the photo's size.

    Args:
        image: Image uint8 (h, w, 3) or mask bool (h, w); it spans the quad at any size.
        alignment: The position of the working image.

    Returns:
        uint8 (H, W, 3) or bool (H, W), like ``image``; 0 outside the working image.
    """
    if alignment.is_whole:
        return resized(image, alignment.photo_size)
    size = alignment.photo_size[::-1]
    data = inverse_coefficients(alignment.corners, (image.shape[0], image.shape[1])).tolist()
    warped = to_pil(image).transform(size, Image.Transform.PERSPECTIVE, data, BILINEAR)
    return as_array(warped, image)


def _check_size(photo: np.ndarray, alignment: Alignment) -> None:
    if photo.shape[:2] != alignment.photo_size:
        raise S3potError(
            f"The photo is (height, width) {photo.shape[:2]}, but the alignment was made for "
            f"{alignment.photo_size}; expected the same upright photo."
        )

"""The decision whether a face is occluded, and where, from its raw occlusion mask.

The region minus the visible face is seldom empty: where the outlines of the two differ by a pixel,
a sliver along the region's rim remains, even on unoccluded faces. The decision removes pieces that
are too thin or too small and keeps the rest unchanged. A face is occluded if anything is left, so
the mask and the verdict never disagree.

Paper: has no such step; with all settings at 0 nothing is removed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np

from s3pot.labels import CLASSES, NUM_CLASSES

# Parts of the face and their classes; ears, hair and neck do not belong to the region.
CLASSES_OF_PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "skin": ("skin",),
        "eyes": ("eyes",),
        "brows": ("eyebrows",),
        "nose": ("nose",),
        "lips_and_mouth": ("lip", "mouth"),
        "glasses": ("eye_glass",),
    }
)
_MOSTLY = 0.5  # share of a thin piece that has to lie along the rim
_LARGEST_DRAWN_DISC = 12  # radius in pixels


@dataclass(frozen=True)
class OcclusionDecision:
    """Which parts of a raw mask count as an occlusion; the defaults remove nothing.

    Attributes:
        sliver_width: Pieces along the region's rim that are thinner than this are removed; a share
            of the side of a square with the region's area.
        min_piece: Connected pieces smaller than this share of the region are removed.
        min_share: A face with less than this share of its region occluded counts as unoccluded.
    """

    sliver_width: float = 0.0
    min_piece: float = 0.0
    min_share: float = 0.0


def decide(occlusion: np.ndarray, region: np.ndarray, decision: OcclusionDecision) -> np.ndarray:
    """Keep the parts of a raw mask that count as an occlusion.

    Args:
        occlusion: The region minus the visible face, bool (H, W).
        region: Where an occlusion can be, bool (H, W).
        decision: The criteria.

    Returns:
        bool (H, W), a part of the raw mask; empty for an unoccluded face.
    """
    area = int(region.sum())
    kept = occlusion
    if decision.sliver_width > 0:
        kept = remove_slivers(kept, region, decision.sliver_width * math.sqrt(area))
    if decision.min_piece > 0:
        kept = remove_small_pieces(kept, decision.min_piece * area)
    if kept.sum() < decision.min_share * area:
        return np.zeros_like(occlusion)
    return kept


def remove_slivers(occlusion: np.ndarray, region: np.ndarray, width: float) -> np.ndarray:
    """Remove pieces that are thinner than ``width`` pixels and lie along the region's rim.

    The thin parts are those that a morphological opening by a disc removes and that are not just a
    rounded-off corner of what it leaves. Thin objects across the face, such as strands of hair, are
    not along the rim and are kept.

    Args:
        occlusion: bool (H, W).
        region: bool (H, W).
        width: In pixels; below 1 nothing is removed.

    Returns:
        bool (H, W), a part of the occlusion.
    """
    radius = round(width / 2)
    if radius < 1 or not occlusion.any():
        return occlusion
    x, y, width_of_box, height_of_box = cv2.boundingRect(occlusion.astype(np.uint8))
    box = (slice(y, y + height_of_box), slice(x, x + width_of_box))
    # Pixels outside the image count as empty, as they do for the region.
    padded = np.pad(occlusion[box], radius)
    opened = _dilate(~_dilate(~padded, radius), radius)
    thin = occlusion.copy()
    thin[box] &= ~_dilate(opened, radius)[radius:-radius, radius:-radius]
    count, pieces = cv2.connectedComponents(thin.astype(np.uint8), connectivity=8)
    sizes = np.bincount(pieces.ravel(), minlength=count)
    near_rim = _depth(region) <= width + 1
    sizes_near_rim = np.bincount(pieces[near_rim], minlength=count)
    is_sliver = sizes_near_rim >= _MOSTLY * sizes
    is_sliver[0] = False  # label 0: what is not thin
    return np.asarray(occlusion & ~(is_sliver[pieces] & near_rim))


def remove_small_pieces(occlusion: np.ndarray, least: float) -> np.ndarray:
    """Remove connected pieces of fewer than ``least`` pixels from a mask, bool (H, W)."""
    count, pieces = cv2.connectedComponents(occlusion.astype(np.uint8), connectivity=8)
    is_large = np.bincount(pieces.ravel(), minlength=count) >= least
    is_large[0] = False  # label 0: what is not occluded
    return np.asarray(is_large[pieces])


def occluded_share(occlusion: np.ndarray, region: np.ndarray) -> float:
    """Compute the occluded share of a region, bool (H, W), in [0, 1]; 0 for an empty region."""
    area = int(region.sum())
    return float((occlusion & region).sum() / area) if area else 0.0


def occluded_share_by_part(occlusion: np.ndarray, parsing: np.ndarray) -> dict[str, float | None]:
    """Compute how much of each part of the face is occluded.

    Args:
        occlusion: bool (H, W).
        parsing: The 12 classes of the same image before occluded pixels are marked, uint8 (H, W).
            Pixels under an occluder count as the part that the parser assigned to them.

    Returns:
        Part, a key of ``CLASSES_OF_PARTS`` → share in [0, 1]; None if the face has no such part.
    """
    pixels = np.bincount(parsing.ravel(), minlength=NUM_CLASSES)
    occluded = np.bincount(parsing[occlusion], minlength=NUM_CLASSES)
    shares: dict[str, float | None] = {}
    for part, names in CLASSES_OF_PARTS.items():
        classes = [CLASSES.index(name) for name in names]
        area = int(pixels[classes].sum())
        shares[part] = int(occluded[classes].sum()) / area if area else None
    return shares


def _dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    """Dilate a mask, bool (H, W), by a disc; of pixels outside the image nothing is known.

    The disc holds the offsets whose squared length is at most ``radius**2 + radius / 2``. The time
    of a distance transform does not depend on the radius; small discs are faster as they are.
    """
    if not mask.any():
        return mask
    largest_square = radius**2 + radius // 2
    if radius <= _LARGEST_DRAWN_DISC:
        reach = np.arange(-radius, radius + 1)
        disc = reach[:, None] ** 2 + reach[None, :] ** 2 <= largest_square
        return np.asarray(cv2.dilate(mask.astype(np.uint8), disc.astype(np.uint8)) > 0)
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Squares are whole numbers; the middle between two of them leaves room for rounding errors.
    return np.asarray(distance < math.sqrt(largest_square + 0.5))


def _depth(region: np.ndarray) -> np.ndarray:
    """Compute each pixel's distance to the outside of the region in pixels: (H, W), 0 outside."""
    padded = np.pad(region.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance[1:-1, 1:-1])

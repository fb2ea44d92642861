"""The 12 face classes of E4S, the prompt region, and the mapping from the parsers' 19 classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Name and color (R, G, B) of each class in overlays, contact sheets and legends.
CLASS_COLORS: dict[str, tuple[int, int, int]] = {
    "background": (0, 0, 0),
    "lip": (255, 60, 90),
    "eyebrows": (120, 70, 20),
    "eyes": (60, 160, 255),
    "hair": (90, 60, 120),
    "nose": (255, 220, 80),
    "skin": (240, 190, 150),
    "ears": (220, 120, 80),
    "belowface": (160, 110, 90),
    "mouth": (150, 0, 40),
    "eye_glass": (80, 255, 255),
    "ear_rings": (255, 0, 255),
}
_OCCLUSION_COLOR = (255, 0, 0)

CLASSES: tuple[str, ...] = tuple(CLASS_COLORS)
NUM_CLASSES = len(CLASSES)
OCCLUSION_CLASS = NUM_CLASSES  # a thirteenth value, used only in <stem>_parsing.npy

# RGB color of each value of a map, the 12 classes and OCCLUSION_CLASS, uint8 (13, 3).
COLORS = np.array([*CLASS_COLORS.values(), _OCCLUSION_COLOR], dtype=np.uint8)

# The region is the face itself: every class except these.
NOT_REGION: tuple[str, ...] = ("background", "hair", "ears", "belowface", "ear_rings")
REGION_CLASSES: tuple[int, ...] = tuple(
    index for index, name in enumerate(CLASSES) if name not in NOT_REGION
)

# The class that each class of BiSeNet is mapped to. Necklace, cloth and hat are background.
_BISENET: dict[str, str] = {
    "background": "background",
    "skin": "skin",
    "left brow": "eyebrows",
    "right brow": "eyebrows",
    "left eye": "eyes",
    "right eye": "eyes",
    "glasses": "eye_glass",
    "left ear": "ears",
    "right ear": "ears",
    "earring": "ear_rings",
    "nose": "nose",
    "mouth": "mouth",
    "upper lip": "lip",
    "lower lip": "lip",
    "neck": "belowface",
    "necklace": "background",
    "cloth": "background",
    "hair": "hair",
    "hat": "background",
}
# The same for CelebAMask-HQ, whose classes SegNeXt predicts.
_CELEBAMASKHQ: dict[str, str] = {
    "background": "background",
    "skin": "skin",
    "nose": "nose",
    "glasses": "eye_glass",
    "left eye": "eyes",
    "right eye": "eyes",
    "left brow": "eyebrows",
    "right brow": "eyebrows",
    "left ear": "ears",
    "right ear": "ears",
    "mouth": "mouth",
    "upper lip": "lip",
    "lower lip": "lip",
    "hair": "hair",
    "hat": "background",
    "earring": "ear_rings",
    "necklace": "background",
    "neck": "belowface",
    "cloth": "background",
}


def _class_table(names: dict[str, str]) -> tuple[int, ...]:
    """Convert a table of names to numbers: the index is the parser's class, the value is ours."""
    return tuple(CLASSES.index(name) for name in names.values())


BISENET_TO_12: tuple[int, ...] = _class_table(_BISENET)
CELEBAMASKHQ_TO_12: tuple[int, ...] = _class_table(_CELEBAMASKHQ)
NATIVE_12: tuple[int, ...] = tuple(range(NUM_CLASSES))  # for parsers that predict our classes


def region_of(labels: np.ndarray) -> np.ndarray:
    """Find the region in which occlusions are searched for.

    Args:
        labels: 12-class map, integers 0..11, (..., H, W).

    Returns:
        bool, same shape.
    """
    return pixels_of(labels, REGION_CLASSES)


def pixels_of(labels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Find the pixels of some classes.

    Args:
        labels: Class map of any shape, uint8.
        classes: Their numbers.

    Returns:
        bool, the shape of ``labels``.
    """
    is_wanted = np.zeros(256, dtype=bool)
    is_wanted[list(classes)] = True
    return is_wanted.take(labels)  # three times as fast as is_wanted[labels]


def resize_labels(labels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Resize a label map by sampling at pixel centers, like PyTorch's "nearest-exact".

    Args:
        labels: Any values, (h, w).
        size: Height and width of the result.

    Returns:
        (height, width), the dtype of ``labels``.
    """
    height, width = size
    if labels.shape == (height, width):
        return labels.copy()
    rows = (2 * np.arange(height) + 1) * labels.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * labels.shape[1] // (2 * width)
    resized: np.ndarray = labels.take(rows, axis=0).take(columns, axis=1)
    return resized

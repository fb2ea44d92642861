"""The 12 face classes of E4S, the prompt region, and the way from the parsers' 19 classes."""

from __future__ import annotations

import numpy as np

CLASSES: tuple[str, ...] = tuple(
    "background lip eyebrows eyes hair nose skin ears belowface mouth eye_glass ear_rings".split()
)
NUM_CLASSES = len(CLASSES)
OCCLUSION = NUM_CLASSES  # the thirteenth value, in <stem>_parsing.npy only

NOT_REGION: tuple[str, ...] = ("background", "hair", "ears", "belowface", "ear_rings")
REGION_CLASSES: tuple[int, ...] = tuple(i for i, c in enumerate(CLASSES) if c not in NOT_REGION)

# Index: class of the parser; value: class of this file. Necklace, cloth and hat become background.
BISENET_TO_12: tuple[int, ...] = (0, 6, 2, 2, 3, 3, 10, 7, 7, 11, 5, 9, 1, 1, 8, 0, 0, 4, 0)
CELEBAMASKHQ_TO_12: tuple[int, ...] = (0, 6, 5, 10, 3, 3, 2, 2, 7, 7, 9, 1, 1, 4, 0, 11, 0, 8, 0)
NATIVE_12: tuple[int, ...] = tuple(range(NUM_CLASSES))

# RGB of the 12 classes and OCCLUSION, uint8 (13, 3), for overlays and contact sheets.
_HEX = "000000 ff3c5a 784614 3ca0ff 5a3c78 ffdc50 f0be96 dc7850 a06e5a 960028 50ffff ff00ff ff0000"
COLOURS = np.frombuffer(bytes.fromhex(_HEX), np.uint8).reshape(-1, 3)


def region_of(labels: np.ndarray) -> np.ndarray:
    """Where an occlusion can be asked for.

    Args:
        labels: 12-class map, (..., H, W), values 0..11.

    Returns:
        bool, same shape.
    """
    return np.isin(labels, REGION_CLASSES)


def resize_labels(labels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Sample a map (h, w) at the pixel centres of height and width ``size``, as "nearest-exact"."""
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new) for old, new in zip(labels.shape, size)
    )
    return np.ascontiguousarray(labels[rows[:, None], columns])

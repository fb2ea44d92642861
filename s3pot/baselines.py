"""The simple methods that tables compare with."""

from __future__ import annotations

import numpy as np

from s3pot.labels import resize_labels
from s3pot.types import AlignedFace, Prompts


def pixel_contrast(face: AlignedFace) -> np.ndarray:
    """Mean absolute difference of image and reference over the channels: (H, W) in [0, 1]."""
    difference = face.image.astype(np.float32) - face.reference.astype(np.float32)
    return np.asarray(np.abs(difference).mean(axis=2) / 255)


def token_contrast(prompts: Prompts, size: tuple[int, ...]) -> np.ndarray:
    """1 - cosine of encoder tokens at the same place, by nearest: ``size``, in [0, 2]."""
    return resize_labels(1 - prompts.similarity.float().cpu().numpy(), size)

"""Deliberately degraded references, for tables that measure the value of a good reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from s3pot.data.face_folder import FaceFiles
from s3pot.types import AlignedFace

IMAGE_BLUR = 0.05  # sigma of the blur that replaces RG, as a share of the longer side
REFERENCE_BLUR = 0.02  # sigma of the blur of a poor reference, in the same unit
TURN = 15.0  # in-plane rotation, in degrees, of a reference with a wrong pose


def blurred_image(face: AlignedFace) -> AlignedFace:
    """Replace RG: use the blurred image as the reference."""
    return replace(face, reference=blurred(face.image, IMAGE_BLUR))


def blurred_reference(face: AlignedFace) -> AlignedFace:
    """Use a reference with less detail."""
    return replace(face, reference=blurred(face.reference, REFERENCE_BLUR))


def turned_reference(face: AlignedFace) -> AlignedFace:
    """Use a reference with a wrong pose."""
    return replace(face, reference=turned(face.reference, TURN))


# By their names in the tables.
ALTERATIONS: dict[str, Callable[[AlignedFace], AlignedFace]] = {
    "blurred_image": blurred_image,
    "blurred_reference": blurred_reference,
    "turned_reference": turned_reference,
}


def blurred(image: np.ndarray, share: float) -> np.ndarray:
    """Blur uint8 (H, W, 3) by a Gaussian whose sigma is ``share`` of the longer side."""
    sigma = share * max(image.shape[:2])
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT))


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    """Rotate uint8 (H, W, 3) counterclockwise around its center; corners repeat the border."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return np.asarray(
        cv2.warpAffine(
            image,
            matrix,
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )


def with_next_references(faces: Sequence[FaceFiles]) -> list[FaceFiles]:
    """Give each face the reference of the next one, and the last face that of the first.

    A single face keeps its own reference.
    """
    following = [*faces[1:], *faces[:1]]
    return [replace(face, reference=other.reference) for face, other in zip(faces, following)]

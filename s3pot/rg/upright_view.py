"""The view of a single face, upright and of a fixed size, in which it is detected again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from s3pot.rg.align import quad_from_landmarks
from s3pot.rg.detect import Face

VIEW_SIDE, VIEW_CROP = 192, 128  # pixels of the view, and of the FFHQ crop in its middle
COARSEST_WARP = 0.6  # scale below which a photo is made smaller before it is warped


@dataclass(frozen=True, eq=False)
class UprightView:
    """A rotated and scaled part of a photo.

    Attributes:
        motion: Affine map from the photo to the view, x and y, (2, 3).
    """

    motion: np.ndarray

    @classmethod
    def of_face(cls, landmarks: np.ndarray) -> UprightView | None:
        """Return the view in which a face's FFHQ crop is upright, VIEW_CROP pixels large.

        Args:
            landmarks: Five landmarks in the photo, (5, 2).

        Returns:
            The view; None if the landmarks define no crop.
        """
        try:
            quad = quad_from_landmarks(landmarks)
        except ValueError:
            return None
        across = quad[3] - quad[0]
        x, y = across
        linear = VIEW_CROP / (across @ across) * np.array([[x, y], [-y, x]])
        shift = np.full(2, (VIEW_SIDE - 1) / 2) - linear @ quad.mean(axis=0)
        return cls(np.concatenate([linear, shift[:, None]], axis=1))

    def zoomed(self, factor: float) -> UprightView:
        """Return the view enlarged around its center."""
        center = (VIEW_SIDE - 1) / 2
        shift = factor * (self.motion[:, 2:] - center) + center
        return UprightView(np.concatenate([factor * self.motion[:, :2], shift], axis=1))

    def render(self, photo: np.ndarray) -> np.ndarray:
        """Warp a photo, uint8 (H, W, 3), into the view, uint8 (VIEW_SIDE, VIEW_SIDE, 3)."""
        motion = self.motion
        scale = float(np.sqrt(np.linalg.det(motion[:, :2])))
        if scale < COARSEST_WARP:
            # Warping samples single pixels, so first resize the photo to about its final scale.
            height, width = photo.shape[:2]
            size = (max(1, round(width * scale * 1.2)), max(1, round(height * scale * 1.2)))
            ratio = np.array([width / size[0], height / size[1]])
            photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
            linear = motion[:, :2] * ratio
            shift = motion[:, 2] + motion[:, :2] @ (ratio / 2 - 0.5)
            motion = np.concatenate([linear, shift[:, None]], axis=1)
        side = (VIEW_SIDE, VIEW_SIDE)
        view: np.ndarray = cv2.warpAffine(
            photo, motion, side, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return view

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """Map points in the view, (N, 2), to the photo, same shape."""
        return np.asarray((points - self.motion[:, 2]) @ np.linalg.inv(self.motion[:, :2]).T)


def mirrored_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """Map five landmarks, (5, 2), from a view to its mirror image, where right and left swap."""
    return landmarks[[1, 0, 2, 4, 3]] * (-1, 1) + (VIEW_SIDE - 1, 0)


def face_in_middle(faces: Sequence[Face]) -> Face | None:
    """Return the first of the faces seen in a view whose landmarks are centered in it."""
    for face in faces:
        offset = face.landmarks.mean(axis=0) - (VIEW_SIDE - 1) / 2
        if np.abs(offset).max() < VIEW_CROP / 4:
            return face
    return None

"""The values that walk through the pipeline: Photo → Reference → Contrast → Prompts → Prediction.

Frames: *photo* original pixels, *aligned* the face crop that every file of the folder contract
shares (the working image), *sam* the square SAM sees, *grid* SAM's token cells (``grid.py``).
Points are (N, 2) in x, y order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, device

    from s3pot.rg.align import Alignment


class S3potError(Exception):
    """An error the user can mend: says what was found, what was expected and what fixes it."""


@dataclass(frozen=True)
class Photo:
    """One face, ready for reference generation.

    Attributes:
        name: Stem of the files that belong to it; sub-folders are kept (``a/b``).
        pixels: Working image, aligned frame, uint8 (H, W, 3), RGB.
        alignment: The way back to the original photo.
    """

    name: str
    pixels: np.ndarray
    alignment: Alignment


@dataclass(frozen=True)
class Reference:
    """What RG makes of a photo; all three share one frame and size (paper section 3.1).

    Attributes:
        raw: The photo, aligned frame, uint8 (H, W, 3), RGB.
        reference: The clean face of the same geometry, uint8 (H, W, 3).
        labels: The 12-class parsing of ``raw``, uint8 (H, W), values 0..11.
    """

    raw: np.ndarray
    reference: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Pair:
    """A raw and reference picture as SAM takes them.

    Attributes:
        name: As in ``Photo``.
        raw_sam: (3, S, S) in [0, 1].
        reference_sam: (3, S, S) in [0, 1].
        region_sam: Where an occlusion can be asked for, bool (S, S).
    """

    name: str
    raw_sam: Tensor
    reference_sam: Tensor
    region_sam: Tensor


@dataclass(frozen=True)
class Contrast:
    """What FE finds (paper section 3.2); one image.

    Attributes:
        similarity: Cosine of raw and reference encoder tokens, (G, G) in [-1, 1].
        first_point_sam: The surest piece of visible face, (2,), x, y.
        raw: Raw tokens that PS matches, (C, G, G): attended, or plain encoder tokens without FE.
        reference: Reference tokens, same shape.
    """

    similarity: Tensor
    first_point_sam: Tensor
    raw: Tensor
    reference: Tensor


@dataclass(frozen=True)
class Prompts:
    """All that the trainable part needs of one image: frozen, cacheable.

    Attributes:
        name: As in ``Photo``.
        image_tokens: SAM's encoding of the raw picture, (C, G, G); half precision once cached.
        points_sam: Positive points first, then negative, float (N, 2), x, y.
        labels: 1 visible face, 0 occlusion, int64 (N,).
        similarity: FE's token cosines, (G, G) in [-1, 1], for pictures and baselines.
        first_point_sam: FE's single point, (2,), x, y.
        region_sam: bool (S, S).
    """

    name: str
    image_tokens: Tensor
    points_sam: Tensor
    labels: Tensor
    similarity: Tensor
    first_point_sam: Tensor
    region_sam: Tensor

    def to(self, where: device | str) -> Prompts:
        """The same prompts on another device."""
        moved = {key: value.to(where) for key, value in vars(self).items() if key != "name"}
        return Prompts(self.name, **moved)


@dataclass(frozen=True)
class Prediction:
    """Output of adapter and mask decoder for one image.

    Attributes:
        logits_sam: Visible-face logits, (S, S); positive means face.
        attention: The adapter's weights over the N points and SAM's pad token, (N + 1, N + 1),
            rows sum to 1; None where no adapter was used.
    """

    logits_sam: Tensor
    attention: Tensor | None

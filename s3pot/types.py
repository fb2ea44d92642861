"""The values passed through the pipeline, each produced by one stage and read by the next.

AlignedFace → SamInputs → EnhancedTokens → Prompts → Prediction → Masks

Frames: *photo* is the original picture in its own pixels; *aligned* is the face crop that all files
of the folder contract share (the working image); *sam* is SAM's square input; *grid* is the grid of
SAM's token cells (``grid.py``). Points are (N, 2) in x, y order. S is the side of the sam frame, G
that of the token grid, and C the number of channels of a token. Values that hold arrays are
compared by identity (``eq=False``), because comparing two arrays gives no single truth value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor, device


class S3potError(Exception):
    """An error that the user can fix.

    Its message says what was found, what was expected, and which command or setting cures it.
    """


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """A face with its clean reference, produced by RG (paper section 3.1); aligned frame.

    Attributes:
        name: Stem of the files that belong to the face; sub-folders are kept (``a/b``).
        image: The working image, uint8 (H, W, 3), RGB.
        parsing: The 12 classes of the image, uint8, values 0..11; (H, W), or another size of the
            same frame when it was read from a file.
        reference: The clean face in the same geometry, uint8 (H, W, 3), RGB.
    """

    name: str
    image: np.ndarray
    parsing: np.ndarray
    reference: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the working image, and therefore of the masks."""
        height, width = self.image.shape[:2]
        return height, width


@dataclass(frozen=True, eq=False)
class SamInputs:
    """A face and its reference in the form SAM takes; sam frame.

    Attributes:
        name: As in ``AlignedFace``.
        image_sam: The working image, (3, S, S) in [0, 1].
        reference_sam: The reference, (3, S, S) in [0, 1].
        region_sam: Where an occlusion can be asked for, bool (S, S).
    """

    name: str
    image_sam: Tensor
    reference_sam: Tensor
    region_sam: Tensor


@dataclass(frozen=True, eq=False)
class EnhancedTokens:
    """The result of FE for one face (paper section 3.2); grid frame.

    Attributes:
        similarity: Cosine of the image's and the reference's encoder tokens, (G, G) in [-1, 1].
        first_point_sam: The point that is most certainly visible face, (2,), x, y.
        image_tokens: Tokens of the image that PS matches, (C, G, G): attended, or plain encoder
            tokens if FE is left out.
        reference_tokens: Tokens of the reference, same shape.
    """

    similarity: Tensor
    first_point_sam: Tensor
    image_tokens: Tensor
    reference_tokens: Tensor


@dataclass(frozen=True, eq=False)
class Prompts:
    """Everything that the trainable part needs from one face; frozen, and therefore cached.

    Attributes:
        name: As in ``AlignedFace``.
        image_embedding: SAM's encoding of the working image, float16 (C, G, G).
        points_sam: Positive points first, then negative, float (N, 2), x, y.
        point_labels: 1 is visible face, 0 is occlusion, int64 (N,).
        similarity: FE's token cosines, float16 (G, G) in [-1, 1], used in pictures and baselines.
        first_point_sam: FE's single point, (2,), x, y.
        region_sam: Where an occlusion can be asked for, bool (S, S).
    """

    name: str
    image_embedding: Tensor
    points_sam: Tensor
    point_labels: Tensor
    similarity: Tensor
    first_point_sam: Tensor
    region_sam: Tensor

    @property
    def has_points(self) -> bool:
        """Whether there is any point; there is none if no token's center lies in the region."""
        return len(self.points_sam) > 0

    def to(self, where: device | str, non_blocking: bool = False) -> Prompts:
        """Return the same prompts on another device.

        Args:
            where: The device.
            non_blocking: Do not wait for copies from pinned memory.
        """
        return self._each(lambda tensor: tensor.to(where, non_blocking=non_blocking))

    def pin_memory(self) -> Prompts:
        """Copy the prompts, which must be on the CPU, to pinned memory, which GPUs read fast."""
        return self._each(lambda tensor: tensor.pin_memory())

    @property
    def nbytes(self) -> int:
        """The memory that the tensors take, in bytes."""
        tensors = (value for value in vars(self).values() if not isinstance(value, str))
        return sum(tensor.nbytes for tensor in tensors)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Prompts:
        return replace(
            self,
            image_embedding=change(self.image_embedding),
            points_sam=change(self.points_sam),
            point_labels=change(self.point_labels),
            similarity=change(self.similarity),
            first_point_sam=change(self.first_point_sam),
            region_sam=change(self.region_sam),
        )


@dataclass(frozen=True, eq=False)
class PromptBatch:
    """Prompts of B faces, padded to a common length N.

    Attributes:
        image_embeddings: float (B, C, G, G).
        points_sam: (B, N, 2), x, y.
        point_labels: 1 is visible face, 0 is occlusion, ``losses.PADDING_LABEL`` is padding, int64
            (B, N).
        prompt_mask: bool (B, N + 1), False for padding; the last position is SAM's padding token.
            None if all faces have N points.
    """

    image_embeddings: Tensor
    points_sam: Tensor
    point_labels: Tensor
    prompt_mask: Tensor | None


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction of adapter and mask decoder for one face.

    Attributes:
        logits_sam: Visible-face logits, (S, S); positive means face.
        attention: The adapter's attention weights over the N points and SAM's padding token, (N +
            1, N + 1), whose rows sum to 1; None without an adapter.
    """

    logits_sam: Tensor
    attention: Tensor | None

    def to(self, where: device | str) -> Prediction:
        """Return the same prediction on another device, detached from the graph."""
        attention = None if self.attention is None else self.attention.detach().to(where)
        return Prediction(self.logits_sam.detach().to(where), attention)


@dataclass(frozen=True, eq=False)
class Masks:
    """A segmented face; aligned frame.

    Attributes:
        occlusion: The region minus the visible face, bool (H, W).
        face: The visible face inside the region, bool (H, W).
        parsing: The 12 classes, occluded pixels set to 12, uint8 (H, W).
    """

    occlusion: np.ndarray
    face: np.ndarray
    parsing: np.ndarray

    @property
    def region(self) -> np.ndarray:
        """Where an occlusion could be found, bool (H, W)."""
        region: np.ndarray = self.occlusion | self.face
        return region


@dataclass(frozen=True)
class SegmentedFace:
    """Everything that the pipeline computed for one aligned image.

    Attributes:
        face: Working image, parsing and reference.
        prompts: The points.
        prediction: The visible face; None if there were no points.
        masks: The occlusion and the visible face.
    """

    face: AlignedFace
    prompts: Prompts
    prediction: Prediction | None
    masks: Masks

"""S³POT (arXiv 2602.00635) from top to bottom: read this file first.

    aligned image
      │  RG       face parser, regional GAN inversion: a clean reference   ReferenceGenerator
      ▼
    AlignedFace   image, parsing, reference
      │  FE       token contrast of image and reference, enhanced by SAM ┐
      │  PS       matching of tokens: face points, occlusion points      │
      ▼                                                                  │
    Prompts       all that is frozen ends here: computed once, then kept │ OcclusionSegmenter
      │  adapter  refines the prompts; the only part that is trained     │
      │  mask     SAM's decoder: the visible face                        │
      ▼                                                                  ┘
    Prediction
      │           occlusion = region minus visible face                  split_region
      ▼
    Masks

``ReferenceGenerator.generate``, ``OcclusionSegmenter.prepare`` and ``.select_prompts`` are frozen:
they have no gradient and give the same result for the same image (on a GPU, but for the rounding,
which may depend on the others of a batch), so their results can be cached.
``OcclusionSegmenter.refine_prompts``, ``.decode`` and ``.predict_*`` let gradients through to the
adapter; ``.segment`` calls them without gradients and computes the masks. ``S3POT`` does everything
in one call. The commands, the training and the Python API are loops around these classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Union

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from s3pot.adapter import PromptAdapter
from s3pot.data.pixels import resized, to_tensor, to_uint8
from s3pot.fe import cosine_map, enhance
from s3pot.finite import EXACT_SPEED, REPLACE_ADAPTER, is_finite, require_finite
from s3pot.labels import OCCLUSION_CLASS, region_of, resize_labels
from s3pot.losses import PADDING_LABEL, neighbors_of
from s3pot.occlusion_decision import OcclusionDecision, decide
from s3pot.ps.select import select_points
from s3pot.read_once import ReadOnce
from s3pot.rg.inverter import Inverter
from s3pot.rg.parser import Parser
from s3pot.sam.frozen import FrozenSam, stack_tokens
from s3pot.types import (
    AlignedFace,
    EnhancedTokens,
    Masks,
    Prediction,
    PromptBatch,
    Prompts,
    SamInputs,
    SegmentedFace,
)

# An adapter, plain or wrapped for several processes; None leaves the prompts unchanged.
Adapter = Union[PromptAdapter, nn.Module, None]
# SAM's encodings of recent images, (C, G, G) each, by the SHA-256 of their pixels.
Encodings = ReadOnce[bytes, Tensor]


class ReferenceGenerator:
    """RG, reference generation (paper section 3.1); frozen.

    The parser mistakes what covers a face for a part of it (a hand on the cheek is skin). The
    inverter redraws each part from a single style, so that anything foreign to the part is averaged
    out.

    Args:
        parser: Predicts the 12 classes; its device is used.
        inverter: Regional GAN inversion, on the same device.
        noise_seed: Seed of the noise of an inverter with ``noise="random"``, the same for every
            image. A reference therefore does not depend on the images generated before it.
        images_at_once: Batch size of both networks. On a GPU, the rounding of a reference may
            depend on the others of its batch. It must be 1 for an inverter with random noise, as
            the noise of an image would depend on its place in the batch.
    """

    def __init__(
        self, parser: Parser, inverter: Inverter, noise_seed: int = 0, images_at_once: int = 1
    ) -> None:
        self.parser = parser
        self.inverter = inverter
        self.noise_seed = noise_seed
        self.images_at_once = images_at_once

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return next(self.parser.parameters()).device

    def generate(self, image: np.ndarray, name: str = "image") -> AlignedFace:
        """Parse a face and redraw it without what covers it.

        Args:
            image: The working image, aligned frame, uint8 (H, W, 3), RGB.
            name: What messages call the face.

        Returns:
            Image, parsing and reference, all at the size of the working image.
        """
        return self.generate_batch([image], [name])[0]

    def generate_batch(
        self, images: Sequence[np.ndarray], names: Sequence[str]
    ) -> list[AlignedFace]:
        """Do the same for several faces; neighbors of one size go through the networks together.

        Args:
            images: Working images, aligned frame, uint8 (H, W, 3) of any sizes, RGB.
            names: What messages call the faces.
        """
        faces: list[AlignedFace] = []
        start = 0
        for end in range(1, len(images) + 1):
            is_full = end - start == self.images_at_once
            if is_full or end == len(images) or images[end].shape != images[start].shape:
                faces += self._generate_together(images[start:end], names[start:end])
                start = end
        return faces

    @torch.no_grad()
    def _generate_together(
        self, images: Sequence[np.ndarray], names: Sequence[str]
    ) -> list[AlignedFace]:
        """Apply both networks to faces of one size."""
        size = images[0].shape[:2]
        pixels = torch.stack([to_tensor(image) for image in images]).to(self.device)
        parsings = self.parser.parse(pixels)
        with _seeded(self.noise_seed, self.device):
            references = self.inverter.invert(pixels, parsings)
        references = F.interpolate(references.float(), size=size, mode="bilinear", antialias=True)
        return [
            AlignedFace(
                name=name,
                image=image,
                parsing=resize_labels(parsing, size),
                reference=to_uint8(reference),
            )
            for name, image, parsing, reference in zip(
                names, images, parsings.cpu().numpy(), references
            )
        ]


def to_sam_frame(face: AlignedFace, size: int) -> SamInputs:
    """Resize a face to SAM's square of side ``size``; the aspect ratio is not kept.

    Image, reference and parsing may have different sizes. Images are resized with Pillow's
    antialiased bilinear filter, the region by ``resize_labels``.
    """
    square = (size, size)
    return SamInputs(
        name=face.name,
        image_sam=to_tensor(resized(face.image, square)),
        reference_sam=to_tensor(resized(face.reference, square)),
        region_sam=torch.from_numpy(resize_labels(region_of(face.parsing), square)),
    )


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch inside the block and restore its random state afterwards."""
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True)
class PipelineSettings:
    """Settings of FE, PS and mask; ``PromptConfig`` and ``MaskConfig`` explain them."""

    initial_anchor: str = "center"
    initial_pick: str = "region"
    attended: bool = True
    selection: str = "greedy"
    align_corners: bool = True
    decision: OcclusionDecision = OcclusionDecision()


class OcclusionSegmenter:
    """FE, PS, adapter and mask (paper sections 3.2 to 3.4).

    The adapter is an argument of the methods that use it, because training changes it; everything
    that this class holds is frozen.

    Args:
        sam: Frozen SAM; its device is used.
        settings: Settings of the method; by default those of the paper.
        images_at_once: Batch size of SAM's encoder. A batch of one needs the least memory; on a CPU
            larger ones are hardly faster.
        encodings: Remembers images, which are then encoded one by one. This pays if they are used
            again, with other settings of the method.
    """

    def __init__(
        self,
        sam: FrozenSam,
        settings: PipelineSettings | None = None,
        images_at_once: int = 1,
        encodings: Encodings | None = None,
    ) -> None:
        self.sam = sam
        self.settings = settings or PipelineSettings()
        self.images_at_once = images_at_once
        self.encodings = encodings

    @property
    def device(self) -> torch.device:
        """The device of SAM."""
        device: torch.device = self.sam.sam.device
        return device

    def with_settings(self, settings: PipelineSettings) -> OcclusionSegmenter:
        """Return a segmenter with the same SAM and other settings of the method."""
        return OcclusionSegmenter(self.sam, settings, self.images_at_once, self.encodings)

    # Frozen: from a face to its prompts. No gradient; a pure function of the face, hence cacheable.

    def prepare(self, face: AlignedFace) -> SamInputs:
        """Resize a face to SAM's square, on the CPU; see ``to_sam_frame``."""
        return to_sam_frame(face, self.sam.grid.size)

    @torch.no_grad()
    def select_prompts(self, faces: Sequence[SamInputs]) -> list[Prompts]:
        """Apply FE and PS: find the points that tell visible face from occlusion.

        Args:
            faces: At least one; on any device.

        Returns:
            Prompts of each face, on SAM's device; they have no points if no token's center lies in
            the region.
        """
        images = [face.image_sam for face in faces]
        references = [face.reference_sam for face in faces]
        image_embeddings, reference_embeddings = self._encode([*images, *references]).chunk(2)
        return [
            self._prompts(face, image_embedding, reference_embedding)
            for face, image_embedding, reference_embedding in zip(
                faces, image_embeddings, reference_embeddings
            )
        ]

    def _encode(self, images: Sequence[Tensor]) -> Tensor:
        """Apply SAM's image encoder: (3, S, S) each to (number of images, C, G, G)."""
        if self.encodings is not None:
            return torch.stack([self._encode_once(image, self.encodings) for image in images])
        batches = torch.stack(list(images)).split(self.images_at_once)
        return torch.cat([self.sam.encode(batch.to(self.device)) for batch in batches])

    def _encode_once(self, image: Tensor, encodings: Encodings) -> Tensor:
        """Encode an image (3, S, S), unless it is one of those remembered: (C, G, G)."""
        key = hashlib.sha256(image.cpu().numpy().tobytes()).digest()
        return encodings.get(key, lambda: self.sam.encode(image[None].to(self.device))[0])

    def _prompts(
        self, face: SamInputs, image_embedding: Tensor, reference_embedding: Tensor
    ) -> Prompts:
        """Apply FE and PS to one face; embeddings (C, G, G).

        The tensors kept besides the points are rounded to half precision here, whether or not a
        cache is used, so that no result depends on a cache.
        """
        region_sam = face.region_sam.to(self.device)
        kept_embedding = image_embedding.half()
        tokens = self.enhance_tokens(image_embedding, reference_embedding, region_sam)
        encoded = (kept_embedding, reference_embedding)
        enhanced = (tokens.image_tokens, tokens.reference_tokens)
        if not is_finite(*encoded, *enhanced):  # a GPU is waited for once
            require_finite("SAM's tokens", *encoded, setting=EXACT_SPEED)
            require_finite("FE's tokens", *enhanced, setting=EXACT_SPEED)
        points_sam, point_labels = select_points(
            tokens.image_tokens,
            tokens.reference_tokens,
            region_sam,
            self.sam.grid,
            self.settings.selection,
        )
        return Prompts(
            name=face.name,
            image_embedding=kept_embedding,
            points_sam=points_sam,
            point_labels=point_labels,
            similarity=tokens.similarity.half(),
            first_point_sam=tokens.first_point_sam,
            region_sam=region_sam,
        )

    def enhance_tokens(
        self, image_embedding: Tensor, reference_embedding: Tensor, region_sam: Tensor
    ) -> EnhancedTokens:
        """Apply FE, feature enhancement by token contrast (paper section 3.2).

        Args:
            image_embedding: SAM's encoding of the working image, (C, G, G).
            reference_embedding: SAM's encoding of the reference, (C, G, G).
            region_sam: bool (S, S); if it covers no token's center, there is no first point.
        """
        region_grid = self.sam.grid.on_grid(region_sam)
        if not region_grid.any():
            return EnhancedTokens(
                similarity=cosine_map(image_embedding[None], reference_embedding[None])[0],
                first_point_sam=image_embedding.new_zeros(2),
                image_tokens=image_embedding,
                reference_tokens=reference_embedding,
            )
        return enhance(
            self.sam,
            image_embedding,
            reference_embedding,
            region_grid,
            anchor=self.settings.initial_anchor,
            pick=self.settings.initial_pick,
            attended=self.settings.attended,
        )

    # Trained: from prompts to the visible face. Gradients reach the adapter, and nothing else.

    def refine_prompts(
        self, adapter: Adapter, batch: PromptBatch, need_attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Let the adapter refine the prompt tokens of some faces (paper section 3.3).

        Args:
            adapter: Called as ``adapter(tokens, prompt_mask, need_weights) -> (tokens, weights)``;
                None refines nothing.
            batch: See ``batch_prompts``; on SAM's device.
            need_attention: Also return the adapter's attention weights, which costs time.

        Returns:
            Prompt tokens (B, N + 1, C), the last of which is SAM's padding token; and the adapter's
            attention weights (B, N + 1, N + 1), None if not requested or without an adapter.
        """
        prompt_tokens = self.sam.embed_points(batch.points_sam, batch.point_labels)
        if adapter is None:
            return prompt_tokens, None
        refined_tokens, attention = adapter(prompt_tokens, batch.prompt_mask, need_attention)
        return refined_tokens, attention

    def decode(self, batch: PromptBatch, prompt_tokens: Tensor) -> Tensor:
        """Apply SAM's mask decoder: prompt tokens (B, N + 1, C) to face logits (B, 4G, 4G)."""
        decoded = self.sam.decode(batch.image_embeddings, prompt_tokens, batch.prompt_mask)
        return decoded.logits[:, 0]

    def predict_point_logits(self, adapter: Adapter, batch: PromptBatch) -> Tensor:
        """Predict the visible face at the prompts' points only: all that the losses need.

        Returns:
            Logits, (B, N): the values at the points of those from ``predict_visible_face``.
        """
        prompt_tokens, _ = self.refine_prompts(adapter, batch)
        grid = self.sam.grid
        neighbors = neighbors_of(
            batch.points_sam, grid.size, grid.low_res_side, self.settings.align_corners
        )
        logits = self.sam.decode_at(
            batch.image_embeddings,
            prompt_tokens,
            neighbors.places.flatten(1),
            batch.prompt_mask,
        )
        return neighbors.interpolate(logits.unflatten(1, (-1, 4)))

    def enlarge_logits(self, low_res_logits: Tensor) -> Tensor:
        """Upsample logits (B, 4G, 4G) bilinearly to the sam frame, (B, S, S)."""
        size = (self.sam.grid.size, self.sam.grid.size)
        align_corners = self.settings.align_corners
        return F.interpolate(
            low_res_logits[:, None], size=size, mode="bilinear", align_corners=align_corners
        )[:, 0]

    def predict_visible_face(self, adapter: Adapter, prompts: Prompts) -> Prediction:
        """Predict the visible face of one face in the sam frame; see ``refine_prompts``.

        Raises:
            ValueError: ``prompts`` has no point.
        """
        batch = batch_prompts([prompts])
        prompt_tokens, attention = self.refine_prompts(adapter, batch, need_attention=True)
        low_res_logits = self.decode(batch, prompt_tokens)
        return Prediction(
            logits_sam=self.enlarge_logits(low_res_logits)[0],
            attention=None if attention is None else attention[0],
        )

    # All of it, from prompts to masks.

    @torch.no_grad()
    def segment(self, face: AlignedFace, prompts: Prompts, adapter: Adapter) -> SegmentedFace:
        """Find the occlusion of a face whose prompts are known; without points there is none.

        Args:
            face: Working image, parsing and reference.
            prompts: Its prompts, on SAM's device.
            adapter: See ``refine_prompts``.
        """
        prediction = None
        if prompts.has_points:
            prediction = self.predict_visible_face(adapter, prompts)
        masks = self.masks_of(face, prediction)
        return SegmentedFace(face=face, prompts=prompts, prediction=prediction, masks=masks)

    def masks_of(self, face: AlignedFace, prediction: Prediction | None) -> Masks:
        """Subtract the visible face from the region with these settings; see ``split_region``."""
        return split_region(prediction, face.parsing, face.size, self.settings.decision)


def batch_prompts(prompts: Sequence[Prompts]) -> PromptBatch:
    """Batch the prompts of some faces, padded to the longest, for one decoder call.

    Raises:
        ValueError: There are no faces, or one has no point.
    """
    for face in prompts:
        if not face.has_points:
            raise ValueError(f"{face.name}: there is no prompt point to segment with")
    points_sam = pad_sequence([face.points_sam for face in prompts], batch_first=True)
    point_labels = pad_sequence(
        [face.point_labels for face in prompts], batch_first=True, padding_value=PADDING_LABEL
    )
    prompt_mask = None
    if len({len(face.points_sam) for face in prompts}) > 1:  # needs no device sync
        prompt_mask = F.pad(point_labels != PADDING_LABEL, (0, 1), value=True)
    return PromptBatch(
        image_embeddings=stack_tokens([face.image_embedding for face in prompts]).float(),
        points_sam=points_sam,
        point_labels=point_labels,
        prompt_mask=prompt_mask,
    )


def split_region(
    prediction: Prediction | None,
    parsing: np.ndarray,
    size: tuple[int, ...],
    decision: OcclusionDecision | None = None,
) -> Masks:
    """Compute occlusion = region minus visible face, the last step of the method.

    Args:
        prediction: The visible face; None, without prompt points, marks nothing as occluded.
        parsing: The 12 classes of the same face, uint8 (h, w), any size.
        size: Height and width of the working image, and so of the masks.
        decision: Which parts of the difference count as an occlusion; the rest is visible face.
            None, as in the paper, counts everything.

    Raises:
        S3potError: The logits are not finite numbers.
    """
    parsing = resize_labels(parsing, size)
    region = region_of(parsing)
    face = region
    if prediction is not None:
        logits = aligned_logits(prediction, size)
        require_finite(
            "The mask's logits",
            torch.from_numpy(logits),
            cure=REPLACE_ADAPTER,
            setting=EXACT_SPEED,
        )
        face = region & (logits > 0)
    occlusion = region & ~face
    if decision is not None:
        occlusion = decide(occlusion, region, decision)
    return Masks(
        occlusion=occlusion,
        face=region & ~occlusion,
        parsing=np.where(occlusion, np.uint8(OCCLUSION_CLASS), parsing),
    )


def aligned_logits(prediction: Prediction, size: tuple[int, ...]) -> np.ndarray:
    """Resize visible-face logits to the working image's height and width: float (H, W)."""
    logits_sam = prediction.logits_sam.detach().float()[None, None]
    logits = F.interpolate(logits_sam, size=size, mode="bilinear", align_corners=False)
    return np.asarray(logits[0, 0].cpu().numpy())


@dataclass(frozen=True)
class S3POT:
    """The whole method; ``s3pot.load`` returns one with loaded weights.

    Attributes:
        reference_generator: RG; frozen.
        segmenter: FE, PS and mask; frozen.
        adapter: Refines the prompts; trained.
    """

    reference_generator: ReferenceGenerator
    segmenter: OcclusionSegmenter
    adapter: Adapter

    @torch.no_grad()
    def segment(self, image: np.ndarray, name: str = "image") -> SegmentedFace:
        """Find the occlusion of an aligned face.

        Args:
            image: The working image, aligned frame, uint8 (H, W, 3), RGB.
            name: What messages call the face.
        """
        return self.segment_batch([image], [name])[0]

    @torch.no_grad()
    def segment_batch(
        self, images: Sequence[np.ndarray], names: Sequence[str]
    ) -> list[SegmentedFace]:
        """Find the occlusions of several aligned faces; on a GPU they go through in batches.

        Args:
            images: Working images, aligned frame, uint8 (H, W, 3) of any sizes, RGB.
            names: What messages call the faces.
        """
        if not images:
            return []
        faces = self.reference_generator.generate_batch(images, names)
        prompts = self.segmenter.select_prompts([self.segmenter.prepare(face) for face in faces])
        return [
            self.segmenter.segment(face, prompts_of_face, self.adapter)
            for face, prompts_of_face in zip(faces, prompts)
        ]

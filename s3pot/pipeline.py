"""S³POT in one file: FE → PS → adapter → mask (arXiv 2602.00635); RG is ``rg/inverter.py``.

``prepare`` is everything that the freeze makes a pure function of the image pair, and so can be
computed once and kept; ``segment`` is the part with a gradient. Training, per-image training and
inference are loops around these two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from s3pot.adapter import PromptAdapter
from s3pot.fe import cosine_map, enhance
from s3pot.losses import PADDING_LABEL, sample_logits
from s3pot.ps.select import select_points
from s3pot.sam.frozen import FrozenSam
from s3pot.types import Contrast, Pair, Prediction, Prompts


@dataclass(frozen=True)
class PipelineSettings:
    """Numbers of the method; see ``PromptConfig`` and ``MaskConfig`` for their meaning."""

    initial_anchor: str = "center"
    initial_pick: str = "region"
    attended: bool = True
    selection: str = "greedy"
    align_corners: bool = True


@torch.no_grad()
def prepare(sam: FrozenSam, pairs: Sequence[Pair], settings: PipelineSettings) -> list[Prompts]:
    """FE and PS: from image pairs to prompts.

    Args:
        sam: Frozen SAM; its device is used.
        pairs: sam frame; encoded in one batch.
        settings: Numbers of the method.

    Returns:
        One ``Prompts`` per pair; without points where no token centre lies in the region.
    """
    device = sam.sam.device
    pictures = [p.raw_sam for p in pairs] + [p.reference_sam for p in pairs]
    raws, refs = sam.encode(torch.stack(pictures).to(device)).chunk(2)
    return [_prompts(sam, *one, settings) for one in zip(pairs, raws, refs)]


def _prompts(
    sam: FrozenSam, pair: Pair, raw: Tensor, ref: Tensor, settings: PipelineSettings
) -> Prompts:
    region = pair.region_sam.to(raw.device)
    region_grid = sam.grid.on_grid(region)
    if region_grid.any():
        options = {"anchor": settings.initial_anchor, "pick": settings.initial_pick}
        found = enhance(sam, raw, ref, region_grid, **options, attended=settings.attended)
    else:  # nothing to ask for
        found = Contrast(cosine_map(raw[None], ref[None])[0], raw.new_zeros(2), raw, ref)
    tokens, first = (found.raw, found.reference), found.first_point_sam
    points, labels = select_points(*tokens, region, sam.grid, settings.selection)
    return Prompts(pair.name, raw, points, labels, found.similarity, first, region)


@dataclass(frozen=True)
class PromptBatch:
    """Prompts of several images, filled up to one length.

    Attributes:
        image_tokens: (B, C, G, G).
        points_sam: (B, N, 2).
        labels: 1 visible face, 0 occlusion, ``PADDING_LABEL`` for filling, int64 (B, N).
        prompt_mask: bool (B, N + 1), False for the filling; the last place is SAM's "not a point".
            None if all images have N points.
    """

    image_tokens: Tensor
    points_sam: Tensor
    labels: Tensor
    prompt_mask: Tensor | None


def batch_prompts(prompts: Sequence[Prompts]) -> PromptBatch:
    """Join the prompts of images for one decode.

    Raises:
        ValueError: There are no images, or one has no point.
    """
    for image in prompts:
        if not len(image.points_sam):
            raise ValueError(f"{image.name}: no prompt point to segment with")
    points = pad_sequence([image.points_sam for image in prompts], batch_first=True)
    labels = pad_sequence(
        [image.labels for image in prompts], batch_first=True, padding_value=PADDING_LABEL
    )
    mask = None
    if len({len(image.labels) for image in prompts}) > 1:  # sizes are known without the device
        mask = F.pad(labels != PADDING_LABEL, (0, 1), value=True)
    tokens = torch.stack([image.image_tokens for image in prompts]).float()
    return PromptBatch(tokens, points, labels, mask)


@dataclass(frozen=True)
class BatchPrediction:
    """Output of adapter and mask decoder for a batch.

    Attributes:
        low_logits: Visible-face logits, (B, 4G, 4G).
        attention: The adapter's weights, (B, N + 1, N + 1); None if not asked for.
    """

    low_logits: Tensor
    attention: Tensor | None


def decode_batch(
    sam: FrozenSam,
    adapter: PromptAdapter | nn.Module | None,
    batch: PromptBatch,
    need_weights: bool = False,
) -> BatchPrediction:
    """Adapter and mask decoder on several images at once; equal to one by one but for rounding.

    Args:
        sam: Frozen SAM.
        adapter: Called as ``adapter(tokens, prompt_mask, need_weights) -> (tokens, weights)``, also
            when wrapped for several processes; None decodes the raw prompts.
        batch: Of ``batch_prompts``.
        need_weights: Also return the adapter's weights, which costs time.
    """
    tokens, weights = sam.embed_points(batch.points_sam, batch.labels), None
    if adapter is not None:
        tokens, weights = adapter(tokens, batch.prompt_mask, need_weights)
    decoded = sam.decode(batch.image_tokens, tokens, batch.prompt_mask)
    return BatchPrediction(decoded.logits[:, 0], weights)


def logits_at_points(
    sam: FrozenSam, prediction: BatchPrediction, batch: PromptBatch, settings: PipelineSettings
) -> Tensor:
    """Visible-face logits at the prompts' points, (B, N): all that the losses need."""
    size = sam.grid.size
    return sample_logits(prediction.low_logits, batch.points_sam, size, settings.align_corners)


def segment(
    sam: FrozenSam,
    adapter: PromptAdapter | nn.Module | None,
    prompts: Prompts,
    settings: PipelineSettings,
) -> Prediction:
    """Adapter and mask: from prompts to visible-face logits, with gradient by the adapter.

    Args:
        sam: Frozen SAM.
        adapter: See ``decode_batch``.
        prompts: Of one image, with at least one point.
        settings: Numbers of the method.

    Raises:
        ValueError: ``prompts`` holds no point.
    """
    decoded = decode_batch(sam, adapter, batch_prompts([prompts]), need_weights=True)
    size = sam.grid.size
    logits = F.interpolate(
        decoded.low_logits[:, None],
        size=(size, size),
        mode="bilinear",
        align_corners=settings.align_corners,
    )
    return Prediction(logits[0, 0], None if decoded.attention is None else decoded.attention[0])

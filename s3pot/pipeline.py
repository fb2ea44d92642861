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

from s3pot.adapter import PromptAdapter
from s3pot.fe import cosine_map, enhance
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


def segment(
    sam: FrozenSam,
    adapter: PromptAdapter | nn.Module | None,
    prompts: Prompts,
    settings: PipelineSettings,
) -> Prediction:
    """Adapter and mask: from prompts to visible-face logits, with gradient by the adapter.

    Args:
        sam: Frozen SAM.
        adapter: Called as ``adapter(tokens) -> (tokens, weights)``, also when wrapped for several
            processes; None decodes the raw prompts.
        prompts: Of one image, with at least one point.
        settings: Numbers of the method.

    Raises:
        ValueError: ``prompts`` holds no point.
    """
    if not len(prompts.points_sam):
        raise ValueError(f"{prompts.name}: no prompt point to segment with")
    tokens, weights = sam.embed_points(prompts.points_sam, prompts.labels), None
    if adapter is not None:
        tokens, weights = adapter(tokens)
    low = sam.decode(prompts.image_tokens[None].float(), tokens).logits
    size = sam.grid.size
    logits = F.interpolate(
        low, size=(size, size), mode="bilinear", align_corners=settings.align_corners
    )
    return Prediction(logits[0, 0], None if weights is None else weights[0])

"""SAM's mask decoder step by step, over its own sub-modules, for the attended image tokens.

Equal to ``MaskDecoder.forward`` of segment-anything with ``multimask_output=False``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from segment_anything.modeling import MaskDecoder
from torch import Tensor


@dataclass(frozen=True)
class Attended:
    """What the two-way transformer gives.

    Attributes:
        outputs: Output tokens (IoU, masks) and prompts after attention, (B, 1 + masks + N, C).
        image: Image tokens after they and the prompts have attended to each other, (B, C, G, G).
    """

    outputs: Tensor
    image: Tensor


@dataclass(frozen=True)
class Decoded:
    """One mask.

    Attributes:
        logits: Low-resolution mask logits, (B, 1, 4G, 4G).
        iou: The decoder's own estimate of the mask's IoU, (B, 1).
        attended: The tokens behind it.
    """

    logits: Tensor
    iou: Tensor
    attended: Attended


def attend(
    decoder: MaskDecoder, image: Tensor, image_position: Tensor, prompts: Tensor, dense: Tensor
) -> Attended:
    """Run the two-way transformer alone; enough for FE, which needs no mask.

    Args:
        decoder: SAM's mask decoder.
        image: Image tokens, (B, C, G, G), one per row of ``prompts``.
        image_position: Dense positional encoding, (1, C, G, G).
        prompts: Prompt tokens, (B, N, C).
        dense: Dense prompt (SAM's no-mask embedding), broadcastable to ``image``.
    """
    own = torch.cat((decoder.iou_token.weight, decoder.mask_tokens.weight))
    tokens = torch.cat((own.expand(len(prompts), -1, -1), prompts), dim=1)
    outputs, keys = decoder.transformer(image + dense, image_position.expand_as(image), tokens)
    return Attended(outputs, keys.transpose(1, 2).unflatten(2, image.shape[-2:]))


def mask_from(decoder: MaskDecoder, attended: Attended) -> Decoded:
    """Upscaling and the single-mask hypernetwork on attended tokens."""
    features = decoder.output_upscaling(attended.image)
    kernel = decoder.output_hypernetworks_mlps[0](attended.outputs[:, 1])
    logits = torch.einsum("bc,bchw->bhw", kernel, features).unsqueeze(1)
    iou = decoder.iou_prediction_head(attended.outputs[:, 0])[:, :1]
    return Decoded(logits, iou, attended)

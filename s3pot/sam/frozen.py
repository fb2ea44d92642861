"""A frozen SAM behind four verbs: encode pictures, embed points, attend, decode.

The mask decoder runs step by step over its own sub-modules, for the attended image tokens; equal
to ``MaskDecoder.forward`` of segment-anything with ``multimask_output=False``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from segment_anything.modeling import MaskDecoder, Sam
from torch import Tensor, nn

from s3pot.grid import Grid

Module = TypeVar("Module", bound=nn.Module)


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


def freeze(module: Module) -> Module:
    """Evaluation mode, no gradient for any parameter; gradients still pass through activations."""
    return module.eval().requires_grad_(False)


class FrozenSam(nn.Module):
    """SAM without anything to train.

    Args:
        sam: A model of pip's ``segment-anything``.
        normalize: Apply SAM's pixel mean and std. ``# Release:`` feeds [0, 1] pixels.
        amp: Run the image encoder in bfloat16 where it is on a GPU.
    """

    def __init__(self, sam: Sam, normalize: bool = True, amp: bool = False) -> None:
        super().__init__()
        self.sam = freeze(sam)
        self.normalize, self.amp = normalize, amp
        side = sam.prompt_encoder.image_embedding_size[0]
        self.grid = Grid(size=sam.image_encoder.img_size, side=side)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Encode pictures.

        Args:
            images: sam frame, (B, 3, S, S) in [0, 1], RGB.

        Returns:
            Tokens, float32 (B, C, G, G).

        Raises:
            ValueError: Another picture size than S.
        """
        size = self.grid.size
        if images.shape[-2:] != (size, size):
            raise ValueError(f"pictures are {tuple(images.shape[-2:])}; SAM takes {size} x {size}")
        if self.normalize:
            images = (images * 255 - self.sam.pixel_mean) / self.sam.pixel_std
        with torch.autocast("cuda", torch.bfloat16, enabled=self.amp and images.is_cuda):
            return self.sam.image_encoder(images).float()

    def embed_points(self, points_sam: Tensor, labels: Tensor) -> Tensor:
        """Prompt tokens of points; SAM appends one not-a-point token since no box is given.

        Args:
            points_sam: (N, 2), x, y, pixels.
            labels: 1 or 0, (N,).

        Returns:
            (1, N + 1, C).
        """
        points = (points_sam[None].float(), labels[None].float())
        return self.sam.prompt_encoder(points=points, boxes=None, masks=None)[0]

    def attend(self, image_tokens: Tensor, prompt_tokens: Tensor) -> Attended:
        """The two-way transformer alone: (B, C, G, G) and (B, N, C) → attended tokens."""
        encoder, decoder = self.sam.prompt_encoder, self.sam.mask_decoder
        dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        return attend(decoder, image_tokens, encoder.get_dense_pe(), prompt_tokens, dense)

    def decode(self, image_tokens: Tensor, prompt_tokens: Tensor) -> Decoded:
        """A single mask: (B, C, G, G) and (B, N, C) → logits (B, 1, 4G, 4G)."""
        return mask_from(self.sam.mask_decoder, self.attend(image_tokens, prompt_tokens))

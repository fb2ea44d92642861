"""A frozen SAM behind four verbs: encode pictures, embed points, attend, decode."""

from __future__ import annotations

from typing import TypeVar

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn

from s3pot.grid import Grid
from s3pot.sam.decode import Attended, Decoded, attend, mask_from

Module = TypeVar("Module", bound=nn.Module)


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
            raise ValueError(
                f"pictures are {tuple(images.shape[-2:])}; this SAM takes {size} x {size}"
            )
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
        encoder = self.sam.prompt_encoder
        dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        return attend(
            self.sam.mask_decoder, image_tokens, encoder.get_dense_pe(), prompt_tokens, dense
        )

    def decode(self, image_tokens: Tensor, prompt_tokens: Tensor) -> Decoded:
        """A single mask: (B, C, G, G) and (B, N, C) → logits (B, 1, 4G, 4G)."""
        return mask_from(self.sam.mask_decoder, self.attend(image_tokens, prompt_tokens))

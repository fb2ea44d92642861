"""The mini SAM in training, with the few operations that its recipes use."""

from __future__ import annotations

import torch
from segment_anything.modeling import Sam
from torch import Tensor

from s3pot.fe import cosine_map
from s3pot.grid import Grid
from s3pot.sam.frozen import Attended, Decoded, attend, mask_from


class Trainee:
    """A SAM in training, for batches and mixed precision; ``FrozenSam`` is its frozen counterpart.

    Args:
        sam: Any ``Sam``; moved to ``device``.
        device: The device of the training.
    """

    def __init__(self, sam: Sam, device: torch.device) -> None:
        self.sam = sam.to(device)
        side = sam.prompt_encoder.image_embedding_size[0]
        self.grid = Grid(sam.image_encoder.img_size, side)
        self.device = device
        self._position: Tensor | None = None

    def encode(self, images: Tensor) -> Tensor:
        """Encode (B, 3, S, S) in [0, 1] to float32 tokens (B, C, G, G)."""
        pixels = (images * 255 - self.sam.pixel_mean) / self.sam.pixel_std
        return self.sam.image_encoder(pixels).float()

    def embed(self, points: Tensor, labels: Tensor) -> Tensor:
        """Embed points as (B, N + 1, C), equal to SAM's prompt encoder but without GPU syncs.

        It runs in full precision, because coordinates would be rounded otherwise.

        Args:
            points: Pixels x, y, (B, N, 2).
            labels: 1 or 0, (B, N).
        """
        encoder = self.sam.prompt_encoder
        with torch.autocast(self.device.type, enabled=False):
            place = encoder.pe_layer.forward_with_coords(
                points.float() + 0.5, encoder.input_image_size
            )
            negative, positive = (encoder.point_embeddings[i].weight for i in (0, 1))
            tokens = place + torch.where((labels == 1)[:, :, None], positive, negative)
            end = encoder.not_a_point_embed.weight.expand(len(tokens), 1, -1)
            return torch.cat((tokens, end), dim=1)

    def embed_boxes(self, boxes: Tensor) -> Tensor:
        """Embed boxes (B, 4) as prompt tokens (B, 2, C)."""
        with torch.autocast(self.device.type, enabled=False):
            return self.sam.prompt_encoder(points=None, boxes=boxes.float(), masks=None)[0]

    def attend(self, tokens: Tensor, prompts: Tensor) -> Attended:
        """Run the two-way transformer, without a dense prompt."""
        dense = self.sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        return attend(self.sam.mask_decoder, tokens, self._dense_position(), prompts, dense)

    def _dense_position(self) -> Tensor:
        """Return the positional encoding of the token grid, (1, C, G, G), which is not trained."""
        if self._position is None:
            with torch.autocast(self.device.type, enabled=False):
                self._position = self.sam.prompt_encoder.get_dense_pe().detach()
        return self._position

    def decode(self, tokens: Tensor, prompts: Tensor) -> Decoded:
        """Decode one mask per image."""
        return mask_from(self.sam.mask_decoder, self.attend(tokens, prompts))

    def enhance(self, raw: Tensor, ref: Tensor, region_grid: Tensor) -> tuple[Tensor, Tensor]:
        """Apply FE to a batch: attended tokens of raw and reference.

        Args:
            raw: (B, C, G, G).
            ref: (B, C, G, G).
            region_grid: bool (B, G, G); the most certain token is searched for there, or everywhere
                if it is empty.
        """
        similarity = cosine_map(raw, ref).detach()
        allowed = region_grid | ~region_grid.flatten(1).any(1)[:, None, None]
        index = similarity.masked_fill(~allowed, -torch.inf).flatten(1).argmax(1)
        prompts = self.embed(self.grid.centers(index)[:, None], torch.ones_like(index)[:, None])
        both = self.attend(torch.cat((raw, ref)), prompts.repeat(2, 1, 1)).image.float()
        attended_raw, attended_ref = both.chunk(2)
        return attended_raw, attended_ref

"""A frozen SAM with four operations: encode images, embed points, attend, decode.

The mask decoder's sub-modules are called step by step, to obtain the attended image tokens; the
result equals ``MaskDecoder.forward`` of segment-anything with ``multimask_output=False``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from segment_anything.modeling import MaskDecoder, Sam
from torch import Tensor, nn
from torch.nn import functional as F

from s3pot.grid import Grid
from s3pot.precision import tensor_float32
from s3pot.sam.decoder_attention import two_way, two_way_layers
from s3pot.sam.encoder_attention import fuse_image_encoder
from s3pot.sam.speed import prepare_encoder
from s3pot.sam.upscaling import mask_logits, mask_logits_at

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Attended:
    """The output of the two-way transformer.

    Attributes:
        outputs: Output tokens (IoU, masks) after attention, (B, 1 + masks, C).
        image: Image tokens after image and prompts have attended to each other, (B, C, G, G).
    """

    outputs: Tensor
    image: Tensor


def stack_tokens(grids: Sequence[Tensor]) -> Tensor:
    """Stack token grids, (C, G, G) each, to (B, C, G, G), a token's channels adjacent in memory.

    The decoder reads tokens; ``torch.stack`` would store channel after channel, and every call
    would copy the grids into the other order.
    """
    return torch.stack([grid.permute(1, 2, 0) for grid in grids]).permute(0, 3, 1, 2)


@dataclass(frozen=True, eq=False)
class Decoded:
    """The decoder's output for one mask.

    Attributes:
        logits: Low-resolution mask logits, (B, 1, 4G, 4G).
        iou: The decoder's own estimate of the mask's IoU, (B, 1).
        attended: The tokens it was computed from.
    """

    logits: Tensor
    iou: Tensor
    attended: Attended


def attend(  # noqa: PLR0913  # those of MaskDecoder.forward, and a mask
    decoder: MaskDecoder,
    image: Tensor,
    image_position: Tensor,
    prompts: Tensor,
    dense: Tensor,
    prompt_mask: Tensor | None = None,
) -> Attended:
    """Run only the two-way transformer.

    Args:
        decoder: SAM's mask decoder.
        image: Image tokens, (B, C, G, G), one per row of ``prompts``.
        image_position: Dense positional encoding, (1, C, G, G).
        prompts: Prompt tokens, (B, N, C).
        dense: Dense prompt (SAM's no-mask embedding), broadcastable to ``image``.
        prompt_mask: bool (B, N), False for prompts that only pad the batch; None without padding.
    """
    output_count = 1 + decoder.num_mask_tokens
    if prompt_mask is not None:
        prompt_mask = F.pad(prompt_mask, (output_count, 0), value=True)
    outputs, keys = two_way(
        decoder.transformer,
        (image + dense).flatten(2).transpose(1, 2).contiguous(),
        image_position.flatten(2).transpose(1, 2).contiguous(),
        _with_output_tokens(decoder, prompts),
        prompt_mask,
        tokens_wanted=output_count,
    )
    return Attended(outputs, keys.transpose(1, 2).unflatten(2, image.shape[-2:]))


def attend_image(
    decoder: MaskDecoder, image: Tensor, image_position: Tensor, prompts: Tensor, dense: Tensor
) -> Tensor:
    """Compute only the image tokens of ``attend``, with less work; FE needs nothing else."""
    _, keys = two_way_layers(
        decoder.transformer,
        (image + dense).flatten(2).transpose(1, 2).contiguous(),
        image_position.flatten(2).transpose(1, 2).contiguous(),
        _with_output_tokens(decoder, prompts),
    )
    return keys.transpose(1, 2).unflatten(2, image.shape[-2:])


def _with_output_tokens(decoder: MaskDecoder, prompts: Tensor) -> Tensor:
    """Put the decoder's own tokens (IoU, masks) before prompts (B, N, C)."""
    output_tokens = torch.cat((decoder.iou_token.weight, decoder.mask_tokens.weight))
    return torch.cat((output_tokens.expand(len(prompts), -1, -1), prompts), dim=1)


def mask_from(decoder: MaskDecoder, attended: Attended) -> Decoded:
    """Apply the upscaling and the single-mask hypernetwork to attended tokens."""
    kernel = _mask_kernel(decoder, attended)
    logits = mask_logits(decoder.output_upscaling, attended.image, kernel).unsqueeze(1)
    iou = decoder.iou_prediction_head(attended.outputs[:, 0])[:, :1]
    return Decoded(logits, iou, attended)


def mask_logits_from(decoder: MaskDecoder, attended: Attended, places: Tensor) -> Tensor:
    """Compute only some of the logits of ``mask_from``, see ``mask_logits_at``: (B, K)."""
    kernel = _mask_kernel(decoder, attended)
    return mask_logits_at(decoder.output_upscaling, attended.image, kernel, places)


def _mask_kernel(decoder: MaskDecoder, attended: Attended) -> Tensor:
    """Compute the weights of the upscaled channels for the single mask, (B, C / 8)."""
    kernel: Tensor = decoder.output_hypernetworks_mlps[0](attended.outputs[:, 1])
    return kernel


def freeze(module: Module) -> Module:
    """Set evaluation mode and freeze all parameters; gradients still pass through activations."""
    return module.eval().requires_grad_(False)


class FrozenSam(nn.Module):
    """SAM without trainable parameters.

    Args:
        sam: A model of pip's ``segment-anything``.
        normalize: Apply SAM's pixel mean and std. ``# Release:`` feeds [0, 1] pixels.
        speed: "exact", "fast" or "max"; see ``s3pot.sam.speed``.

    The attention of ``sam``'s image encoder is replaced by a fused one, and speeds other than
    "exact" round its weights: pass a copy to keep the original.
    """

    def __init__(self, sam: Sam, normalize: bool = True, speed: str = "exact") -> None:
        super().__init__()
        self.sam = freeze(sam)
        fuse_image_encoder(sam.image_encoder)
        prepare_encoder(sam.image_encoder, speed)
        self.normalize = normalize
        self.speed = speed
        self._largest_batch = 0
        self.dense_position: Tensor | None
        self.register_buffer("dense_position", None, persistent=False)  # computed at first use
        side = sam.prompt_encoder.image_embedding_size[0]
        self.grid = Grid(size=sam.image_encoder.img_size, side=side)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Encode images.

        Args:
            images: sam frame, (B, 3, S, S) in [0, 1], RGB.

        Returns:
            Tokens, float32 (B, C, G, G).

        Raises:
            ValueError: The image size is not S.
        """
        size = self.grid.size
        if images.shape[-2:] != (size, size):
            raise ValueError(f"images are {tuple(images.shape[-2:])}; SAM takes {size} x {size}")
        if self.normalize:
            images = (images * 255 - self.sam.pixel_mean) / self.sam.pixel_std
        count = len(images)
        if self.speed == "max":
            images = self._padded(images)
        with self._precision():
            tokens = self.sam.image_encoder(images)
        self._largest_batch = max(self._largest_batch, count)  # it fits into memory
        return tokens[:count].float()

    def _padded(self, images: Tensor) -> Tensor:
        """Pad a batch to the size of the largest encoded so far: another is compiled anew."""
        missing = self._largest_batch - len(images)
        if missing <= 0 or not len(images):
            return images
        return torch.cat((images, images[-1:].expand(missing, -1, -1, -1)))

    @contextmanager
    def _precision(self) -> Iterator[None]:
        """Compute in float32 or bfloat16, according to ``speed``, inside the block."""
        fast = self.speed != "exact"
        device_type = self.sam.device.type
        # Only a GPU of NVIDIA has TF32; others need not wait for the process's flags.
        flags = tensor_float32(fast) if device_type == "cuda" else nullcontext()
        with flags, torch.autocast(device_type, torch.bfloat16, enabled=fast):
            yield

    def embed_points(self, points_sam: Tensor, labels: Tensor) -> Tensor:
        """Embed points as prompt tokens, followed by SAM's "not a point" token, as without a box.

        The result equals that of SAM's prompt encoder, without its synchronizations with the
        device.

        Args:
            points_sam: Pixels x, y, (B, N, 2).
            labels: 1 or 0; -1 for "not a point", (B, N).

        Returns:
            (B, N + 1, C).
        """
        encoder = self.sam.prompt_encoder
        points = F.pad(points_sam.float() + 0.5, (0, 0, 0, 1))
        labels = F.pad(labels, (0, 1), value=-1)[..., None]
        position = encoder.pe_layer.forward_with_coords(points, encoder.input_image_size)
        negative = encoder.point_embeddings[0].weight
        positive = encoder.point_embeddings[1].weight
        tokens = position + torch.where(labels == 1, positive, negative)
        return torch.where(labels == -1, encoder.not_a_point_embed.weight, tokens)

    def attend(
        self, image_tokens: Tensor, prompt_tokens: Tensor, prompt_mask: Tensor | None = None
    ) -> Attended:
        """Run only the two-way transformer: (B, C, G, G) and (B, N, C) → attended tokens.

        ``prompt_mask``, bool (B, N), is False for prompts that only pad the batch.
        """
        position = self._position()
        with self._precision():
            attended = attend(
                self.sam.mask_decoder,
                image_tokens,
                position,
                prompt_tokens,
                self._no_mask(),
                prompt_mask,
            )
        return Attended(attended.outputs.float(), attended.image.float())

    def attend_image(self, image_tokens: Tensor, prompt_tokens: Tensor) -> Tensor:
        """Compute only the image tokens of ``attend``, with less work: (B, C, G, G)."""
        position = self._position()
        with self._precision():
            attended = attend_image(
                self.sam.mask_decoder,
                image_tokens,
                position,
                prompt_tokens,
                self._no_mask(),
            )
        return attended.float()

    def _position(self) -> Tensor:
        """Return the positional encoding of the token grid, (1, C, G, G)."""
        if self.dense_position is None:
            position = self.sam.prompt_encoder.get_dense_pe()
            self.dense_position = stack_tokens(list(position))
        return self.dense_position

    def _no_mask(self) -> Tensor:
        """Return SAM's dense embedding for "no mask prompt", (1, C, 1, 1)."""
        weight: Tensor = self.sam.prompt_encoder.no_mask_embed.weight
        return weight.reshape(1, -1, 1, 1)

    def decode(
        self, image_tokens: Tensor, prompt_tokens: Tensor, prompt_mask: Tensor | None = None
    ) -> Decoded:
        """Decode one mask per image: (B, C, G, G) and (B, N, C) → logits (B, 1, 4G, 4G)."""
        attended = self.attend(image_tokens, prompt_tokens, prompt_mask)
        with self._precision():
            decoded = mask_from(self.sam.mask_decoder, attended)
        return Decoded(decoded.logits.float(), decoded.iou.float(), attended)

    def decode_at(
        self,
        image_tokens: Tensor,
        prompt_tokens: Tensor,
        places: Tensor,
        prompt_mask: Tensor | None = None,
    ) -> Tensor:
        """Compute only some logits of ``decode``, with less work.

        Args:
            image_tokens: (B, C, G, G).
            prompt_tokens: (B, N, C).
            places: Flat row-major indices into the logits of an image, int64 (B, K).
            prompt_mask: See ``attend``.

        Returns:
            (B, K).
        """
        attended = self.attend(image_tokens, prompt_tokens, prompt_mask)
        with self._precision():
            logits = mask_logits_from(self.sam.mask_decoder, attended, places)
        return logits.float()

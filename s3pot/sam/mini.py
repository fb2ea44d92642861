"""A small SAM: pip's ``Sam`` class with narrow layers and an image encoder fit for a laptop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from s3pot.sam.decoder_attention import attend_to


@dataclass(frozen=True)
class MiniSamSize:
    """Sizes of the small SAM.

    Attributes:
        image: Side of the input square, pixels.
        patch: Pixels per token.
        widths: Channels at stride 4, at the token grid, and at half the token grid.
        depths: Residual blocks at the first two, attention blocks at the third.
        tokens: Channels of tokens and prompts (256 in every SAM).
        decoder_mlp: Hidden width of the two-way transformer's MLPs.
        masks: Number of ambiguity masks besides the single one; 0 drops their heads.
    """

    image: int = 256
    patch: int = 8
    widths: tuple[int, int, int] = (64, 96, 128)
    depths: tuple[int, int, int] = (2, 3, 2)
    tokens: int = 256
    decoder_mlp: int = 512
    masks: int = 0


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a norm and GELU between them, and a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(1, width)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) → same shape."""
        return x + self.second(F.gelu(self.norm(self.first(x))))


class AttentionBlock(nn.Module):
    """Pre-norm global self-attention and MLP over a token grid."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) → same shape."""
        batch, count, width = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, count, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = attend_to(q, k, v)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, count, width))
        return x + self.mlp(x)


class MiniImageEncoder(nn.Module):
    """Convolutions down to the token grid, and global attention at half its resolution."""

    def __init__(self, size: MiniSamSize) -> None:
        super().__init__()
        self.img_size = size.image
        early, late, deep = size.widths
        ratio = size.patch // 4
        half = size.image // size.patch // 2
        self.stem = nn.Conv2d(3, early, 7, stride=4, padding=3)
        self.early = nn.Sequential(*(ResidualBlock(early) for _ in range(size.depths[0])))
        self.down = nn.Conv2d(early, late, ratio, stride=ratio)
        self.late = nn.Sequential(*(ResidualBlock(late) for _ in range(size.depths[1])))
        self.squeeze = nn.Conv2d(late, deep, 2, stride=2)
        self.position = nn.Parameter(torch.zeros(1, half * half, deep))
        self.context = nn.Sequential(*(AttentionBlock(deep) for _ in range(size.depths[2])))
        self.widen = nn.ConvTranspose2d(deep, late, 2, stride=2)
        self.last = ResidualBlock(late)
        self.neck = nn.Conv2d(late, size.tokens, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Encode normalized pixels.

        Args:
            x: (B, 3, S, S), SAM's pixel mean and std applied.

        Returns:
            Tokens, (B, tokens, G, G).
        """
        # A CPU convolves 10 % faster with channels last in memory; the layers keep this layout.
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.late(self.down(self.early(self.stem(x))))
        deep = self.squeeze(x)
        context = self.context(deep.flatten(2).transpose(1, 2) + self.position)
        context = context.transpose(1, 2).unflatten(2, deep.shape[-2:])
        return self.neck(self.last(x + self.widen(context)))


def build_mini_sam(size: MiniSamSize) -> Sam:
    """Build a small ``Sam`` with fresh weights."""
    side = size.image // size.patch
    width = size.tokens
    attention = TwoWayTransformer(2, width, num_heads=8, mlp_dim=size.decoder_mlp)
    decoder = MaskDecoder(
        transformer_dim=width, transformer=attention, num_multimask_outputs=size.masks
    )
    prompts = PromptEncoder(width, (side, side), (size.image, size.image), mask_in_chans=16)
    return Sam(MiniImageEncoder(size), prompts, decoder)

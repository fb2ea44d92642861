"""E4S (Liu et al., 2023): regional GAN inversion of a face image and its label map.

The default ``E4SSize`` loads the published ``iteration_300000.pt`` with strict keys; a smaller one
is the same network with other numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s3pot.rg.nets.encoder import RegionEncoder
from s3pot.rg.nets.regions import RegionPlan, check_labels
from s3pot.rg.nets.stylegan2 import FIRST_SIZE, Generator
from s3pot.rg.nets.stylegan_ops import EqualLinear

NOISE_MODES = ("stored", "random")


@dataclass(frozen=True)
class E4SSize:
    """All sizes of the network; the defaults are those of the published one.

    Attributes:
        regions: Number of face regions (label values).
        style_dim: Width of a style code.
        channels: Generator channels at 4, 8, 16, ... px; their number determines the output's side.
        masked_codes: W+ codes that are predicted per region; the rest is ``latent_avg``.
        encoder_input: Side to which the encoder resizes the image.
        encoder_widths: Channels of the encoder's input layer and of its four stages.
        encoder_units: Residual units per stage.
        mlp_hidden: Hidden width of a region's MLP.
        mapping_layers: Depth of the unused z -> w network in the checkpoint; 0 leaves it out.
    """

    regions: int = 12
    style_dim: int = 512
    channels: tuple[int, ...] = (512, 512, 512, 512, 512, 256, 128, 64, 32)
    masked_codes: int = 13
    encoder_input: int = 256
    encoder_widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    encoder_units: tuple[int, ...] = (3, 4, 14, 3)
    mlp_hidden: int = 512
    mapping_layers: int = 8

    def __post_init__(self) -> None:
        """Raise ValueError for sizes that do not fit together."""
        if len(self.encoder_widths) != 5 or len(self.encoder_units) != 4:
            raise ValueError("the encoder has 5 widths (input layer, 4 stages) and 4 unit counts")
        if not 2 <= self.masked_codes <= self.codes:
            raise ValueError(f"masked_codes is {self.masked_codes}, expected 2 to {self.codes}")

    @property
    def output(self) -> int:
        """Side of the generated image."""
        return FIRST_SIZE * 2 ** (len(self.channels) - 1)

    @property
    def codes(self) -> int:
        """Number of W+ codes."""
        return 2 * len(self.channels)

    @property
    def vector_dim(self) -> int:
        """Width of a region's style vector."""
        return sum(self.encoder_widths[2:])


class RegionMLP(nn.Module):
    """An MLP from the style vector of one region to its masked codes."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            EqualLinear(inputs, hidden), nn.LeakyReLU(0.01), EqualLinear(hidden, outputs)
        )

    def forward(self, vector: Tensor) -> Tensor:
        """Map (B, inputs) to (B, outputs)."""
        return self.mlp(vector)


class E4SNet(nn.Module):
    """Encoder, one MLP per region, and the regional generator.

    ``latent_avg`` (codes, style_dim) is stored beside the state dict in the official file, so it
    is a non-persistent buffer; whoever loads a checkpoint has to set it.
    """

    latent_avg: Tensor

    def __init__(self, size: E4SSize | None = None) -> None:
        super().__init__()
        self.size = size = size or E4SSize()
        self.encoder = RegionEncoder(
            size.encoder_widths, size.encoder_units, size.regions, size.encoder_input
        )
        self.MLPs = nn.ModuleList(
            RegionMLP(size.vector_dim, size.mlp_hidden, size.masked_codes * size.style_dim)
            for _ in range(size.regions)
        )
        self.G = Generator(size.channels, size.style_dim, size.masked_codes, size.mapping_layers)
        self.register_buffer(
            "latent_avg", torch.zeros(size.codes, size.style_dim), persistent=False
        )

    def style_vectors(self, image: Tensor, labels: Tensor) -> Tensor:
        """Average the encoder's features under each region.

        Args:
            image: (B, 3, H, W) in [-1, 1].
            labels: Integer (B, M, M), values in 0..regions-1.

        Returns:
            (B, regions, vector_dim).

        Raises:
            ValueError: A label is out of range.
        """
        check_labels(labels.cpu(), self.size.regions)
        return self.encoder(image, labels.to(image.device))

    def style_codes(self, vectors: Tensor) -> Tensor:
        """Turn style vectors (B, regions, vector_dim) into W+ codes (B, regions, codes, D)."""
        size = self.size
        predicted = torch.stack([mlp(vectors[:, i]) for i, mlp in enumerate(self.MLPs)], dim=1)
        offset = predicted.unflatten(2, (size.masked_codes, size.style_dim))
        codes = F.pad(offset, (0, 0, 0, size.codes - size.masked_codes))
        return codes + self.latent_avg.to(codes.dtype)

    def generate(self, codes: Tensor, labels: Tensor, noise: str = "stored") -> Tensor:
        """Draw the face that has each region's code under its mask.

        Args:
            codes: (B, regions, codes, D).
            labels: Integer (B, M, M), values in 0..regions-1.
            noise: "stored" (the checkpoint's buffers: same inputs, same image) or "random".

        Returns:
            (B, 3, S, S), nominally in [-1, 1], not clamped.

        Raises:
            ValueError: Unknown noise mode, or a label out of range.
        """
        if noise not in NOISE_MODES:
            raise ValueError(f"noise is {noise!r}, expected one of {', '.join(NOISE_MODES)}")
        plan = RegionPlan(labels, self.size.regions, self.G.masked_sizes, codes.device)
        return self.G(codes, plan, noise == "random")

    def forward(self, image: Tensor, labels: Tensor, noise: str = "stored") -> Tensor:
        """Invert (B, 3, H, W) in [-1, 1] with labels (B, M, M); see the three steps above."""
        # Copied now, because once the encoder is started a GPU finishes it before any copy.
        on_host = labels.cpu()
        codes = self.style_codes(self.style_vectors(image, labels))
        return self.generate(codes, on_host, noise)

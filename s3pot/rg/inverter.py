"""Regional GAN inversion (paper section 3.1): redraws a face from one style per region."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s3pot.data.pixels import pil_bilinear
from s3pot.finite import require_finite
from s3pot.precision import full_float32
from s3pot.rg.nets.e4s import E4SNet
from s3pot.weights.load import WeightMismatch, load_strict, refuse_non_finite


class Inverter(nn.Module):
    """E4S with its preprocessing and postprocessing.

    Args:
        net: Loaded network; it is put into evaluation mode.
        input_size: Side of the input image and label map (512 in the official model).
        noise: "stored" gives the same reference for the same inputs; "random" draws new noise in
            every call.
        half: Use bfloat16 convolutions and matrix products (autocast): faster, but not bit-exact.
    """

    def __init__(
        self, net: E4SNet, input_size: int = 512, noise: str = "stored", half: bool = False
    ) -> None:
        super().__init__()
        self.net = net.eval()
        self.input_size = input_size
        self.noise = noise
        self.half_precision = half

    def preprocess(self, image: Tensor) -> Tensor:
        """Convert images (B, 3, H, W) in [0, 1] to (B, 3, input_size, input_size) in [-1, 1]."""
        return (pil_bilinear(image, self.input_size) - 0.5) / 0.5

    @torch.no_grad()
    def invert(self, image: Tensor, labels: Tensor) -> Tensor:
        """Generate the reference.

        Args:
            image: RGB, (B, 3, H, W) in [0, 1], aligned, any size.
            labels: 12-class maps of the same frame, uint8 (B, h, w).

        Returns:
            RGB, (B, 3, S, S) in [0, 1], the same frame at the generator's size.

        Raises:
            ValueError: A label is not one of the network's regions.
            S3potError: The reference has values that are not finite numbers.
        """
        size = (self.input_size, self.input_size)
        if labels.shape[-2:] != size:
            labels = F.interpolate(labels[:, None], size, mode="nearest-exact")[:, 0]
        half = self.half_precision
        flags = nullcontext() if half else full_float32(image.device)
        with flags, torch.autocast(image.device.type, torch.bfloat16, enabled=half):
            reference: Tensor = self.net(self.preprocess(image), labels, self.noise)
        require_finite("The reference's values", reference, setting="reference.dtype=float32")
        return reference.float().add(1).div(2).clamp(0, 1)


def load_e4s(net: E4SNet, checkpoint: Mapping[str, Any], source: str) -> None:
    """Load the official checkpoint: weights with strict keys, and ``latent_avg`` beside them.

    Args:
        net: Network of the matching size.
        checkpoint: Dict with ``state_dict`` and ``latent_avg``, (codes, style_dim).
        source: File name, for errors.

    Raises:
        WeightMismatch: A key or shape differs, or ``latent_avg`` is missing.
        CheckpointError: Some weights are not finite numbers.
    """
    latent = checkpoint.get("latent_avg")
    if not isinstance(latent, Tensor) or latent.shape != net.latent_avg.shape:
        shape = tuple(latent.shape) if isinstance(latent, Tensor) else "none"
        raise WeightMismatch(
            f"{source}: latent_avg is {shape}, expected {tuple(net.latent_avg.shape)}, as in the "
            "whole E4S checkpoint."
        )
    refuse_non_finite({"latent_avg": latent}, source)
    load_strict(net, checkpoint, source)
    net.latent_avg.copy_(latent)

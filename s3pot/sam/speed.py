"""The trade-off between speed and exactness of SAM: ``exact``, ``fast`` or ``max``.

======  ============================  ===================================================
speed   numbers                       beyond that
======  ============================  ===================================================
exact   float32
fast    bfloat16 in products and      TF32 where a GPU is left with float32
        attention, float32 between
max     as fast                       the image encoder is compiled by ``torch.compile``
======  ============================  ===================================================

All three use fused attention, see ``encoder_attention.py`` and ``decoder_attention.py``. The
adapter, losses and everything outside SAM stay in float32.
"""

from __future__ import annotations

import os
import shutil

import torch
from segment_anything.modeling import ImageEncoderViT
from torch import nn

SPEEDS = ("exact", "fast", "max")
_PRODUCTS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def prepare_encoder(encoder: nn.Module, speed: str) -> None:
    """Prepare an image encoder for a speed, in place; it is frozen from then on.

    Args:
        encoder: Image encoder with its weights.
        speed: One of ``SPEEDS``.

    Raises:
        ValueError: The speed is unknown.
    """
    if speed not in SPEEDS:
        raise ValueError(f"speed is {speed!r}; it must be one of {', '.join(SPEEDS)}")
    if not isinstance(encoder, ImageEncoderViT):
        # The small encoder computes in this layout. In another one, each convolution would copy its
        # weights into it in every call, 4 % of the time of an image.
        encoder.to(memory_format=torch.channels_last)
    if speed == "exact":
        return
    for module in encoder.modules():
        if isinstance(module, _PRODUCTS):
            module.to(torch.bfloat16)  # once, instead of in every forward under autocast
    if speed == "max":
        # Identical blocks share one compilation: seconds instead of minutes.
        blocks = encoder.blocks if isinstance(encoder, ImageEncoderViT) else [encoder]
        for block in blocks:
            block.compile()


def has_compiler() -> bool:
    """Whether ``torch.compile`` finds the C++ compiler that it needs."""
    names = (os.environ.get("CXX", "g++"), "g++", "clang++")
    return any(shutil.which(name) for name in names)

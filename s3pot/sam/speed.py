"""The trade-off between speed and exactness of SAM: ``exact``, ``fast`` or ``max``.

======  ============================  ===================================================
speed   numbers                       beyond that
======  ============================  ===================================================
exact   float32
fast    bfloat16 in products and      TF32 where a GPU is left with float32
        attention, float32 between
max     as fast                       the image encoder is compiled by ``torch.compile``
======  ============================  ===================================================

All three use fused attention, see ``s3pot.sam.attention``. The adapter, losses and everything
outside SAM stay in float32.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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


class _TensorFloat32:
    """PyTorch's flags for TF32, which belong to the whole process, shared by its threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._threads: list[int] = []  # those that rely on the flags, once for each block
        self._allowed = False
        self._before = (False, False)

    def enter(self, allowed: bool) -> None:
        """Set the flags, as soon as no other thread relies on another value of them."""
        thread = threading.get_ident()
        with self._changed:
            if allowed != self._allowed and thread in self._threads:
                raise RuntimeError(
                    f"a block with allowed={not allowed} cannot contain one with allowed={allowed}"
                )
            self._changed.wait_for(lambda: not self._threads or allowed == self._allowed)
            if not self._threads:
                self._before = _flags()
                self._allowed = allowed
                _set_flags((allowed, allowed))
            self._threads.append(thread)

    def leave(self) -> None:
        """Restore the flags if this was the last block."""
        with self._changed:
            self._threads.remove(threading.get_ident())
            if not self._threads:
                _set_flags(self._before)
                self._changed.notify_all()


_TENSOR_FLOAT32 = _TensorFloat32()


def _flags() -> tuple[bool, bool]:
    """Whether TF32 is allowed in products of matrices and in convolutions."""
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def _set_flags(flags: tuple[bool, bool]) -> None:
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = flags


@contextmanager
def tensor_float32(allowed: bool) -> Iterator[None]:
    """Allow or forbid a GPU to round the factors of float32 products to TF32 inside the block.

    Blocks of several threads may overlap; one with another value waits for the end of the others.

    Raises:
        RuntimeError: The block lies in one of the same thread with another value.
    """
    _TENSOR_FLOAT32.enter(allowed)
    try:
        yield
    finally:
        _TENSOR_FLOAT32.leave()

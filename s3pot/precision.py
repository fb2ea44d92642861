"""The precision of float32 products on a GPU: TF32 is used only where it was chosen.

TF32 keeps float32's range, but only 10 bits of its fraction. On a GPU of NVIDIA, PyTorch uses it
for convolutions unless it is told not to.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch


class _TensorFloat32:
    """PyTorch's flags for TF32, which belong to the whole process, shared by its threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._threads: list[int] = []  # those that rely on the flags, once for each block
        self._allowed = False
        self._before = (False, False)
        self._waiting = {False: 0, True: 0}  # threads that wait for this value

    def enter(self, allowed: bool) -> None:
        """Set the flags, as soon as no other thread relies on another value of them."""
        thread = threading.get_ident()
        with self._changed:
            if allowed != self._allowed and thread in self._threads:
                raise RuntimeError(
                    f"a block with allowed={not allowed} cannot contain one with allowed={allowed}"
                )
            if thread not in self._threads:
                self._wait_for_turn(allowed)
            if not self._threads:
                self._before = _flags()
                self._allowed = allowed
                _set_flags((allowed, allowed))
            self._threads.append(thread)

    def _wait_for_turn(self, allowed: bool) -> None:
        """Wait for the end of blocks with the other value, also of those that wait themselves.

        Otherwise, overlapping blocks with one value could keep the other one out forever.
        """
        self._waiting[allowed] += 1
        try:
            self._changed.wait_for(
                lambda: (
                    not self._waiting[not allowed]
                    if allowed == self._allowed
                    else not self._threads
                )
            )
        finally:
            self._waiting[allowed] -= 1
            self._changed.notify_all()

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


def full_float32(device: torch.device) -> AbstractContextManager[None]:
    """Forbid TF32 inside the block on a GPU of NVIDIA; others need not wait for the flags."""
    return tensor_float32(False) if device.type == "cuda" else nullcontext()

"""Finds values that are not finite numbers, before they silently become a picture or a point."""

from __future__ import annotations

import torch
from torch import Tensor

from s3pot.types import S3potError

EXACT_SPEED = "run.speed=exact"

CHECK_WEIGHTS = (
    "Check the weights: python -m s3pot.weights verify checks official files; a mini set of your "
    "own (model.weights_dir) needs other weights."
)
REPLACE_ADAPTER = (
    "The likeliest cause is the adapter, if one is used: take another (--checkpoint), or train it "
    "again with train_general.py."
)


def is_finite(*values: Tensor) -> bool:
    """Whether no value of some tensors is infinite or NaN; on a GPU, this waits for it once.

    Infinity and NaN survive a sum, which PyTorch computes about twenty times faster on a CPU than
    ``isfinite``. Only if the sum is not finite are the values looked at one by one, because large
    finite values can have an infinite sum.

    Args:
        values: Tensors of any shapes and types, on one device.
    """
    floats = [value for value in values if value.is_floating_point()]
    if not floats:
        return True
    sums = torch.stack([value.sum(dtype=torch.float32) for value in floats])
    return bool(sums.isfinite().all()) or all(bool(value.isfinite().all()) for value in floats)


def require_finite(
    what: str, *values: Tensor, cure: str = CHECK_WEIGHTS, setting: str | None = None
) -> None:
    """Check the output of a network; on a GPU, this waits for it.

    Finite weights can give infinite results: in damaged or unsuitable files, and where a value is
    too large for half precision.

    Args:
        what: What the values are, as the plural subject of the message.
        values: Tensors of any shapes, on one device.
        cure: A sentence on the likeliest cause, and what helps.
        setting: A setting with which the network computes in full precision, if it has one.

    Raises:
        S3potError: Some value is infinite or NaN.
    """
    if is_finite(*values):
        return
    on_gpu = "" if setting is None else f" On a GPU, try {setting}."
    raise S3potError(
        f"{what} are not finite numbers, so this face cannot be segmented. {cure}{on_gpu}"
    )

"""More kinds of occlusion than were drawn: parts of other faces of the batch, laid on each face.

What hides a face in a test picture is of no kind seen in training, so shape and content are drawn
apart: another face's occluder moved about, or a blob cut from anywhere in another picture, skin and
hair included. References stay those of the face itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot_mini.pool import Batch

OCCLUDER_SHARE, BLOB_SHARE = 0.25, 0.15  # of the faces
SHIFT = 40  # pixels at most, of a moved occluder
CELLS = 6  # a blob is a thresholded random field of so many cells a side


def mixed(batch: Batch, rng: np.random.Generator) -> Batch:
    """Lay a part of the next face of the batch on some faces.

    Args:
        batch: Faces; at least two.
        rng: Of this step.

    Returns:
        The same faces, ``raw`` and ``occluder`` changed where something was laid.
    """
    raws, occluders = [], []
    for i, (raw, occluder) in enumerate(zip(batch.raw, batch.occluder)):
        j = (i + 1) % len(batch.raw)
        kind = rng.random()
        if kind < OCCLUDER_SHARE:
            shift = [int(s) for s in rng.integers(-SHIFT, SHIFT + 1, 2)]
            mask = _moved(batch.occluder[j], shift)
            content = batch.raw[j].roll(shift, (-2, -1))
        elif kind < OCCLUDER_SHARE + BLOB_SHARE:
            mask = _blob(occluder.shape[-1], rng).to(occluder.device)
            turns = int(rng.integers(4))
            spot = [int(s) for s in rng.integers(0, occluder.shape[-1], 2)]
            content = batch.raw[j].rot90(turns, (-2, -1)).roll(spot, (-2, -1))
        else:
            raws.append(raw)
            occluders.append(occluder)
            continue
        raws.append(raw + _soft(mask) * (content - raw))
        occluders.append(occluder | mask)
    return replace(batch, raw=torch.stack(raws), occluder=torch.stack(occluders))


def _moved(mask: Tensor, shift: list[int]) -> Tensor:
    """``roll`` without what comes round the edge."""
    padded = F.pad(mask, (SHIFT,) * 4)
    return padded.roll(shift, (-2, -1))[SHIFT:-SHIFT, SHIFT:-SHIFT]


def _blob(side: int, rng: np.random.Generator) -> Tensor:
    """A random smooth shape, bool (side, side), about an eighth of the picture."""
    field = torch.from_numpy(rng.normal(size=(1, 1, CELLS, CELLS)).astype(np.float32))
    smooth = F.interpolate(field, (side, side), mode="bicubic", align_corners=False)[0, 0]
    return smooth > smooth.flatten().quantile(float(rng.uniform(0.8, 0.95)))


def _soft(mask: Tensor) -> Tensor:
    """The mask with an edge of three pixels, float (1, S, S)."""
    return F.avg_pool2d(mask[None].float(), 3, stride=1, padding=1)

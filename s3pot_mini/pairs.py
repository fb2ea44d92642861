"""Photos with their references, generated during training with the same augmentation.

The mini generator draws the reference for exactly the picture that SAM sees, including lamp, beard
and occluder. This costs more than a training step, so each pair is used several times: a buffer
holds the most recent pairs, and a few are replaced from time to time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.rg.nets.e4s import E4SNet
from s3pot_mini.augment import chance, normal
from s3pot_mini.generator import generate
from s3pot_mini.parser import training_faces
from s3pot_mini.pool import FaceBatch, Pool, region_of

UNOCCLUDED_SHARE = 0.2  # share of the faces without an occluder
CLEAN_SHARE = 0.1  # share of the references that are the clean face, coarsened


@dataclass(frozen=True)
class PairBatch:
    """Faces with references.

    Attributes:
        raw: (B, 3, S, S) in [0, 1].
        reference: (B, 3, S, S) in [0, 1].
        predicted: Classes predicted by the parser, int64 (B, S, S).
        labels: Classes of the clean face, int64 (B, S, S).
        occluder: bool (B, S, S).
    """

    raw: Tensor
    reference: Tensor
    predicted: Tensor
    labels: Tensor
    occluder: Tensor

    @property
    def region(self) -> Tensor:
        """The region in which occlusions are searched for, bool (B, S, S)."""
        return region_of(self.predicted)


class PairBuffer:
    """The most recent pairs.

    Args:
        pool: Faces and scenes.
        generator: The mini generator, on the pool's device.
        parser: The mini parser, on the same device.
        capacity: The number of pairs that are kept.
        batch: The number of pairs that are drawn at a time.
        unoccluded_only: Use only faces without an occluder: pairs that need no label.
    """

    def __init__(
        self,
        pool: Pool,
        generator: E4SNet,
        parser: BiSeNet,
        capacity: int,
        batch: int,
        unoccluded_only: bool = False,
    ) -> None:
        self.pool = pool
        self.generator = generator
        self.parser = parser
        self.capacity = capacity
        self.batch = batch
        self.unoccluded_only = unoccluded_only
        self._batches: list[Tensor] = []
        self._oldest = 0

    def __len__(self) -> int:
        """The number of available pairs."""
        return sum(len(planes) for planes in self._batches)

    @torch.no_grad()
    def refill(self) -> None:
        """Draw one batch of pairs; it replaces the oldest one if the buffer is full."""
        faces = self._faces()
        reference, predicted = generate(self.generator, self.parser, faces.raw)
        true = chance(self.batch, CLEAN_SHARE, reference.device)
        reference = torch.where(true, coarsened(faces.clean), reference)
        maps = (predicted, faces.labels, faces.occluder)
        pictures = (torch.cat((faces.raw, reference), dim=1) * 255).round().to(torch.uint8)
        planes = torch.cat((pictures, *(m[:, None].to(torch.uint8) for m in maps)), dim=1)
        if len(self) + self.batch <= self.capacity or not self._batches:
            self._batches.append(planes)
        else:
            self._batches[self._oldest % len(self._batches)] = planes
            self._oldest += 1

    def _faces(self) -> FaceBatch:
        """Draw faces that need references; some of them, or all, are unoccluded."""
        share = 0.0 if self.unoccluded_only else 0.6
        faces = training_faces(self.pool, self.batch, share)
        chosen = 1.0 if self.unoccluded_only else UNOCCLUDED_SHARE
        unoccluded = chance(self.batch, chosen, faces.raw.device)
        raw = torch.where(unoccluded, faces.clean, faces.raw)
        return FaceBatch(raw, faces.clean, faces.labels, faces.occluder & ~unoccluded[:, 0])

    def draw(self, count: int) -> PairBatch:
        """Sample random available pairs, flipped with a probability of one half."""
        picks = torch.randint(len(self), (count,)).tolist()
        rows = [self._batches[i // self.batch][i % self.batch] for i in picks]
        planes = torch.stack(rows)
        mirror = chance(count, 0.5, planes.device)
        planes = torch.where(mirror, planes.flip(-1), planes)
        return PairBatch(
            raw=planes[:, :3] / 255,
            reference=cast(planes[:, 3:6] / 255),
            predicted=planes[:, 6].long(),
            labels=planes[:, 7].long(),
            occluder=planes[:, 8] > 0,
        )


def cast(reference: Tensor) -> Tensor:
    """Change light and colors of references slightly, which is not an occlusion."""
    count, device = len(reference), reference.device
    factor = 1 + normal(count, 0.1, device) + normal(count, 0.04, device, 3)
    return (reference * factor).clamp(0, 1)


def coarsened(image: Tensor) -> Tensor:
    """Remove the grain of pictures by smoothing over 1 to 4 pixels."""
    cells = int(torch.randint(1, 5, ()))
    coarse = F.avg_pool2d(image, cells, ceil_mode=True)
    return F.interpolate(coarse, image.shape[-2:], mode="bilinear", align_corners=False)

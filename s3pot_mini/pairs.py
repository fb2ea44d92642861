"""Photos with their references, made while training: as varied as the augmentation.

A reference is drawn by the mini generator for the very picture that the SAM sees, lamp, beard,
occluder and all. Drawing one costs more than a training step, so each is used several times: the
buffer holds the last so many, and a few are replaced now and then.
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

BARE_SHARE = 0.2  # of the faces that show no occluder
CLEAN_SHARE = 0.1  # of the references that are the clean face, coarsened


@dataclass(frozen=True)
class PairBatch:
    """Faces with references.

    Attributes:
        raw: (B, 3, S, S) in [0, 1].
        reference: Likewise.
        predicted: Classes as the parser sees them, int64 (B, S, S).
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
        """Where an occlusion is asked for, bool (B, S, S)."""
        return region_of(self.predicted)


class PairBuffer:
    """The last pairs drawn.

    Args:
        pool: Faces and scenes.
        generator: The mini generator, on the pool's device.
        parser: The mini parser, likewise.
        capacity: Pairs that are kept.
        batch: Pairs that are drawn at a time.
        bare_only: Faces without any occluder alone: pairs that need no label.
    """

    def __init__(
        self,
        pool: Pool,
        generator: E4SNet,
        parser: BiSeNet,
        capacity: int,
        batch: int,
        bare_only: bool = False,
    ) -> None:
        self.pool = pool
        self.generator = generator
        self.parser = parser
        self.capacity = capacity
        self.batch = batch
        self.bare_only = bare_only
        self._batches: list[Tensor] = []
        self._oldest = 0

    def __len__(self) -> int:
        """Pairs at hand."""
        return sum(len(planes) for planes in self._batches)

    @torch.no_grad()
    def refill(self) -> None:
        """Draw one batch of pairs; it takes the place of the oldest when the buffer is full."""
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
        """Faces to draw references for; some of them, or all, are bare."""
        share = 0.0 if self.bare_only else 0.6
        faces = training_faces(self.pool, self.batch, share)
        bare = chance(self.batch, 1.0 if self.bare_only else BARE_SHARE, faces.raw.device)
        raw = torch.where(bare, faces.clean, faces.raw)
        return FaceBatch(raw, faces.clean, faces.labels, faces.occluder & ~bare[:, 0])

    def draw(self, count: int) -> PairBatch:
        """Random pairs of those at hand, mirrored by a coin."""
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
    """References whose light and colors are off a little: that is no occlusion."""
    count, device = len(reference), reference.device
    factor = 1 + normal(count, 0.1, device) + normal(count, 0.04, device, 3)
    return (reference * factor).clamp(0, 1)


def coarsened(image: Tensor) -> Tensor:
    """Pictures without their grain, smoothed over 1 to 4 pixels alike."""
    cells = int(torch.randint(1, 5, ()))
    coarse = F.avg_pool2d(image, cells, ceil_mode=True)
    return F.interpolate(coarse, image.shape[-2:], mode="bilinear", align_corners=False)

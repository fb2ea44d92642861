"""The mean losses of an epoch, summed without waiting for the device at each image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from s3pot.distributed import Process
from s3pot.losses import PointLosses
from s3pot.training.history import MeanLosses
from s3pot.types import Prompts, S3potError


class LossSums:
    """Sums of losses over images and processes.

    The values of a step stay on the device until ``check_finite`` transfers them all at once.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._sums = torch.zeros(4, dtype=torch.float64)  # face, occlusion, hinge, total
        self._count = 0
        self._names: list[str] = []  # names of the images since the last check
        self._losses: list[Tensor] = []  # their values, (B, 4) each

    def add(self, prompts: Sequence[Prompts], losses: PointLosses) -> None:
        """Add images with their losses, (B,) each."""
        terms = (losses.face, losses.occlusion, losses.hinge, losses.total)
        self._names += [image.name for image in prompts]
        self._losses.append(torch.stack([term.detach() for term in terms], dim=1))

    def check_finite(self) -> None:
        """Wait for the images added since the last check, and sum their losses.

        Raises:
            S3potError: The loss of an image is not a finite number; it is named.
        """
        if not self._losses:
            return
        losses = torch.cat(self._losses).cpu().double()
        for name, loss in zip(self._names, losses):
            if not bool(loss.isfinite().all()):
                raise S3potError(
                    f"{name}: the loss is {float(loss[-1])}, not a finite number. Look at the "
                    "image's files and its reference; if they are fine, lower train.lr."
                )
        for loss in losses:  # one by one, so that the sum does not depend on the batches
            self._sums += loss
        self._count += len(losses)
        self._names.clear()
        self._losses.clear()

    def means(self) -> MeanLosses:
        """Return the means over the images of all processes; 0 without images."""
        count = torch.tensor([self._count], dtype=torch.float64)
        sums = self._process.sum(torch.cat((self._sums, count)))
        face, occlusion, hinge, total = (sums[:4] / sums[4].clamp_min(1)).tolist()
        return MeanLosses(face=face, occlusion=occlusion, hinge=hinge, total=total)

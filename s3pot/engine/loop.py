"""Training steps and epochs of the adapter; general and per-image training share them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from s3pot.adapter import PromptAdapter
from s3pot.build import settings
from s3pot.config import Config
from s3pot.engine.distributed import Process
from s3pot.losses import point_losses
from s3pot.pipeline import segment
from s3pot.sam.frozen import FrozenSam
from s3pot.types import Prompts, S3potError

GetPrompts = Callable[[int], Prompts]


@dataclass(frozen=True)
class Losses:
    """Means over images; see ``losses.PointLosses``."""

    face: float
    occlusion: float
    hinge: float
    total: float


class AdapterTrainer:
    """An adapter, trained in place, its optimiser and a cosine schedule of ``epochs``.

    With several ``process``es all call the same methods with the same arguments.
    """

    def __init__(
        self,
        sam: FrozenSam,
        adapter: PromptAdapter,
        config: Config,
        epochs: int,
        process: Process | None = None,
    ) -> None:
        self.sam, self.adapter, self.config = sam, adapter, config
        self.process = process or Process(sam.sam.device)
        self.settings = settings(config)
        self.wrapped = self.process.wrap(adapter)
        train = config.train
        self.optimizer = torch.optim.AdamW(
            adapter.parameters(), lr=train.lr, weight_decay=train.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=epochs)

    @property
    def lr(self) -> float:
        """Learning rate of the epoch at hand."""
        return float(self.optimizer.param_groups[0]["lr"])

    def train_epoch(self, get: GetPrompts, order: Sequence[int]) -> Losses:
        """One pass over images ``order`` in steps of ``train.batch_size`` over all processes.

        Raises:
            S3potError: The loss of an image, or a weight, is not a number.
        """
        size, sums = self.config.train.batch_size, torch.zeros(5, dtype=torch.float64)
        for start in range(0, len(order), size):
            sums += self._step(get, order[start : start + size])
        self.schedule.step()
        if not all(bool(p.isfinite().all()) for p in self.adapter.parameters()):
            raise S3potError("the adapter's weights are no numbers any more; lower train.lr")
        return self._means(sums)

    @torch.no_grad()
    def validate(self, get: GetPrompts, count: int) -> Losses:
        """Mean losses of images 0..count-1, without training; see ``train_epoch``."""
        sums = torch.zeros(5, dtype=torch.float64)
        for index in range(self.process.rank, count, self.process.world):
            sums += self._losses(get(index), self.adapter)[1]
        return self._means(sums)

    def _step(self, get: GetPrompts, batch: Sequence[int]) -> Tensor:
        """Gradients of this process's share, image by image, averaged over the whole batch.

        Every process takes part in the one exchange of gradients, with the last image of its share
        or, where the share is empty, with an empty sum.
        """
        own = batch[self.process.rank :: self.process.world]
        sums = torch.zeros(5, dtype=torch.float64)
        self.optimizer.zero_grad()
        for index in own:
            hold: AbstractContextManager[None] = nullcontext()
            if isinstance(self.wrapped, DistributedDataParallel) and index != own[-1]:
                hold = self.wrapped.no_sync()
            with hold:
                total, terms = self._losses(get(index), self.wrapped)
                # The exchange takes the mean over processes: undo its division.
                (total * self.process.world / len(batch)).backward()
            sums += terms
        if not own:
            width = self.adapter.norm.normalized_shape[0]
            nothing = torch.zeros(1, 1, width, device=self.process.device)
            (self.wrapped(nothing)[0] * 0).sum().backward()
        self.optimizer.step()
        return sums

    def _losses(self, prompts: Prompts, adapter: nn.Module) -> tuple[Tensor, Tensor]:
        """Total with gradient; face, occlusion, hinge, total and a count of 1 as float64."""
        logits = segment(self.sam, adapter, prompts, self.settings).logits_sam
        loss = self.config.loss
        parts = point_losses(
            logits,
            prompts.points_sam,
            prompts.labels,
            sharpness=loss.sharpness,
            margin=loss.hinge_margin,
            hinge_weight=loss.hinge_weight,
        )
        count = torch.ones_like(parts.total)
        terms = torch.stack((parts.face, parts.occlusion, parts.hinge, parts.total, count)).detach()
        if not bool(terms.isfinite().all()):
            raise S3potError(
                f"{prompts.name}: the loss is {float(terms[3])}; check its files, or lower train.lr"
            )
        return parts.total, terms.cpu().double()

    def _means(self, sums: Tensor) -> Losses:
        sums = self.process.total(sums)
        return Losses(*(sums[:4] / sums[4].clamp_min(1)).tolist())

"""Steps and epochs of training, general and per image; the losses by epoch as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

from s3pot.adapter import PromptAdapter
from s3pot.build import settings
from s3pot.config import Config
from s3pot.distributed import Process
from s3pot.losses import point_losses
from s3pot.pipeline import batch_prompts, decode_batch, logits_at_points
from s3pot.sam.frozen import FrozenSam
from s3pot.types import Prompts, S3potError

GetPrompts = Callable[[int], Prompts]
TERMS = ("face", "occlusion", "hinge", "total")  # of ``losses.PointLosses``


class AdapterTrainer:
    """An adapter, trained in place, its optimiser and a cosine schedule of ``epochs``.

    With several ``process``es all call the same methods with the same arguments.
    """

    def __init__(
        self, sam: FrozenSam, adapter: PromptAdapter, config: Config, epochs: int, process: Process
    ) -> None:
        self.sam, self.adapter, self.config, self.process = sam, adapter, config, process
        self.wrapped: Any = DistributedDataParallel(adapter) if process.world > 1 else adapter
        train = config.train
        self.optimizer = AdamW(adapter.parameters(), train.lr, weight_decay=train.weight_decay)
        self.schedule = CosineAnnealingLR(self.optimizer, T_max=epochs)

    def train_epoch(self, get: GetPrompts, order: Sequence[int]) -> dict[str, float]:
        """One pass over images ``order`` in steps of ``train.batch_size`` over all processes.

        Returns:
            ``TERMS``, means over the images.

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
    def validate(self, get: GetPrompts, count: int) -> dict[str, float]:
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
        rank, world = self.process.rank, self.process.world
        own, sums = batch[rank::world], torch.zeros(5, dtype=torch.float64)
        self.optimizer.zero_grad()
        for index in own:
            with nullcontext() if world == 1 or index == own[-1] else self.wrapped.no_sync():
                total, terms = self._losses(get(index), self.wrapped)
                # The exchange takes the mean over processes: undo its division.
                (total * world / len(batch)).backward()
            sums += terms
        if not own:
            width = self.adapter.norm.normalized_shape[0]
            nothing = torch.zeros(1, 1, width, device=self.process.device)
            (self.wrapped(nothing)[0] * 0).sum().backward()
        self.optimizer.step()
        return sums

    def _losses(self, prompts: Prompts, adapter: nn.Module) -> tuple[Tensor, Tensor]:
        """Total with gradient; ``TERMS`` and a count of 1 as float64."""
        batch = batch_prompts([prompts])
        prediction = decode_batch(self.sam, adapter, batch)
        logits = logits_at_points(self.sam, prediction, batch, settings(self.config))[0]
        parts = point_losses(logits, prompts.labels, **vars(self.config.loss))
        terms = [*(getattr(parts, term).detach() for term in TERMS), logits.new_ones(())]
        sums = torch.stack(terms).cpu().double()
        if not bool(sums.isfinite().all()):
            raise S3potError(
                f"{prompts.name}: the loss is {float(sums[3])}; see train.lr, its files"
            )
        return parts.total, sums

    def _means(self, sums: Tensor) -> dict[str, float]:
        sums = self.process.total(sums)
        return dict(zip(TERMS, (sums[:4] / sums[4].clamp_min(1)).tolist()))

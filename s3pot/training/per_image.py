"""Per-image training: fitting an adapter to one image (paper section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from torch import Tensor

from s3pot.adapter import PromptAdapter
from s3pot.config import Config
from s3pot.distributed import Process
from s3pot.pipeline import OcclusionSegmenter
from s3pot.training.early_stopping import BestWeights, EarlyStopping
from s3pot.training.history import FitRecord, MeanLosses
from s3pot.training.trainer import AdapterTrainer
from s3pot.types import Prompts, S3potError


@dataclass(frozen=True)
class Fit:
    """The result of fitting an adapter.

    Attributes:
        history: Epoch, learning rate and losses of each step; the losses are those before the step.
        loss: Total loss of the weights that were kept.
    """

    history: Sequence[FitRecord]
    loss: float


def fit_adapter(
    segmenter: OcclusionSegmenter, prompts: Prompts, adapter: PromptAdapter, config: Config
) -> Fit:
    """Fit an adapter to one image, in place; it ends with the weights of the lowest loss.

    Training stops after ``per_image.patience`` epochs without an improvement of
    ``per_image.min_delta``. The weights before the first step can be the best, and also those after
    the last one unless training stops early, because their loss is not known then.

    Args:
        segmenter: The frozen part of the method.
        prompts: The prompts of the image, on SAM's device, with at least one point.
        adapter: The adapter that training starts from.
        config: Its sections ``per_image``, ``train``, ``loss`` and ``mask`` are used.

    Raises:
        S3potError: A loss is not a finite number.
    """
    epochs = config.per_image.epochs
    trainer = AdapterTrainer(segmenter, adapter, config, epochs, Process(segmenter.device))
    stopping = EarlyStopping(config.per_image.patience, config.per_image.min_delta)
    best = BestWeights()
    history: list[FitRecord] = []
    for epoch in range(1, epochs + 1):
        weights = _copied_weights(adapter)
        lr = trainer.learning_rate
        losses = trainer.train_epoch(lambda _: prompts, [0])
        history.append(FitRecord(epoch, lr, losses))
        best.update(losses.total, weights)  # the loss belongs to the weights before the step
        if stopping.should_stop(losses.total):
            break
    else:  # the weights after the last step count too
        with suppress(S3potError):  # its loss may not be finite: then it is not the best
            best.update(trainer.validate(lambda _: prompts, 1).total, _copied_weights(adapter))
    if best.weights is not None:
        adapter.load_state_dict(best.weights)
    return Fit(history, best.loss)


def _copied_weights(adapter: PromptAdapter) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in adapter.state_dict().items()}


def adapter_loss(
    segmenter: OcclusionSegmenter, prompts: Prompts, adapter: PromptAdapter, config: Config
) -> MeanLosses:
    """Compute an adapter's losses on one image, as in ``fit_adapter``, without training."""
    trainer = AdapterTrainer(segmenter, adapter, config, 1, Process(segmenter.device))
    return trainer.validate(lambda _: prompts, 1)

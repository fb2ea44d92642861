"""Per-image training: fitting an adapter to one image (paper section 3.4)."""

from __future__ import annotations

from s3pot.adapter import PromptAdapter
from s3pot.config import Config
from s3pot.distributed import Process
from s3pot.pipeline import OcclusionSegmenter
from s3pot.training.early_stopping import BestWeights, EarlyStopping
from s3pot.training.history import FitRecord, MeanLosses
from s3pot.training.trainer import AdapterTrainer
from s3pot.types import Prompts


def fit_adapter(
    segmenter: OcclusionSegmenter, prompts: Prompts, adapter: PromptAdapter, config: Config
) -> list[FitRecord]:
    """Fit an adapter to one image, in place; it ends with the weights of the lowest loss.

    Training stops after ``per_image.patience`` epochs without an improvement of
    ``per_image.min_delta``.

    Args:
        segmenter: The frozen part of the method.
        prompts: The prompts of the image, on SAM's device, with at least one point.
        adapter: The adapter that training starts from.
        config: Its sections ``per_image``, ``train``, ``loss`` and ``mask`` are used.

    Returns:
        Epoch, learning rate and losses of each step; the losses are those before the step.

    Raises:
        S3potError: A loss is not a finite number.
    """
    epochs = config.per_image.epochs
    trainer = AdapterTrainer(segmenter, adapter, config, epochs, Process(segmenter.device))
    stopping = EarlyStopping(config.per_image.patience, config.per_image.min_delta)
    best = BestWeights()
    history: list[FitRecord] = []
    for epoch in range(1, epochs + 1):
        weights = {name: weight.clone() for name, weight in adapter.state_dict().items()}
        lr = trainer.learning_rate
        losses = trainer.train_epoch(lambda _: prompts, [0])
        history.append(FitRecord(epoch, lr, losses))
        best.update(losses.total, weights)  # the loss belongs to the weights before the step
        if stopping.should_stop(losses.total):
            break
    if best.weights is not None:
        adapter.load_state_dict(best.weights)
    return history


def adapter_loss(
    segmenter: OcclusionSegmenter, prompts: Prompts, adapter: PromptAdapter, config: Config
) -> MeanLosses:
    """Compute an adapter's losses on one image, as in ``fit_adapter``, without training."""
    trainer = AdapterTrainer(segmenter, adapter, config, 1, Process(segmenter.device))
    return trainer.validate(lambda _: prompts, 1)

"""An adapter is fitted to one image (paper section 3.4)."""

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

    Stops after ``per_image.patience`` epochs without an improvement of ``per_image.min_delta``.

    Args:
        segmenter: The frozen part of the method.
        prompts: Of the image, on SAM's device, with at least one point.
        adapter: Where training starts.
        config: Its ``per_image``, ``train``, ``loss`` and ``mask`` count.

    Returns:
        Epoch, learning rate and losses of each step, the losses before the step.

    Raises:
        S3potError: A loss is no number.
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
        best.update(losses.total, weights)  # the loss is that of the weights before the step
        if stopping.should_stop(losses.total):
            break
    if best.weights is not None:
        adapter.load_state_dict(best.weights)
    return history


def adapter_loss(
    segmenter: OcclusionSegmenter, prompts: Prompts, adapter: PromptAdapter, config: Config
) -> MeanLosses:
    """The losses of an adapter on one image, as ``fit_adapter`` sees them, without training."""
    trainer = AdapterTrainer(segmenter, adapter, config, 1, Process(segmenter.device))
    return trainer.validate(lambda _: prompts, 1)

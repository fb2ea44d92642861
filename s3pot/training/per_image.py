"""An adapter is fitted to one image (paper section 3.4)."""

from __future__ import annotations

import math
from copy import deepcopy

from s3pot.adapter import PromptAdapter
from s3pot.config import Config
from s3pot.distributed import Process
from s3pot.sam.frozen import FrozenSam
from s3pot.training.trainer import AdapterTrainer
from s3pot.types import Prompts


def fit_adapter(
    sam: FrozenSam, prompts: Prompts, adapter: PromptAdapter, config: Config
) -> list[dict[str, float]]:
    """Fit an adapter to one image, in place; it ends with the weights of the lowest loss.

    Stops after ``per_image.patience`` epochs without an improvement of ``per_image.min_delta``.

    Returns:
        Epoch, learning rate and the losses before each step.

    Raises:
        S3potError: A loss is no number.
    """
    own = config.per_image
    trainer = AdapterTrainer(sam, adapter, config, own.epochs, Process(sam.sam.device))
    history: list[dict[str, float]] = []
    best, mark, marked, kept = math.inf, math.inf, 0, deepcopy(adapter.state_dict())
    for epoch in range(1, own.epochs + 1):
        before, lr = deepcopy(adapter.state_dict()), float(trainer.schedule.get_last_lr()[0])
        losses = trainer.train_epoch(lambda _: prompts, [0])
        history.append({"epoch": epoch, "lr": lr, **losses})
        if losses["total"] < best:
            best, kept = losses["total"], before
        if losses["total"] < mark - own.min_delta:
            mark, marked = losses["total"], epoch
        if epoch - marked >= own.patience:
            break
    adapter.load_state_dict(kept)
    return history

"""The steps and epochs of adapter training, general and per-image."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import CosineAnnealingLR

from s3pot.adapter import PromptAdapter
from s3pot.config import Config
from s3pot.device import MOST_SIDE_BY_SIDE, SMALL_IMAGE, flushed_denormals, flushed_threads
from s3pot.distributed import Process
from s3pot.losses import PointLosses, point_losses
from s3pot.pipeline import OcclusionSegmenter, batch_prompts
from s3pot.training.history import MeanLosses
from s3pot.training.loss_sums import LossSums
from s3pot.training.optimizer import PlainAdamW
from s3pot.types import Prompts, S3potError
from s3pot.weights.load import CheckpointError

GetPrompts = Callable[[int], Prompts]
# Like ``map``: takes a function, and the prompts of each decoder call.
MapDecodes = Callable[[Callable[[list[Prompts]], Any], Iterable[list[Prompts]]], Iterator[Any]]


class AdapterTrainer:
    """Trains an adapter in place with AdamW and a cosine schedule.

    With several processes, all must call the same methods with the same arguments.

    Args:
        segmenter: The frozen part of the method.
        adapter: The adapter to train, on SAM's device.
        config: Settings of the losses (``loss``) and the optimizer (``train``).
        epochs: Length of the learning-rate schedule.
        process: This process.
    """

    def __init__(
        self,
        segmenter: OcclusionSegmenter,
        adapter: PromptAdapter,
        config: Config,
        epochs: int,
        process: Process,
    ) -> None:
        self.segmenter = segmenter
        self.adapter = adapter
        self.config = config
        self.process = process
        # The module called in training; the wrapper averages gradients over the processes.
        self.wrapped: Any = adapter
        if process.world_size > 1:
            self.wrapped = DistributedDataParallel(adapter)
        self.optimizer = PlainAdamW(
            adapter.parameters(), lr=config.train.lr, weight_decay=config.train.weight_decay
        )
        self.schedule = CosineAnnealingLR(self.optimizer, T_max=epochs)
        # A GPU decodes several images at once; a CPU is as fast with one, which needs no padding.
        self.images_per_decode = 1 if process.device.type == "cpu" else config.sam.batch

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next epoch."""
        return float(self.schedule.get_last_lr()[0])

    def restore(
        self, optimizer: Mapping[str, Any], schedule: Mapping[str, Any], source: str
    ) -> None:
        """Restore the optimizer and the schedule of an earlier run.

        Args:
            optimizer: State dict of its optimizer.
            schedule: State dict of its schedule; keys of other versions of torch are ignored.
            source: Their origin, for messages.

        Raises:
            CheckpointError: They are damaged, or belong to another adapter.
        """
        fault = f"{source} holds no optimizer and schedule of this adapter"
        try:
            self._check_optimizer(optimizer)
            fresh = self.schedule.state_dict()
            usable = {key: value for key, value in schedule.items() if key in fresh}
            if not all(_is_alike(value, fresh[key]) for key, value in usable.items()):
                raise TypeError("the schedule has values of the wrong type")
            self.optimizer.load_state_dict(dict(optimizer))
            self.schedule.load_state_dict(usable)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"{fault} ({error}). Resume from another checkpoint of the run, or start again."
            ) from error

    def _check_optimizer(self, state: Mapping[str, Any]) -> None:
        """Check an optimizer's state dict beyond what PyTorch checks; raises if it is faulty."""
        parameters = list(self.adapter.parameters())
        for number, slots in state["state"].items():
            for name, slot in slots.items():
                if slot.numel() != 1 and slot.shape != parameters[number].shape:
                    raise ValueError(f"{name} of parameter {number} has shape {tuple(slot.shape)}")
        (fresh,) = self.optimizer.state_dict()["param_groups"]
        (group,) = state["param_groups"]
        for name, value in group.items():
            if not _is_alike(value, fresh.get(name)):
                raise TypeError(f"{name} is {value!r}")

    def share_of_rank(self, images: Sequence[int]) -> Sequence[int]:
        """Return the images of a batch, or of validation, that this process handles."""
        return images[self.process.rank :: self.process.world_size]

    def images_of_rank(self, order: Sequence[int]) -> list[int]:
        """Return the images of ``order`` that this process trains on, in the order of use."""
        images: list[int] = []
        for batch in self._batches(order):
            images += self.share_of_rank(batch)
        return images

    def train_epoch(self, get: GetPrompts, order: Sequence[int]) -> MeanLosses:
        """Train on all images once, in steps of ``train.batch_size`` over all processes.

        Args:
            get: Returns the prompts of an image by its index, on SAM's device.
            order: Indices of the images.

        Returns:
            The mean losses of all images, each before the step it took part in.

        Raises:
            S3potError: The loss of an image is not a finite number, in which case its step was not
                applied; or a weight is not.
        """
        sums = LossSums(self.process)
        with self._calculating(self._most_at_once(order)) as map_decodes:
            for batch in self._batches(order):
                if self.process.world_size > 1:
                    self._exchanged_step(get, batch, sums)
                else:
                    self._step(get, batch, sums, map_decodes)
        self.schedule.step()
        weights = torch.cat([weight.detach().flatten() for weight in self.adapter.parameters()])
        if not bool(weights.isfinite().all()):
            raise S3potError(
                "a weight of the adapter is no longer a finite number: the training diverged; "
                "start it again with a lower train.lr"
            )
        return sums.means()

    @torch.no_grad()
    def validate(self, get: GetPrompts, count: int) -> MeanLosses:
        """Return the mean losses of images 0..count-1; raises the errors of ``train_epoch``."""
        sums = LossSums(self.process)
        images = self.share_of_rank(range(count))
        with self._calculating(len(images)) as map_decodes:
            decodes = self._decodes(get, images)
            for prompts, losses in map_decodes(self._losses_only, decodes):
                sums.add(prompts, losses)
                sums.check_finite()
        return sums.means()

    def _most_at_once(self, order: Sequence[int]) -> int:
        """Return among how many images of a step the cores are divided.

        If an epoch has fewer images than a step could have, those share all cores, but only if they
        are large: a small image gains little, and its sums would depend on the number of cores.
        """
        batch_size = self.config.train.batch_size
        if self.segmenter.sam.grid.size <= SMALL_IMAGE:
            return batch_size
        return min(batch_size, len(order))

    @contextmanager
    def _calculating(self, images: int) -> Iterator[MapDecodes]:
        """Provide an order-preserving ``map`` that a CPU spreads over its cores, a decode each.

        Args:
            images: How many may be decoded at once.
        """
        cores = torch.get_num_threads()
        if self.process.device.type != "cpu" or self.process.world_size > 1 or cores == 1:
            with flushed_denormals():
                yield map
            return
        with flushed_threads(max(1, min(cores, images, MOST_SIDE_BY_SIDE))) as pool:
            yield partial(_map_ahead, pool)

    def _decodes(self, get: GetPrompts, images: Sequence[int]) -> Iterator[list[Prompts]]:
        """Yield the prompts of images in groups of the size that one decoder call takes."""
        for start in range(0, len(images), self.images_per_decode):
            yield [get(index) for index in images[start : start + self.images_per_decode]]

    def _batches(self, order: Sequence[int]) -> Iterator[Sequence[int]]:
        size = self.config.train.batch_size
        for start in range(0, len(order), size):
            yield order[start : start + size]

    def _step(
        self, get: GetPrompts, batch: Sequence[int], sums: LossSums, map_decodes: MapDecodes
    ) -> None:
        """Accumulate the gradients of a batch, in its order, and take a step."""
        self.optimizer.zero_grad()
        gradients_of = partial(self._gradients, batch_size=len(batch))
        total: Sequence[Tensor] | None = None
        for prompts, losses, gradients in map_decodes(gradients_of, self._decodes(get, batch)):
            if total is None:
                total = gradients
            else:
                total = [sum_before + gradient for sum_before, gradient in zip(total, gradients)]
            sums.add(prompts, losses)
        for parameter, gradient in zip(self.adapter.parameters(), total or ()):
            parameter.grad = gradient
        sums.check_finite()
        self.optimizer.step()

    def _gradients(
        self, prompts: Sequence[Prompts], batch_size: int
    ) -> tuple[Sequence[Prompts], PointLosses, Sequence[Tensor]]:
        """Compute the contribution of some images to a batch's gradient, a tensor per parameter."""
        losses = self._losses(prompts, self.adapter)
        share = losses.total.sum() / batch_size
        return prompts, losses, torch.autograd.grad(share, list(self.adapter.parameters()))

    @torch.no_grad()
    def _losses_only(self, prompts: Sequence[Prompts]) -> tuple[Sequence[Prompts], PointLosses]:
        return prompts, self._losses(prompts, self.adapter)

    def _exchanged_step(self, get: GetPrompts, batch: Sequence[int], sums: LossSums) -> None:
        """Average gradients over the whole batch, of which this process handles its share.

        Every process takes part in the single exchange of gradients, with the last images of its
        share or, if the share is empty, with an empty sum.
        """
        images = self.share_of_rank(batch)
        self.optimizer.zero_grad()
        done = 0
        for prompts in self._decodes(get, images):
            done += len(prompts)
            with self._exchanging(is_last=done == len(images)):
                losses = self._losses(prompts, self.wrapped)
                # The exchange averages over processes: undo its division.
                share = losses.total.sum() * self.process.world_size / len(batch)
                share.backward()
            sums.add(prompts, losses)
        if not images:
            self._take_part_with_nothing()
        sums.check_finite()
        self.optimizer.step()

    def _exchanging(self, is_last: bool) -> AbstractContextManager[Any]:
        """Exchange gradients once per step; before that, they accumulate in each process."""
        if is_last:
            return nullcontext()
        context: AbstractContextManager[Any] = self.wrapped.no_sync()
        return context

    def _take_part_with_nothing(self) -> None:
        width = self.adapter.norm.normalized_shape[0]
        nothing = torch.zeros(1, 1, width, device=self.process.device)
        tokens = self.wrapped(nothing)[0]
        (tokens * 0).sum().backward()

    def _losses(self, prompts: Sequence[Prompts], adapter: nn.Module) -> PointLosses:
        """Compute the losses of each image, (B,), decoded together."""
        batch = batch_prompts(prompts)
        return point_losses(
            self.segmenter.predict_point_logits(adapter, batch),
            batch.point_labels,
            sharpness=self.config.loss.sharpness,
            hinge_margin=self.config.loss.hinge_margin,
            face_weight=self.config.loss.face_weight,
            occlusion_weight=self.config.loss.occlusion_weight,
            hinge_weight=self.config.loss.hinge_weight,
        )


def _map_ahead(
    pool: ThreadPoolExecutor,
    do: Callable[[list[Prompts]], Any],
    decodes: Iterable[list[Prompts]],
) -> Iterator[Any]:
    """Yield the results of threads in order; inputs are fetched in this thread, a few ahead.

    (The pool's own ``map`` would fetch all inputs at once.)
    """
    ahead: deque[Future[Any]] = deque()
    for prompts in decodes:
        ahead.append(pool.submit(do, prompts))
        if len(ahead) > MOST_SIDE_BY_SIDE:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _is_alike(value: Any, fresh: Any) -> bool:
    """Whether a value that was read has the type of a fresh one: numbers, or lists of them."""
    if isinstance(fresh, (list, tuple)):
        same_length = isinstance(value, (list, tuple)) and len(value) == len(fresh)
        return same_length and all(_is_alike(*pair) for pair in zip(value, fresh))
    if fresh is None:
        return value is None or isinstance(value, bool)
    return isinstance(value, (bool, int, float)) and math.isfinite(value)

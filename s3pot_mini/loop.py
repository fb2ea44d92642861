"""The training loop of all recipes: seeded by step, logged, resumable, limited by steps or time."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from s3pot.io import atomic_path
from s3pot.weights.load import read_checkpoint
from s3pot.weights.mini_set import write_mini

logger = logging.getLogger(__name__)
Losses = dict[str, Tensor]
LOG_EVERY = 25  # steps
SAVE_EVERY = 100
VALIDATE_EVERY = 500
WARM_UP = 100
UNBOUNDED = 10**9


@dataclass(frozen=True)
class Schedule:
    """The length and the learning rates of a training.

    Attributes:
        steps: Optimizer steps.
        batch: Pictures per step.
        lr: Peak learning rate of AdamW, reached in WARM_UP steps and then held.
        decay: Final share of the run in which the rate decays to 0.
        weight_decay: Weight decay of AdamW.
        seed: Seed of every random choice, together with the step.
        seconds: Time limit after which the run ends at any step; None for no limit. The rate then
            decays by the clock if that is ahead of the steps.
    """

    steps: int
    batch: int
    lr: float
    decay: float = 0.4
    weight_decay: float = 0.01
    seed: int = 321
    seconds: float | None = None

    def limited(self, steps: int | None, seconds: float | None, batch: int | None) -> Schedule:
        """Return a schedule with the given limits; with only seconds, the steps do not count."""
        if steps is None:
            steps = self.steps if seconds is None else UNBOUNDED
        return replace(self, steps=steps, seconds=seconds, batch=batch or self.batch)

    def progress(self, step: int, elapsed: float) -> float:
        """Completed share of the run, by steps or by the clock, whichever is ahead."""
        by_clock = 0.0 if self.seconds is None else elapsed / self.seconds
        return max(step / self.steps, by_clock)

    def rate(self, step: int, elapsed: float = 0.0) -> float:
        """Return the learning rate at a step as a share of the peak."""
        left = 1 - self.progress(step, elapsed)
        return max(0.0, min((step + 1) / WARM_UP, 1.0, left / max(self.decay, 1e-9)))


def fit(
    name: str,
    model: nn.Module,
    losses: Callable[[int], Losses],
    schedule: Schedule,
    folder: Path,
    device: torch.device,
    validate: Callable[[int], dict[str, float]] | None = None,
) -> None:
    """Train a model in place.

    Args:
        name: Stem of the files in ``folder``: ``<name>_last.pt`` and ``<name>.jsonl``.
        model: Its trainable parameters are trained.
        losses: Maps the step to named scalars, of which ``total`` is minimized; PyTorch's random
            numbers are seeded by (seed, step) before each call.
        schedule: Limits and learning rates.
        folder: Work directory; a stopped run resumes from ``<name>_last.pt`` in it.
        device: Device of the model.
        validate: Called with the step from time to time and at the end; its numbers are logged.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters,
        schedule.lr,
        weight_decay=schedule.weight_decay,
        fused=device.type == "cuda",
        betas=(0.9, 0.98),
    )
    state_path, log_path = folder / f"{name}_last.pt", folder / f"{name}.jsonl"
    first, before = _resume(state_path, model, optimizer)
    started = time.monotonic() - before
    window: list[Losses] = []
    step = first
    bar = tqdm(desc=name, initial=first, total=schedule.steps)
    while step < schedule.steps and _time_is_left(schedule, started):
        elapsed = time.monotonic() - started
        for group in optimizer.param_groups:
            group["lr"] = schedule.lr * schedule.rate(step, elapsed)
        torch.manual_seed(schedule.seed * 1_000_003 + step)
        with torch.autocast(device.type, torch.bfloat16):
            terms = losses(step)
        optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()
        for parameter in parameters:
            if parameter.grad is not None:  # checking for NaN would wait for the GPU
                parameter.grad.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        window.append({key: value.detach() for key, value in terms.items()})
        step += 1
        bar.update()
        last = step == schedule.steps or not _time_is_left(schedule, started)
        if step % LOG_EVERY == 0 or last:
            row = {"step": step, "seconds": time.monotonic() - started, **_means(window)}
            window.clear()
            if validate is not None and (step % VALIDATE_EVERY == 0 or last):
                row.update(validate(step))
                logger.info("%s %s", name, {k: round(float(v), 4) for k, v in row.items()})
            _log(log_path, row)
        if step % SAVE_EVERY == 0 or last:
            _save(state_path, model, optimizer, step, time.monotonic() - started)
    bar.close()


def _time_is_left(schedule: Schedule, started: float) -> bool:
    return schedule.seconds is None or time.monotonic() - started < schedule.seconds


def _means(window: list[Losses]) -> dict[str, float]:
    keys = window[0]
    return {key: float(torch.stack([row[key].float() for row in window]).mean()) for key in keys}


def _resume(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Restore a stopped run; returns its steps and seconds."""
    if not path.exists():
        return 0, 0.0
    state = read_checkpoint(path)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["seconds"]


def _save(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    with atomic_path(path) as aside:
        torch.save(state, aside)


def _log(path: Path, row: dict[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({k: round(float(v), 5) for k, v in row.items()}) + "\n")


def plot(log: Path) -> None:
    """Plot all curves of a log of ``fit`` as a PNG file beside it, unless it is up to date."""
    picture = log.with_suffix(".png")
    if picture.exists() and picture.stat().st_mtime_ns >= log.stat().st_mtime_ns:
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    rows = list({row["step"]: row for row in sorted(lines, key=lambda row: row["step"])}.values())
    keys = [k for k in dict.fromkeys(k for r in rows for k in r) if k not in ("step", "seconds")]
    columns = min(len(keys), 5)
    lines_of_axes = -(-len(keys) // columns)
    width, height = 3.2 * columns, 2.4 * lines_of_axes
    figure, axes = plt.subplots(lines_of_axes, columns, figsize=(width, height), squeeze=False)
    # Fixed margins in inches: matplotlib takes longer to find margins than to draw the rest.
    figure.subplots_adjust(
        left=0.5 / width,
        right=1 - 0.1 / width,
        bottom=0.5 / height,
        top=1 - 0.35 / height,
        wspace=0.25,
        hspace=0.55,
    )
    for axis, key in zip(axes.flat, keys):
        rows_with_key = [row for row in rows if key in row]
        axis.plot([row["step"] for row in rows_with_key], [row[key] for row in rows_with_key])
        axis.set_title(key)
        axis.set_xlabel("step")
    for axis in axes.flat[len(keys) :]:
        axis.set_axis_off()
    figure.savefig(picture, dpi=80)
    plt.close(figure)


def export(name: str, size: dict[str, object], state: dict[str, Tensor], target: Path) -> None:
    """Write a bundled weight file in half precision as safetensors, with its hash beside it."""
    logger.info("exported %s", write_mini(target, name, size, state))

"""One training loop for all recipes: seeded by step, logged, resumable."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from s3pot.io import atomic_path

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  (after the choice of a backend without a screen)

logger = logging.getLogger(__name__)
Losses = dict[str, Tensor]
LOG_EVERY, SAVE_EVERY, VALIDATE_EVERY = 25, 100, 500  # steps


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        steps: Optimiser steps.
        batch: Faces per step.
        lr: Peak learning rate of AdamW, reached in 100 steps and held.
        decay: Share of all steps in which the rate falls to 0, before each restart and at the end.
        restarts: Steps at which the rate begins anew, as if runs followed each other, and the share
            of the peak rate that it rises to from there.
        weight_decay: Of AdamW.
        seed: Of every random choice, together with the step.
    """

    steps: int
    batch: int
    lr: float
    decay: float = 0.4
    restarts: tuple[tuple[int, float], ...] = ()
    weight_decay: float = 0.01
    seed: int = 321

    def until(self, steps: int) -> Schedule:
        """The same for another number of steps, without the restarts that it does not reach."""
        reached = tuple(restart for restart in self.restarts if restart[0] < steps)
        return replace(self, steps=steps, restarts=reached)

    def rate(self, step: int) -> float:
        """Share of the peak learning rate at a step."""
        begun = [(0, 1.0), *self.restarts, (self.steps, 0.0)]
        cycle = sum(first <= step for first, _ in begun) - 1
        (first, peak), (last, _) = begun[cycle], begun[cycle + 1]
        tail = (last - step) / max(1.0, self.decay * self.steps)
        return peak * min((step - first + 1) / 100, 1.0, tail)


def fit(
    name: str,
    model: nn.Module,
    losses: Callable[[np.random.Generator, int], Losses],
    schedule: Schedule,
    folder: Path,
    device: torch.device,
    validate: Callable[[int], dict[str, float]] | None = None,
) -> None:
    """Train a model in place.

    Args:
        name: Stem of the files in ``folder``: ``<name>_last.pt``, ``<name>.jsonl``, ``<name>.png``.
        model: Its trainable parameters are trained.
        losses: From a generator seeded by (seed, step) and the step to named scalars, of which
            ``total`` is minimised.
        schedule: Steps and rates.
        folder: Work folder; a run that stopped goes on from ``<name>_last.pt`` in it.
        device: Where the model lies.
        validate: Called with the step, now and then and at the end; its numbers are logged.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, schedule.lr, weight_decay=schedule.weight_decay)
    state_path, log_path = folder / f"{name}_last.pt", folder / f"{name}.jsonl"
    first = _resume(state_path, model, optimizer)
    means: dict[str, float] = {}
    started = time.monotonic()
    for step in tqdm(range(first, schedule.steps), desc=name, initial=first, total=schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.lr * schedule.rate(step)
        torch.manual_seed(schedule.seed * 1_000_003 + step)
        rng = np.random.default_rng([schedule.seed, step])
        with torch.autocast(device.type, torch.bfloat16):
            terms = losses(rng, step)
        optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        for key, value in terms.items():
            now = float(value.detach())
            means[key] = 0.95 * means.get(key, now) + 0.05 * now
        last = step + 1 == schedule.steps
        if (step + 1) % LOG_EVERY == 0 or last:
            row = {"step": step + 1, "seconds": time.monotonic() - started, **means}
            if validate is not None and ((step + 1) % VALIDATE_EVERY == 0 or last):
                row.update(validate(step))
                logger.info("%s %s", name, row)
            _log(log_path, row)
        if (step + 1) % SAVE_EVERY == 0 or last:
            _save(state_path, model, optimizer, step + 1)
            _plot(log_path)


def _resume(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]


def _save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    with atomic_path(path) as aside:
        torch.save(state, aside)


def _log(path: Path, row: dict[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({k: round(float(v), 5) for k, v in row.items()}) + "\n")


def _plot(log: Path) -> None:
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    rows = list({row["step"]: row for row in sorted(lines, key=lambda row: row["step"])}.values())
    keys = [k for k in rows[0] if k not in ("step", "seconds")]
    figure, axes = plt.subplots(1, len(keys), figsize=(3.2 * len(keys), 2.6), squeeze=False)
    for axis, key in zip(axes[0], keys):
        axis.plot([r["step"] for r in rows], [r[key] for r in rows])
        axis.set_title(key)
        axis.set_xlabel("step")
    figure.tight_layout()
    figure.savefig(log.with_suffix(".png"), dpi=80)
    plt.close(figure)


def export(name: str, size: dict[str, object], state: dict[str, Tensor], target: Path) -> None:
    """Write a bundled weight file: half precision, plain types only."""
    half = {
        k: v.detach().cpu().half() if v.is_floating_point() else v.cpu() for k, v in state.items()
    }
    target.mkdir(parents=True, exist_ok=True)
    with atomic_path(target / f"{name}.pth") as aside:
        torch.save({"format": 1, "model": f"mini-{name}", "size": size, "state_dict": half}, aside)

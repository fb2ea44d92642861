"""Measure what a training step of each recipe of the mini models costs on a CPU.

    OMP_NUM_THREADS=1 python -m tools.recipe_cost --batch 8
    python -m tools.recipe_cost --batch 8 --stages sam --steps 9 --threads 2

Each stage of ``python -m s3pot_mini all`` is started with its real network, and takes a few steps
on a small pool of pictures in a temporary folder. The tool prints processor seconds and wall-clock
seconds per step without the first step, which fills buffers, and the hours that all steps of the
recipe would take. Processor seconds on one thread depend little on what else runs.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import nn

import s3pot_mini.__main__ as recipes
from s3pot_mini import generator, loop, parser, pool, sam, sam_generic
from s3pot_mini.loop import Losses, Schedule
from s3pot_mini.pool import FACES, SCENES

# Of each stage: the module that trains it, and the name of its schedule in it.
STAGES = {
    "parser": (parser, "SCHEDULE"),
    "generator": (generator, "SCHEDULE"),
    "generator_fine": (generator, "FINE_SCHEDULE"),
    "sam_generic": (sam_generic, "SCHEDULE"),
    "sam": (sam, "SCHEDULE"),
}
FACE_COUNT = 300  # two shards of faces are held out, one is trained on
TIMED_PICTURES = 20


class Clock:
    """Runs a recipe's training loop without measurements, and records when its steps begin."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []  # processor and wall-clock seconds

    def fit(
        self,
        name: str,
        model: nn.Module,
        losses: Callable[[int], Losses],
        schedule: Schedule,
        folder: Path,
        device: torch.device,
        validate: Callable[[int], dict[str, float]] | None = None,
    ) -> None:
        """Train as ``s3pot_mini.loop.fit`` does, but ignore ``validate``."""

        def marked(step: int) -> Losses:
            self.marks.append((time.process_time(), time.perf_counter()))
            return losses(step)

        loop.fit(name, model, marked, schedule, folder, device)

    def seconds(self) -> tuple[float, float]:
        """Processor and wall-clock seconds per step, without the first and the last step."""
        processor, wall = np.diff(np.array(self.marks), axis=0)[1:].mean(axis=0)
        return float(processor), float(wall)


def time_stage(stage: str, options: recipes.Options, pictures: pool.Pool) -> tuple[float, float]:
    """Take a few steps of one recipe; returns processor and wall-clock seconds per step."""
    clock = Clock()
    with mock.patch.object(STAGES[stage][0], "fit", clock.fit):
        recipes.train_one(stage, options, pictures, None)
    return clock.seconds()


def time_drawing() -> dict[str, float]:
    """Draw some pictures of each kind; returns processor seconds per picture."""
    seconds = {}
    for kind, draw in ((FACES, pool.draw_face_planes), (SCENES, pool.draw_scene_planes)):
        began = time.process_time()
        for index in range(TIMED_PICTURES):
            draw(index, pool.SIZE)
        seconds[kind] = (time.process_time() - began) / TIMED_PICTURES
    return seconds


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the tool's options."""
    cli = argparse.ArgumentParser(
        prog="python -m tools.recipe_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = cli.add_argument
    add("--batch", type=int, default=8, help="pictures per step (8)")
    add("--steps", type=int, default=6, help="steps of each stage, at least 3 (6)")
    add("--stages", nargs="+", choices=tuple(STAGES), default=list(STAGES), help="(all)")
    add("--threads", type=int, default=1, help="threads of PyTorch (1)")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Print the table; returns 0."""
    cli = build_parser()
    args = cli.parse_args(argv)
    if args.steps < 3:
        cli.error(f"--steps {args.steps}: expected at least 3, of which the first is not counted")
    torch.set_num_threads(args.threads)
    for kind, seconds in time_drawing().items():
        sys.stdout.write(f"drawing {kind:12}{seconds:8.3f} s each\n")
    sys.stdout.write(f"{'stage':14}{'processor s':>12}{'wall s':>8}{'steps':>7}{'hours':>7}\n")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        pool.draw_pool(work, FACE_COUNT, workers=0)
        for stage in args.stages:
            target = work / stage  # with the bundled parser and generator, which later stages use
            shutil.copytree(recipes.BUNDLED, target)
            options = recipes.Options(
                work=work,
                target=target,
                device=torch.device("cpu"),
                steps=args.steps,
                batch=args.batch,
                start=None,
                deadline=None,
            )
            processor, wall = time_stage(stage, options, recipes.open_pool(options))
            steps = getattr(*STAGES[stage]).steps
            hours = processor * steps / 3600
            sys.stdout.write(f"{stage:14}{processor:12.2f}{wall:8.2f}{steps:7}{hours:7.2f}\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Train the bundled mini models on drawn pictures only.

    python -m s3pot_mini all
    python -m s3pot_mini sam --work_dir build/mini --device cuda

The stages, in order, are: pool (draw faces and scenes), parser, generator, generator_fine
(continues the generator with small batches), sam_generic (trained like SAM), sam (additionally
trained on occlusions), adapter; and, independent of the others, detector (finds faces in any photo,
draws its own scenes). Each stage resumes where it stopped. The same seed, device and versions give
the same curve. `train` is the networks from parser to sam, and `all` is everything. `export` writes
what stopped runs have left in --work_dir, for models that --target_dir does not hold yet.

A finished stage replaces the file of its model, and SHA256SUMS, in --target_dir, which is the
folder of the bundled weights if no other is given:

    python -m s3pot_mini all --target_dir build/mini/weights

With a GPU and a time limit, draw on the other cores while training; the training picks up pictures
as they are finished, and the two SAMs, parser and generator share the GPU:

    python -m s3pot_mini pool --workers 14 --faces 28000 &
    python -m s3pot_mini train --device cuda --minutes 9
    python -m s3pot_mini detector --device cuda --minutes 2 --workers 4
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from segment_anything.modeling import Sam

from s3pot.rg.mini_detector import load_mini_detector
from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.sam.mini import build_mini_sam
from s3pot.weights.load import read_checkpoint
from s3pot_mini import detector, generator, parser, pool, sam, sam_generic
from s3pot_mini.loop import Schedule, plot
from s3pot_mini.nets import (
    References,
    has,
    load_generator,
    load_parser,
    load_references,
    load_sam,
)

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[1]
BUNDLED = ROOT / "s3pot" / "weights" / "mini"
TRAINED = ("parser", "generator", "generator_fine", "sam_generic", "sam")
STAGES = ("pool", *TRAINED, "adapter", "detector")
FACES_TO_BEGIN = 3000  # needed before training starts on a pool that is still being drawn
WAITING_SHARE = 0.1  # share of the time limit during which they may still be drawn
# Shares of the time limit when parser, generator and tuned SAM are trained one after the other
# while the generic SAM is trained beside them.
CLOCK_SHARES = {"parser": 0.17, "generator": 0.14, "generator_fine": 0.14, "sam_generic": 0.6}
SECONDS_TO_END = 12.0  # reserved for the final measurements and exports
THREADS_BESIDE_A_GPU = 2


@dataclass(frozen=True)
class Options:
    """The command-line options that the stages use."""

    work: Path
    target: Path
    device: torch.device
    steps: int | None
    batch: int | None
    start: Path | None
    deadline: float | None  # in the time of ``time.monotonic``


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    cli = argparse.ArgumentParser(
        prog="python -m s3pot_mini",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cli.add_argument("stage", choices=(*STAGES, "train", "export", "all"))
    add = cli.add_argument
    add("--work_dir", type=Path, default=ROOT / "build" / "mini", help="pool, checkpoints, curves")
    replaced = "folder of weights, whose files are replaced (default: the bundled weights)"
    add("--target_dir", type=Path, default=BUNDLED, help=replaced)
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    fewest = pool.SHARD * (pool.HELD_OUT_SHARDS[pool.FACES] + 1)
    faces = f"faces in the pool, in shards of {pool.SHARD}, at least {fewest}; half as many scenes"
    add("--faces", type=int, default=28000, help=f"{faces} (default: 28000)")
    add("--steps", type=int, help="optimizer steps of each stage; default: those of its recipe")
    add("--batch", type=int, help="pictures per step; default: those of the recipe")
    add("--minutes", type=float, help="time limit of the stage, or of all training together")
    add("--start", type=Path, help="folder of weights to start from, instead of fresh ones")
    add("--workers", type=int, default=2, help="processes that draw; 0: only this one")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run one stage, the training, or everything."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    seconds = None if args.minutes is None else args.minutes * 60
    options = Options(
        work=args.work_dir,
        target=args.target_dir,
        device=torch.device(args.device),
        steps=args.steps,
        batch=args.batch,
        start=args.start,
        deadline=None if seconds is None else time.monotonic() + seconds,
    )
    options.work.mkdir(parents=True, exist_ok=True)
    if options.device.type == "cuda":
        torch.set_num_threads(THREADS_BESIDE_A_GPU)
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    if args.stage in ("pool", "all"):
        pool.draw_pool(options.work, args.faces, args.workers)
    failed = 0
    if args.stage in ("train", "all"):
        failed = train_all(options, args) if options.deadline else train_in_turn(options)
    elif args.stage == "export":
        export_checkpoints(options)
    elif args.stage in TRAINED:
        train_one(args.stage, options, open_pool(options), seconds)
    if args.stage in ("adapter", "all") and not failed:
        from s3pot_mini import adapter  # only this stage needs the package's commands

        adapter.train(options.work, options.target, args.device)
    if args.stage in ("detector", "all"):
        train_detector(options, args, seconds if args.stage == "detector" else None)
    return failed


def open_pool(options: Options) -> pool.Pool:
    """Open the pool of the work directory on the device."""
    return pool.Pool(options.work, options.device)


def train_in_turn(options: Options) -> int:
    """Train all networks one after the other, each for the steps of its recipe."""
    pictures = open_pool(options)
    for stage in TRAINED:
        train_one(stage, _options_in_turn(stage, options), pictures, None)
    return 0


def _options_in_turn(stage: str, options: Options) -> Options:
    """Let a stage that continues the one before it do so, whatever that one started from."""
    return replace(options, start=None) if stage == "generator_fine" else options


def train_all(options: Options, args: argparse.Namespace) -> int:
    """Train all networks until the deadline, the generic SAM in a separate process.

    A stage that fails is reported; later stages continue with the bundled network in its place.

    Returns:
        The number of stages that failed.
    """
    assert options.deadline is not None
    patience = WAITING_SHARE * (options.deadline - time.monotonic())
    pool.wait_for_pool(options.work, FACES_TO_BEGIN, patience)
    whole = options.deadline - time.monotonic() - SECONDS_TO_END
    beside = subprocess.Popen(_generic_command(args, CLOCK_SHARES["sam_generic"] * whole))
    pictures = open_pool(options)
    failed = 0
    for stage in ("parser", "generator", "generator_fine", "sam"):
        left = options.deadline - SECONDS_TO_END - time.monotonic()
        seconds = min(CLOCK_SHARES[stage] * whole, left) if stage in CLOCK_SHARES else left
        try:
            train_one(stage, _options_in_turn(stage, options), pictures, max(seconds, 1.0))
        except Exception:  # no error may stop the other stages
            logger.exception("stage %s failed; the others continue", stage)
            failed += 1
    try:
        failed += beside.wait(timeout=max(1.0, options.deadline - time.monotonic())) != 0
    except subprocess.TimeoutExpired:
        logger.error("the generic SAM did not finish in time and is stopped; see the stage export")
        beside.terminate()
        failed += 1
    return failed


def _generic_command(args: argparse.Namespace, seconds: float) -> list[str]:
    """Build the command that trains the generic SAM in a separate process."""
    command = [sys.executable, "-m", "s3pot_mini", "sam_generic"]
    command += ["--work_dir", str(args.work_dir), "--target_dir", str(args.target_dir)]
    command += ["--device", args.device, "--minutes", str(seconds / 60)]
    for name in ("steps", "batch", "start"):
        value = getattr(args, name)
        if value is not None:
            command += [f"--{name}", str(value)]
    return command


def train_detector(options: Options, args: argparse.Namespace, seconds: float | None) -> None:
    """Train the detector, and draw its curves."""
    start = None if options.start is None else load_mini_detector(options.start).net
    detector.train(
        options.work,
        options.target,
        options.device,
        _limited(detector.SCHEDULE, options, seconds),
        workers=args.workers,
        people=max(2, round(args.faces * detector.PEOPLE_PER_FACE)),
        start=start,
    )
    plot(options.work / "detector.jsonl")


def train_one(stage: str, options: Options, pictures: pool.Pool, seconds: float | None) -> None:
    """Train one network, measure it, and draw its curves."""
    run: dict[str, Callable[[Options, pool.Pool, float | None], None]] = {
        "parser": _train_parser,
        "generator": _train_generator,
        "generator_fine": _train_generator_further,
        "sam_generic": _train_generic,
        "sam": _train_tuned,
    }
    began = time.monotonic()
    run[stage](options, pictures, seconds)
    logger.info("stage %s took %.0f s", stage, time.monotonic() - began)
    plot(options.work / f"{stage}.jsonl")


def _limited(schedule: Schedule, options: Options, seconds: float | None) -> Schedule:
    return schedule.limited(options.steps, seconds, options.batch)


def _train_parser(options: Options, pictures: pool.Pool, seconds: float | None) -> None:
    start = None if options.start is None else load_parser(options.start)
    schedule = _limited(parser.SCHEDULE, options, seconds)
    parser.train(pictures, options.work, options.target, schedule, start)


def _train_generator(options: Options, pictures: pool.Pool, seconds: float | None) -> None:
    start = None if options.start is None else load_generator(options.start)
    schedule = _limited(generator.SCHEDULE, options, seconds)
    generator.train(
        pictures, options.work, options.target, schedule, _trained_parser(options), start
    )


def _train_generator_further(options: Options, pictures: pool.Pool, seconds: float | None) -> None:
    """Continue the generator of ``--start``, or else of the target folder, or the bundled one."""
    folder = options.start
    if folder is None:
        folder = options.target if has("generator", options.target) else BUNDLED
    generator.train(
        pictures,
        options.work,
        options.target,
        _limited(generator.FINE_SCHEDULE, options, seconds),
        _trained_parser(options),
        load_generator(folder),
        stage="generator_fine",
        is_balanced=True,
    )


def _trained_parser(options: Options) -> BiSeNet:
    return load_parser(options.target if has("parser", options.target) else BUNDLED)


def _train_generic(options: Options, pictures: pool.Pool, seconds: float | None) -> None:
    start = None if options.start is None else load_sam("sam_generic", options.start)
    schedule = _limited(sam_generic.SCHEDULE, options, seconds)
    sam_generic.train(pictures, options.work, options.target, schedule, start)


def _train_tuned(options: Options, pictures: pool.Pool, seconds: float | None) -> None:
    start = _start_of_tuned(options)
    schedule = _limited(sam.SCHEDULE, options, seconds)
    sam.train(pictures, options.work, options.target, schedule, _references(options), start)


def _start_of_tuned(options: Options) -> Sam | None:
    """Return the SAM of ``--start``, or else the generic one as far as it has been trained."""
    if options.start is not None:
        return load_sam("sam", options.start)
    checkpoint = options.work / "sam_generic_last.pt"
    if checkpoint.exists():
        network = build_mini_sam(sam_generic.SIZE)
        state = read_checkpoint(checkpoint)
        network.load_state_dict(state["model"])
        logger.info("the tuned SAM starts from step %d of the generic one", state["step"])
        return network
    return load_sam("sam_generic", options.target) if has("sam_generic", options.target) else None


def _references(options: Options) -> References:
    """Load parser and generator from the target folder, or else the bundled ones."""
    nets = load_references(options.target, options.device)
    if nets is None:
        nets = load_references(BUNDLED, options.device)
    if nets is None:
        raise FileNotFoundError(
            f"neither {options.target} nor {BUNDLED} holds parser and generator: train them first"
        )
    return nets


def export_checkpoints(options: Options) -> None:
    """Export the checkpoints of stopped runs in the work directory that are not yet exported."""
    if not any(options.work.glob("*_last.pt")):
        logger.warning("%s holds no checkpoint of a stopped run", options.work)
    writers = {
        "parser": parser.write,
        "generator": generator.write,
        "generator_fine": generator.write,
        "sam_generic": sam_generic.write,
        "sam": sam.write,
        "detector": detector.write,
    }
    if (options.work / "generator_fine_last.pt").exists():
        del writers["generator"]  # its successor
    for stage, write in writers.items():
        checkpoint = options.work / f"{stage}_last.pt"
        if not checkpoint.exists():
            continue
        if has(stage.removesuffix("_fine"), options.target):
            logger.warning(
                "%s is not exported, because %s already holds one; choose another --target_dir",
                checkpoint,
                options.target,
            )
            continue
        state = read_checkpoint(checkpoint)
        model = state["model"]
        if write is generator.write:
            model = {k.removeprefix("net."): v for k, v in model.items() if k.startswith("net.")}
        write(model, options.target)
        logger.info("exported %s as it was at step %d", stage, state["step"])


if __name__ == "__main__":
    sys.exit(main())

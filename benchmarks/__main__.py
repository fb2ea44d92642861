"""Benchmark every stage of the pipeline: seconds, images per second, share of the limit, memory.

    python -m benchmarks --size mini
    python -m benchmarks --device cuda --size vit_h --minutes 3 --json speed.json

Weights and tokens are random (speed does not depend on them). Beside a stage, the table shows the
plain loop of the authors' algorithm, in our implementation, run in the same process. The most
informative rows come first; when the time is up, the rest is left out. The limit is the rate of a
large matrix product on the same device, in float32 for exact rows and bfloat16 for the others, and
the operations are those of the plain algorithm.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import commands, stages, training
from benchmarks.clock import Clock, Report, facts_of
from benchmarks.models import encoder_operations, new_sam, sizes_of
from s3pot.device import pick_device
from s3pot.types import S3potError

Group = Callable[[stages.Bench], None]


def groups_for(device: torch.device) -> list[Group]:
    """Return the groups of rows in order; on a CPU, compiling takes longest and comes last."""
    first: list[Group] = [stages.encode_exact, stages.encode_fast]
    second: list[Group] = [
        training.adapter_step,
        stages.match,
        training.later_epoch,
        stages.invert,
    ]
    last: list[Group] = [
        commands.inference,
        stages.parse,
        stages.enhance_tokens,
        stages.decode,
        commands.read_and_write,
        commands.other_commands,
    ]
    if device.type == "cuda":
        return [*first, *second, stages.encode_max, *last]
    return [*first, *second, *last, stages.encode_max]


def main(argv: list[str] | None = None) -> int:
    """Print the table; returns 1 if a group of rows failed, 2 if there is no such device."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--device", default="cpu", help="auto, cpu, cuda or cuda:N (default: cpu)")
    add("--size", choices=("mini", "vit_b", "vit_l", "vit_h"), default="mini", help="size of SAM")
    add("--minutes", type=float, default=5, help="time limit in minutes (default: 5)")
    add("--threads", type=int, default=1, help="number of CPU threads (default: 1)")
    add("--json", type=Path, help="also write the rows to this file")
    add("--only", default="", help="only groups whose name contains this, e.g. encode")
    options = parser.parse_args(argv)
    try:
        device = pick_device(options.device)
    except S3potError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if device.type == "cpu":
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    clock = Clock(device, options.minutes)
    limits = clock.limits()
    report = Report(facts_of(clock, options.size, limits), options.json)
    sam = new_sam(options.size, device)
    bench = stages.Bench(
        sizes=sizes_of(options.size),
        clock=clock,
        limits=limits,
        report=report,
        operations=encoder_operations(sam),
        sam=sam,
    )
    failed = 0
    for group in groups_for(device):
        if options.only not in group.__name__:
            continue
        if clock.seconds_left < 0:
            report.say(f"(no time left for {group.__name__})")
            continue
        try:
            group(bench)
        except Exception as error:  # noqa: BLE001 - one stage that fails must not end the others
            failed += 1
            report.say(f"({group.__name__} failed: {type(error).__name__}: {error})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""A worker of torchrun: a command with a stopped clock, whose process can be found and killed.

python -m torch.distributed.run --nproc_per_node 2 -m benchmarks.reliability.worker COMMAND ...
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import torch

from benchmarks.reliability.children import COMMANDS, Call, run_here
from benchmarks.reliability.faults import stop_the_clock

PIDS = "S3POT_TRIAL_PIDS"  # variable with the folder in which each worker records its process id

# Modules that the commands import while they run; importing them first keeps trials short.
IMPORTED = {
    "train_general": ("s3pot.runs.train_general",),
    "inference": ("s3pot.runs.inference",),
}


def main(command: str, arguments: list[str]) -> int:
    """Record that the work starts, in a file named after the rank, and run the command."""
    torch.set_num_threads(1)
    for module in (COMMANDS[command], *IMPORTED[command]):
        importlib.import_module(module)
    stop_the_clock()
    place = Path(os.environ[PIDS]) / os.environ["RANK"]
    beginning = place.with_suffix(".tmp")
    beginning.write_text(str(os.getpid()), encoding="utf-8")
    beginning.replace(place)
    return run_here(Call(command, arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

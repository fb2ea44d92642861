"""Running commands as child processes that start at once and can be killed at any point.

A child is forked from this process, which has already imported everything, so it starts working
within milliseconds. It runs in its own folder with relative paths, so that runs in different
folders can be compared byte for byte.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from s3pot.report.page import Page, write_page
from s3pot.training.curve import write_curve
from s3pot.training.history import EpochRecord, MeanLosses

# Exit code of a child that raised an error that no command should let through.
CRASHED = 70
# By the name used on the command line.
COMMANDS = {
    "generate_reference": "s3pot.commands.generate_reference",
    "train_general": "s3pot.commands.train_general",
    "train_per_image": "s3pot.commands.train_per_image",
    "inference": "s3pot.commands.inference",
    "evaluate": "s3pot.commands.evaluate",
}
# Modules that commands import only when they run.
_LATE_IMPORTS = (
    "s3pot.runs.generate_reference",
    "s3pot.runs.inference",
    "s3pot.runs.train_per_image",
    "s3pot.runs.evaluate_results",
    "s3pot.runs.suite",
    "s3pot.runs.train_general",
    "s3pot.report.tables",
    "s3pot.report.gallery",
    "matplotlib.pyplot",
)


@dataclass(frozen=True)
class Call:
    """One command with its arguments.

    Attributes:
        command: A key of ``COMMANDS``.
        arguments: The arguments of its command line.
        environment: Variables to set in the child.
    """

    command: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """A child that has ended.

    Attributes:
        code: Its exit code, or minus the number of the signal that ended it.
        seconds: How long it ran.
        output: What it wrote to stdout and stderr.
        timed_out: It was killed because it ran longer than allowed.
    """

    code: int
    seconds: float
    output: str
    timed_out: bool = False


def import_everything() -> None:
    """Import what the commands need, so that children need not; call it once, before forking."""
    torch.set_num_threads(1)  # more would start threads here, which a fork does not copy
    os.environ["MPLBACKEND"] = "Agg"
    for module in (*COMMANDS.values(), *_LATE_IMPORTS):
        importlib.import_module(module)
    _write_a_page_and_a_curve()


def _write_a_page_and_a_curve() -> None:
    """Let children inherit what takes long only once: the compiled template and loaded fonts."""
    losses = MeanLosses(face=0.0, occlusion=0.0, hinge=0.0, total=0.0)
    with tempfile.TemporaryDirectory() as folder:
        page = Page(title="", facts=(), views=(), sorts=(), cards=())
        write_page(Path(folder, "index.html"), page)
        write_curve([EpochRecord(epoch=1, lr=0.0, train=losses)], f"{folder}/")


class Child:
    """A running command."""

    def __init__(
        self,
        work: Call | Callable[[], int],
        folder: Path,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        """Start it.

        Args:
            work: The command to run, or a function to call in its place that returns an exit code.
            folder: Its working directory; its output goes to a file beside it.
            prepare: Called in the child before the command, such as to break something.
        """
        self.log = folder.with_name(f"{folder.name}.{os.urandom(4).hex()}.log")
        self.started = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _be_child(work, folder, self.log, prepare)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal; nothing happens if it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def is_alive(self) -> bool:
        """Whether it is still running; ``wait`` must still be called to reap it."""
        status = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return status is None

    def wait(self, limit: float = 120.0) -> Ended:
        """Wait until it ends; after ``limit`` seconds it is killed."""
        timed_out = False
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - self.started > limit and not timed_out:
                timed_out = True
                self.kill()
            time.sleep(0.005)
        output = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        self.log.unlink(missing_ok=True)
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return Ended(code, time.monotonic() - self.started, output, timed_out)


def run(call: Call, folder: Path, prepare: Callable[[], None] | None = None) -> Ended:
    """Run a command to its end."""
    return Child(call, folder, prepare).wait()


def run_here(call: Call) -> int:
    """Run a command in this child process; returns its exit code, ``CRASHED`` on other errors."""
    os.environ.update(call.environment)
    sys.argv = [f"{call.command}.py", *call.arguments]
    try:
        code: int = importlib.import_module(COMMANDS[call.command]).main(list(call.arguments))
    except SystemExit as error:  # argparse
        return error.code if isinstance(error.code, int) else CRASHED
    except BaseException:  # noqa: BLE001 - reported by its code
        traceback.print_exc()
        return CRASHED
    return code


def _be_child(
    work: Call | Callable[[], int],
    folder: Path,
    log: Path,
    prepare: Callable[[], None] | None,
) -> None:
    """Do the work of a child; never returns."""
    code = CRASHED
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout = os.fdopen(1, "w")
        sys.stderr = os.fdopen(2, "w")
        os.chdir(folder)
        # If this was started in the background, SIGINT may be ignored, which is inherited.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if prepare is not None:
            prepare()
        code = run_here(work) if isinstance(work, Call) else work()
    except BaseException:  # noqa: BLE001 - reported by its code
        traceback.print_exc()
        code = CRASHED
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # skips the parent's cleanups

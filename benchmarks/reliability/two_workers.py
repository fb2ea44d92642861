"""Two processes of one command, one or both of which are killed: all end, and a rerun resumes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.reliability.children import Child, Ended
from benchmarks.reliability.faults import stop_the_clock
from benchmarks.reliability.folders import differences, snapshot
from benchmarks.reliability.report import Trial
from benchmarks.reliability.worker import PIDS
from benchmarks.reliability.workplace import calls, fresh

GROUP = "train_general, two workers"
GRACE = 5.0  # seconds after which torchrun ends the remaining workers
LIMIT = 240.0  # seconds within which everything must end
LONGEST_START = 900.0  # seconds within which the work must start; a busy machine imports slowly


@dataclass(frozen=True)
class Disturbance:
    """A disturbance of a command under torchrun.

    Attributes:
        name: Name in the report.
        victims: Ranks that get SIGKILL.
        signal: The signal that torchrun itself gets.
    """

    name: str
    victims: tuple[int, ...] = ()
    signal: signal.Signals | None = None


DISTURBANCES = (
    Disturbance("SIGKILL of worker 0", victims=(0,)),
    Disturbance("SIGKILL of worker 1", victims=(1,)),
    Disturbance("SIGTERM to torchrun", signal=signal.SIGTERM),
    Disturbance("SIGKILL of both workers", victims=(0, 1)),
    Disturbance("SIGINT to torchrun", signal=signal.SIGINT),
)


def worker_trials(inputs: Path, folder: Path, count: int, seed: int) -> Iterator[Trial]:
    """Kill one worker or both ``count`` times, run again, and compare all files."""
    random = np.random.default_rng((seed, 2))
    fresh(inputs, folder)
    start = time.monotonic()
    for ended in _end_all(_start(folder), None, 0.0):
        if ended.code != 0:
            raise RuntimeError(f"two workers failed undisturbed:\n{ended.output}")
    seconds = time.monotonic() - start
    wanted = snapshot(folder)
    for number in range(count):
        fresh(inputs, folder)
        victims = ((0,), (1,), (0, 1))[number % 3]
        moment = float(random.uniform(0, seconds))
        workers = _start(folder)
        faults = [
            f"worker {rank} had to be killed after {LIMIT:.0f} s"
            for rank, ended in enumerate(_end_all(workers, victims, moment))
            if ended.timed_out
        ]
        for rank, ended in enumerate(_end_all(_start(folder), None, 0.0)):
            if ended.code != 0:
                faults.append(f"worker {rank} of the re-run: {ended.code}, {ended.output[-500:]}")
        faults += differences(snapshot(folder), wanted)
        what = f"worker {' and '.join(map(str, victims))} killed after {moment:.2f} s"
        yield Trial(GROUP, what, tuple(faults))


def torchrun_trials(
    inputs: Path, folder: Path, name: str, count: int, seed: int
) -> Iterator[Trial]:
    """Run a command with torchrun itself, which loses workers to SIGKILL or gets a signal.

    Args:
        inputs: The folder written by ``make_inputs``.
        folder: The work folder.
        name: The name of the command.
        count: The number of trials.
        seed: Seed of the moments, which are counted from the start of the work in both workers.
    """
    random = np.random.default_rng((seed, 3, len(name)))
    fresh(inputs, folder)
    undisturbed = _Torchrun(folder, name)
    begun = undisturbed.wait_for_work()
    if not begun or undisturbed.wait() != 0:
        raise RuntimeError(f"torchrun failed undisturbed:\n{undisturbed.output()}")
    seconds = time.monotonic() - undisturbed.began
    wanted = snapshot(folder)
    for number in range(count):
        fresh(inputs, folder)
        disturbance = DISTURBANCES[number % len(DISTURBANCES)]
        moment = float(random.uniform(0, seconds))
        disturbed = _Torchrun(folder, name)
        faults = [] if disturbed.wait_for_work() else ["the work did not start"]
        time.sleep(moment)
        disturbed.disturb(disturbance)
        code = disturbed.wait()
        if code is None:
            faults.append(f"torchrun has not ended {LIMIT:.0f} s later")
        again = _Torchrun(folder, name)
        if not again.wait_for_work() or again.wait() != 0:
            faults.append(f"the re-run failed: {again.output()[-500:]}")
        faults += differences(snapshot(folder), wanted)
        note = "the disturbance came too late" if code == 0 else ""
        yield Trial(name, f"{disturbance.name} after {moment:.2f} s", tuple(faults), note)


def _start(folder: Path) -> list[Child]:
    """Start both workers as torchrun does."""
    port = _free_port()
    plain = calls()["train_general"]
    return [
        Child(replace(plain, environment=_environment(rank, port)), folder, stop_the_clock)
        for rank in range(2)
    ]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _environment(rank: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _end_all(workers: Sequence[Child], victims: Sequence[int] | None, moment: float) -> list[Ended]:
    """Kill the victims at a moment and, as torchrun does, end the others after a while."""
    if victims is not None:
        time.sleep(moment)
        for rank in victims:
            workers[rank].kill()
        waited = time.monotonic()
        while any(worker.is_alive() for worker in workers) and time.monotonic() - waited < GRACE:
            time.sleep(0.05)
        for worker in workers:
            worker.kill(signal.SIGTERM)
    return [worker.wait(LIMIT) for worker in workers]


class _Torchrun:
    """A running command in two processes of torchrun.

    Attributes:
        began: When both workers started working, in ``time.monotonic``.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.place = folder.with_name(f"{folder.name}.{os.urandom(4).hex()}")
        self.place.mkdir()
        self.began = 0.0
        root = Path(__file__).resolve().parents[2]
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
        command += ["--master_port", str(_free_port())]
        command += ["-m", "benchmarks.reliability.worker", name]
        command += calls()[name].arguments
        variables = {PIDS: str(self.place), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
        with (self.place / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **variables},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_for_work(self) -> bool:
        """Wait until both workers have started; returns False if they do not."""
        limit = time.monotonic() + LONGEST_START
        while self.process.poll() is None and time.monotonic() < limit:
            if all((self.place / str(rank)).exists() for rank in range(2)):
                self.began = time.monotonic()
                return True
            time.sleep(0.02)
        return False

    def disturb(self, disturbance: Disturbance) -> None:
        """Kill workers, or send torchrun a signal; ended processes are ignored."""
        if disturbance.signal is not None:
            self.process.send_signal(disturbance.signal)
        for rank in disturbance.victims:
            with suppress(ProcessLookupError, FileNotFoundError):
                pid = int((self.place / str(rank)).read_text(encoding="utf-8"))
                os.kill(pid, signal.SIGKILL)

    def wait(self) -> int | None:
        """Wait for the end; returns None if torchrun and its workers have to be killed."""
        try:
            return self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.disturb(Disturbance("the end", victims=(0, 1)))
            self.process.wait()
            return None

    def output(self) -> str:
        """Return the output of torchrun and the workers."""
        return (self.place / "log").read_text(encoding="utf-8", errors="replace")

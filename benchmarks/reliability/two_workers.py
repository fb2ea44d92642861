"""Training by two processes of which one or both die: all ends, and a re-run goes on."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.reliability.children import Child, Ended
from benchmarks.reliability.faults import stop_the_clock
from benchmarks.reliability.folders import differences, snapshot
from benchmarks.reliability.report import Trial
from benchmarks.reliability.workplace import calls, fresh

GROUP = "train_general, two workers"
GRACE = 5.0  # seconds after which torchrun ends the workers that a dead one left behind
LIMIT = 240.0  # seconds in which everything must be over


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


def torchrun_trials(inputs: Path, folder: Path, count: int, seed: int) -> Iterator[Trial]:
    """The same with torchrun itself, which is sent SIGTERM or loses a worker."""
    random = np.random.default_rng((seed, 3))
    fresh(inputs, folder)
    start = time.monotonic()
    code, output = _torchrun(folder, None, None)
    seconds = time.monotonic() - start
    if code != 0:
        raise RuntimeError(f"torchrun failed undisturbed:\n{output}")
    wanted = _without_pictures(snapshot(folder))
    for number in range(count):
        fresh(inputs, folder)
        moment = float(random.uniform(0.3, 1.0)) * seconds
        which = (signal.SIGTERM, signal.SIGINT)[number % 2]
        code, output = _torchrun(folder, which, moment)
        faults = [] if code is not None else [f"torchrun is not over {LIMIT:.0f} s later"]
        code, output = _torchrun(folder, None, None)
        if code != 0:
            faults.append(f"the re-run ended with {code}: {output[-500:]}")
        faults += differences(_without_pictures(snapshot(folder)), wanted)
        yield Trial(GROUP, f"torchrun got {which.name} after {moment:.1f} s", tuple(faults))


def _without_pictures(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if not name.endswith(".png")}


def _start(folder: Path) -> list[Child]:
    """Start both workers as torchrun does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    plain = calls(resumed=True)["train_general"]
    return [
        Child(replace(plain, environment=_environment(rank, port)), folder, stop_the_clock)
        for rank in range(2)
    ]


def _environment(rank: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _end_all(workers: Sequence[Child], victims: Sequence[int] | None, moment: float) -> list[Ended]:
    """Kill the victims at a moment; as torchrun does, end what they left behind after a while."""
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


def _torchrun(
    folder: Path, which: signal.Signals | None, moment: float | None
) -> tuple[int | None, str]:
    """Run the training by torchrun; its exit code, None if it does not end."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--master_port", "0", str(root / "train_general.py")]
    command += calls(resumed=True)["train_general"].arguments
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        if which is not None and moment is not None:
            try:
                return process.returncode, process.communicate(timeout=moment)[0]
            except subprocess.TimeoutExpired:
                process.send_signal(which)
        output = process.communicate(timeout=LIMIT)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return None, process.communicate()[0]
    return process.returncode, output

"""Measuring time and memory of calls, and the table of the results."""

from __future__ import annotations

import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

GIB = 2**30
HEADER = "| stage | variant | batch | ms per call | images/s | % of limit | peak GiB | note |"


@dataclass(frozen=True)
class Timing:
    """The timing of repeated calls.

    Attributes:
        seconds: Median time of a call.
        peak_bytes: On a GPU, the peak of allocated memory; otherwise the largest resident set.
        repeats: Number of calls behind the median.
    """

    seconds: float
    peak_bytes: int
    repeats: int


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        stage: The measured stage.
        variant: The variant of the stage.
        batch: Number of images (pairs, references, matrices) per call.
        timing: Timing of one call.
        share: Arithmetic rate as a share of the device's, see ``Limits``; None if not counted.
        note: Remarks.
    """

    stage: str
    variant: str
    batch: int
    timing: Timing
    share: float | None = None
    note: str = ""

    @property
    def images_per_second(self) -> float:
        """Images per second."""
        return self.batch / self.timing.seconds

    def __str__(self) -> str:
        """Format the row of a Markdown table."""
        share = "" if self.share is None else f"{100 * self.share:.1f}"
        cells = (
            self.stage,
            self.variant,
            str(self.batch),
            f"{1000 * self.timing.seconds:.2f}",
            f"{self.images_per_second:.2f}",
            share,
            f"{self.timing.peak_bytes / GIB:.2f}",
            self.note,
        )
        return f"| {' | '.join(cells)} |"


@dataclass(frozen=True)
class Limits:
    """Measured operations per second of large matrix products on this device.

    Attributes:
        float32: Without TF32.
        bfloat16: With float32 accumulation.
    """

    float32: float
    bfloat16: float

    def share(self, operations: float, seconds: float, speed: str) -> float:
        """Return the share of the limit that a call with so many operations reaches."""
        limit = self.float32 if speed == "exact" else self.bfloat16
        return operations / seconds / limit


class Clock:
    """Times calls on one device until the time is up.

    With one thread on a CPU, repeated calls are measured in CPU time, so that other programs on the
    machine do not count.
    """

    def __init__(self, device: torch.device, minutes: float) -> None:
        self.device = device
        self.by_processor = device.type == "cpu" and torch.get_num_threads() == 1
        self.end = time.perf_counter() + 60 * minutes

    @property
    def seconds_left(self) -> float:
        """Seconds until the time is up; negative afterwards."""
        return self.end - time.perf_counter()

    def now(self) -> float:
        """Return the time in seconds, after all work on the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def measure(self, call: Callable[[], object], seconds: float = 1.0, most: int = 30) -> Timing:
        """Warm up with one call, then repeat for some seconds of wall time, but at least once.

        Args:
            call: The function to time.
            seconds: Stop after the call that exceeds this.
            most: Maximum number of repeats.
        """
        self._forget_peak()
        start = self.now()
        started = self._spent()
        call()
        warm = self.now()
        times: list[float] = []
        if warm - start > 8:  # so slow that warming up is negligible: a single call suffices
            times.append(self._spent() - started)
        end = warm + min(seconds, max(self.seconds_left, 0.0))
        while not times or (len(times) < most and self.now() < end):
            started = self._spent()
            call()
            times.append(self._spent() - started)
        return Timing(statistics.median(times), self._peak(), len(times))

    def _spent(self) -> float:
        """Return CPU time or wall time in seconds; only differences are meaningful."""
        return time.process_time() if self.by_processor else self.now()

    def once(self, call: Callable[[], object]) -> Timing:
        """Time a single call without warming up."""
        self._forget_peak()
        start = self.now()
        call()
        return Timing(self.now() - start, self._peak(), 1)

    def limits(self) -> Limits:
        """Measure the two rates with square matrix products, about a second each."""
        side = 8192 if self.device.type == "cuda" else 1536
        rates = []
        for dtype in (torch.float32, torch.bfloat16):
            left = torch.randn(side, side, device=self.device).to(dtype)
            timing = self.measure(lambda left=left: left @ left, 0.5)  # type: ignore[misc]
            rates.append(2 * side**3 / timing.seconds)
        return Limits(*rates)

    def _forget_peak(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with suppress(OSError):  # Linux: resets the peak resident set size
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def _peak(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        with suppress(OSError):
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Report:
    """Prints every row as soon as it is measured, and keeps all of them in a JSON file."""

    def __init__(self, facts: dict[str, Any], path: Path | None) -> None:
        self.facts = facts
        self.path = path
        self.rows: list[Row] = []
        sys.stdout.write("\n".join(f"{key}: {value}" for key, value in facts.items()) + "\n\n")
        sys.stdout.write(f"{HEADER}\n{'|---' * HEADER.count(' | ')}|---|\n")
        sys.stdout.flush()

    def add(self, row: Row) -> None:
        """Print a row and rewrite the file."""
        self.rows.append(row)
        sys.stdout.write(f"{row}\n")
        sys.stdout.flush()
        if self.path is not None:
            content = {**self.facts, "rows": [asdict(row) for row in self.rows]}
            self.path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def say(self, text: str) -> None:
        """Print a remark between the rows."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def facts_of(clock: Clock, size: str, limits: Limits) -> dict[str, Any]:
    """Return the facts that numbers need: device, versions, commit."""
    device = clock.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "device": f"{name}, {torch.get_num_threads()} threads",
        "models": size,
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        "commit": commit or "unknown",
        "times": "of the processor, of commands by the clock"
        if clock.by_processor
        else "by the clock",
        "limit float32": f"{limits.float32 / 1e12:.2f} TFLOP/s",
        "limit bfloat16": f"{limits.bfloat16 / 1e12:.2f} TFLOP/s",
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

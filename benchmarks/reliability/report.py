"""The report of the trials: a line for each group, the faults in full, and all of it as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from s3pot.io import write_bytes

SHOWN = 5  # number of faults of a group that are printed in full


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        group: The line of the table that it belongs to.
        what: What was done.
        faults: The broken promises; empty if there are none.
        note: Anything else worth counting, in a few words.
    """

    group: str
    what: str
    faults: tuple[str, ...] = ()
    note: str = ""


@dataclass
class Line:
    """A line of the table."""

    name: str
    trials: int = 0
    failed: int = 0
    seconds: float = 0.0
    notes: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Report:
    """Collects trials and prints the table as it grows.

    Args:
        facts: Facts that the numbers depend on, for the JSON file.
        folder: Folder for ``reliability.json`` and ``reliability.md``, written after each group;
            None writes neither.
    """

    def __init__(self, facts: dict[str, Any], folder: Path | None = None) -> None:
        self.facts = facts
        self.folder = folder
        self.lines: list[Line] = []

    @property
    def failed(self) -> int:
        """The number of trials with a fault."""
        return sum(line.failed for line in self.lines)

    def add(self, name: str, trials: Iterable[Trial]) -> None:
        """Run the trials of a group and print its line, even if Ctrl-C ends them early."""
        line = Line(name)
        self.lines.append(line)
        start = time.monotonic()
        try:
            for trial in trials:
                _count(line, trial)
        finally:
            line.seconds = time.monotonic() - start
            _print(line)
            if self.folder is not None:
                self._write(self.folder)

    def _write(self, folder: Path) -> None:
        """Write ``reliability.json`` and, as a Markdown table, ``reliability.md``."""
        content = {"facts": self.facts, "groups": [asdict(line) for line in self.lines]}
        write_bytes(folder / "reliability.json", json.dumps(content, indent=2).encode("utf-8"))
        rows = ["| trials | number | with a fault | minutes |", "| --- | --- | --- | --- |"]
        for line in self.lines:
            minutes = f"{line.seconds / 60:.1f}"
            rows.append(f"| {line.name} | {line.trials} | {line.failed} | {minutes} |")
        write_bytes(folder / "reliability.md", ("\n".join(rows) + "\n").encode("utf-8"))


def _count(line: Line, trial: Trial) -> None:
    line.trials += 1
    if trial.note:
        line.notes[trial.note] = line.notes.get(trial.note, 0) + 1
    if trial.faults:
        line.failed += 1
        line.faults.append(f"{trial.what}: {'; '.join(trial.faults)}")


def _print(line: Line) -> None:
    verdict = "ok" if line.failed == 0 else f"{line.failed} FAILED"
    sys.stdout.write(f"{line.name:<44} {line.trials:>6} {line.seconds:>8.0f} s  {verdict}\n")
    for fault in line.faults[:SHOWN]:
        sys.stdout.write(f"    {fault}\n")
    for note, count in sorted(line.notes.items()):
        sys.stdout.write(f"    {count} x {note}\n")
    sys.stdout.flush()

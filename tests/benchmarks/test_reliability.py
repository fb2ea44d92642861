"""A few of the trials of ``python -m benchmarks.reliability``, which runs thousands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.reliability import mutate
from benchmarks.reliability.folders import differences, snapshot
from benchmarks.reliability.report import Report, Trial

ROOT = Path(__file__).resolve().parents[2]


def run(*options: str) -> str:
    command = [sys.executable, "-m", "benchmarks.reliability", "--quick", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    if ended.returncode != 0:
        pytest.fail(ended.stdout + ended.stderr, pytrace=False)
    return ended.stdout


@pytest.mark.slow
def test_killed_commands_end_with_the_same_files() -> None:
    output = run("--only", "kill", "--commands", "inference", "train_general")
    assert output.count(" ok\n") == 4


@pytest.mark.slow
def test_broken_files_are_processed_or_named() -> None:
    kinds = ("photos", "class maps", "LabelMe files", "config YAML", "adapter .pth", "mini SAM")
    output = run("--only", "fuzz", "--kinds", *kinds)
    assert output.count("broken files") == output.count(" ok\n") == len(kinds)


@pytest.mark.ddp
@pytest.mark.long
def test_two_workers() -> None:
    assert "two workers, SIGKILL" in run("--only", "workers")


def test_mutations_are_the_same_for_a_seed() -> None:
    for _ in range(3):
        changed = [mutate.mutated(np.random.default_rng(seed), bytes(100)) for seed in range(20)]
        assert len(set(changed)) > 10
    again = [mutate.mutated(np.random.default_rng(seed), bytes(100)) for seed in range(20)]
    assert changed == again


def test_differences_are_found(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "a").mkdir(parents=True)
        (tmp_path / name / "a" / "x").write_bytes(b"x")
        (tmp_path / name / ".s3pot-1.tmp").write_bytes(name.encode())
    wanted = snapshot(tmp_path / "one")
    assert differences(snapshot(tmp_path / "two"), wanted) == []
    (tmp_path / "two" / "a" / "x").write_bytes(b"y")
    (tmp_path / "two" / "new").write_bytes(b"")
    assert differences(snapshot(tmp_path / "two"), wanted) == ["surplus: new", "differs: a/x"]
    (tmp_path / "two" / "a" / "x").unlink()
    assert "missing: a/x" in differences(snapshot(tmp_path / "two"), wanted)


def test_faults_are_counted_and_shown(tmp_path: Path, capsys) -> None:
    report = Report({"seed": 0})
    report.add("good", [Trial("g", "one"), Trial("g", "two", note="done")])
    report.add("bad", [Trial("b", "three", ("it broke",))])
    assert report.failed == 1
    output = capsys.readouterr().out
    assert "three: it broke" in output and "1 x done" in output
    report.write(tmp_path)
    assert "| bad | 1 | 1 |" in (tmp_path / "reliability.md").read_text(encoding="utf-8")

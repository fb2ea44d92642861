"""A few of the thousands of trials of ``python -m benchmarks.reliability``."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.reliability import long_run, mutate
from benchmarks.reliability.children import Call, Ended
from benchmarks.reliability.folders import differences, result_differences, snapshot
from benchmarks.reliability.long_run import Look
from benchmarks.reliability.report import Report, Trial
from tests.fresh_python import FreshPython

KINDS = ("photos", "class maps", "LabelMe files", "config YAML", "adapter .pth", "mini SAM")
# Each is a call of the command; they share one process, which takes seconds to start.
CALLS = {
    "kill": ["--only", "kill", "--commands", "inference", "train_general"],
    "fuzz": ["--only", "fuzz", "--kinds", *KINDS],
    "disk": ["--only", "disk", "--commands", "inference"],
    "race": ["--only", "race"],
}
PROGRAM = """
import contextlib, io, json, sys
import s3pot.training.curve
from benchmarks.reliability import disks
from benchmarks.reliability.__main__ import main
from tests.conftest import Sketch

s3pot.training.curve.draw_curve = Sketch  # as in the tests' own process
disks.CHANGING_FACES = 16
ended = {}
for name, options in json.loads(sys.argv[1]).items():
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = main(["--quick", *options])
    ended[name] = [code, output.getvalue()]
print(json.dumps(ended))
"""


def run(calls: dict[str, list[str]], fresh_python: FreshPython) -> dict[str, tuple[int, str]]:
    """Return exit code and output of calls of the command, by the same names."""
    ended = fresh_python.run(PROGRAM, json.dumps(calls), timeout=1800)
    if ended.returncode != 0:
        pytest.fail(ended.stdout + ended.stderr, pytrace=False)
    return {name: (code, output) for name, (code, output) in json.loads(ended.stdout).items()}


@pytest.fixture(scope="module")
def ended(fresh_python: FreshPython) -> dict[str, tuple[int, str]]:
    return run(CALLS, fresh_python)


def output_of(call: tuple[int, str]) -> str:
    code, output = call
    if code != 0:
        pytest.fail(output, pytrace=False)
    return output


@pytest.mark.slow
def test_killed_commands_end_with_the_same_files(ended: dict[str, tuple[int, str]]) -> None:
    assert output_of(ended["kill"]).count(" ok\n") == 4


@pytest.mark.slow
def test_broken_files_are_processed_or_named(ended: dict[str, tuple[int, str]]) -> None:
    output = output_of(ended["fuzz"])
    assert output.count("broken files") == output.count(" ok\n") == len(KINDS)


@pytest.mark.slow
def test_full_disks_and_folders_that_change(ended: dict[str, tuple[int, str]]) -> None:
    assert output_of(ended["disk"]).count(" ok\n") == 4


@pytest.mark.slow
def test_two_commands_at_once(ended: dict[str, tuple[int, str]]) -> None:
    assert "two commands at once" in output_of(ended["race"])


@pytest.mark.ddp
@pytest.mark.long
def test_two_workers(fresh_python: FreshPython) -> None:
    (call,) = run({"workers": ["--only", "workers"]}, fresh_python).values()
    assert "two workers, SIGKILL" in output_of(call)


def test_growth_is_told_from_the_second_and_last_quarter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trial(memory: float, files: int, slower: float) -> Trial:
        early = [Look(n, 100.0, 5, float(n)) for n in range(1, 75)]
        late = [Look(n, memory, files, 75 + (n - 75) * slower) for n in range(75, 101)]
        looks = iter([*early, *late])
        monkeypatch.setattr(long_run, "_look", lambda pid, done: next(looks))
        monkeypatch.setattr(long_run, "Child", lambda call, folder: FakeChild(100))
        monkeypatch.setattr(long_run, "INTERVAL", 0)
        call = Call("inference", [])
        return long_run._watched(tmp_path, call, "x", "face", lambda folder: 0)

    assert trial(101.0, 5, 1.1).faults == ()
    assert trial(120.0, 9, 2.0).faults == ("memory grows", "open files grow", "it slows down")
    assert "100 then 120 MiB, 5 then 9 open files, 1.0 then 0.5 faces" in trial(120.0, 9, 2.0).note


class FakeChild:
    pid = 0

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def is_alive(self) -> bool:
        self.looks -= 1
        return self.looks >= 0

    def wait(self, limit: float) -> Ended:
        return Ended(0, 1.0, "")


def test_mutations_are_the_same_for_a_seed() -> None:
    for _ in range(3):
        changed = [mutate.mutated(np.random.default_rng(seed), bytes(100)) for seed in range(20)]
        assert len(set(changed)) > 10
    again = [mutate.mutated(np.random.default_rng(seed), bytes(100)) for seed in range(20)]
    assert changed == again


def test_odd_values_stay_as_they_are() -> None:
    """Put into each other, they would grow from file to file until nothing can be written."""
    stream = io.BytesIO()
    torch.save({"a": 1, "b": [2, {"c": 3}]}, stream)
    before = copy.deepcopy(mutate.ODD_VALUES)
    assert (
        len(list(mutate.checkpoints(np.random.default_rng(0), [stream.getvalue()], 2000))) == 2000
    )
    assert repr(mutate.ODD_VALUES) == repr(before)


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


def test_features_may_be_missing_but_nothing_else() -> None:
    wanted = {"data/.s3pot_cache/a.feat": b"1", "out/a_result.json": b"2"}
    assert result_differences({"out/a_result.json": b"2"}, wanted) == []
    assert result_differences({"data/.s3pot_cache/a.feat": b"3"}, wanted) == [
        "missing: out/a_result.json",
        "differs: data/.s3pot_cache/a.feat",
    ]


def test_faults_are_counted_and_shown(tmp_path: Path, capsys) -> None:
    report = Report({"seed": 0}, tmp_path)
    report.add("good", [Trial("g", "one"), Trial("g", "two", note="done")])
    report.add("bad", [Trial("b", "three", ("it broke",))])
    assert report.failed == 1
    output = capsys.readouterr().out
    assert "three: it broke" in output and "1 x done" in output
    assert "| bad | 1 | 1 |" in (tmp_path / "reliability.md").read_text(encoding="utf-8")

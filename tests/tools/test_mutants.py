"""Mutants differ from the method in one place, and a mutant that matters is noticed."""

from __future__ import annotations

import ast
import random
from pathlib import Path

import pytest

from tests.fresh_python import FreshPython
from tools import mutants
from tools.mutants import SURVIVED, TESTS, choose, mutants_of

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''"""A docstring of 1 line."""
from __future__ import annotations
SIDE: int = 4
def larger(a, b=True):
    """Another, with 2 < 3."""
    if a < SIDE and b:
        raise ValueError("1 < 2")
    total = a.sum(dim=0)[0] + 1
    return -total
'''


def all_changes(source: str) -> set[str]:
    """The changed statements of many samples."""
    changed: set[str] = set()
    for seed in range(60):
        found = mutants_of("x.py", source, random.Random(seed))
        changed |= {mutant.after for mutant in found}
    return changed


def test_every_kind_of_change_and_no_word_to_people() -> None:
    assert all_changes(SOURCE) == {
        "SIDE: int = 5",
        "def larger(a, b=False):",
        "if not (a < SIDE and b):",
        "if a < SIDE or b:",
        "if a <= SIDE and b:",
        "if a >= SIDE and b:",
        "total = a.sum(dim=0)[0] - 1",
        "total = a.sum(dim=0)[0] + 2",
        "return total",
    }


def test_one_mutant_a_line_differs_in_one_statement() -> None:
    file = "s3pot/losses.py"
    source = (ROOT / file).read_text(encoding="utf-8")
    plain = ast.unparse(ast.parse(source)).splitlines()
    found = mutants_of(file, source, random.Random(3))
    assert len({mutant.line for mutant in found}) == len(found) > 10
    for mutant in found:
        lines = mutant.source.splitlines()
        differing = [index for index, line in enumerate(lines) if line != plain[index]]
        assert len(lines) == len(plain) and len(differing) == 1
        assert mutant.before != mutant.after and mutant.after in mutant.source


@pytest.mark.slow
def test_the_choice_is_that_of_the_seed() -> None:
    assert choose(30, seed=1) == choose(30, seed=1) != choose(30, seed=2)
    assert len(choose(30, seed=1)) == 30


def test_all_tests_are_there() -> None:
    for file, tests in TESTS.items():
        for name in (file, *tests):
            assert (ROOT / name).is_file(), name


@pytest.mark.slow
def test_the_tests_notice(fresh_python: FreshPython) -> None:
    """In a new process, because this one has imported the unchanged method."""
    program = (
        "import sys; from tools import mutants; "
        "mutants.TESTS = {'s3pot/grid.py': ['tests/test_grid.py']}; "
        "sys.exit(mutants.main(['--count', '1']))"
    )
    ended = fresh_python.run(program, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "s3pot/grid.py: 1 caught" in ended.stdout


def test_survivors_fail_the_run_unless_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mutants, "run_tests", lambda mutant, tests, limit: (SURVIVED, 0.0))
    monkeypatch.setattr(mutants, "TESTS", {"s3pot/grid.py": ["tests/test_grid.py"]})
    monkeypatch.setattr(mutants, "WARM", ())  # it would be for the tests that do not run
    options = ["--count", "2", "--out", str(tmp_path / "out.jsonl")]
    assert mutants.main(options) == 1
    output = capsys.readouterr().out
    assert "0 of 2 mutants noticed" in output and "2 survived" in output
    reasons = {(mutant.file, mutant.after): "no one can see it" for mutant in choose(2, seed=0)}
    monkeypatch.setattr(mutants, "EQUIVALENT", reasons)
    assert mutants.main(["--count", "2"]) == 0
    assert "no one can see it" in capsys.readouterr().out

"""Mutation testing: break the method one line at a time, and see whether the tests notice.

    bash test.sh --mutants                              # 200 mutants, about half an hour
    bash test.sh --mutants --files s3pot/losses.py --count 20
    bash test.sh --mutants --out mutants.json           # resumes an interrupted run

A mutant changes one operator, constant or condition in one line. It is caught if a test of its file
fails or does not finish. Mutants that survive are printed; those that change nothing observable are
listed in ``EQUIVALENT`` with the reason, and the exit code is 1 if there are others. It works on
Linux and macOS, because it forks: torch is imported once.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import CodeType, ModuleType

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
# Seconds that the tests of a mutant always have: Hypothesis takes some to simplify what it caught.
LEAST_LIMIT = 120
CAUGHT, TIMED_OUT, SURVIVED, EXPLAINED = "caught", "timed out", "survived", "explained"
# The files of the method, and the tests that must notice: the quick ones first.
TESTS: dict[str, Sequence[str]] = {
    "s3pot/ps/greedy.py": ["tests/ps/test_greedy.py", "tests/parity/test_greedy.py"],
    "s3pot/ps/contrast.py": ["tests/ps/test_contrast.py", "tests/ps/test_select.py"],
    "s3pot/ps/select.py": ["tests/ps/test_select.py", "tests/ps/test_contrast.py"],
    "s3pot/fe.py": ["tests/test_fe.py", "tests/parity/test_fe_ps.py"],
    "s3pot/losses.py": ["tests/test_losses.py", "tests/test_pipeline.py"],
    "s3pot/adapter.py": ["tests/test_adapter.py", "tests/parity/test_adapter.py"],
    "s3pot/pipeline.py": ["tests/test_pipeline.py", "tests/parity/test_fe_ps.py"],
    "s3pot/grid.py": ["tests/test_grid.py", "tests/test_pipeline.py"],
    "s3pot/metrics.py": ["tests/test_metrics.py"],
    "s3pot/data/masks.py": [
        "tests/faults/test_masks.py",
        "tests/properties/test_mask_properties.py",
    ],
    "s3pot/data/two_values.py": [
        "tests/faults/test_masks.py",
        "tests/properties/test_mask_properties.py",
    ],
    "s3pot/rg/align.py": [
        "tests/rg/test_align.py",
        "tests/faults/test_photo_kinds.py",
        "tests/properties/test_alignment_properties.py",
    ],
    "s3pot/rg/warp.py": ["tests/rg/test_warp.py", "tests/parity/test_align.py"],
}
# Mutants that no test can distinguish from the method, by file and new statement, with reasons.
EQUIVALENT: dict[tuple[str, str], str] = {
    ("s3pot/ps/greedy.py", "BUDGET = 5"): "it limits the work and does not change the result",
    ("s3pot/ps/greedy.py", "FREE_ROUNDS = 9"): "the same",
    ("s3pot/ps/greedy.py", "ROUND_CELLS = 25001"): "the same",
    ("s3pot/ps/greedy.py", "ROUNDS_PER_CHECK = 5"): "the same",
    (
        "s3pot/ps/greedy.py",
        "left = BUDGET * scores.numel() + FREE_ROUNDS / ROUND_CELLS",
    ): "the same: fewer rounds before the scan",
    ("s3pot/ps/greedy.py", "column_of_row = whole.new_full((count, height + 1), -2)"): (
        "every row gets a column, so the value is never read"
    ),
    ("s3pot/losses.py", "PADDING_LABEL = -2"): "any label but 0 and 1 does: such points are masked",
    ("s3pot/losses.py", "place = pixels * ((low_side - 1) / max(size - 1, 2))"): (
        "differs for a frame of two pixels only"
    ),
    (
        "s3pot/ps/contrast.py",
        "return scores.clamp(-2, 1).masked_fill(near == 0, -1).amax(0)",
    ): "cosines are below -1 by rounding only",
    ("s3pot/data/two_values.py", "JPEG_QUALITIES = (74, 75, 80, 85, 88, 91)"): (
        "a mask that quality 90 changed is one that 91 changes"
    ),
    (
        "s3pot/data/masks.py",
        "if not has_alpha(image) and image.mode.startswith('I'):",
    ): "without alpha there is none that varies, and no 16-bit image has any",
    (
        "s3pot/data/two_values.py",
        "if values.dtype.kind in 'iu' and highest < 255:",
    ): "at 255 both ways give the same contrast",
    ("s3pot/data/two_values.py", "for _ in range(4):"): "three rounds settle it",
    ("s3pot/data/two_values.py", "level = int(value.max()) if value.ndim else value"): (
        "all channels must equal the level, so all are the same"
    ),
    (
        "s3pot/pipeline.py",
        "def __init__(self, sam: FrozenSam, settings: PipelineSettings | None=None, "
        "images_at_once: int=2, encodings: Encodings | None=None) -> None:",
    ): "the same numbers but for rounding; it costs memory",
    (
        "s3pot/rg/align.py",
        "return _View(turn, pixels, [face.rotated(turn, size) for face in faces], 2.0)",
    ): "nobody asks how sure a view is that is taken at once",
    ("s3pot/rg/warp.py", "border = max(round(0.1 / alignment.side), 3)"): (
        "three pixels around the crop are kept: at its rim one level of 255 may differ"
    ),
    (
        "s3pot/rg/warp.py",
        "stop = np.clip(np.ceil(high * step).astype(int) * step, start + 1, limit)",
    ): "more of the photo is kept than needed, which costs time only",
    ("s3pot/rg/warp.py", "height = max(2, round(image.height / step))"): (
        "differs where less than one and a half rows of the reduced photo are needed"
    ),
}
# Imported before forking; nothing of this package, which each child imports itself.
WARM = (
    "torch",
    "torchvision",
    "cv2",
    "PIL.Image",
    "scipy.ndimage",
    "segment_anything",
    "hypothesis",
)

_COMPARISONS: dict[type[ast.cmpop], Sequence[type[ast.cmpop]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_NAMES = {
    "min": "max",
    "max": "min",
    "amin": "amax",
    "amax": "amin",
    "argmin": "argmax",
    "argmax": "argmin",
    "any": "all",
    "all": "any",
    "minimum": "maximum",
    "maximum": "minimum",
    "clamp_min": "clamp_max",
    "clamp_max": "clamp_min",
    "erode": "dilate",
    "dilate": "erode",
    "zeros_like": "ones_like",
    "ones_like": "zeros_like",
}


@dataclass(frozen=True)
class Mutant:
    """One changed line.

    Attributes:
        file: A file of the method, relative to the repository.
        line: The line in which the changed expression begins.
        before: The original statement, on one line.
        after: The changed statement.
        source: The whole changed module.
    """

    file: str
    line: int
    before: str
    after: str
    source: str


@dataclass(frozen=True)
class Outcome:
    """The result for a mutant; ``verdict`` is one of the four words above."""

    file: str
    line: int
    before: str
    after: str
    verdict: str
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class _Site:
    """A position in the tree that can be changed.

    Attributes:
        statement: The statement it belongs to, for display.
        parent: The parent node.
        node: The original node.
        changed: The replacement node.
        line: Its line.
    """

    statement: ast.stmt
    parent: ast.AST
    node: ast.AST
    changed: ast.AST
    line: int


def mutants_of(
    file: str, source: str, chooser: random.Random, lines: Container[int] | None = None
) -> list[Mutant]:
    """Create one mutant for every line of a module that can have one, in the order of the lines.

    Args:
        file: The path of the module.
        source: Its text.
        chooser: Selects the change of a line that can be changed in several ways.
        lines: Only these; None means all.
    """
    tree = ast.parse(source)
    mutants = []
    for line, sites in sorted(_by_line(tree).items()):
        if lines is not None and line not in lines:
            continue
        site = chooser.choice(sites)
        before = _first_line(site.statement)
        _replace(site.parent, site.node, site.changed)
        mutants.append(Mutant(file, line, before, _first_line(site.statement), ast.unparse(tree)))
        _replace(site.parent, site.changed, site.node)
    return mutants


def _by_line(tree: ast.Module) -> dict[int, list[_Site]]:
    by_line: dict[int, list[_Site]] = {}
    for site in _sites(tree, tree.body[0]):
        by_line.setdefault(site.line, []).append(site)
    return by_line


def _sites(parent: ast.AST, statement: ast.stmt) -> Iterator[_Site]:
    """Yield all positions below a node, except in docstrings and messages."""
    for name, value in ast.iter_fields(parent):
        if name in ("annotation", "returns", "decorator_list") or _is_axis(parent, name):
            continue
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST) or _speaks_only(node):
                continue
            owner = node if isinstance(node, ast.stmt) else statement
            if isinstance(node, (ast.expr, ast.stmt)):
                if name == "test" and isinstance(node, ast.expr):
                    negated = ast.UnaryOp(ast.Not(), node)
                    yield _Site(owner, parent, node, negated, node.lineno)
                for changed in _in_its_place(node):
                    yield _Site(owner, parent, node, changed, node.lineno)
                for inner, changed in _inside(node):
                    yield _Site(owner, node, inner, changed, node.lineno)
            yield from _sites(node, owner)


def _is_axis(parent: ast.AST, name: str) -> bool:
    """Whether a field is an axis number or an index, where a change would fail at once."""
    if isinstance(parent, ast.keyword):
        return parent.arg in ("dim", "axis") and name == "value"
    return isinstance(parent, ast.Subscript) and name == "slice"


def _speaks_only(node: ast.AST) -> bool:
    """Whether a node is a docstring, a message or an import."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) or "logger." in ast.unparse(node)
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) in ("BadMask", "S3potError", "ValueError")
    return isinstance(node, (ast.Raise, ast.Import, ast.ImportFrom, ast.JoinedStr))


def _in_its_place(node: ast.AST) -> Iterator[ast.AST]:
    """Yield possible replacements of an expression."""
    if isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Attribute) and node.attr in _NAMES:
        yield ast.Attribute(node.value, _NAMES[node.attr], node.ctx)
    elif isinstance(node, ast.Name) and node.id in _NAMES:
        yield ast.Name(_NAMES[node.id], node.ctx)


def _inside(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Yield the operators of an expression, each with a replacement."""
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in _OPERATORS:
        yield node.op, _OPERATORS[type(node.op)]()
    elif isinstance(node, ast.BoolOp):
        yield node.op, ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.Compare):
        for operator in node.ops:
            for other in _COMPARISONS[type(operator)]:
                yield operator, other()


def _replace(parent: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for name, value in ast.iter_fields(parent):
        if value is old:
            setattr(parent, name, new)
        elif isinstance(value, list):
            value[:] = [new if entry is old else entry for entry in value]


def _first_line(statement: ast.stmt) -> str:
    return ast.unparse(statement).split("\n")[0]


class _MutantLoader(importlib.machinery.SourceFileLoader):
    """Loads a changed text in place of a module's own."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        super().__init__(name, str(path))
        self.source = source

    def get_code(self, fullname: str) -> CodeType:
        """Compile the changed text, bypassing the cache of compiled modules."""
        return compile(self.source, self.path, "exec")


class _MutantFinder(importlib.abc.MetaPathFinder):
    """Finds the changed module when the package imports it."""

    def __init__(self, mutant: Mutant) -> None:
        self.name = mutant.file[: -len(".py")].replace("/", ".")
        self.loader = _MutantLoader(self.name, ROOT / mutant.file, mutant.source)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of the changed module if it is the requested one."""
        if name != self.name:
            return None
        return importlib.util.spec_from_loader(name, self.loader)


def run_tests(mutant: Mutant, tests: Sequence[str], limit: float) -> tuple[str, float]:
    """Run tests against a mutant in a child process.

    Args:
        mutant: The mutant to test; one without a change tests the tests.
        tests: Files, relative to the repository.
        limit: Seconds after which the child is killed.

    Returns:
        The verdict, and the time in seconds.
    """
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _be_child(mutant, tests)
    while time.monotonic() - start < limit:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            verdict = SURVIVED if status == 0 else CAUGHT
            return verdict, time.monotonic() - start
        time.sleep(0.01)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return TIMED_OUT, time.monotonic() - start


def _be_child(mutant: Mutant, tests: Sequence[str]) -> None:
    """Run the tests in this process, a child; never returns."""
    code = 1
    try:
        os.setpgid(0, 0)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        os.chdir(ROOT)
        sys.meta_path.insert(0, _MutantFinder(mutant))
        options = ["-x", "-q", "-p", "no:cacheprovider"]
        code = int(pytest.main([*options, *tests]))
    finally:
        os._exit(code)  # not the parent's cleanups


def trials(mutants: Sequence[Mutant]) -> Iterator[Outcome]:
    """Test mutants, file by file.

    Raises:
        RuntimeError: The tests of a file fail without a change.
    """
    limits: dict[str, float] = {}
    for mutant in mutants:
        tests = TESTS[mutant.file]
        if mutant.file not in limits:
            unchanged = replace(mutant, source=(ROOT / mutant.file).read_text(encoding="utf-8"))
            verdict, seconds = run_tests(unchanged, tests, limit=600)
            if verdict != SURVIVED:
                raise RuntimeError(f"{' '.join(tests)}: {verdict} without any change")
            limits[mutant.file] = LEAST_LIMIT + 4 * seconds
        verdict, seconds = run_tests(mutant, tests, limits[mutant.file])
        reason = EQUIVALENT.get((mutant.file, mutant.after), "")
        if verdict == SURVIVED and reason:
            verdict = EXPLAINED
        yield Outcome(
            file=mutant.file,
            line=mutant.line,
            before=mutant.before,
            after=mutant.after,
            verdict=verdict,
            seconds=round(seconds, 1),
            reason=reason,
        )


def choose(count: int, seed: int) -> list[Mutant]:
    """Sample mutants of different lines from all files of the method, in the order of the files."""
    chooser = random.Random(seed)
    sources = {file: (ROOT / file).read_text(encoding="utf-8") for file in TESTS}
    every = [
        (file, line)
        for file, source in sources.items()
        for line in sorted(_by_line(ast.parse(source)))
    ]
    drawn = set(chooser.sample(every, min(count, len(every))))
    mutants = []
    for file, source in sources.items():
        lines = {line for drawn_file, line in drawn if drawn_file == file}
        mutants += mutants_of(file, source, chooser, lines)
    return mutants


def main(argv: list[str] | None = None) -> int:
    """Test the mutants; returns 1 if one survives without a reason."""
    parser = argparse.ArgumentParser(
        prog="bash test.sh --mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--count", type=int, default=200, help="number of mutants over all files (default: 200)")
    add("--seed", type=int, default=0, help="seed of the sampling (default: 0)")
    add("--files", nargs="*", choices=TESTS, default=list(TESTS), help="only those of these files")
    add("--out", type=Path, help="JSON lines file; mutants in it are not tested again")
    args = parser.parse_args(argv)
    before = _read(args.out)
    done = {(outcome.file, outcome.line, outcome.after) for outcome in before}
    chosen = [mutant for mutant in choose(args.count, args.seed) if mutant.file in args.files]
    left = [mutant for mutant in chosen if (mutant.file, mutant.line, mutant.after) not in done]
    for module in WARM:
        importlib.import_module(module)
    torch.set_num_threads(1)  # more would start threads here, which a fork does not copy
    outcomes = list(before)
    for outcome in trials(left):
        outcomes.append(outcome)
        _show(outcome)
        if args.out is not None:
            with args.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")
    return _sum_up(outcomes)


def _read(path: Path | None) -> list[Outcome]:
    if path is None or not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Outcome(**json.loads(line)) for line in lines]


def _show(outcome: Outcome) -> None:
    place = f"{outcome.file}:{outcome.line}"
    sys.stdout.write(f"{outcome.verdict:<10}{outcome.seconds:>6.1f} s  {place}\n")
    if outcome.verdict in (SURVIVED, EXPLAINED):
        sys.stdout.write(f"    - {outcome.before}\n    + {outcome.after}\n")
        if outcome.reason:
            sys.stdout.write(f"    {outcome.reason}\n")
    sys.stdout.flush()


def _sum_up(outcomes: Sequence[Outcome]) -> int:
    """Print how many were caught in each file; returns the exit code."""
    for file in TESTS:
        verdicts = Counter(entry.verdict for entry in outcomes if entry.file == file)
        if verdicts:
            counts = ", ".join(f"{verdicts[word]} {word}" for word in sorted(verdicts))
            sys.stdout.write(f"{file}: {counts}\n")
    total = Counter(outcome.verdict for outcome in outcomes)
    noticed = total[CAUGHT] + total[TIMED_OUT]
    sys.stdout.write(
        f"{noticed} of {len(outcomes)} mutants noticed, {total[EXPLAINED]} equivalent, "
        f"{total[SURVIVED]} survived\n"
    )
    return 1 if total[SURVIVED] else 0


if __name__ == "__main__":
    sys.exit(main())

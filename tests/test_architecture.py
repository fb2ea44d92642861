"""The rules of the layout that a program can check."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "s3pot"
FILES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(ROOT.glob("*.py"))
# Code lines: docstrings, which STYLE asks for, comments and blanks do not count.
LINE_BUDGET = 3_000

# From the top; a module may import from its own layer and those below. What sees which neighbour is
# in NOT_EACH_OTHER.
LAYERS = (
    ("api", "commands"),
    ("runs", "training", "report"),
    ("pipeline", "build", "baselines"),
    ("rg", "fe", "ps", "adapter", "losses", "metrics"),
    ("sam", "data", "weights"),
    ("types", "labels", "grid", "geometry", "io", "config", "device", "seeding", "distributed"),
)
# build also sees weights; the stages use data's pictures and types besides.
NOT_EACH_OTHER = LAYERS[4]
CONFIG_READERS = {"cli", "engine", "build", "api"}


def layer(part: str) -> int:
    return next(number for number, names in enumerate(LAYERS) if part in names)


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].replace(".py", "")


def runtime_imports(path: Path) -> Iterator[str]:
    """Modules of this package that a file imports when it runs, not for annotations only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.startswith("s3pot."))


def edges() -> Iterator[tuple[Path, str, str]]:
    for path in FILES:
        own = part_of(path)
        if own == "__init__":
            continue
        for name in runtime_imports(path):
            yield path, own, name.split(".")[1]


def test_every_module_has_a_layer() -> None:
    known = {name for names in LAYERS for name in names} | {"__init__"}
    assert {part_of(path) for path in FILES} <= known


def test_imports_go_down_only() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path, own, other in edges()
        if other != "__version__" and layer(other) < layer(own)
    ]
    assert not wrong


def test_stages_do_not_import_each_other() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path, own, other in edges()
        if own != other and own in NOT_EACH_OTHER and other in NOT_EACH_OTHER
    ]
    assert not wrong


def test_config_stops_at_the_engine_and_the_builder() -> None:
    readers = {own for _, own, other in edges() if other == "config"}
    assert readers <= CONFIG_READERS


def test_the_package_stays_small() -> None:
    counted = [
        path
        for path in FILES
        if not path.relative_to(PACKAGE).as_posix().startswith(("rg/nets/", "data/synthetic"))
    ]
    assert sum(len(code_lines(path.read_text(encoding="utf-8"))) for path in counted) < LINE_BUDGET


def code_lines(source: str) -> set[int]:
    """Numbers of the lines that hold code."""
    blank = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (*blank, tokenize.ENDMARKER):
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        if documented and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return lines


def test_code_lines_leave_out_what_is_no_code() -> None:
    source = '"""Doc\nstring."""\n\n# comment\ndef f(\n    x,\n):\n    """Doc."""\n    return x\n'
    assert code_lines(source) == {5, 6, 7, 9}


def test_files_hold_one_concept() -> None:
    long = {
        path.relative_to(ROOT).as_posix(): count
        for path in FILES
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 330
    }
    assert not long


@pytest.mark.parametrize(
    "path", [*FILES, *SCRIPTS], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_no_print_no_assert_no_bare_except_no_path_tricks(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), node.lineno
        assert not isinstance(node, (ast.Assert, ast.Global)), node.lineno
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in {"print", "sys.path.insert", "sys.path.append"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_postponed_annotations_and_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    if any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in tree.body):
        assert "from __future__ import annotations" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_thin(path: Path) -> None:
    if path.name == "conftest.py":
        return
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 90
    names = {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    assert {"main", "build_parser"} <= names

"""The rules of the code layout that a program can check."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from s3pot.runs.records import CODE_OF_ADAPTERS, CODE_OF_PROMPTS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "s3pot"
FILES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(ROOT.glob("*.py"))

# From the top; a module may import from its own layer and those below.
LAYERS = (
    ("__main__",),
    ("api", "commands"),
    ("runs", "segmentation"),
    ("training", "report"),
    ("build", "baselines"),
    ("pipeline",),
    ("rg", "fe", "ps", "adapter", "losses", "metrics", "quality"),
    ("sam", "data", "weights"),
    (
        "statistics",
        "types",
        "labels",
        "grid",
        "geometry",
        "occlusion_decision",
        "finite",
        "io",
        "locks",
        "precision",
        "progress_log",
        "read_once",
        "stored_zip",
        "typed_yaml",
        "config",
        "device",
        "seeding",
        "distributed",
        "version",
        "wording",
    ),
)
# Parts of one layer that do not import each other.
APART = (
    {"runs", "segmentation"},
    {"training", "report"},
    {"build", "baselines"},
    {"sam", "data", "weights"},
)
# Modules that compute neither prompts nor adapters, although modules that do so import them.
NOT_DECISIVE = {
    "config",
    "finite",
    "io",
    "locks",
    "occlusion_decision",
    "quality",
    "read_once",
    "rg",
}
NOT_DECISIVE |= {"stored_zip", "typed_yaml", "version", "wording"}
CONFIG_READERS = {"commands", "runs", "training", "build", "api"}


def layer(part: str) -> int:
    return next(number for number, names in enumerate(LAYERS) if part in names)


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].replace(".py", "")


@cache
def syntax_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def runtime_imports(path: Path) -> Iterator[str]:
    """Modules of this package that a file imports at run time, not only for annotations."""
    tree = syntax_of(path)
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


@cache
def edges() -> list[tuple[Path, str, str]]:
    """Importing file, its part, and the part that it imports."""
    return [
        (path, part_of(path), name.split(".")[1])
        for path in FILES
        if part_of(path) != "__init__"
        for name in runtime_imports(path)
    ]


def test_every_module_has_a_layer() -> None:
    known = {name for names in LAYERS for name in names} | {"__init__"}
    assert {part_of(path) for path in FILES} <= known


@pytest.mark.slow
def test_imports_go_down_only() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path, own, other in edges()
        if other != "__version__" and layer(other) < layer(own)
    ]
    assert not wrong


@pytest.mark.slow
def test_parts_that_are_apart_do_not_import_each_other() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path, own, other in edges()
        if own != other and any({own, other} <= parts for parts in APART)
    ]
    assert not wrong


@pytest.mark.slow
def test_config_stops_at_the_runs_and_the_builder() -> None:
    readers = {own for _, own, other in edges() if other == "config"}
    assert readers <= CONFIG_READERS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parts", "others"),
    [(CODE_OF_PROMPTS, {"adapter", "losses"}), (CODE_OF_ADAPTERS, set())],
    ids=["prompts", "adapters"],
)
def test_stored_results_depend_on_all_code_that_computes_them(
    parts: tuple[str, ...], others: set[str]
) -> None:
    assert all((PACKAGE / part).exists() for part in parts)
    decisive = {part.replace(".py", "") for part in parts}
    imported = {other for _, part, other in edges() if part in decisive}
    assert imported <= decisive | others | NOT_DECISIVE


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [*FILES, *SCRIPTS], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_no_print_no_assert_no_bare_except_no_path_tricks(path: Path) -> None:
    for node in ast.walk(syntax_of(path)):
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), node.lineno
        assert not isinstance(node, (ast.Assert, ast.Global)), node.lineno
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in {"print", "sys.path.insert", "sys.path.append"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_postponed_annotations_and_a_docstring(path: Path) -> None:
    tree = syntax_of(path)
    assert ast.get_docstring(tree)
    if any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in tree.body):
        assert "from __future__ import annotations" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_thin(path: Path) -> None:
    if path.name == "conftest.py":
        return
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 30
    assert f"from s3pot.commands.{path.stem} import build_parser, main" in text


def test_dataclasses_that_hold_arrays_are_compared_by_identity() -> None:
    wrong = []
    for path in FILES:
        for node in ast.walk(syntax_of(path)):
            if not isinstance(node, ast.ClassDef):
                continue
            decorator = "".join(ast.unparse(entry) for entry in node.decorator_list)
            types = [ast.unparse(x.annotation) for x in node.body if isinstance(x, ast.AnnAssign)]
            holds_arrays = any(text.startswith(("np.ndarray", "Tensor")) for text in types)
            if "dataclass" in decorator and holds_arrays and "eq=False" not in decorator:
                wrong.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert not wrong

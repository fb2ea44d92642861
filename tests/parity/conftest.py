"""Fixtures of the parity tests: recorded vectors and the recipe for weights and inputs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Callable

import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[1] / "data" / "parity"


@pytest.fixture(scope="session")
def parity_seed(pytestconfig: pytest.Config) -> int:
    """Seed of the recipe with which the vectors in `--parity-dir` were made."""
    return int(pytestconfig.getoption("--parity-seed"))


@pytest.fixture(scope="session")
def vectors(pytestconfig: pytest.Config) -> Callable[[str], dict[str, np.ndarray]]:
    """Loader: case name -> arrays of `<parity-dir>/<case>.npz`; a missing file fails the test."""
    folder = Path(pytestconfig.getoption("--parity-dir"))

    def load(case: str) -> dict[str, np.ndarray]:
        path = folder / f"{case}.npz"
        if not path.is_file():
            pytest.fail(f"no parity vectors {path}: point --parity-dir at a folder that holds them")
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}

    return load


@pytest.fixture(scope="session")
def fill() -> ModuleType:
    """The recipe module `tests/data/parity/fill.py`."""
    spec = importlib.util.spec_from_file_location("parity_fill", DATA / "fill.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def contract() -> Callable[[str], dict[str, tuple[tuple[int, ...], str]]]:
    """Loader: contract name -> {key: (shape, dtype)} in the official checkpoint's order."""

    def load(name: str) -> dict[str, tuple[tuple[int, ...], str]]:
        stored = json.loads((DATA / "contracts" / f"{name}.json").read_text(encoding="utf-8"))
        return {key: (tuple(shape), dtype) for key, (shape, dtype) in stored["state_dict"].items()}

    return load


@pytest.fixture(scope="session")
def class_maps() -> dict:
    """Label orders and 19 -> 12 tables of the two parsers."""
    return json.loads((DATA / "class_maps.json").read_text(encoding="utf-8"))

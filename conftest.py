"""Environment and command-line options of the test suite.

Pytest reads `pytest_addoption` only from here.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Read when PyTorch is loaded, also by the processes that tests start: on a busy machine, threads
# that spin while they wait take many times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# The same for threads that compete for cores: there is a worker of pytest-xdist for each core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

PARITY_DIR = Path(__file__).resolve().parent / "tests" / "data" / "parity"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the parity tests run on other vectors, made with another seed."""
    parser.addoption(
        "--parity-dir",
        default=str(PARITY_DIR),
        help="folder with <case>.npz parity vectors (default: tests/data/parity)",
    )
    parser.addoption(
        "--parity-seed",
        type=int,
        default=1,
        help="seed those vectors were made with (default: 1)",
    )
    parser.addoption("--long", action="store_true", help="also run the tests marked long")


@pytest.hookimpl(hookwrapper=True)
def pytest_collection() -> Iterator[None]:
    """Let the garbage collector ignore modules and tests, which live until the end.

    Otherwise it takes a quarter of the time of collecting the tests, and a tenth of running them.
    """
    gc.disable()
    yield
    gc.enable()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip long tests unless they are asked for."""
    if config.getoption("--long"):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="takes a minute: runs with --long"))

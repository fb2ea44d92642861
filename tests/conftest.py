"""Shared fixtures: tiny models with random weights, folders of drawn faces.

PyTorch and what needs it are imported by the fixtures, because the main process of pytest-xdist
loads this file before it starts its workers, but runs no test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Callable

import pytest

if TYPE_CHECKING:
    from s3pot.sam.frozen import FrozenSam
    from tests.fresh_python import FreshPython


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Compute sums in the same order in every run, and do not compete for cores."""
    import torch

    torch.set_num_threads(1)


class Sketch:
    """Takes the place of a figure: its file depends on the plotted values, but is not drawn."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def savefig(self, target: Path | BinaryIO, format: str, **_: Any) -> None:
        """Write a picture of 8 x 4 pixels, the hash of the values, in any format."""
        from PIL import Image

        digest = hashlib.sha256(repr(self.values).encode("utf-8")).digest()
        Image.frombytes("L", (8, 4), digest).save(target, "png")


@pytest.fixture(autouse=True)
def sketched_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not draw curves and plots, which takes most of a tiny run, unless marked ``figures``."""
    if request.node.get_closest_marker("figures") is None:
        monkeypatch.setattr("s3pot.training.curve.draw_curve", Sketch)
        monkeypatch.setattr("s3pot.report.tables.plot_rows", Sketch)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Run as on a machine with two cores, so that parallel code runs in parallel."""
    import torch

    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def fresh_python() -> Iterator[FreshPython]:
    """Runs programs in a Python that has imported PyTorch and nothing else."""
    from tests.fresh_python import FreshPython

    python = FreshPython()
    yield python
    python.close()


@pytest.fixture(scope="session")
def tiny_sam() -> FrozenSam:
    """A 64 px SAM with an 8 x 8 token grid, 32 channels and random weights."""
    import torch

    from benchmarks.tiny import TINY_SAM
    from s3pot.sam.frozen import FrozenSam
    from s3pot.sam.mini import build_mini_sam

    torch.manual_seed(0)
    return FrozenSam(build_mini_sam(TINY_SAM))


@pytest.fixture(scope="session")
def mini_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for ``model.weights_dir`` with the four models of a mini set, tiny and random."""
    from benchmarks.tiny import write_tiny_set

    return write_tiny_set(tmp_path_factory.mktemp("tiny_weights"))


@pytest.fixture(scope="session")
def mini_options(mini_dir: Path) -> list[str]:
    """Overrides that make any command use the tiny models, on the CPU."""
    from benchmarks.tiny import tiny_options

    return tiny_options(mini_dir)


@pytest.fixture
def processed_folder(tmp_path: Path) -> Callable[..., Path]:
    """Factory of data folders: ``processed_folder(count=5, name="data", size=64) -> Path``."""
    from benchmarks.tiny import write_face

    def make(count: int = 5, name: str = "data", size: int = 64) -> Path:
        folder = tmp_path / name
        for index in range(count):
            write_face(folder, f"face_{index:02d}", seed=index, size=size)
        return folder

    return make

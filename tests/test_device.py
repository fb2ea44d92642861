from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from s3pot.device import flushed_denormals, flushed_threads, pick_device, side_by_side
from s3pot.seeding import epoch_order
from s3pot.types import S3potError
from tests.fresh_python import ROOT, FreshPython


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def with_gpus(count: int, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return with_gpus


@pytest.mark.parametrize(
    ("gpus", "mps", "name", "rank", "want"),
    [
        (0, False, "auto", 0, "cpu"),
        (0, True, "auto", 0, "mps"),
        (2, True, "auto", 0, "cuda:0"),
        (2, False, "auto", 1, "cuda:1"),
        (2, False, "cuda", 1, "cuda:1"),
        (2, False, "cuda:1", 0, "cuda:1"),
        (2, False, "cpu", 1, "cpu"),
    ],
)
def test_what_is_there_is_taken(
    machine: Callable[..., None], gpus: int, mps: bool, name: str, rank: int, want: str
) -> None:
    machine(gpus, mps)
    assert str(pick_device(name, rank)) == want


@pytest.mark.parametrize(
    ("gpus", "name"),
    [(0, "cuda"), (0, "cuda:0"), (1, "cuda:1"), (1, "cuda:x"), (0, "mps"), (1, "gpu")],
)
def test_what_is_not_there_is_an_error_and_never_replaced(
    machine: Callable[..., None], gpus: int, name: str
) -> None:
    machine(gpus)
    with pytest.raises(S3potError, match="this machine has cpu"):
        pick_device(name)


def test_order_follows_seed_and_epoch_alone() -> None:
    orders = {tuple(epoch_order(9, seed, epoch)) for seed in (0, 1, -5) for epoch in (1, 2, 3)}
    assert len(orders) == 9
    assert all(sorted(order) == list(range(9)) for order in orders)
    assert epoch_order(9, 1, 2) == epoch_order(9, 1, 2)


def test_denormals_are_zero_inside_the_block_only() -> None:
    def halved() -> float:
        return float(torch.full((), 1e-39) * 0.5)

    assert halved() > 0
    with flushed_denormals():
        assert halved() == 0
        with flushed_denormals():
            assert halved() == 0
        assert halved() == 0  # the inner block leaves the outer one as it was
    assert halved() > 0
    with pytest.raises(ZeroDivisionError), flushed_denormals():
        raise ZeroDivisionError
    assert halved() > 0


def test_the_default_type_of_numbers_changes_nothing() -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.set_flush_denormal(True)
    try:
        with flushed_denormals():
            pass
        halved = torch.full((), 1e-39, dtype=torch.float32) * 0.5
    finally:
        torch.set_flush_denormal(False)
        torch.set_default_dtype(before)
    assert halved == 0  # the caller's own setting is kept


def test_threads_that_calculate_flush_denormals_with_their_helpers(two_threads: None) -> None:
    tiny = torch.full((1 << 20,), 1e-39)  # large enough to be shared out

    def halves() -> tuple[int, int]:
        return int((tiny * 0.5).count_nonzero()), torch.get_num_threads()

    assert halves() == (len(tiny), 2)
    with flushed_threads(1) as pool:
        assert pool.submit(halves).result() == (0, 2)
    with flushed_threads(2) as pool:
        assert [future.result() for future in [pool.submit(halves) for _ in range(4)]] == [
            (0, 1)
        ] * 4
    assert halves() == (len(tiny), 2)


@pytest.mark.parametrize(
    ("device", "image_size", "want"), [("cpu", 256, 2), ("cpu", 1024, 1), ("cuda", 256, 1)]
)
def test_small_images_of_a_cpu_are_calculated_side_by_side(
    two_threads: None, device: str, image_size: int, want: int
) -> None:
    assert side_by_side(torch.device(device), image_size) == want


# Calculates with two threads, then does the same in a forked worker.
FORK = """
import multiprocessing
import torch
from s3pot.device import prepare_process

def calculate(_=None):
    layer = torch.nn.Conv2d(16, 16, 3).requires_grad_(False)
    return len(layer(torch.ones(4, 16, 128, 128))), torch.get_num_threads()

prepare_process()  # without it the worker waits forever
torch.set_num_threads(2)
print(calculate(), flush=True)
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.map(calculate, [0]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_worker_calculates_too(fresh_python: FreshPython) -> None:
    done = fresh_python.run(FORK, timeout=120)
    assert done.stdout.splitlines() == ["(4, 2)", "[(4, 1)]"], done.stderr


FAULTS = """
import resource, sys, torch
from s3pot.device import keep_freed_memory

def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        tensors = [torch.ones(2**19) for _ in range(6)]  # 12 MiB, freed in every round
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(3)
without = faults(10)
keep_freed_memory()
faults(20)
sys.exit(not faults(10) < without / 10)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems free differently")
def test_freed_memory_is_used_again_without_page_faults() -> None:
    """In a process that was not forked: a fork shares its pages with its parent at first."""
    done = subprocess.run([sys.executable, "-c", FAULTS], cwd=ROOT, check=False)
    assert done.returncode == 0

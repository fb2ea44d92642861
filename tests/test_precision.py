"""The flags for TF32, which can be set on any machine."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from s3pot.precision import full_float32, tensor_float32


def tf32_flags() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def test_blocks_of_two_threads_overlap() -> None:
    """The first one to end must not change the flags of the other, nor what they were before."""
    before = tf32_flags()
    assert before[1]  # PyTorch's default
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def first() -> None:
        with tensor_float32(False):
            first_is_in.set()
            assert second_is_in.wait(10)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(first)
        assert first_is_in.wait(10)
        with tensor_float32(False):
            second_is_in.set()
            running.result()
            assert tf32_flags() == (False, False)
    assert tf32_flags() == before


def test_blocks_of_different_values_wait_for_each_other() -> None:
    before = tf32_flags()
    with ThreadPoolExecutor(4) as pool:
        mixed = [allowed for _ in range(50) for allowed in (True, False)]
        assert list(pool.map(_keeps_its_flags, mixed)) == [True] * 100
    assert tf32_flags() == before


def _keeps_its_flags(allowed: bool) -> bool:
    with tensor_float32(allowed):
        entered = tf32_flags()
        time.sleep(0.001)
        with tensor_float32(allowed):
            return entered == tf32_flags() == (allowed, allowed)


def test_blocks_that_overlap_forever_do_not_keep_one_with_another_value_waiting() -> None:
    """Each block of a first value begins before the previous one ends."""
    is_over = threading.Event()

    def overlapping() -> None:
        while not is_over.is_set():
            with tensor_float32(False):
                time.sleep(0.02)

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(overlapping)]
        time.sleep(0.01)
        running.append(pool.submit(overlapping))
        time.sleep(0.05)
        # A watchdog ends the others, so that a failure is not a test that hangs.
        watchdog = threading.Timer(10, is_over.set)
        watchdog.start()
        with tensor_float32(True):
            was_let_in = not is_over.is_set()
        is_over.set()
        watchdog.cancel()
        for future in running:
            future.result()
    assert was_let_in


def test_a_block_in_one_with_another_value_is_refused() -> None:
    before = tf32_flags()
    with tensor_float32(False), pytest.raises(RuntimeError, match="cannot contain"):
        with tensor_float32(True):
            pass
    assert tf32_flags() == before


def test_precision_is_put_back() -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with pytest.raises(RuntimeError, match="stop"), tensor_float32(not before[0]):
        assert torch.backends.cuda.matmul.allow_tf32 is not before[0]
        raise RuntimeError("stop")
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_only_a_gpu_of_nvidia_gets_other_flags() -> None:
    with tensor_float32(True):
        with full_float32(torch.device("cpu")):
            assert tf32_flags() == (True, True)
    with full_float32(torch.device("cuda", 1)):
        assert tf32_flags() == (False, False)

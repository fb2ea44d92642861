"""A value is computed once, by the first thread that asks."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from s3pot.read_once import ReadOnce


def test_threads_wait_for_the_first() -> None:
    values: ReadOnce[str, int] = ReadOnce(2)
    made: list[int] = []

    def make() -> int:
        time.sleep(0.05)
        made.append(threading.get_ident())
        return 7

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: values.get("a", make), range(4))) == [7] * 4
    assert len(made) == 1


def test_only_the_latest_are_kept() -> None:
    values: ReadOnce[int, int] = ReadOnce(2)
    made: list[int] = []

    def ask(key: int) -> int:
        return values.get(key, lambda: made.append(key) or key)

    assert [ask(key) for key in (1, 2, 1, 3, 2, 1)] == [1, 2, 1, 3, 2, 1]
    assert made == [1, 2, 3, 1]


def test_after_an_error_the_next_one_tries_again() -> None:
    values: ReadOnce[str, int] = ReadOnce(2)

    def fail() -> int:
        raise MemoryError("not now")

    with pytest.raises(MemoryError):
        values.get("a", fail)
    assert values.get("a", lambda: 3) == 3

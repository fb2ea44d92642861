"""Parallel drawing in several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Drawn = TypeVar("Drawn")


def draw_each(
    draw: Callable[[Item], Drawn],
    items: Sequence[Item],
    workers: int,
    chunk: int = 1,
    nice: int = 0,
) -> Iterator[Drawn]:
    """Draw every item, in fresh processes with one OpenCV thread each, or in this one.

    Args:
        draw: The drawing function; the processes must be able to import it by name.
        items: The items to draw.
        workers: Number of processes; with fewer than two workers or items, this process draws.
        chunk: Number of items that a process takes at a time.
        nice: The niceness of the processes.

    Yields:
        The results, in the order of the items.
    """
    if workers < 2 or len(items) < 2:
        yield from map(draw, items)
        return
    context = multiprocessing.get_context("spawn")
    with _interrupts_ignored():
        pool = context.Pool(min(workers, len(items)), _start, (nice,))
    with pool:
        yield from pool.imap(draw, items, chunksize=chunk)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C while processes start, which therefore ignore it for good.

    A terminal sends it to all processes; this one ends the others, which say nothing. Python lets
    only the main thread change signal handlers; in other threads nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    sigint_before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, sigint_before)


def _start(nice: int) -> None:
    cv2.setNumThreads(1)
    if nice:
        os.nice(nice)

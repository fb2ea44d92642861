"""A cache of the most recent values, each computed by one thread while others wait for it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class ReadOnce(Generic[Key, Value]):
    """Caches the most recent values; threads that ask for the same value wait for the first.

    Args:
        size: The number of cached values.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self._values: OrderedDict[Key, Future[Value]] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return the value of a key; an error in ``make`` is raised in all threads that ask."""
        with self._lock:
            is_first = key not in self._values
            if is_first:
                self._values[key] = Future()
                if len(self._values) > self.size:
                    self._values.popitem(last=False)
            future = self._values[key]
        if is_first:
            try:
                future.set_result(make())
            except BaseException as error:
                with self._lock:  # whoever asks later tries again
                    self._values.pop(key, None)
                future.set_exception(error)
        return future.result()

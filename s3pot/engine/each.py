"""Work through many inputs: a bad one is named in the log and the rest is done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from s3pot.types import S3potError

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")


def each(items: Mapping[str, Item], do: Callable[[Item], Result], kind: str) -> Iterator[Result]:
    """Do all items, given by name, and yield what comes out of those that do not fail.

    Raises:
        S3potError: All of them failed.
    """
    failed = 0
    with logging_redirect_tqdm([logging.getLogger("s3pot")]):
        for name, item in tqdm(items.items(), desc=kind, disable=None):
            try:
                result = do(item)
            except S3potError as error:
                failed += 1
                logger.error("failed: %s: %s", name, error)
            else:
                yield result
    if failed == len(items):
        raise S3potError(f"none of the {failed} {kind} could be done")

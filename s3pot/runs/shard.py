"""The part of a folder's items that a process handles when several processes divide them."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from s3pot.distributed import place_of_process
from s3pot.types import S3potError

logger = logging.getLogger(__name__)

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """Every ``count``-th item, starting with the one at ``index``.

    Attributes:
        index: From 0 to ``count`` - 1.
        count: The number of processes that divide the items.
    """

    index: int = 0
    count: int = 1

    @property
    def is_whole(self) -> bool:
        """Whether this process handles all items."""
        return self.count == 1

    def of(self, items: Sequence[Item]) -> list[Item]:
        """Return this process's items."""
        return list(items[self.index :: self.count])

    def log_end(self) -> None:
        """Say what to do when all processes are done; nothing if this is the only one."""
        if not self.is_whole:
            logger.info(
                "part %d of %d is done; when all are, the same command without parts summarizes "
                "them",
                self.index,
                self.count,
            )


def find_shard(text: str | None) -> Shard:
    """Find out which items belong to this process.

    Args:
        text: ``--shard``, such as "0/4" to "3/4"; None uses the variables that ``torchrun`` sets,
            and without them this process handles everything.

    Raises:
        S3potError: ``text`` is not a shard, or the variables are not the place of a process.
    """
    if text is None:
        place = place_of_process()
        return Shard(place.rank, place.world_size)
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or int(match.group(1)) >= int(match.group(2)):
        raise S3potError(
            f"--shard is {text!r}; expected i/n, the part and the number of parts, with i from 0 "
            "to n - 1. A job array of four runs --shard 0/4, 1/4, 2/4 and 3/4."
        )
    return Shard(index=int(match.group(1)), count=int(match.group(2)))


def require_one_process(work: str) -> None:
    """Make sure that work that processes cannot divide is not done by several of them.

    Raises:
        S3potError: ``torchrun`` started several, which would write the same files.
    """
    shard = find_shard(None)
    if not shard.is_whole:
        raise S3potError(
            f"{work} is the work of one process, but torchrun started {shard.count}; run the "
            "command without it."
        )


def local_rank() -> int:
    """Return this process's number on its machine, which selects its GPU; 0 if it is alone."""
    return place_of_process().local_rank

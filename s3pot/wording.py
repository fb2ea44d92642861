"""The wording of messages: numbers with their nouns, long lists, the reasons of Python's errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from s3pot.types import S3potError

NAMES_SHOWN = 4  # number of names listed in a message

OUT_OF_GPU_MEMORY = (
    "the GPU has too little free memory. Lower sam.batch (in training also train.batch_size), use "
    "run.speed=fast, or end other programs that use the GPU."
)


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, which takes an s unless there is exactly one: ``1 face``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def subject(count: int, noun: str, total: int | None = None) -> str:
    """Begin a sentence about some items, maybe of a total: ``1 face is``, ``2 of 5 faces are``."""
    items = counted(count, noun) if total is None else f"{count:,} of {counted(total, noun)}"
    return f"{items} is" if 1 in (count, total) else f"{items} are"


def brief(names: Sequence[str | Path]) -> str:
    """List the first few of many names, and how many more there are: ``a, b, c, d and 3 more``."""
    shown = ", ".join(str(name) for name in names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def did_you_mean(names: Sequence[str]) -> str:
    """Ask which of one or more names is meant: ``Did you mean a, b or c?``."""
    *first, last = names
    return f"Did you mean {', '.join(first)} or {last}?" if first else f"Did you mean {last}?"


def value_of_type(value: object) -> str:
    """Name a value by its type, which takes no article: ``a value of type int``."""
    return "None" if value is None else f"a value of type {type(value).__name__}"


def reason_of(error: Exception) -> str:
    """Say, without Python's name of the error, why values that were read cannot be used."""
    if isinstance(error, KeyError):
        return f"the key {error} is missing"
    text = str(error)
    if isinstance(error, S3potError):
        return text.rstrip(".")
    return text or type(error).__name__


def message_of(error: Exception) -> str:
    """Format an error; for system errors, the file and the reason without the error number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)

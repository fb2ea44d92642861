"""The wording of messages: numbers with their nouns, and the reasons of Python's own errors."""

from __future__ import annotations

from s3pot.types import S3potError


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, which takes an s unless there is exactly one: ``1 face``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def reason_of(error: Exception) -> str:
    """Say, without Python's name of the error, why values that were read cannot be used."""
    if isinstance(error, KeyError):
        return f"the key {error} is missing"
    text = str(error)
    if isinstance(error, S3potError):
        return text.rstrip(".")
    return text or type(error).__name__

"""COCO's run-length masks: numbers of pixels outside, inside, outside, ..., column by column.

``counts`` is a list of numbers, or COCO's compressed text of them: from the third run on, each
number is the difference to the one two before it, written in groups of five bits, the lowest first,
as the characters from ``0`` on; the sixth bit says that more groups follow, and the fifth is the
sign.

pycocotools writes and reads the same format. It is not used here, because it reads uninitialized
memory if the counts of a file do not fill the mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_FIRST_CHARACTER = 48
_BITS = 5
_SIGN = 0x10
_MORE = 0x20
_MOST_GROUPS = 13  # for one number, enough for 64 bits


def encode(mask: np.ndarray) -> list[int]:
    """Count the runs of a mask, bool (H, W), beginning with the pixels outside it."""
    pixels = mask.ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    run_starts = [0, *changes.tolist()]
    run_ends = [*changes.tolist(), pixels.size]
    runs = [end - start for start, end in zip(run_starts, run_ends)]
    return [0, *runs] if pixels[0] else runs


def decode(counts: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Draw runs as a mask, bool (H, W).

    Raises:
        ValueError: The runs are negative or do not fill the mask exactly.
    """
    pixels = size[0] * size[1]
    if any(count < 0 for count in counts) or sum(counts) != pixels:
        raise ValueError(f"its counts sum up to {sum(counts)}; expected {pixels} pixels")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size, order="F")


def to_text(counts: Sequence[int]) -> str:
    """Write runs as COCO's compressed text."""
    characters: list[str] = []
    for position, count in enumerate(counts):
        number = count - counts[position - 2] if position > 2 else count
        while True:
            group = number & (_MORE - 1)
            number >>= _BITS
            is_last = number == (-1 if group & _SIGN else 0)
            characters.append(chr(_FIRST_CHARACTER + (group if is_last else group | _MORE)))
            if is_last:
                break
    return "".join(characters)


def from_text(text: str) -> list[int]:
    """Read runs from COCO's compressed text.

    Raises:
        ValueError: It holds a character that is not part of the format, or ends within a number.
    """
    counts: list[int] = []
    number = 0
    groups = 0
    for character in text:
        group = ord(character) - _FIRST_CHARACTER
        if not 0 <= group < 2 * _MORE or groups == _MOST_GROUPS:
            raise ValueError(f"its counts hold {character!r}, which does not belong in run lengths")
        number |= (group & (_MORE - 1)) << (_BITS * groups)
        groups += 1
        if group & _MORE:
            continue
        if group & _SIGN:
            number -= 1 << (_BITS * groups)
        counts.append(number + counts[-2] if len(counts) > 2 else number)
        number = 0
        groups = 0
    if groups:
        raise ValueError("its counts end within a number")
    return counts

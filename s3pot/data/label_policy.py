"""Which of the labels that people give to shapes name an occluder, and which the face itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

# LabelMe's own label for shapes to be ignored, and common alternatives.
IGNORE_LABELS = frozenset(
    {"__ignore__", "_ignore_", "ignore", "ignored", "void", "unlabeled", "unlabelled"}
)
# Words that name the face or a part of it, without modifiers such as left and right.
_FACE_WORDS = frozenset(
    "face head skin person human people hair beard moustache mustache eye eyeball iris pupil "
    "eyelid eyelash brow eyebrow nose nostril mouth lip tooth teeth tongue ear earring cheek chin "
    "forehead jaw neck belowface glasses eyeglass eyeglasses spectacles background".split()
)
_QUALIFIERS = frozenset(
    "left right upper lower top bottom inner outer l r u visible region area part the of".split()
)


@dataclass(frozen=True)
class LabelPolicy:
    """Which labels count as occluders, in LabelMe files and in COCO's categories.

    Attributes:
        labels: Only these count; empty means all that do not name the face or a part of it.
        ignore: Labels excluded in addition to ``__ignore__``.
    """

    labels: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    @classmethod
    def from_text(cls, labels: str, ignore: str) -> LabelPolicy:
        """Read comma-separated labels, as ``truth.labels`` and ``truth.ignore`` hold them."""
        return cls(_split_labels(labels), _split_labels(ignore))

    def counts(self, label: str) -> bool:
        """Whether a label names an occluder."""
        name = normal_label(label)
        if name in self.ignore:
            return False
        if self.labels:
            return name in self.labels
        if name in IGNORE_LABELS:
            return False
        return not names_face(label)

    def unused(self, labels: Iterable[str]) -> list[str]:
        """List those of the policy's labels that are not among the labels of a data set."""
        existing = {normal_label(label) for label in labels}
        return [label for label in self.labels if label not in existing]


def names_face(label: str) -> bool:
    """Whether a label names the face or a part of it: ``face``, ``left_eye``, ``Upper lip 2``."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", label).casefold())
    meaning = [word for word in words if word not in _QUALIFIERS]
    if _is_face_word("".join(meaning)):  # eye_glass
        return True
    return bool(meaning) and all(_is_face_word(word) for word in meaning)


def normal_label(label: str) -> str:
    """Return a label as it is compared: without outer spaces, in lower case."""
    return label.strip().casefold()


def _is_face_word(word: str) -> bool:
    whole = re.sub("^(left|right|upper|lower)(?=..)", "", word)  # lefteye
    return any(
        part in _FACE_WORDS or part.removesuffix("s") in _FACE_WORDS for part in (word, whole)
    )


def _split_labels(text: str) -> tuple[str, ...]:
    return tuple(normal_label(part) for part in text.split(",") if part.strip())

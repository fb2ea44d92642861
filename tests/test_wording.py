from __future__ import annotations

import pytest

from s3pot.types import S3potError
from s3pot.wording import brief, counted, reason_of, subject, value_of_type


def test_numbers_agree_with_their_nouns() -> None:
    assert [counted(count, "face") for count in (0, 1, 2)] == ["0 faces", "1 face", "2 faces"]
    assert counted(1200, "problem") == "1,200 problems"


def test_verbs_agree_with_what_is_counted() -> None:
    assert [subject(count, "face") for count in (0, 1)] == ["0 faces are", "1 face is"]
    parts = [subject(count, "face", total) for count, total in ((0, 1), (1, 1), (1, 5), (3, 5))]
    assert parts == ["0 of 1 face is", "1 of 1 face is", "1 of 5 faces is", "3 of 5 faces are"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, ""), (1, "0"), (4, "0, 1, 2, 3"), (7, "0, 1, 2, 3 and 3 more")],
)
def test_long_lists_are_cut(count: int, text: str) -> None:
    assert brief([str(number) for number in range(count)]) == text


def test_types_need_no_article() -> None:
    assert [value_of_type(value) for value in (3, None)] == ["a value of type int", "None"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("points"), "the key 'points' is missing"),
        (S3potError("It is damaged."), "It is damaged"),
        (ValueError("too long"), "too long"),
        (ValueError(), "ValueError"),
    ],
)
def test_reasons_hold_no_name_of_python(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason

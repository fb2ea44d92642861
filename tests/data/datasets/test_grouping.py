"""Images are divided into parts: groups stay whole, and the result is reproducible."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3pot.data.datasets.grouping import divide, group_names, parse_parts
from s3pot.types import S3potError

people = st.lists(st.integers(0, 12), min_size=1, max_size=60).map(
    lambda groups: {f"image{number}": f"p{group}" for number, group in enumerate(groups)}
)


@pytest.mark.slow
@given(people, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_nobody_is_in_two_parts_and_shares_of_1_take_all(groups: dict[str, str], seed: int) -> None:
    divided = divide(groups, {"train": 0.7, "val": 0.2, "test": 0.1}, seed)
    assert set(divided) == set(groups)
    parts_of = {(groups[name], part) for name, part in divided.items()}
    assert len(parts_of) == len({group for group, _ in parts_of})
    shuffled = dict(sorted(groups.items(), key=lambda entry: entry[0][::-1]))
    assert divide(shuffled, {"train": 0.7, "val": 0.2, "test": 0.1}, seed) == divided
    largest = max(Counter(groups.values()).values())
    wanted = {"train": 0.7, "val": 0.2, "test": 0.1}
    counts = Counter(divided.values())
    for part, share in wanted.items():
        assert counts[part] - share * len(groups) <= largest


@pytest.mark.slow
@given(people, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_numbers_are_not_exceeded(groups: dict[str, str], seed: int) -> None:
    counts = Counter(divide(groups, {"train": 10, "val": 3}, seed).values())
    assert counts["train"] <= 10
    assert counts["val"] <= 3


def test_single_images_fill_their_parts() -> None:
    groups = {str(number): str(number) for number in range(100)}
    assert Counter(divide(groups, {"train": 0.8, "val": 0.2}, 1).values()) == {
        "train": 80,
        "val": 20,
    }
    assert Counter(divide(groups, {"train": 30, "val": 7}, 1).values()) == {
        "train": 30,
        "val": 7,
    }
    assert Counter(divide(groups, {"a": 0.1, "b": 0.1}, 1).values()) == {
        "a": 10,
        "b": 10,
    }
    assert divide(groups, {"train": 0.8, "val": 0.2}, 1) != divide(
        groups, {"train": 0.8, "val": 0.2}, 2
    )


def test_an_added_person_moves_few() -> None:
    groups = {str(number): str(number) for number in range(200)}
    parts = {"train": 0.5, "val": 0.5}
    before = divide(groups, parts, 0)
    after = divide({**groups, "new": "new"}, parts, 0)
    assert set(after) == {*before, "new"}


def test_groups_by_name(tmp_path: Path) -> None:
    names = ["ann_1", "ann_2", "sub/bob-1", "sub/ann_3"]
    assert list(group_names(names, "none").values()) == names
    assert list(group_names(names, "folder").values()) == [".", ".", "sub", "sub"]
    assert list(group_names(names, "prefix").values()) == ["ann", "ann", "bob", "ann"]
    path = tmp_path / "identity.txt"
    path.write_text("ann_1.jpg 7\nann_2 7\n\nsub/bob-1.jpg,8\nsub/ann_3;7\n")
    assert list(group_names(names, str(path)).values()) == ["7", "7", "8", "7"]


def test_a_list_that_lacks_an_image(tmp_path: Path) -> None:
    path = tmp_path / "identity.txt"
    path.write_text("ann_1 7\n")
    with pytest.raises(S3potError, match="no line for 1 of 2 images, such as bob"):
        group_names(["ann_1", "bob"], str(path))
    path.write_text("ann_1 7 8\n")
    with pytest.raises(S3potError, match="identity.txt, line 1"):
        group_names(["ann_1"], str(path))
    with pytest.raises(S3potError, match="expected none, folder, prefix or a file"):
        group_names(["ann_1"], "persons")


def test_parts_are_read() -> None:
    assert parse_parts(["train=0.75", "val=0.25"]) == {"train": 0.75, "val": 0.25}
    assert parse_parts(["a=10", "b=2"]) == {"a": 10, "b": 2}


@pytest.mark.parametrize(
    "texts",
    [
        ["train"],
        ["train=x"],
        ["train=0.5", "val=3"],
        ["train=0.8", "val=0.3"],
        ["train=-1"],
        ["train=0"],
        ["train=0.5", "train=0.5"],
        ["../evil=0.5"],
        ["=1"],
        ["train=nan"],
    ],
)
def test_parts_that_make_no_sense(texts: list[str]) -> None:
    with pytest.raises(S3potError, match="--parts"):
        parse_parts(texts)

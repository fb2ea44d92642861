"""Parts of a folder's items."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3pot.__main__ import main
from s3pot.runs.shard import Shard, find_shard
from s3pot.types import S3potError


def test_alone_a_process_does_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    shard = find_shard(None)
    assert shard == Shard(0, 1)
    assert shard.is_whole
    assert shard.of("abc") == ["a", "b", "c"]


def test_torchrun_shares_by_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert find_shard(None) == Shard(1, 3)
    assert find_shard("0/2") == Shard(0, 2)  # the option is more specific


def test_shards_are_a_partition() -> None:
    parts = [find_shard(f"{index}/4").of(range(11)) for index in range(4)]
    assert sorted(number for part in parts for number in part) == list(range(11))


@pytest.mark.parametrize("text", ["4/4", "1", "-1/2", "a/b", "1/0", "0/0", " 0/2", "0/2/3"])
def test_what_is_no_shard_is_said(text: str) -> None:
    with pytest.raises(S3potError, match="i from 0 to n - 1"):
        find_shard(text)


@pytest.mark.parametrize(
    "command",
    [
        ["compare", "a", "b", "--output_dir", "out"],
        ["figure", "a", "--output_dir", "out"],
        ["data", "split", "--input_dir", "a", "--output_dir", "out"],
        ["data", "validate", "a", "--output_dir", "out"],
    ],
)
def test_work_of_one_process_is_refused_to_several(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    command: list[str],
) -> None:
    """Each of them would write the same files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(command) == 2
    assert "is the work of one process, but torchrun started 2" in caplog.text
    assert not list(tmp_path.iterdir())

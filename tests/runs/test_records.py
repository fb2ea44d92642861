"""A record that was damaged, edited or made up counts as missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.reliability.mutate import mutated_json
from s3pot.io import write_bytes
from s3pot.runs import records
from s3pot.runs.records import ItemProvenance, read_finished, write_record

PROVENANCE = ItemProvenance(inputs={"image": "a" * 64}, settings={"x": [1, 2.5, None]})
CONTENT = {"row": {"name": "ä", "share": 0.25}, "none": None}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(b"x")
    path = tmp_path / "a_result.json"
    write_record(path, PROVENANCE, [tmp_path / "a.png"], CONTENT)
    return path


def test_what_was_written_is_read(record: Path) -> None:
    assert read_finished(record, PROVENANCE) == CONTENT
    assert read_finished(record, ItemProvenance()) is None


def change(record: Path, **values: Any) -> None:
    content = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps({**content, **values}), encoding="utf-8")


def test_an_edited_value_is_noticed(record: Path) -> None:
    change(record, row={"name": "ä", "share": 0.5})
    assert read_finished(record, PROVENANCE) is None


def test_a_changed_file_is_noticed(record: Path) -> None:
    (record.parent / "a.png").write_bytes(b"y")
    assert read_finished(record, PROVENANCE) is None


@pytest.mark.parametrize("name", ["../a.png", "/dev/zero", "b/../../a.png"])
def test_a_file_elsewhere_is_not_even_read(
    record: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes(record.parent / "b" / "x", b"")

    def never(path: Path) -> str:
        raise AssertionError(path)

    content = json.loads(record.read_text(encoding="utf-8"))
    del content[records.DIGEST]
    content["files"] = {name: "0" * 64}
    content[records.DIGEST] = records._digest(content)
    record.write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.setattr(records, "file_sha256", never)
    assert read_finished(record, PROVENANCE) is None


def test_any_change_of_a_value_is_noticed(record: Path) -> None:
    whole = record.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(300):
        changed = mutated_json(random, whole)
        record.write_bytes(changed)
        found = read_finished(record, PROVENANCE)
        assert found is None or found == CONTENT

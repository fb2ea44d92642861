"""A record that was damaged, edited or made up counts as missing."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
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


FILES = ("a.png", "b.png", "c.npy")


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"r.json"}


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """An item of three files with two kinds of extras."""
    folder = tmp_path / "item"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(name.encode())
    provenance = replace(PROVENANCE, extras=("pictures", "logits"))
    write_record(folder / "r.json", provenance, [folder / name for name in FILES], CONTENT)
    return folder


def test_a_result_with_more_files_than_needed_is_finished(earlier: Path) -> None:
    record = earlier / "r.json"
    for extras in ((), ("logits",), ("logits", "pictures")):
        assert read_finished(record, replace(PROVENANCE, extras=extras)) == CONTENT
    assert read_finished(record, replace(PROVENANCE, extras=("photo",))) is None


def test_files_of_another_result_are_removed(earlier: Path) -> None:
    record = earlier / "r.json"
    (earlier / "b.png").write_bytes(b"corrected by hand")
    (earlier / "stranger.png").write_bytes(b"x")
    other = ItemProvenance(inputs={"image": "b" * 64})
    write_record(record, other, [earlier / "a.png"], CONTENT)
    assert files_in(earlier) == {"a.png", "b.png", "stranger.png"}
    assert read_finished(record, other) == CONTENT


def test_optional_files_of_the_same_result_stay(earlier: Path) -> None:
    record = earlier / "r.json"
    again = replace(PROVENANCE, extras=("photo",))
    (earlier / "a_photo.png").write_bytes(b"x")
    write_record(record, again, [earlier / "a.png", earlier / "a_photo.png"], CONTENT)
    assert files_in(earlier) == {*FILES, "a_photo.png"}
    assert set(json.loads(record.read_text())["files"]) == {*FILES, "a_photo.png"}
    everything = replace(PROVENANCE, extras=("photo", "logits", "pictures"))
    assert read_finished(record, everything) == CONTENT


def test_extras_with_a_missing_file_are_not_claimed(earlier: Path) -> None:
    record = earlier / "r.json"
    (earlier / "b.png").unlink()
    write_record(record, PROVENANCE, [earlier / "a.png"], CONTENT)
    assert files_in(earlier) == {"a.png", "c.npy"}
    assert read_finished(record, PROVENANCE) == CONTENT
    assert read_finished(record, replace(PROVENANCE, extras=("pictures",))) is None


def test_no_file_elsewhere_is_removed(tmp_path: Path, earlier: Path) -> None:
    """A record may come from anywhere; its names must stay in its folder."""
    record, victim = earlier / "r.json", tmp_path / "victim.png"
    victim.write_bytes(b"x")
    content = json.loads(record.read_text(encoding="utf-8"))
    del content[records.DIGEST]
    content["files"] = {"../victim.png": hashlib.sha256(b"x").hexdigest()}
    content[records.DIGEST] = records._digest(content)
    record.write_text(json.dumps(content), encoding="utf-8")
    write_record(record, ItemProvenance(), [], CONTENT)
    assert victim.is_file()


def test_a_face_that_another_photo_owns_now_stays(tmp_path: Path) -> None:
    """``a_face2`` was a further face of the photo a, and is a photo of its own now."""
    for name in ("a.png", "a_face2.png"):
        (tmp_path / name).write_bytes(b"all black")
    of_face2 = tmp_path / "a_face2_align.json"
    write_record(of_face2, PROVENANCE, [tmp_path / "a_face2.png"], CONTENT)
    record = tmp_path / "a_align.json"
    files = [tmp_path / "a.png", tmp_path / "a_face2.png", of_face2]
    write_record(record, PROVENANCE, files, CONTENT)
    other = ItemProvenance(inputs={"image": "b" * 64})
    write_record(of_face2, other, [tmp_path / "a_face2.png"], CONTENT)
    write_record(record, other, [tmp_path / "a.png"], CONTENT)
    assert read_finished(of_face2, other) == CONTENT
    # Without such a photo, the face goes with its record.
    write_record(record, other, files, CONTENT)
    write_record(record, PROVENANCE, [tmp_path / "a.png"], CONTENT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a_align.json"]


def test_a_file_that_was_written_under_another_spelling_stays(earlier: Path) -> None:
    """A disk that ignores case gives one file two names; a link does the same here."""
    os.link(earlier / "a.png", earlier / "A.png")
    write_record(earlier / "r.json", ItemProvenance(), [earlier / "A.png"], CONTENT)
    assert files_in(earlier) == {"A.png", "a.png"}


def test_a_forged_record_removes_nothing_but_its_own_files(earlier: Path) -> None:
    (earlier / "thesis.png").write_bytes(b"x")
    record = earlier / "a_result.json"
    write_record(record, PROVENANCE, [earlier / "thesis.png", earlier / "a.png"], CONTENT)
    write_record(record, ItemProvenance(), [], CONTENT)
    assert files_in(earlier) == {"a_result.json", "b.png", "c.npy", "thesis.png"}

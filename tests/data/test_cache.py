from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import torch

from s3pot.data import cache as cache_module
from s3pot.data.cache import FeatureCache, entry_key, inputs_sha256
from s3pot.data.face_folder import FaceFiles, find_faces
from s3pot.data.image import write_png
from s3pot.types import Prompts, S3potError

Make = Callable[..., Path]
KEY = "a" * 64


def prompts(count: int = 5, seed: int = 0) -> Prompts:
    random = torch.Generator().manual_seed(seed)
    return Prompts(
        "face",
        torch.randn(32, 8, 8, generator=random).half(),
        torch.randint(0, 64, (count, 2), generator=random).float() + 0.25,
        torch.randint(0, 2, (count,), generator=random),
        torch.rand(8, 8, generator=random).half(),
        torch.tensor([3.5, 4.0]),
        torch.rand(63, 63, generator=random) > 0.5,
    )


def same(one: Prompts, two: Prompts) -> bool:
    pairs = [(vars(one)[key], vars(two)[key]) for key in vars(one) if key != "name"]
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("count", [5, 0])
def test_an_entry_gives_back_what_was_written(tmp_path: Path, count: int) -> None:
    store, value = FeatureCache(tmp_path, 1 << 30), prompts(count)
    store.write(KEY, value)
    found = store.read(KEY, "other name")
    assert found is not None
    assert found.name == "other name"
    assert same(found, value)
    assert found.image_embedding.dtype == torch.float16
    assert torch.equal(found.points_sam, value.points_sam)
    assert torch.equal(found.region_sam, value.region_sam)


def test_no_entry(tmp_path: Path) -> None:
    assert FeatureCache(tmp_path / "none", 1).read(KEY, "face") is None


@pytest.mark.parametrize("where", [0, 40, -1])
def test_a_damaged_entry_is_not_trusted(
    tmp_path: Path, where: int, caplog: pytest.LogCaptureFixture
) -> None:
    store = FeatureCache(tmp_path, 1 << 30)
    store.write(KEY, prompts())
    path = tmp_path / f"{KEY}.feat"
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)
    assert store.read(KEY, "face") is None
    assert "damaged" in caplog.text


def test_cut_off_and_foreign_entries_are_not_trusted(tmp_path: Path) -> None:
    store = FeatureCache(tmp_path, 1 << 30)
    store.write(KEY, prompts())
    path = tmp_path / f"{KEY}.feat"
    other = "b" * 64
    (tmp_path / f"{other}.feat").write_bytes(path.read_bytes())
    assert store.read(other, "face") is None
    for size in (0, 10, 32, 500):
        path.write_bytes(path.read_bytes()[:size])
        assert store.read(KEY, "face") is None


def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        FeatureCache(tmp_path, 1 << 30).write(KEY, prompts())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_files_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        FeatureCache(tmp_path / "file", 1 << 30).write(KEY, prompts())


def test_oldest_entries_go_first(tmp_path: Path) -> None:
    keys = [letter * 64 for letter in "abcd"]
    size = 0
    for age, key in enumerate(keys[:3]):
        FeatureCache(tmp_path, 1 << 30).write(key, prompts())
        path = tmp_path / f"{key}.feat"
        size = path.stat().st_size
        os.utime(path, (1000 + age, 1000 + age))
    FeatureCache(tmp_path, 2 * size).write(keys[3], prompts())
    assert sorted(path.stem for path in tmp_path.iterdir()) == keys[2:]


def test_the_newest_entry_stays_however_small_the_limit(tmp_path: Path) -> None:
    store = FeatureCache(tmp_path, 1)
    for key in ("a" * 64, "b" * 64):
        store.write(key, prompts())
    assert [path.stem for path in tmp_path.iterdir()] == ["b" * 64]


def key_of(face: FaceFiles, oracle: bool, made_by: dict[str, Any]) -> str:
    return entry_key(inputs_sha256(face, oracle), made_by)


def test_key_follows_bytes_and_settings(
    processed_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = processed_folder(2)
    write_png(folder / "face_01_clean.png", np.full((64, 64, 3), 9, np.uint8))
    face, other = find_faces(folder)
    made_by = {"sam": "x", "prompt": {"features": "attended"}}
    base = key_of(face, False, made_by)
    assert base == key_of(replace(face, name="elsewhere"), False, dict(made_by))
    changed = {
        key_of(replace(face, raw=other.raw), False, made_by),
        key_of(replace(face, reference=other.reference), False, made_by),
        key_of(replace(face, parsing=other.parsing), False, made_by),
        key_of(replace(face, clean=other.clean), True, made_by),
        key_of(face, False, {**made_by, "sam": "y"}),
        key_of(face, False, {**made_by, "prompt": {"features": "encoder"}}),
    }
    monkeypatch.setattr(cache_module, "FORMAT", 99)
    changed.add(key_of(face, False, made_by))
    assert len(changed) == 7
    assert base not in changed


def test_a_missing_file_is_named(processed_folder: Make) -> None:
    (face,) = find_faces(processed_folder(1))
    face.raw.unlink()
    with pytest.raises(S3potError, match="face_00.png"):
        inputs_sha256(face, False)

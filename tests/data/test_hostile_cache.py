"""Cache entries that have the right digest but are not prompts."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import MakesFolder

from s3pot.data.cache import FeatureCache
from s3pot.types import Prompts

KEY = "a" * 64
ARRAYS = ("image_tokens", "points_sam", "labels", "similarity", "first_point_sam", "region_sam")


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    store = FeatureCache(tmp_path / "cache", 1 << 30)
    prompts = Prompts(
        name="face",
        image_embedding=torch.randn(32, 8, 8).half(),
        points_sam=torch.rand(5, 2) * 64,
        point_labels=torch.tensor([1, 1, 0, 0, 1]),
        similarity=torch.rand(8, 8).half(),
        first_point_sam=torch.tensor([3.5, 4.0]),
        region_sam=torch.rand(64, 64) > 0.5,
    )
    store.write(KEY, prompts)
    return store


def arrays_of(cache: FeatureCache) -> dict[str, np.ndarray]:
    content = (cache.folder / f"{KEY}.feat").read_bytes()
    return dict(np.load(io.BytesIO(content[hashlib.sha256().digest_size :])))


def is_trusted(cache: FeatureCache, payload: bytes) -> bool:
    digest = hashlib.sha256(KEY.encode() + payload).digest()
    (cache.folder / f"{KEY}.feat").write_bytes(digest + payload)
    return cache.read(KEY, "face") is not None


def npz(arrays: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def test_what_is_right_is_trusted(cache: FeatureCache) -> None:
    assert is_trusted(cache, npz(arrays_of(cache)))


@pytest.mark.parametrize("name", ARRAYS)
def test_wrong_arrays_are_not(cache: FeatureCache, tmp_path: Path, name: str) -> None:
    arrays = arrays_of(cache)
    value = arrays[name]
    target = tmp_path / "code_ran"
    wrong = [
        value[..., :1],
        value.astype(np.complex64),
        value[..., None],
        value.reshape(-1)[:0],
        np.array([MakesFolder(target)], dtype=object),
    ]
    if value.dtype.kind == "f":
        wrong += [np.full_like(value, np.nan), np.full_like(value, np.inf)]
    for changed in wrong:
        assert not is_trusted(cache, npz({**arrays, name: changed})), changed
    assert not is_trusted(cache, npz({key: arrays[key] for key in arrays if key != name}))
    assert not target.exists()


def test_labels_that_are_neither_are_not(cache: FeatureCache) -> None:
    arrays = arrays_of(cache)
    assert not is_trusted(cache, npz({**arrays, "labels": arrays["labels"] + 2}))


def test_other_archives_are_not(cache: FeatureCache) -> None:
    arrays = arrays_of(cache)
    whole = npz(arrays)
    compressed, bomb = io.BytesIO(), io.BytesIO()
    np.savez_compressed(compressed, **arrays)
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.npy", bytes(10 << 20))
    contents = [b"", b"no archive", whole[:-100], whole + whole, b"\x80\2N."]
    contents += [compressed.getvalue(), bomb.getvalue()]
    assert not any(is_trusted(cache, content) for content in contents)


def test_a_header_that_asks_for_more_than_there_is_is_not(cache: FeatureCache) -> None:
    """np.load would allocate a petabyte."""
    header = io.BytesIO()
    descr = {"descr": "<f2", "fortran_order": False, "shape": (1 << 49,)}
    np.lib.format.write_array_header_1_0(header, descr)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ARRAYS:
            archive.writestr(f"{name}.npy", header.getvalue())
    assert not is_trusted(cache, stream.getvalue())

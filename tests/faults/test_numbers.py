"""Extreme inputs: regions of zero, one and all tokens, equal images, huge weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import torch
from builders import inference_run

from s3pot.data.face_folder import PARSING, REFERENCE
from s3pot.data.masks import read_mask
from s3pot.io import write_npy
from s3pot.labels import CLASSES
from s3pot.weights.load import read_checkpoint

Make = Callable[..., Path]
Run = Callable[..., int]
SIDE = 64
CELL = 8  # pixels of a token


@pytest.fixture
def data(processed_folder: Make) -> Path:
    return processed_folder(2)


@pytest.fixture
def segment(tmp_path: Path, data: Path, mini_options: list[str]) -> Run:
    return inference_run(data, tmp_path / "out", mini_options)


def result(tmp_path: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((tmp_path / "out" / f"{name}_result.json").read_text())
    return content


def parsing_of(cells: int) -> np.ndarray:
    """Skin that covers the first ``count`` tokens, row by row."""
    tokens = np.zeros((SIDE // CELL) ** 2, dtype=np.uint8)
    tokens[:cells] = CLASSES.index("skin")
    return np.kron(tokens.reshape(SIDE // CELL, -1), np.ones((CELL, CELL), np.uint8))


@pytest.mark.parametrize("cells", [0, 1, 64])
def test_regions_of_any_number_of_tokens(
    tmp_path: Path, data: Path, segment: Run, cells: int
) -> None:
    parsing = parsing_of(cells)
    write_npy(data / f"face_00{PARSING}", parsing)
    assert segment() == 0
    occlusion = read_mask(tmp_path / "out" / "face_00_occlusion.png")
    assert not occlusion[parsing == 0].any()
    assert (tmp_path / "out" / "face_01_result.json").is_file()


def test_a_reference_that_equals_the_image(tmp_path: Path, data: Path, segment: Run) -> None:
    """Every token matches itself, so no occlusion point is left."""
    shutil.copy(data / "face_00.png", data / f"face_00{REFERENCE}")
    assert segment() == 0
    assert (tmp_path / "out" / "face_00_result.json").is_file()


@pytest.mark.parametrize("scale", [1e10, 1e37])
def test_adapters_of_huge_weights_give_a_mask_or_are_named(
    tmp_path: Path, mini_dir: Path, segment: Run, scale: float, capsys: pytest.CaptureFixture[str]
) -> None:
    state = read_checkpoint(mini_dir / "adapter.safetensors")["state_dict"]
    huge = {key: value.float() * scale for key, value in state.items()}
    assert all(bool(value.isfinite().all()) for value in huge.values())
    torch.save({"state_dict": huge}, tmp_path / "huge.pth")
    code = segment("--checkpoint", str(tmp_path / "huge.pth"))
    done = len(list((tmp_path / "out").glob("*_result.json")))
    named = capsys.readouterr().err.count("failed: face_0")
    assert (code, done, named) in [(0, 2, 0), (2, 0, 2)]

"""Extreme inputs: regions of zero, one and all tokens, equal images, huge weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Callable

import cv2
import numpy as np
import pytest
import torch
from builders import inference_run

from s3pot.commands import generate_reference
from s3pot.data.face_folder import PARSING, REFERENCE
from s3pot.data.masks import read_mask
from s3pot.io import write_npy
from s3pot.labels import CLASSES
from s3pot.sam.frozen import FrozenSam
from s3pot.weights.load import read_checkpoint
from s3pot.weights.mini_set import read_mini, write_mini
from s3pot_synthetic import draw_face

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


def with_huge_weights(mini_dir: Path, folder: Path, model: str) -> Path:
    """Copy a set of weights, in which those of one model are finite but far too large."""
    shutil.copytree(mini_dir, folder)
    content = read_mini(model, folder)
    state = content["state_dict"]
    huge = {k: torch.full_like(v, 6e4) if v.dim() > 1 else v for k, v in state.items()}
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    write_mini(folder, model, content["size"], huge)
    return folder


@pytest.mark.parametrize("count", [1, 2])
def test_tokens_that_are_no_numbers_are_named(
    tmp_path: Path,
    mini_dir: Path,
    segment: Run,
    capsys: pytest.CaptureFixture[str],
    count: int,
) -> None:
    huge = with_huge_weights(mini_dir, tmp_path / "huge", "sam")
    assert segment("cache.mode=off", f"model.weights_dir={huge}", f"sam.batch={count}") == 2
    err = capsys.readouterr().err
    assert err.count("SAM's tokens are not finite numbers, so this face cannot be segmented.") == 2
    assert err.count("python -m s3pot.weights verify checks official files") == 2
    assert err.count("a mini set of your own (model.weights_dir) needs other weights") == 2
    assert all(f"failed: face_0{number}: " in err for number in range(2))


def test_enhanced_tokens_that_are_no_numbers_are_named(
    segment: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def attend(self: FrozenSam, tokens: torch.Tensor, prompts: torch.Tensor) -> torch.Tensor:
        return tokens.clone().fill_(torch.nan)

    monkeypatch.setattr(FrozenSam, "attend_image", attend)
    assert segment("cache.mode=off") == 2
    assert capsys.readouterr().err.count("FE's tokens are not finite numbers") == 2


@pytest.mark.parametrize(
    ("model", "what"),
    [("generator", "The reference's values"), ("parser", "The parser's scores")],
)
def test_references_that_are_no_numbers_are_named(
    tmp_path: Path,
    mini_dir: Path,
    mini_options: list[str],
    capsys: pytest.CaptureFixture[str],
    model: str,
    what: str,
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "a.png"), draw_face(0, size=SIDE).raw[..., ::-1])
    huge = with_huge_weights(mini_dir, tmp_path / "huge", model)
    argv = ["--input_dir", str(photos), "--output_dir", str(tmp_path / "out"), *mini_options]
    assert generate_reference.main([*argv, "align.mode=never", f"model.weights_dir={huge}"]) == 2
    err = capsys.readouterr().err
    assert f"a.png: {what} are not finite numbers, so this face cannot be segmented. " in err
    assert "a mini set of your own" in err and "adapter" not in err
    assert not list((tmp_path / "out").glob("a*"))


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
    err = capsys.readouterr().err
    named = err.count("failed: face_0")
    assert err.count("The likeliest cause is the adapter, if one is used: ") == named
    assert err.count("train_general.py") == named
    assert (code, done, named) in [(0, 2, 0), (2, 0, 2)]

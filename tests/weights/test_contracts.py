"""Strict loading against the keys and shapes of every published checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from s3pot.weights.load import WeightMismatch, load_strict

CONTRACTS = Path(__file__).parents[1] / "data" / "parity" / "contracts"
NAMES = sorted(path.stem for path in CONTRACTS.glob("*.json"))
BUFFERS = ("running_mean", "running_var", "num_batches_tracked", "kernel")


def read(name: str) -> dict[str, Any]:
    """Return a contract."""
    content: dict[str, Any] = json.loads((CONTRACTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def state_of(name: str) -> dict[str, Tensor]:
    """Return a contract's state dict without allocated memory."""
    return {
        key: torch.empty(shape, dtype=getattr(torch, dtype), device="meta")
        for key, (shape, dtype) in read(name)["state_dict"].items()
    }


def module_of(state: dict[str, Tensor]) -> nn.Module:
    """Build a module with exactly these keys."""
    root = nn.Module()
    for key, value in state.items():
        *parents, leaf = key.split(".")
        module = root
        for parent in parents:
            if parent not in module._modules:
                module.add_module(parent, nn.Module())
            module = module.get_submodule(parent)
        if leaf in BUFFERS:
            module.register_buffer(leaf, value)
        else:
            module.register_parameter(leaf, nn.Parameter(value, requires_grad=False))
    return root


def test_there_are_contracts() -> None:
    assert len(NAMES) == 10


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta")
@pytest.mark.parametrize("name", NAMES)
def test_key_by_key(name: str) -> None:
    state = state_of(name)
    module = module_of(state)
    load_strict(module, {f"module.{key}": value for key, value in state.items()}, name)
    constants = set(read(name).get("module_constants_not_filled", []))
    for key in [*list(state)[:: max(1, len(state) // 4)], *constants]:
        fewer = {other: value for other, value in state.items() if other != key}
        if key in constants or key.endswith("num_batches_tracked"):
            load_strict(module, fewer, name)
            continue
        with pytest.raises(WeightMismatch, match=f"1 missing: {key}$"):
            load_strict(module, fewer, name)
        wrong = torch.empty([*state[key].shape, 2], device="meta")
        with pytest.raises(WeightMismatch, match=f"1 wrong shape: {key} "):
            load_strict(module, {**state, key: wrong}, name)
        with pytest.raises(WeightMismatch, match=f"1 unexpected: {key}.more"):
            load_strict(module, {**state, f"{key}.more": wrong}, name)


@pytest.mark.parametrize(
    ("asked", "given", "said"),
    [
        ("sam_vit_h", "sam_vit_l", "this is a SAM ViT-L, you asked for a SAM ViT-H"),
        ("sam_vit_b", "sam_vit_h", "this is a SAM ViT-H, you asked for a SAM ViT-B"),
        ("bisenet_79999_iter", "segnext_small", "this is a SegNeXt parser, small, you asked for a"),
        (
            "segnext_small",
            "segnext_base",
            "this is a SegNeXt parser, base, you asked for a SegNeXt",
        ),
        (
            "e4s_iteration_300000",
            "bisenet_79999_iter",
            "this is a BiSeNet parser, you asked for a regional",
        ),
        ("sam_vit_b", "authors_adapter", "this is a prompt adapter of the authors' release"),
    ],
)
def test_mixed_up_files(asked: str, given: str, said: str) -> None:
    with pytest.raises(WeightMismatch) as caught:
        load_strict(module_of(state_of(asked)), state_of(given), "x.pth")
    lines = str(caught.value).splitlines()
    assert said in lines[0]
    assert 2 <= len(lines) <= 4
    assert max(map(len, lines)) < 400

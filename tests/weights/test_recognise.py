"""Every published contract is recognised by its keys and shapes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from s3pot.weights.recognise import recognise

CONTRACTS = Path(__file__).parents[1] / "data" / "parity" / "contracts"
NAMES = {
    "authors_adapter": "prompt adapter of the authors' release",
    "bisenet_79999_iter": "BiSeNet parser of width 64 with 19 classes",
    "e4s_iteration_300000": "regional inverter E4S of width 64 with 12 regions",
    "sam_vit_b": "SAM ViT-B",
    "sam_vit_h": "SAM ViT-H",
    "sam_vit_l": "SAM ViT-L",
    "segnext_base": "SegNeXt base parser",
    "segnext_large": "SegNeXt large parser",
    "segnext_small": "SegNeXt small parser",
    "segnext_tiny": "SegNeXt tiny parser",
}


def shapes_of(name: str) -> dict[str, torch.Tensor]:
    """Return a contract's state dict without memory behind it."""
    contract = json.loads((CONTRACTS / f"{name}.json").read_text(encoding="utf-8"))
    entries = contract["state_dict"].items()
    return {key: torch.empty(shape, device="meta") for key, (shape, _) in entries}


def test_each_contract_is_covered() -> None:
    assert sorted(NAMES) == sorted(path.stem for path in CONTRACTS.glob("*.json"))


@pytest.mark.parametrize("name", list(NAMES))
@pytest.mark.parametrize("prefix", ["", "module."])
def test_official_models(name: str, prefix: str) -> None:
    state = {prefix + key: value for key, value in shapes_of(name).items()}
    assert recognise(state) == NAMES[name]


def test_other_sizes_say_their_size() -> None:
    state = {key: value for key, value in shapes_of("sam_vit_b").items() if "blocks.11." not in key}
    assert recognise(state) == "SAM of width 768 and depth 11"
    state = {key: v for key, v in shapes_of("segnext_tiny").items() if "block1.2." not in key}
    assert recognise(state) == "SegNeXt of depths (2, 3, 5, 2) parser"


def test_adapter_and_strangers() -> None:
    attention = torch.nn.MultiheadAttention(8, 2)
    state = {f"attention.{key}": value for key, value in attention.state_dict().items()}
    assert recognise(state) == "prompt adapter of s3pot"
    assert recognise(torch.nn.Linear(2, 2).state_dict()) is None
    assert recognise({}) is None
    assert recognise(torch.nn.TransformerEncoderLayer(8, 2).state_dict()) is None

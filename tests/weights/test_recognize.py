"""Every published contract is recognized by its keys and shapes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from s3pot.weights.recognize import recognize

CONTRACTS = Path(__file__).parents[1] / "data" / "parity" / "contracts"
NAMES = {
    "authors_adapter": "prompt adapter of the authors' release",
    "bisenet_79999_iter": "BiSeNet parser",
    "e4s_iteration_300000": "regional inverter E4S",
    "sam_vit_b": "SAM ViT-B",
    "sam_vit_h": "SAM ViT-H",
    "sam_vit_l": "SAM ViT-L",
    "segnext_base": "SegNeXt parser, base",
    "segnext_large": "SegNeXt parser, large",
    "segnext_small": "SegNeXt parser, small",
    "segnext_tiny": "SegNeXt parser, tiny",
}


def shapes_of(name: str) -> dict[str, torch.Tensor]:
    """Return a contract's state dict without allocated memory."""
    contract = json.loads((CONTRACTS / f"{name}.json").read_text(encoding="utf-8"))
    entries = contract["state_dict"].items()
    return {key: torch.empty(shape, device="meta") for key, (shape, _) in entries}


def test_each_contract_is_covered() -> None:
    assert sorted(NAMES) == sorted(path.stem for path in CONTRACTS.glob("*.json"))


@pytest.mark.parametrize("name", list(NAMES))
@pytest.mark.parametrize("prefix", ["", "module."])
def test_official_models(name: str, prefix: str) -> None:
    state = {prefix + key: value for key, value in shapes_of(name).items()}
    assert recognize(state) == NAMES[name]


def test_other_sizes() -> None:
    state = {"image_encoder.pos_embed": torch.empty(1, 2, 2, 64)}
    assert recognize(state) == "SAM of another size"
    state = {key: v for key, v in shapes_of("segnext_base").items() if "block3.2." not in key}
    assert recognize(state) == "SegNeXt parser, another size"


def test_adapter_and_strangers() -> None:
    attention = torch.nn.MultiheadAttention(8, 2)
    state = {f"attention.{key}": value for key, value in attention.state_dict().items()}
    assert recognize(state) == "prompt adapter of s3pot"
    assert recognize(torch.nn.Linear(2, 2).state_dict()) is None
    assert recognize({}) is None
    assert recognize(torch.nn.TransformerEncoderLayer(8, 2).state_dict()) is None

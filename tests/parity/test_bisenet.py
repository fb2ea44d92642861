"""BiSeNet gives the recorded numbers and has the official checkpoint's keys."""

from __future__ import annotations

from types import ModuleType
from typing import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from s3pot.rg.nets.bisenet import BiSeNet, ParserLogits

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


@pytest.fixture(scope="module")
def logits(fill: ModuleType, parity_seed: int) -> ParserLogits:
    net = BiSeNet()
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    filled = fill.fill_state_dict(shapes, parity_seed)
    net.load_state_dict({key: torch.from_numpy(value) for key, value in filled.items()})
    net.eval()
    photo = torch.from_numpy(fill.photo(parity_seed, "bisenet", 512))[None]
    with torch.inference_mode():
        return net((photo - MEAN) / STD)


def test_contract(contract: Callable) -> None:
    ours = {
        key: (tuple(value.shape), str(value.dtype).replace("torch.", ""))
        for key, value in BiSeNet().state_dict().items()
    }
    assert ours == contract("bisenet_79999_iter")


@pytest.mark.slow
@pytest.mark.parametrize("head", ["out", "out16", "out32"])
def test_logits(head: str, logits: ParserLogits, vectors: Callable) -> None:
    want = vectors("bisenet")
    got: Tensor = getattr(logits, head)[0]
    np.testing.assert_allclose(got[:, ::16, ::16], want[head], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(got.mean((1, 2)), want[f"{head}_mean"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(got.flatten(1).std(1), want[f"{head}_std"], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_argmax(logits: ParserLogits, vectors: Callable) -> None:
    want = vectors("bisenet")["argmax"]
    assert (logits.out[0].argmax(0).numpy() == want).mean() >= 0.999

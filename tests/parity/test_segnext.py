"""SegNeXt gives the recorded numbers and has the official checkpoints' keys."""

from __future__ import annotations

from types import ModuleType
from typing import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.labels import CELEBAMASKHQ_TO_12
from s3pot.rg.nets.segnext import SegNeXt, SpatialGate
from s3pot.rg.parser import Parser

pytestmark = pytest.mark.slow

TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}
CLASSES = {"tiny": 150, "small": 19, "base": 150, "large": 150}


@pytest.fixture(scope="module")
def net(fill: ModuleType, parity_seed: int) -> SegNeXt:
    net = SegNeXt("small").eval()
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    filled = fill.fill_state_dict(shapes, parity_seed)
    net.load_state_dict({key: torch.from_numpy(value) for key, value in filled.items()})
    bases = torch.from_numpy(fill.segnext_bases(parity_seed))
    net.decode_head.hamburger.bases.copy_(F.normalize(bases, dim=1))
    return net


@pytest.fixture(scope="module")
def photo(fill: ModuleType, parity_seed: int) -> Tensor:
    return torch.from_numpy(fill.photo(parity_seed, "segnext", 512))[None]


@pytest.fixture(scope="module")
def normalized(photo: Tensor) -> Tensor:
    mean = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
    return (photo * 255 - mean) / std


@pytest.mark.parametrize("size", list(CLASSES))
def test_contract(size: str, contract: Callable) -> None:
    with torch.device("meta"):  # sizes only
        state = SegNeXt(size, CLASSES[size]).state_dict()
    ours = {k: (tuple(v.shape), str(v.dtype).replace("torch.", "")) for k, v in state.items()}
    assert ours == contract(f"segnext_{size}")


@pytest.fixture(scope="module")
def stages(net: SegNeXt, normalized: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return net.backbone(normalized)


def test_stages(stages: list[Tensor], vectors: Callable) -> None:
    want = vectors("segnext")
    for i, stage in enumerate(stages, start=1):
        step = 4 if i == 4 else 8
        got = stage[0, ::4, ::step, ::step]
        np.testing.assert_allclose(got, want[f"stage{i}"], err_msg=f"stage{i}", **TOLERANCE)


@torch.no_grad()
def test_logits_and_labels(net: SegNeXt, stages: list[Tensor], vectors: Callable) -> None:
    want = vectors("segnext")
    logits = net.decode_head(stages)
    np.testing.assert_allclose(logits[0, :, ::4, ::4], want["logits"], **TOLERANCE)
    large = F.interpolate(logits, (1024, 1024), mode="bilinear").argmax(1)[0, ::2, ::2]
    assert (large.numpy() == want["argmax"]).mean() >= 0.999


def test_parser(net: SegNeXt, photo: Tensor, vectors: Callable) -> None:
    parser = Parser(net, 512, CELEBAMASKHQ_TO_12, native_resize=False, output_size=1024)
    labels = parser.parse(photo)[0, ::2, ::2]
    assert (labels.numpy() == vectors("segnext")["seg12"]).mean() >= 0.999


@torch.no_grad()
def test_a_gate_reads_channels_last_memory() -> None:
    """PyTorch 2.2 never returned from it."""
    gate = SpatialGate(16)
    x = torch.randn(1, 16, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gate(x.contiguous(memory_format=torch.channels_last)), gate(x))

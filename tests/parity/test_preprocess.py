"""Both inputs of E4S, and the label map from parser and table."""

from __future__ import annotations

from types import ModuleType
from typing import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from s3pot.data.pixels import bicubic_reduce
from s3pot.labels import BISENET_TO_12, CELEBAMASKHQ_TO_12, CLASSES, REGION_CLASSES
from s3pot.rg.inverter import Inverter
from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.rg.nets.e4s import E4SNet, E4SSize
from s3pot.rg.parser import Parser

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
TINY = E4SSize(
    style_dim=4,
    channels=(4, 4),
    masked_codes=4,
    encoder_widths=(4, 4, 4, 4, 4),
    encoder_units=(1, 1, 1, 1),
    mlp_hidden=4,
    mapping_layers=0,
)


@pytest.fixture(scope="module")
def picture(fill: ModuleType, parity_seed: int) -> Tensor:
    pixels = torch.from_numpy(fill.photo_uint8(parity_seed, "parser", 1024))
    return pixels.permute(2, 0, 1)[None] / 255


@pytest.fixture(scope="module")
def parser(fill: ModuleType, parity_seed: int) -> Parser:
    net = BiSeNet()
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    filled = fill.fill_state_dict(shapes, parity_seed)
    net.load_state_dict({key: torch.from_numpy(value) for key, value in filled.items()})
    return Parser(net, 512, BISENET_TO_12, native_resize=True)


def test_tables(class_maps: dict) -> None:
    assert list(CLASSES) == class_maps["classes12"]
    assert list(BISENET_TO_12) == class_maps["bisenet"]["table"]
    assert list(CELEBAMASKHQ_TO_12) == class_maps["celebamaskhq"]["table"]
    assert list(REGION_CLASSES) == class_maps["region_included"]


def test_bisenet_reduced(picture: Tensor, vectors: Callable) -> None:
    want = vectors("preprocess")
    got = bicubic_reduce(picture, 512)[0]
    np.testing.assert_allclose(got[:, ::8, ::8], want["bisenet_reduced"], **TOLERANCE)
    np.testing.assert_allclose(got[:, :3], want["bisenet_reduced_edge"], **TOLERANCE)
    span = torch.stack([got.min(), got.max()])
    np.testing.assert_allclose(span, want["bisenet_reduced_minmax"], **TOLERANCE)


@pytest.mark.slow
def test_bisenet_input(picture: Tensor, parser: Parser, vectors: Callable) -> None:
    got = parser.preprocess(picture)[0, :, ::8, ::8]
    np.testing.assert_allclose(got, vectors("preprocess")["bisenet_input"], **TOLERANCE)


@pytest.mark.slow
def test_labels(picture: Tensor, parser: Parser, vectors: Callable) -> None:
    want = vectors("preprocess")
    labels = parser.parse(picture)
    assert labels.dtype == torch.uint8
    assert (labels[0].numpy() == want["seg12"]).mean() >= 0.999
    with torch.no_grad():
        raw = parser.net.forward_main(parser.preprocess(picture)).argmax(1)[0]
    assert (raw.numpy() == want["argmax"]).mean() >= 0.999


def test_e4s_input(picture: Tensor, vectors: Callable) -> None:
    got = Inverter(E4SNet(TINY), 512).preprocess(picture)[0, :, ::8, ::8]
    np.testing.assert_allclose(got, vectors("preprocess")["e4s_input"], **TOLERANCE)

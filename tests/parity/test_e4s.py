"""E4S gives the recorded numbers and has the official checkpoint's keys."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from s3pot.rg.nets.e4s import E4SNet
from s3pot.rg.nets.stylegan_ops import Blur

pytestmark = pytest.mark.slow

TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


@dataclass(frozen=True)
class Run:
    """One traced forward pass at the official size."""

    keys: dict[str, tuple[tuple[int, ...], str]]
    vectors: Tensor
    codes: Tensor
    image: Tensor
    trace: dict[str, np.ndarray]


def _trace_into(store: dict[str, np.ndarray], name: str) -> Callable:
    def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        corner = output[0, 0, 0, :4]
        store[name] = np.array([output.mean(), output.std(), *corner], dtype=np.float32)

    return hook


@pytest.fixture(scope="session")
def run(fill: ModuleType, parity_seed: int, vectors: Callable) -> Run:
    with torch.device("meta"):  # drawing weights to be replaced would take seconds
        net = E4SNet().eval()
    state = net.state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    filled = fill.fill_state_dict(shapes, parity_seed)
    weights = {key: torch.from_numpy(value) for key, value in filled.items()}
    kernels = {key: Blur().kernel for key in shapes if key.endswith("kernel")}
    net.load_state_dict({**weights, **kernels}, assign=True)
    net.latent_avg = torch.from_numpy(fill.latent_avg(parity_seed))
    trace: dict[str, np.ndarray] = {}
    for name in vectors("e4s")["trace_names"].tolist():
        net.get_submodule(name).register_forward_hook(_trace_into(trace, name))
    image = torch.from_numpy(fill.photo(parity_seed, "e4s", 512))[None] * 2 - 1
    labels = torch.from_numpy(fill.label_map(parity_seed))[None]
    keys = {k: (tuple(v.shape), str(v.dtype).replace("torch.", "")) for k, v in state.items()}
    with torch.inference_mode():
        style_vectors = net.style_vectors(image, labels)
        codes = net.style_codes(style_vectors)
        return Run(keys, style_vectors[0], codes[0], net.generate(codes, labels)[0], trace)


def test_contract(run: Run, contract: Callable) -> None:
    assert run.keys == contract("e4s_iteration_300000")


def test_style_vectors(run: Run, vectors: Callable) -> None:
    np.testing.assert_allclose(run.vectors, vectors("e4s")["style_vectors"], **TOLERANCE)


def test_style_codes(run: Run, vectors: Callable) -> None:
    np.testing.assert_allclose(run.codes, vectors("e4s")["style_codes"], **TOLERANCE)


def test_trace(run: Run, vectors: Callable) -> None:
    want = vectors("e4s")
    for name, row in zip(want["trace_names"].tolist(), want["trace"]):
        np.testing.assert_allclose(run.trace[name], row, err_msg=name, **TOLERANCE)


def test_image(run: Run, vectors: Callable) -> None:
    want = vectors("e4s")
    np.testing.assert_allclose(run.image[:, ::16, ::16], want["image_strided"], **TOLERANCE)
    np.testing.assert_allclose(run.image[:, 448:512, 480:544], want["image_crop"], **TOLERANCE)
    np.testing.assert_allclose(run.image.mean((1, 2)), want["image_mean"], **TOLERANCE)
    np.testing.assert_allclose(run.image.flatten(1).std(1), want["image_std"], **TOLERANCE)


def test_shown(run: Run, vectors: Callable) -> None:
    shown = ((run.image + 1) / 2).clamp(0, 1).mul(255).to(torch.uint8).permute(1, 2, 0)
    difference = shown[::16, ::16].numpy().astype(int) - vectors("e4s")["shown"].astype(int)
    assert (np.abs(difference) <= 1).mean() >= 0.999

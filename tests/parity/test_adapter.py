from __future__ import annotations

from types import ModuleType
from typing import Callable

import numpy as np
import pytest
import torch

from s3pot.adapter import PromptAdapter, from_authors

RTOL, ATOL = 1e-4, 1e-5


@pytest.fixture(scope="module")
def adapter(fill: ModuleType, contract: Callable, parity_seed: int) -> PromptAdapter:
    shapes = {key: shape for key, (shape, _) in contract("authors_adapter").items()}
    state = fill.fill_state_dict(shapes, parity_seed)
    net = PromptAdapter()
    authors = {f"module.{key}": torch.from_numpy(value) for key, value in state.items()}
    net.load_state_dict(from_authors(authors), strict=True)
    return net.eval()


@pytest.mark.parametrize(("count", "step"), [(1, 1), (7, 1), (300, 7)])
def test_adapter_equals_the_release(
    vectors: Callable,
    fill: ModuleType,
    parity_seed: int,
    adapter: PromptAdapter,
    count: int,
    step: int,
) -> None:
    want = vectors("adapter")
    with torch.no_grad():
        tokens, weights = adapter(torch.from_numpy(fill.prompts(parity_seed, count)))
    got = {
        f"tokens_{count}": tokens[0, ::step],
        f"weights_{count}": weights[0, ::step, ::step],
        f"weights_{count}_column_sums": weights[0].sum(dim=0),
    }
    for name, value in got.items():
        np.testing.assert_allclose(value.numpy(), want[name], rtol=RTOL, atol=ATOL, err_msg=name)

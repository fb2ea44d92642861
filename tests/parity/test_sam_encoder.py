from __future__ import annotations

from types import ModuleType
from typing import Callable

import numpy as np
import pytest
import torch

from s3pot.sam.frozen import FrozenSam
from s3pot.sam.official import build_official_sam


@pytest.mark.slow
def test_vit_b_encoder_and_normalization(
    vectors: Callable, fill: ModuleType, contract: Callable, parity_seed: int
) -> None:
    sam = build_official_sam("vit_b")
    shapes = {key: tuple(value.shape) for key, value in sam.state_dict().items()}
    assert shapes == {key: shape for key, (shape, _) in contract("sam_vit_b").items()}
    filled = fill.fill_state_dict(shapes, parity_seed)
    weights = {key: torch.from_numpy(value) for key, value in filled.items()}
    sam.load_state_dict(weights, strict=True, assign=True)
    picture = torch.from_numpy(fill.photo(parity_seed, "sam_encoder", 1024))
    tokens = FrozenSam(sam).encode(picture.reshape(1, 3, 1024, 1024))[0]
    want = vectors("sam_encoder")
    np.testing.assert_allclose(
        tokens[::4, ::4, ::4].numpy(), want["embedding"], rtol=1e-3, atol=1e-3
    )
    np.testing.assert_allclose(tokens.mean(dim=(1, 2)).numpy(), want["mean"], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(tokens.std(dim=(1, 2)).numpy(), want["std"], rtol=1e-3, atol=1e-3)

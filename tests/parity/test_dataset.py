from __future__ import annotations

from types import ModuleType
from typing import Callable

import numpy as np
import pytest

from s3pot.pipeline import to_sam_frame
from s3pot.types import AlignedFace


@pytest.mark.slow
def test_pair_equals_the_authors_dataset(
    vectors: Callable[[str], dict[str, np.ndarray]], fill: ModuleType, parity_seed: int
) -> None:
    want = vectors("dataset")
    face = AlignedFace(
        name="face",
        image=fill.photo_uint8(parity_seed, "align", 720)[:480],
        parsing=fill.label_map(parity_seed)[6:506, 6:506].astype(np.uint8),
        reference=fill.photo_uint8(parity_seed, "parser", 1024),
    )
    inputs = to_sam_frame(face, 1024)
    for got, name in ((inputs.image_sam, "raw"), (inputs.reference_sam, "reference")):
        np.testing.assert_allclose(got[:, ::16, ::16].numpy(), want[name], rtol=1e-6, atol=1e-6)
    region = inputs.region_sam.numpy()
    assert int(region.sum()) == int(want["region_pixels"])
    np.testing.assert_array_equal(np.packbits(region), want["region_packed"])

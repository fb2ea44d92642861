from __future__ import annotations

from types import ModuleType
from typing import Callable

import numpy as np

from s3pot.data.face_folder import make_pair
from s3pot.types import Reference


def test_pair_equals_the_authors_dataset(
    vectors: Callable[[str], dict[str, np.ndarray]], fill: ModuleType, parity_seed: int
) -> None:
    want = vectors("dataset")
    reference = Reference(
        fill.photo_uint8(parity_seed, "align", 720)[:480],
        fill.photo_uint8(parity_seed, "parser", 1024),
        fill.label_map(parity_seed)[6:506, 6:506].astype(np.uint8),
    )
    pair = make_pair("face", reference, 1024)
    for got, name in ((pair.raw_sam, "raw"), (pair.reference_sam, "reference")):
        np.testing.assert_allclose(got[:, ::16, ::16].numpy(), want[name], rtol=1e-6, atol=1e-6)
    region = pair.region_sam.numpy()
    assert int(region.sum()) == int(want["region_pixels"])
    np.testing.assert_array_equal(np.packbits(region), want["region_packed"])

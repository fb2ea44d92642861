"""Any LabelMe file gives a mask of the expected size, or a BadFile that names the file."""

from __future__ import annotations

import base64
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks.reliability.mutate import hostile_images
from s3pot.data.labelme import read_labelme
from s3pot.io import BadFile

SIZE = (24, 32)
NUMBERS = st.one_of(
    st.floats(-10, 50), st.floats(), st.integers(-10, 50), st.integers(), st.booleans()
)
ODD = st.recursive(
    st.one_of(st.none(), NUMBERS, st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)
POINTS = st.lists(st.tuples(NUMBERS, NUMBERS).map(list), max_size=8)
KINDS = ("polygon", "rectangle", "circle", "oriented_rectangle", "mask", "line", "point", "x")


def base64_text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def small_mask() -> str:
    stream = io.BytesIO()
    Image.fromarray(np.eye(5, dtype=np.uint8) * 255).save(stream, format="PNG")
    return base64_text(stream.getvalue())


EMBEDDED = st.one_of(
    st.text(max_size=20),
    st.binary(max_size=40).map(base64_text),
    st.sampled_from([small_mask(), *map(base64_text, hostile_images().values())]),
)
SHAPES = st.fixed_dictionaries(
    {},
    optional={
        "label": st.one_of(st.sampled_from(["hand", "_background_", "hair", ""]), ODD),
        "points": st.one_of(POINTS, ODD),
        "shape_type": st.one_of(st.sampled_from(KINDS), ODD),
        "mask": st.one_of(EMBEDDED, ODD),
    },
)
FILES = st.one_of(
    ODD,
    st.fixed_dictionaries(
        {"shapes": st.one_of(st.lists(SHAPES, max_size=4), ODD)},
        optional={
            "imageWidth": st.one_of(st.just(SIZE[1]), st.just(2 * SIZE[1]), ODD),
            "imageHeight": st.one_of(st.just(SIZE[0]), st.just(2 * SIZE[0]), ODD),
            "imageData": st.one_of(EMBEDDED, ODD),
            "imagePath": st.sampled_from(["../../etc/passwd", "a.png"]),
        },
    ),
)


def read(content: bytes) -> np.ndarray | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "odd.json"
        path.write_bytes(content)
        try:
            return read_labelme(path, SIZE)
        except BadFile as error:
            assert "odd.json" in str(error)
            return None


@pytest.mark.slow
@given(content=FILES)
def test_any_content(content: Any) -> None:
    mask = read(json.dumps(content).encode("utf-8", errors="surrogatepass"))
    assert mask is None or (mask.dtype == np.bool_ and mask.shape == SIZE)


@given(content=st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    read(content)


@given(
    points=st.lists(st.tuples(st.integers(-5, 37), st.integers(-5, 29)), min_size=3, max_size=7),
    scale=st.integers(1, 4),
)
def test_a_polygon_is_what_opencv_fills_at_any_scale(
    points: list[tuple[int, int]], scale: int
) -> None:
    """The annotation may be of the same image at another size."""
    shapes = [{"label": "hand", "points": [[x * scale, y * scale] for x, y in points]}]
    content = {"shapes": shapes, "imageWidth": SIZE[1] * scale, "imageHeight": SIZE[0] * scale}
    wanted = np.zeros(SIZE, np.uint8)
    cv2.fillPoly(wanted, [np.array(points, np.int32)], 1)
    mask = read(json.dumps(content).encode())
    assert mask is not None
    np.testing.assert_array_equal(mask, wanted.astype(bool))

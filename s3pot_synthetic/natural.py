"""Surfaces with the statistics of photographs: noise of all scales, edges, blur, prints.

Every surface is a gray field from a bank that is built once per process, cropped at a random
position and scale and mapped through a random palette. None of the patterns held out for ``bench``
is in the banks (see ``textures.BENCH_TEXTURES``).
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np

from s3pot_synthetic.canvas import Array, pick

BANK_SIDE = 512
_SPECTRA = (0.7, 0.9, 1.1, 1.1, 1.3, 1.6, 2.0)  # powers by which the amplitude falls


def _to_bytes(field: Array) -> Array:
    """Stretch a field to 0..255, clipping one percent at either end."""
    low, high = np.percentile(field, (1, 99))
    scaled = (field - low) / max(float(high - low), 1e-6)
    return np.round(np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def _power_law(rng: np.random.Generator, power: float, stretch: float = 1.0) -> Array:
    """Generate noise of amplitude frequency ** -power, stretched in x by the factor ``stretch``."""
    frequency_y = np.fft.fftfreq(BANK_SIDE)[:, None]
    frequency_x = np.fft.rfftfreq(BANK_SIDE)[None, :] * stretch
    radius = np.maximum(np.hypot(frequency_x, frequency_y), 1 / BANK_SIDE)
    spectrum = np.fft.rfft2(rng.standard_normal((BANK_SIDE, BANK_SIDE)))
    return np.asarray(np.fft.irfft2(spectrum * radius**-power, (BANK_SIDE, BANK_SIDE)))


def _dead_leaves(rng: np.random.Generator, smallest: float, kind: str) -> Array:
    """Cover a plane with shapes of all sizes, which gives edges like those in photographs."""
    field = np.zeros((BANK_SIDE, BANK_SIDE), np.uint8)
    for _ in range(900):
        radius = smallest / math.sqrt(1 - rng.uniform(0, 1 - (smallest / 180) ** 2))
        center = tuple(int(v) for v in rng.integers(-40, BANK_SIDE + 40, 2))
        shade = int(rng.integers(0, 256))
        if kind == "disc":
            cv2.circle(field, center, max(1, round(radius)), shade, -1, cv2.LINE_AA)
            continue
        box = (center, (2 * radius, 2 * radius * rng.uniform(0.2, 1.0)), rng.uniform(0, 180))
        corners = np.round(cv2.boxPoints(box)).astype(np.int32)
        cv2.fillConvexPoly(field, corners, shade, cv2.LINE_AA)
    return field


def _bokeh(rng: np.random.Generator) -> Array:
    """Draw out-of-focus lights on a dark, smooth background."""
    field = 0.25 * _to_bytes(_power_law(rng, 2.0)).astype(np.float32)
    for _ in range(int(rng.integers(25, 70))):
        light = np.zeros((BANK_SIDE, BANK_SIDE), np.float32)
        center = tuple(int(v) for v in rng.integers(0, BANK_SIDE, 2))
        cv2.circle(light, center, int(rng.integers(6, 34)), 1.0, -1, cv2.LINE_AA)
        field += light * np.float32(rng.uniform(20, 120))
    return _to_bytes(cv2.GaussianBlur(field, (0, 0), rng.uniform(0.8, 3)))


def _scribble(rng: np.random.Generator) -> Array:
    """Draw letters, lines and squiggles on a plain background."""
    field = np.full((BANK_SIDE, BANK_SIDE), 230, np.uint8)
    for _ in range(int(rng.integers(30, 80))):
        shade = int(rng.integers(0, 200))
        thick = int(rng.integers(1, 7))
        place = rng.integers(0, BANK_SIDE, 2)
        if rng.random() < 0.5:
            word = "".join(chr(int(c)) for c in rng.integers(65, 123, int(rng.integers(2, 9))))
            where = (int(place[0]) - 60, int(place[1]))
            cv2.putText(field, word, where, 3, rng.uniform(0.5, 2.5), shade, thick, cv2.LINE_AA)
        else:
            walk = place + np.cumsum(rng.normal(0, 18, (8, 2)), 0)
            cv2.polylines(field, [walk.astype(np.int32)], False, shade, thick, cv2.LINE_AA)
    return field


def _bands(rng: np.random.Generator) -> Array:
    """Draw bands of random widths side by side."""
    edges = np.sort(rng.uniform(0, BANK_SIDE, int(rng.integers(12, 70))))
    shades = rng.uniform(0, 1, len(edges) + 1)
    line = shades[np.searchsorted(edges, np.arange(BANK_SIDE))]
    field = np.tile(line, (BANK_SIDE, 1))
    return _to_bytes(field + 0.05 * rng.standard_normal((BANK_SIDE, BANK_SIDE)))


@functools.lru_cache(maxsize=1)
def banks() -> dict[str, list[Array]]:
    """Build the gray fields once per process: (512, 512) uint8 each, by kind, read-only."""
    rng = np.random.default_rng(20250611)
    smooth = [_to_bytes(_power_law(rng, power)) for power in _SPECTRA]
    drawn_out = [_to_bytes(_power_law(rng, power, 12.0)) for power in (0.9, 1.2, 1.6)]
    ridged = [_to_bytes(-np.abs(_power_law(rng, power))) for power in (1.1, 1.4, 1.8)]
    leaves = [_dead_leaves(rng, smallest, "disc") for smallest in (2.5, 5)]
    leaves += [_dead_leaves(rng, smallest, "box") for smallest in (3, 7, 14)]
    banks = {
        "smooth": smooth,
        "drawn_out": drawn_out,
        "ridged": ridged,
        "leaves": leaves,
        "bokeh": [_bokeh(rng) for _ in range(3)],
        "scribble": [_scribble(rng) for _ in range(3)],
        "bands": [_bands(rng) for _ in range(4)],
    }
    for fields in banks.values():
        for field in fields:
            field.setflags(write=False)
    return banks


_KINDS = (
    "smooth", "smooth", "smooth", "drawn_out", "ridged", "leaves", "bokeh", "scribble", "bands",
)  # fmt: skip


def gray_field(rng: np.random.Generator, height: int, width: int, kind: str | None = None) -> Array:
    """Crop a rotated and scaled window from a bank: (height, width) uint8.

    Args:
        rng: Random stream.
        height: Rows.
        width: Columns.
        kind: Name of a bank, at random when None.
    """
    field = pick(rng, banks()[pick(rng, _KINDS) if kind is None else kind])
    angle = rng.uniform(0, 2 * math.pi)
    zoom = math.exp(rng.uniform(math.log(0.5), math.log(3)))
    cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
    start = rng.uniform(0, BANK_SIDE, 2)
    move = np.array([[cos, -sin, start[0]], [sin, cos, start[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(field, move, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)


def palette(rng: np.random.Generator, base: Array | None = None) -> Array:
    """Draw a path through color space: (256, 1, 3) uint8 lookup table.

    Args:
        rng: Random stream.
        base: RGB color in the middle of the path, (3,); None draws one at random.
    """
    middle = rng.uniform(0.05, 0.95) if base is None else 0.0
    if base is None:
        vivid = rng.uniform(0, 0.5) ** 1.5
        base = np.clip(middle + rng.normal(0, vivid, 3), 0, 1)
    count = int(rng.integers(2, 5))
    contrast = math.exp(rng.uniform(math.log(0.02), math.log(0.9)))
    colors = np.empty((count, 3))
    for i in range(count):
        level = (i / (count - 1) - 0.5) * contrast
        colors[i] = base + level + rng.normal(0, 0.12 * contrast, 3)
    if rng.random() < 0.2:
        colors[int(rng.integers(count))] = rng.random(3)
    place = np.linspace(0, count - 1, 256)
    table = [np.interp(place, np.arange(count), colors[:, i]) for i in range(3)]
    return np.round(np.clip(np.stack(table, 1), 0, 1) * 255).astype(np.uint8)[:, None, :]


def surface(
    rng: np.random.Generator,
    height: int,
    width: int,
    base: Array | None = None,
    kind: str | None = None,
) -> Array:
    """Draw a surface like those in photographs: (height, width, 3) uint8 RGB.

    Args:
        rng: Random stream.
        height: Rows.
        width: Columns.
        base: Main color, (3,) in [0, 1]; None draws one at random.
        kind: Name of a bank, at random when None.
    """
    field = gray_field(rng, height, width, kind)
    return cv2.LUT(cv2.merge((field, field, field)), palette(rng, base))

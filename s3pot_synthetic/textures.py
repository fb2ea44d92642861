"""The surface patterns and noise banks of the drawn pictures.

There are two registries: ``TRAIN_TEXTURES`` may appear in both splits, ``BENCH_TEXTURES`` only in
``bench``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import cv2
import numpy as np

from s3pot_synthetic.canvas import Array, Frame, pick, unit_grid
from s3pot_synthetic.natural import surface

_BANK = 512  # side of a noise bank; a picture uses a 256-unit window of it
_WINDOW = 256
_Field = Callable[[np.random.Generator, Frame], Array]


def _normal(rng: np.random.Generator, side: int) -> Array:
    return rng.standard_normal((side, side), dtype=np.float32)


@functools.lru_cache(maxsize=1)
def noise_banks() -> dict[str, list[Array]]:
    """Generate the noise pictures once per process: unit variance, (512, 512) float32.

    ``cloud`` is smooth over many scales, ``grain`` fine, and ``strand`` stretched in one direction.
    """
    rng = np.random.default_rng(20240229)
    clouds = []
    for _ in range(6):
        total = np.zeros((_BANK, _BANK), np.float32)
        for side, weight in ((4, 1.0), (8, 0.6), (16, 0.4), (32, 0.25), (64, 0.15)):
            layer = cv2.resize(_normal(rng, side), (_BANK, _BANK), interpolation=cv2.INTER_CUBIC)
            total += weight * layer
        clouds.append(total)
    grains = [cv2.GaussianBlur(_normal(rng, _BANK), (0, 0), s) for s in (0.7, 1.2, 2.0, 4.0)]
    strands = []
    for degrees in range(0, 180, 15):
        kernel = np.zeros((31, 31), np.float32)
        dx, dy = 15 * math.cos(math.radians(degrees)), 15 * math.sin(math.radians(degrees))
        line_ends = (round(15 - dx), round(15 - dy)), (round(15 + dx), round(15 + dy))
        cv2.line(kernel, line_ends[0], line_ends[1], 1.0, 1)
        strands.append(cv2.filter2D(_normal(rng, _BANK), -1, kernel / kernel.sum()))
    banks: dict[str, list[Array]] = {"cloud": clouds, "grain": grains, "strand": strands}
    for bank in banks.values():
        for i, field in enumerate(bank):
            bank[i] = ((field - field.mean()) / field.std()).astype(np.float32)
            bank[i].setflags(write=False)
    return banks


def noise(
    rng: np.random.Generator, frame: Frame, name: str = "grain", choice: int | None = None
) -> Array:
    """Crop a random window from a bank: (S, S) float32, unit variance; read-only at 256 px.

    Args:
        rng: Random stream for the window's position.
        frame: Picture size; the window always shows 256 units.
        name: ``cloud``, ``grain`` or ``strand``.
        choice: Index of the picture in the bank; None draws one at random.
    """
    bank = noise_banks()[name]
    field = pick(rng, bank) if choice is None else bank[choice]
    y, x = (int(v) for v in rng.integers(0, _BANK - _WINDOW + 1, 2))
    flips = rng.random(2) < 0.5
    field = field[y : y + _WINDOW, x : x + _WINDOW]
    field = field[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
    if frame.size == _WINDOW:
        return field
    area = cv2.INTER_AREA if frame.size < _WINDOW else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(field), (frame.size, frame.size), interpolation=area)


def _rotated(rng: np.random.Generator, frame: Frame) -> tuple[Array, Array]:
    x, y = unit_grid(frame.size)
    angle = rng.random() * math.pi
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return x * cos + y * sin, y * cos - x * sin


def _wave(field: Array, period: float) -> Array:
    return np.sin(field * np.float32(2 * math.pi / period))


def _plain(rng: np.random.Generator, frame: Frame) -> Array:
    return np.zeros((frame.size, frame.size), np.float32)


def _cloudy(rng: np.random.Generator, frame: Frame) -> Array:
    return 0.5 + 0.3 * noise(rng, frame, "cloud")


def _grainy(rng: np.random.Generator, frame: Frame) -> Array:
    return 0.5 + 0.3 * noise(rng, frame, "grain")


def _fibers(rng: np.random.Generator, frame: Frame) -> Array:
    return 0.5 + 0.3 * noise(rng, frame, "strand")


def _gradient(rng: np.random.Generator, frame: Frame) -> Array:
    return _rotated(rng, frame)[0] / 256.0


def _stripes(rng: np.random.Generator, frame: Frame) -> Array:
    wave = _wave(_rotated(rng, frame)[0], rng.uniform(7, 28))
    return np.clip(wave * 3 + rng.uniform(-1, 1), 0, 1)


def _checks(rng: np.random.Generator, frame: Frame) -> Array:
    along, across = _rotated(rng, frame)
    period = rng.uniform(14, 50)
    return np.clip(_wave(along, period) * _wave(across, period) * 5 + 0.5, 0, 1)


def _blotches(rng: np.random.Generator, frame: Frame) -> Array:
    return np.clip(noise(rng, frame, "grain", 3) * 3 - rng.uniform(-1, 2), 0, 1)


def _dots(rng: np.random.Generator, frame: Frame) -> Array:
    along, across = _rotated(rng, frame)
    period = rng.uniform(10, 24)
    return np.clip((_wave(along, period) + _wave(across, period) - rng.uniform(0.6, 1.2)) * 4, 0, 1)


def _plaid(rng: np.random.Generator, frame: Frame) -> Array:
    along, across = _rotated(rng, frame)
    period = rng.uniform(16, 44)
    bands = [
        np.clip(_wave(v, period) * 4, 0, 1) + 0.6 * (_wave(v, period / 2) > 0.9)
        for v in (along, across)
    ]
    return 0.45 * (bands[0] + bands[1])


def _zigzag(rng: np.random.Generator, frame: Frame) -> Array:
    along, across = _rotated(rng, frame)
    period = rng.uniform(10, 22)
    teeth = np.abs(np.mod(along, np.float32(period)) - np.float32(period / 2))
    return np.clip(_wave(across + teeth, period * 0.8) * 4 + 0.5, 0, 1)


def _rings(rng: np.random.Generator, frame: Frame) -> Array:
    x, y = unit_grid(frame.size)
    center = rng.uniform(0, 256, 2).astype(np.float32)
    radius = np.hypot(x - center[0], y - center[1])
    return np.clip(_wave(radius, rng.uniform(8, 22)) * 3 + 0.5, 0, 1)


TRAIN_TEXTURES: dict[str, _Field] = {
    "plain": _plain,
    "cloudy": _cloudy,
    "grainy": _grainy,
    "fibers": _fibers,
    "gradient": _gradient,
    "stripes": _stripes,
    "checks": _checks,
    "blotches": _blotches,
}
BENCH_TEXTURES: dict[str, _Field] = {
    "dots": _dots,
    "plaid": _plaid,
    "zigzag": _zigzag,
    "rings": _rings,
}


def any_color(rng: np.random.Generator, vivid: float = 0.4) -> Array:
    """Draw an RGB color, (3,) float32; ``vivid`` is the probability of a saturated one."""
    value = rng.uniform(0.12, 0.97)
    spread = rng.uniform(0.5, 1.0) if rng.random() < vivid else rng.uniform(0.0, 0.35)
    hue = rng.random(3)
    hue = (hue - hue.min()) / (np.ptp(hue) + 1e-6)
    return (value * (1 - spread * (1 - hue))).astype(np.float32)


def texture(rng: np.random.Generator, frame: Frame, split: str, base: Array | None = None) -> Array:
    """Draw a patterned surface.

    Args:
        rng: Random stream.
        frame: Picture size.
        split: ``bench`` uses the held-out patterns half of the time. Otherwise surfaces like those
            in photographs (see ``natural``) alternate with the plain patterns.
        base: Main color (3,); None draws one at random.

    Returns:
        (S, S, 3) float32, [0, 1].
    """
    held_out = split == "bench" and rng.random() < 0.5
    if not held_out and rng.random() < 0.45:
        return surface(rng, frame.size, frame.size, base).astype(np.float32) / np.float32(255)
    name = pick(rng, sorted(BENCH_TEXTURES if held_out else TRAIN_TEXTURES))
    field = (BENCH_TEXTURES if held_out else TRAIN_TEXTURES)[name](rng, frame)
    first = any_color(rng) if base is None else np.asarray(base, np.float32)
    near = np.clip(first + rng.normal(0, 0.16, 3), 0, 1)
    second = any_color(rng) if base is None and rng.random() < 0.4 else near
    field = field + np.float32(rng.uniform(0.0, 0.12)) * noise(rng, frame)
    field = field.astype(np.float32)
    step = (second - first).astype(np.float32)
    grain = np.float32(rng.uniform(0.005, 0.03)) * noise(rng, frame)
    return cv2.merge([np.clip(field * step[i] + (grain + first[i]), 0, 1) for i in range(3)])

"""Backgrounds for scenes: cluttered places with the statistics of photographs, and no faces.

Natural images have power spectra that fall with the frequency, and edges where things hide each
other. Both come from *dead leaves*: shapes of all sizes, few large and many small ones, laid on each
other in random order (Lee, Mumford, Huang 2001). Beside them: studio backdrops, noise with a 1/f
spectrum, rooms of rectangles and lines, and lights out of focus.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from s3pot_synthetic.canvas import (
    Array,
    Frame,
    ellipse,
    mask_box,
    pick,
    rotate,
    spline,
    spread,
)
from s3pot_synthetic.head import skin_colour
from s3pot_synthetic.textures import any_colour, texture

_LEAVES = (60, 260)  # shapes of one picture of dead leaves
_RADII = (2.5, 110.0)  # of a leaf, units


def spectral_noise(rng: np.random.Generator, size: int, slope: float) -> Array:
    """Draw noise whose amplitude falls as frequency ** -slope.

    Returns:
        Field of mean 0 and variance 1, (size, size) float32.
    """
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = 1.0
    amplitude = frequency**-slope
    amplitude[0, 0] = 0.0
    phase = rng.uniform(0, 2 * np.pi, frequency.shape)
    field = np.fft.irfft2(amplitude * np.exp(1j * phase), s=(size, size))
    return ((field - field.mean()) / (field.std() + 1e-9)).astype(np.float32)


def colored_noise(rng: np.random.Generator, size: int) -> Array:
    """Draw a 1/f picture: mostly light and dark, a little color; (size, size, 3) float32, [0, 1]."""
    slope = rng.uniform(0.8, 1.7)
    light = spectral_noise(rng, size, slope) * rng.uniform(0.06, 0.24)
    tints = rng.normal(0, 1, (2, 3)) * rng.uniform(0.0, 0.08)
    base = any_colour(rng, 0.25)
    picture = base + light[..., None]
    for tint in tints:
        picture = picture + spectral_noise(rng, size, slope)[..., None] * tint
    return np.clip(picture, 0, 1).astype(np.float32)


def draw_background(rng: np.random.Generator, size: int) -> Array:
    """Draw a place without faces.

    Args:
        rng: Random stream.
        size: Side in pixels.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    frame = Frame(size)
    names, weights = zip(*((kind, weight) for kind, weight in _KINDS))
    chances = np.array(weights) / sum(weights)
    picture = names[int(rng.choice(len(names), p=chances))](rng, frame)
    if rng.random() < 0.55:
        sigma = math.exp(rng.uniform(math.log(0.6), math.log(8.0))) * frame.scale
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    if rng.random() < 0.4:
        slope = 1 + spectral_noise(rng, 32, 2.0) * rng.uniform(0.05, 0.3)
        light = cv2.resize(slope, (size, size), interpolation=cv2.INTER_CUBIC)
        picture = picture * spread(np.clip(light, 0.2, 1.8))
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _studio(rng: np.random.Generator, frame: Frame) -> Array:
    """A plain backdrop, lighter on one side or in the middle."""
    size = frame.size
    line = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    slope = rng.normal(0, 0.12, 2)
    center = rng.uniform(-0.7, 0.7, 2)
    glow = np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / rng.uniform(0.3, 3))
    light = 1 + slope[0] * x + slope[1] * y + rng.uniform(-0.3, 0.5) * glow
    light = light + spectral_noise(rng, size, 1.5) * rng.uniform(0, 0.03)
    return spread(light.astype(np.float32)) * any_colour(rng, 0.2)


def _noise(rng: np.random.Generator, frame: Frame) -> Array:
    return colored_noise(rng, frame.size)


def _texture(rng: np.random.Generator, frame: Frame) -> Array:
    return texture(rng, frame, "train", any_colour(rng, 0.3))


def _leaf_shape(rng: np.random.Generator, radius: float) -> Array:
    """Draw the outline of one leaf, (N, 2) units."""
    center, angle = rng.uniform(-20, 276, 2), rng.uniform(0, np.pi)
    stretch = math.exp(rng.normal(0, 0.5))
    radii = (radius * stretch, radius / stretch)
    kind = int(rng.integers(4))
    if kind == 0:
        return ellipse(center, radii, angle)
    if kind == 1:
        return ellipse(center, radii, angle if rng.random() < 0.4 else rng.normal(0, 0.05), 40, 12)
    if kind == 2:
        corners = rng.normal(0, 1, (int(rng.integers(3, 6)), 2))
        return rotate(corners * np.array(radii), angle) + center
    ring = ellipse((0.0, 0.0), radii, 0.0, 8) * rng.uniform(0.6, 1.3, (8, 1))
    return rotate(spline(ring), angle) + center


def _lay_leaf(rng: np.random.Generator, frame: Frame, picture: Array, grain: Array) -> None:
    """Lay one shape with a grain and a slope of light over a picture, in place."""
    low, high = _RADII
    # Areas as in photographs: the number of shapes falls with the third power of their radius.
    radius = (low**-2 + rng.random() ** 1.5 * (high**-2 - low**-2)) ** -0.5
    radius = max(radius, rng.uniform(3, 60)) if rng.random() < 0.4 else radius
    mask = frame.fill(_leaf_shape(rng, radius))
    box = mask_box(mask)
    if box is None:
        return
    color = skin_colour(rng)[0] if rng.random() < 0.12 else any_colour(rng, 0.3)
    height, width = mask[box].shape
    if rng.random() < 0.3:
        top, left = (int(rng.integers(grain.shape[0] - n + 1)) for n in (height, width))
        field = grain[top : top + height, left : left + width] * np.float32(rng.uniform(0, 0.25))
    else:
        field = np.zeros((height, width), np.float32)
    slope = rng.normal(0, 0.15, 2)
    field = field + np.linspace(-slope[0], slope[0], width, dtype=np.float32)
    field = field + np.linspace(-slope[1], slope[1], height, dtype=np.float32)[:, None]
    weight = spread(mask[box].astype(np.float32) / np.float32(255))
    surface = spread((1 + field).astype(np.float32)) * color
    picture[box] += weight * (surface - picture[box])


def _leaves(rng: np.random.Generator, frame: Frame) -> Array:
    picture = colored_noise(rng, frame.size)
    grain = spectral_noise(rng, frame.size, rng.uniform(0.5, 1.2))
    for _ in range(int(rng.integers(*_LEAVES))):
        _lay_leaf(rng, frame, picture, grain)
    return picture


def _room(rng: np.random.Generator, frame: Frame) -> Array:
    """Walls, windows, shelves and posts: upright rectangles and long lines."""
    picture = _studio(rng, frame)
    for _ in range(int(rng.integers(5, 40))):
        center = rng.uniform(-20, 276, 2)
        radii = np.exp(rng.uniform(math.log(3), math.log(90), 2))
        shape = ellipse(center, radii, rng.normal(0, 0.04), 24, 14)
        mask = frame.fill(shape)
        box = mask_box(mask)
        if box is None:
            continue
        color = any_colour(rng, 0.25) * rng.uniform(0.6, 1.1)
        weight = spread(mask[box].astype(np.float32) / np.float32(255))
        picture[box] += weight * (color.astype(np.float32) - picture[box])
    for _ in range(int(rng.integers(0, 25))):
        start, angle = rng.uniform(0, 256, 2), pick(rng, (0.0, np.pi / 2)) + rng.normal(0, 0.1)
        step = np.array([math.cos(angle), math.sin(angle)]) * rng.uniform(20, 260)
        mask = frame.stroke(np.stack([start, start + step]), rng.uniform(0.6, 4))
        weight = spread(mask.astype(np.float32) / np.float32(255))
        picture += weight * (any_colour(rng, 0.2) - picture)
    return picture


def _lights(rng: np.random.Generator, frame: Frame) -> Array:
    """Lights far out of focus: bright disks on something dark and soft."""
    picture = cv2.GaussianBlur(colored_noise(rng, frame.size), (0, 0), 6 * frame.scale)
    picture = picture * np.float32(rng.uniform(0.2, 0.8))
    radius = rng.uniform(4, 22)
    for _ in range(int(rng.integers(8, 60))):
        disk = ellipse(rng.uniform(0, 256, 2), np.full(2, radius * rng.uniform(0.7, 1.3)))
        weight = frame.soften(frame.fill(disk), 0.8).astype(np.float32) / np.float32(255)
        picture += spread(weight * np.float32(rng.uniform(0.1, 0.8))) * any_colour(rng, 0.5)
    return picture


_KINDS: tuple[tuple[Callable[[np.random.Generator, Frame], Array], float], ...] = (
    (_leaves, 4),
    (_studio, 2),
    (_noise, 1.5),
    (_room, 2),
    (_lights, 1),
    (_texture, 1),
)

"""Lamps, and their light on a head.

Light is computed photometrically (as sums of lamps, shadows, highlights) and converted to factors
for painted colors at the end: a painted color is about the 2.2th root of a reflectance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from s3pot_synthetic.canvas import Array, Frame, pick

_GAMMA = 1 / 2.2


@dataclass(frozen=True)
class Lamp:
    """A distant lamp.

    Attributes:
        toward: Unit vector to the lamp: right, down, to the viewer.
        color: RGB strength, about 1.
        hard: Sharpness of its shadows, from 0 (the sky) to 1 (the sun).
    """

    toward: tuple[float, float, float]
    color: tuple[float, float, float]
    hard: float


@dataclass(frozen=True)
class Light:
    """The light of a scene: a main lamp, ambient light, and possibly further lamps.

    Attributes:
        toward: Unit vector to the main lamp: right, down, to the viewer.
        ambient: Share of ambient light, 0..1.
        gloss: Strength of highlights on skin.
        hard: Sharpness of the main lamp's shadows, 0..1.
        exposure: Brightness of the lit side of a face, as a factor for painted colors.
        color: RGB of the main lamp, around 1.
        others: Further lamps, weaker than the first.
    """

    toward: tuple[float, float, float]
    ambient: float
    gloss: float
    hard: float = 0.3
    exposure: float = 1.0
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    others: tuple[Lamp, ...] = ()


def _direction(rng: np.random.Generator, lean: float, above: float) -> tuple[float, float, float]:
    """Draw a unit vector ``lean`` radians off the line of sight, mostly from above."""
    angle = rng.uniform(-math.pi, 0.0) if rng.random() < above else rng.uniform(0, math.pi)
    flat = math.sin(lean)
    return flat * math.cos(angle), flat * math.sin(angle) * 0.8, math.cos(lean)


def _lamp_color(rng: np.random.Generator, amount: float) -> tuple[float, float, float]:
    """Draw a warm or cool white."""
    warm = rng.normal(0, amount)
    green = rng.normal(0, amount * 0.2)
    return 1 + warm, 1 + green, 1 - warm


def draw_light(rng: np.random.Generator) -> Light:
    """Draw the light of a scene: flash, window, half-dark, sun from above, or several lamps."""
    kind = pick(rng, ("flash", "soft", "soft", "window", "half", "sun", "several"))
    others: list[Lamp] = []
    lean = rng.uniform(0.3, 0.8)
    ambient = rng.uniform(0.3, 0.8)
    hard = 0.15
    above = 0.9
    if kind == "flash":
        lean = rng.uniform(0.02, 0.3)
        ambient = rng.uniform(0.1, 0.5)
        hard = rng.uniform(0.5, 1)
    elif kind == "window":
        lean = rng.uniform(0.8, 1.4)
        ambient = rng.uniform(0.12, 0.4)
        hard = rng.uniform(0, 0.4)
        above = 0.75
    elif kind == "half":
        lean = rng.uniform(1.1, 1.75)
        ambient = rng.uniform(0.02, 0.2)
        hard = rng.uniform(0.2, 1)
        above = 0.7
    elif kind == "sun":
        lean = rng.uniform(0.5, 1.2)
        ambient = rng.uniform(0.12, 0.4)
        hard = rng.uniform(0.6, 1)
        above = 1.0
    elif kind == "several":
        for _ in range(int(rng.integers(1, 3))):
            color = np.array(_lamp_color(rng, 0.15)) * rng.uniform(0.2, 0.9)
            toward = _direction(rng, rng.uniform(0.6, 1.9), 0.7)
            red, green, blue = (float(value) for value in color)
            others.append(Lamp(toward, (red, green, blue), rng.uniform(0, 1)))
    exposure = float(np.clip(rng.normal(1.02, 0.08), 0.78, 1.2))
    draw = rng.random()
    if draw < 0.13:  # overexposed
        exposure = rng.uniform(1.15, 1.45)
    elif draw < 0.22:  # dark
        exposure = rng.uniform(0.45, 0.75)
    return Light(
        toward=_direction(rng, lean, above),
        ambient=ambient,
        gloss=rng.uniform(0.01, 0.13) if rng.random() < 0.65 else rng.uniform(0.1, 0.3),
        hard=hard,
        exposure=exposure,
        color=_lamp_color(rng, 0.06),
        others=tuple(others),
    )


def cast_shadow(
    height: Array, toward: tuple[float, float, float], hard: float, cell: float
) -> Array:
    """March from every cell towards a lamp: visible share of the lamp, (H, W) float32.

    Args:
        height: Surface heights, (H, W) float32.
        toward: Unit vector to the lamp.
        hard: Sharpness of the shadows, 0..1.
        cell: Side of a cell in the unit of the heights.
    """
    hidden = np.zeros_like(height)
    rows, columns = height.shape
    softness = np.float32(0.1 + 0.5 * (1 - hard))
    for distance in (0.04, 0.07, 0.11, 0.16, 0.23, 0.32, 0.45, 0.65, 0.9):
        shift_x, shift_y = distance * toward[0] / cell, distance * toward[1] / cell
        move = np.array([[1, 0, -shift_x], [0, 1, -shift_y]])
        ahead = cv2.warpAffine(height, move, (columns, rows), borderMode=cv2.BORDER_REPLICATE)
        above = (ahead - height - np.float32(distance * toward[2])) / np.float32(distance)
        np.maximum(hidden, above, out=hidden)
    return np.float32(1) - np.clip(hidden / softness, 0, 1)


def to_painted(light: Array) -> Array:
    """Convert amounts of light to factors for painted colors."""
    # OpenCV 4 returns a column for a one-dimensional array.
    return np.asarray(cv2.pow(np.maximum(light, 0), _GAMMA)).reshape(light.shape)


def enlarge(field: Array, frame: Frame) -> Array:
    """Enlarge a coarse field to the pixel size of a picture."""
    return cv2.resize(field, (frame.size, frame.size), interpolation=cv2.INTER_LINEAR)

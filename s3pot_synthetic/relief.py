"""The relief of a face as a height map, and the position of every pixel on it.

The map uses the coordinates of the frontal head (see ``head``): (MAP_SIDE, MAP_SIDE) cells over
[-REACH, REACH] in both directions; heights are in half widths of the head. It is a sum of bumps
with separable profiles, so that it costs one product of two small matrices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from s3pot_synthetic.canvas import Array, unit_grid
from s3pot_synthetic.head import Head

MAP_SIDE = 160
REACH = 1.3
COARSE = 128  # light changes slowly: it is computed on a grid of this side, then enlarged
_NEWTON_STEPS = 3


@dataclass(frozen=True)
class Place:
    """Positions of the coarse grid's pixels on the head; all fields (COARSE, COARSE) float32.

    Attributes:
        across, down: Coordinates in the picture plane of the head, with the outline at 1.
        u, v: Coordinates on the frontal face.
        height: Relief at (u, v), half widths.
    """

    across: Array
    down: Array
    u: Array
    v: Array
    height: Array


def bumps_map(bumps: list[tuple[float, float, float, float, float, float]]) -> Array:
    """Sum bumps with Gaussian profiles to a map.

    Args:
        bumps: x, y, spread in x, spread upwards, spread downwards, height of each.

    Returns:
        (MAP_SIDE, MAP_SIDE) float32.
    """
    table = np.array(bumps)
    line = np.linspace(-REACH, REACH, MAP_SIDE)[None]
    x, y, spread_x, above, below, height = (column[:, None] for column in table.T)
    profile_x = np.exp(-0.5 * ((line - x) / spread_x) ** 2)
    profile_y = np.exp(-0.5 * ((line - y) / np.where(line < y, above, below)) ** 2)
    return ((profile_y * height).T @ profile_x).astype(np.float32)


def sample_map(field: Array, u: Array, v: Array) -> Array:
    """Sample a map at face coordinates: same shape as ``u`` and ``v``."""
    scale = np.float32((MAP_SIDE - 1) / (2 * REACH))
    columns, rows = (u + np.float32(REACH)) * scale, (v + np.float32(REACH)) * scale
    return cv2.remap(field, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def draw_relief(rng: np.random.Generator, head: Head) -> Array:
    """Draw the relief of one face: (MAP_SIDE, MAP_SIDE) float32."""
    eye_x, eye_y, nose_y, mouth_y = head.eye_x, head.eye_y, head.nose_y, head.mouth_y
    wing = head.nose_x * 0.72
    tip = head.nose_tip
    age = head.age
    middle = (eye_y + nose_y) / 2
    centered = [
        (0.0, eye_y, 0.075, 0.09, 0.12, 0.35 * tip),  # root of the nose
        (0.0, middle, 0.07, 0.1, 0.1, 0.5 * tip),  # its ridge
        (0.0, nose_y - 0.01, 0.09, 0.1, 0.04, 0.85 * tip),  # its tip
        (0.0, 0.46, 0.3, 0.13, 0.2, 0.07),  # the mouth protrudes
        (0.0, mouth_y - 0.035, 0.17, 0.025, 0.02, 0.03),  # lips
        (0.0, mouth_y + 0.045, 0.14, 0.025, 0.03, 0.04),
        (0.0, mouth_y, 0.2, 0.012, 0.012, -0.03),
        (0.0, (nose_y + mouth_y) / 2 + 0.04, 0.03, 0.05, 0.05, -0.02),
        (0.0, mouth_y + 0.14, 0.2, 0.035, 0.04, -0.05),
        (0.0, 0.85, 0.18, 0.09, 0.1, rng.uniform(0.05, 0.11)),  # chin
        (0.0, eye_y - 0.13, 0.08, 0.05, 0.06, 0.03),
        (0.0, -0.5, 0.5, 0.2, 0.2, rng.uniform(0.0, 0.05)),
    ]
    sided = [
        (wing, nose_y + 0.015, 0.055, 0.055, 0.035, 0.42 * tip),  # wings of the nose
        (eye_x, eye_y, 0.17, 0.08, 0.07, -rng.uniform(0.07, 0.13)),  # socket
        (0.17, eye_y - 0.01, 0.06, 0.06, 0.06, -0.04),
        (eye_x, eye_y, 0.1, 0.045, 0.04, 0.05),  # eye ball
        (eye_x - 0.03, eye_y - 0.16, 0.2, 0.05, 0.06, rng.uniform(0.015, 0.065)),  # brow
        (0.55, 0.16, 0.2, 0.13, 0.16, rng.uniform(0.03, 0.09)),  # cheek
        (0.64, 0.46, 0.15, 0.16, 0.18, -rng.uniform(0.0, 0.09)),  # hollow below it
        (0.3, -0.55, 0.2, 0.15, 0.15, 0.02),
        (0.8, -0.35, 0.14, 0.2, 0.2, -0.05),  # temple
        (eye_x - 0.08, eye_y + 0.13, 0.13, 0.02, 0.03, -0.03 * age),  # bags
    ]
    fold = (0.012 + 0.035 * age) * (1 + max(0.0, 9 * head.smile))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):  # from the wing of the nose to the mouth
        x, y = 0.2 + 0.17 * share, nose_y + 0.02 + (mouth_y - nose_y - 0.04) * share
        sided.append((x, y, 0.035, 0.04, 0.04, -fold))
        sided.append((x + 0.1, y - 0.04, 0.07, 0.06, 0.06, 0.6 * fold))
    bumps = list(centered)
    for bump in sided:
        mild = rng.normal(1, 0.12)
        for side in (-1, 1):
            bumps.append((side * bump[0], *bump[1:5], bump[5] * mild * rng.normal(1, 0.06)))
    return bumps_map(bumps) * np.float32(head.relief)


def locate(head: Head, relief: Array) -> Place:
    """Find the point of the posed head that every pixel of the coarse grid shows."""
    x, y = unit_grid(COARSE)
    cos, sin = math.cos(head.roll), math.sin(head.roll)
    dx, dy = x - np.float32(head.center[0]), y - np.float32(head.center[1])
    across = (cos * dx + sin * dy) / np.float32(head.half[0])
    down = (cos * dy - sin * dx) / np.float32(head.half[1])
    skew_x, skew_y = head.skew(across, down)
    across = (across - skew_x).astype(np.float32)
    down = (down - skew_y).astype(np.float32)
    turn_cos, turn_sin = np.float32(math.cos(head.yaw)), np.float32(math.sin(head.yaw))
    nod = np.float32(0.5 * math.sin(head.pitch))
    height = np.zeros_like(across)
    u, v = across, down
    for _ in range(2):  # the second time with the parallax of the relief
        wanted = across - height * turn_sin
        u = (wanted - np.float32(0.62) * turn_sin) / turn_cos
        for _ in range(_NEWTON_STEPS):
            u = np.clip(u, -1.1, 1.1)
            root = np.sqrt(1 - np.float32(0.8) * u * u)
            slope = turn_cos - turn_sin * np.float32(0.496) * u / root
            error = u * turn_cos + np.float32(0.62) * root * turn_sin - wanted
            u = u - error / np.maximum(slope, np.float32(0.3))
        u = np.clip(u, -1.15, 1.15)
        depth = np.float32(0.62) * np.sqrt(np.clip(1 - np.float32(0.8) * u * u, 0, 1))
        v = down - nod * (depth + height)
        height = sample_map(relief, u, v)
    return Place(across, down, u, v, height)


def normals(head: Head, place: Place) -> tuple[Array, Array, Array]:
    """Return the surface normals on the coarse grid: right, down, to the viewer."""
    u, v = place.u, place.v
    # A face is flatter in front than a sphere, and curves away faster at the sides.
    flat_x = np.float32(0.9) * u * np.abs(u) ** np.float32(0.45)
    flat_y = np.float32(0.62) * v * np.abs(v) ** np.float32(0.6)
    front = np.sqrt(np.clip(1 - flat_x**2 - flat_y**2, 0.05, 1))
    cos, sin = np.float32(math.cos(head.yaw)), np.float32(math.sin(head.yaw))
    normal_x, normal_z = flat_x * cos + front * sin, front * cos - flat_x * sin
    cos, sin = np.float32(math.cos(head.pitch)), np.float32(math.sin(head.pitch))
    normal_y, normal_z = flat_y * cos + normal_z * sin, normal_z * cos - flat_y * sin
    # Near the outline every surface faces away from the viewer.
    rim = np.clip((np.hypot(place.across, 0.8 * place.down) - 0.7) / 0.3, 0, 1) ** 2
    normal_x += rim * (np.float32(0.96) * np.clip(place.across, -1, 1) - normal_x)
    normal_y += rim * (np.float32(0.7) * np.clip(place.down, -1, 1) - normal_y)
    normal_z += rim * (np.float32(0.15) - normal_z)
    step = 256.0 / COARSE
    slope_y, slope_x = np.gradient(place.height)
    normal_x = normal_x - slope_x * np.float32(head.half[0] / step)
    normal_y = normal_y - slope_y * np.float32(head.half[0] / step)
    normal_z = np.maximum(normal_z, 0.05)
    length = np.sqrt(normal_x**2 + normal_y**2 + normal_z**2)
    normal_x, normal_y, normal_z = normal_x / length, normal_y / length, normal_z / length
    cos, sin = np.float32(math.cos(head.roll)), np.float32(math.sin(head.roll))
    return cos * normal_x - sin * normal_y, sin * normal_x + cos * normal_y, normal_z

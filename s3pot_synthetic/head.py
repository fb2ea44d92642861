"""Geometry, light and skin of one drawn head.

Head coordinates: the face center is (0, 0), x points to the right of the picture in half widths of
the head, y down in half heights; the chin is at y = 1, the top of the skull at y = -1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from s3pot.labels import CLASSES
from s3pot_synthetic.canvas import Array, Frame, Points, pick, rotate, spline
from s3pot_synthetic.lighting import Light, draw_light

BACKGROUND = CLASSES.index("background")
LIP, BROW, EYE = CLASSES.index("lip"), CLASSES.index("eyebrows"), CLASSES.index("eyes")
HAIR, NOSE, SKIN = CLASSES.index("hair"), CLASSES.index("nose"), CLASSES.index("skin")
EAR, NECK, MOUTH = CLASSES.index("ears"), CLASSES.index("belowface"), CLASSES.index("mouth")
GLASSES, EARRING = CLASSES.index("eye_glass"), CLASSES.index("ear_rings")

NOSE_LIFT = 0.2  # how far the tip of the nose protrudes where its outline is drawn

SKIN_TONES: tuple[tuple[float, float, float], ...] = (
    (0.96, 0.8, 0.71), (0.93, 0.73, 0.61), (0.88, 0.65, 0.51), (0.79, 0.55, 0.4),
    (0.66, 0.43, 0.29), (0.5, 0.31, 0.21), (0.36, 0.22, 0.15),
)  # fmt: skip
HAIR_COLORS: tuple[tuple[float, float, float], ...] = (
    (0.07, 0.06, 0.06), (0.12, 0.08, 0.06), (0.2, 0.13, 0.08), (0.33, 0.21, 0.12),
    (0.52, 0.35, 0.19), (0.76, 0.6, 0.38), (0.48, 0.2, 0.1), (0.55, 0.54, 0.52),
    (0.82, 0.8, 0.77), (0.3, 0.14, 0.3),
)  # fmt: skip


@dataclass(frozen=True)
class Head:
    """The geometry and colors of one face.

    Attributes:
        frame: Pixel size of the picture.
        center: Face center in units.
        half: Half width and half height in units.
        roll, yaw, pitch: Pose in radians.
        skin: Skin color, (3,).
        tone: Position on the light-to-dark scale, 0..1.
        hair: Hair color, (3,).
        light: Lamps of the scene.
        relief: Strength of the facial relief, around 1.
        age: From 0, smooth, to 1, wrinkled.
        eye_x, eye_y, mouth_y, nose_y: Positions of the parts, in head coordinates before rotation.
        mouth_x, nose_x: Half widths of mouth and nose.
        nose_tip: How far the nose protrudes, in half widths of the head.
        smile: How far the corners of the mouth are raised.
        crooked: How much farther one corner is raised than the other, as a share of ``smile``.
        jaw: Half width at the jaw corner and at the chin.
        asymmetry: Strength of the differences between the sides, see ``skew``; 0 is symmetric.
    """

    frame: Frame
    center: tuple[float, float]
    half: tuple[float, float]
    roll: float
    yaw: float
    pitch: float
    skin: Array
    tone: float
    hair: Array
    light: Light
    relief: float
    age: float
    eye_x: float
    eye_y: float
    mouth_x: float
    mouth_y: float
    nose_x: float
    nose_y: float
    nose_tip: float
    smile: float
    crooked: float
    jaw: tuple[float, float]
    asymmetry: tuple[float, float, float, float, float]

    @property
    def shift(self) -> tuple[float, float]:
        """Shift of the face center caused by the pose, in head coordinates."""
        return 0.62 * math.sin(self.yaw), 0.3 * math.sin(self.pitch)

    @property
    def landmarks(self) -> Array:
        """Five landmarks in units, (5, 2): eyes, tip of the nose, corners of the mouth.

        The left eye and the left corner in the picture (the person's right ones) come first.
        """
        nose = self.turn([(0.0, self.nose_y)], NOSE_LIFT)
        sides = np.array([-1.0, 1.0])
        eyes = self.turn(np.stack([sides * self.eye_x, np.full(2, self.eye_y)], 1))
        heights = self.mouth_y - self.smile * (1 + self.crooked * sides)
        corners = self.turn(np.stack([sides * self.mouth_x, heights], 1), 0.05)
        return np.concatenate([eyes, nose, corners])

    def skew(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Displacement of a point by the head's asymmetry, right and down, in head coordinates.

        The midline bends, the chin shifts, one half is wider; eyes and mouth tilt relative to each
        other, and one side is lower.
        """
        bend, chin, wider, twist, lower = self.asymmetry
        x, y = np.clip(x, -1, 1), np.clip(y, -1, 1)
        right = bend * (y**2 - 0.3) + chin * np.maximum(y, 0) ** 2 + wider * (x**2 - 1)
        return right, twist * x * y + lower * x

    def place(self, points: Points) -> Array:
        """Convert head coordinates (N, 2) to units."""
        p = np.asarray(points, np.float64)
        p = p + np.stack(self.skew(p[:, 0], p[:, 1]), 1)
        return rotate(p * np.array(self.half), self.roll) + np.array(self.center)

    def turn(self, points: Points, lift: float | Array = 0.0) -> Array:
        """Convert points on the front of the face (N, 2) to units, in the perspective of the pose.

        Args:
            points: Head coordinates of the unturned face.
            lift: How far they stand out of the face, one value or (N,).
        """
        p = np.asarray(points, np.float64)
        depth = 0.62 * np.sqrt(np.clip(1 - 0.8 * p[:, 0] ** 2, 0, 1)) + lift
        x = p[:, 0] * math.cos(self.yaw) + depth * math.sin(self.yaw)
        y = p[:, 1] + 0.5 * depth * math.sin(self.pitch)
        return self.place(np.array([x, y]).T)


def skin_color(rng: np.random.Generator) -> tuple[Array, float]:
    """Draw a skin color (3,) and its position on the light-to-dark scale, 0..1."""
    tone = float(rng.random())
    steps = np.linspace(0, 1, len(SKIN_TONES))
    color = np.array([np.interp(tone, steps, [c[i] for c in SKIN_TONES]) for i in range(3)])
    return np.clip(color + rng.normal(0, 0.02, 3), 0.05, 1).astype(np.float32), tone


def draw_head(rng: np.random.Generator, frame: Frame) -> Head:
    """Draw pose, proportions, colors and light of a head at random."""
    skin, tone = skin_color(rng)
    choices = HAIR_COLORS[:4] if rng.random() < (0.85 if tone > 0.5 else 0.4) else HAIR_COLORS[:-1]
    if rng.random() < 0.03:  # dyed
        choices = HAIR_COLORS[-1:]
    hair = np.clip(pick(rng, choices) + rng.normal(0, 0.025, 3), 0.02, 1).astype(np.float32)
    height = rng.uniform(82, 128)
    grin = rng.random() < 0.3
    tilt = 20 if rng.random() < 0.25 else 7
    asymmetry = np.clip(rng.normal(0, 0.03, 5), -0.07, 0.07).tolist()
    return Head(
        frame=frame,
        center=(128 + rng.normal(0, 7), 132 + rng.normal(0, 6)),
        half=(height * rng.uniform(0.68, 0.79), height),
        roll=math.radians(float(np.clip(rng.normal(0, tilt), -36, 36))),
        yaw=float(np.clip(rng.normal(0, 0.26), -0.61, 0.61)),
        pitch=float(np.clip(rng.normal(0, 0.13), -0.33, 0.33)),
        skin=skin,
        tone=tone,
        hair=hair,
        light=draw_light(rng),
        relief=rng.uniform(0.75, 1.25),
        age=float(np.clip(rng.normal(0.25, 0.3), 0, 1)),
        eye_x=rng.uniform(0.4, 0.46),
        eye_y=-rng.uniform(0.04, 0.13),
        mouth_x=rng.uniform(0.32, 0.4) if grin else rng.uniform(0.24, 0.33),
        mouth_y=rng.uniform(0.52, 0.59),
        nose_x=rng.uniform(0.16, 0.24),
        nose_y=rng.uniform(0.25, 0.31),
        nose_tip=rng.uniform(0.13, 0.26),
        smile=float(rng.normal(0.06, 0.02) if grin else rng.normal(0.012, 0.02)),
        crooked=float(np.clip(rng.normal(0, 0.5), -1.2, 1.2)),
        jaw=(rng.uniform(0.66, 0.84), rng.uniform(0.28, 0.45)),
        asymmetry=(asymmetry[0], asymmetry[1], asymmetry[2], asymmetry[3], asymmetry[4]),
    )


def outline(head: Head) -> Array:
    """Return the outline of the head without hair, closed, in units."""
    jaw, chin = head.jaw
    lean = 0.16 * math.sin(head.yaw)
    far = 0.25 * math.sin(head.yaw)
    points = []
    for side in (1, -1):
        narrow = 1 - 0.25 * max(0.0, -side * far)
        half = [
            (side * 0.52, -0.93), (side * 0.88, -0.58), (side * 0.99, -0.15), (side * 0.96, 0.22),
            (side * jaw * narrow + lean, 0.63), (side * chin * narrow + 1.6 * lean, 0.93),
        ]  # fmt: skip
        points.append(half if side == 1 else half[::-1])
    ring = [(0.0, -1.03), *points[0], (1.8 * lean, 1.0), *points[1]]
    return head.place(spline(ring, 6))

"""Geometry, light and skin of one drawn head.

Head coordinates: the face centre is (0, 0), x runs to the picture's right in half widths of the
head, y down in half heights; the chin is at y = 1, the top of the skull at y = -1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from s3pot.labels import CLASSES
from s3pot_synthetic.canvas import Array, Frame, Points, pick, rotate, spline, spread, unit_grid
from s3pot_synthetic.textures import noise

BACKGROUND = CLASSES.index("background")
LIP, BROW, EYE = CLASSES.index("lip"), CLASSES.index("eyebrows"), CLASSES.index("eyes")
HAIR, NOSE, SKIN = CLASSES.index("hair"), CLASSES.index("nose"), CLASSES.index("skin")
EAR, NECK, MOUTH = CLASSES.index("ears"), CLASSES.index("belowface"), CLASSES.index("mouth")
GLASSES, EARRING = CLASSES.index("eye_glass"), CLASSES.index("ear_rings")

SKIN_TONES: tuple[tuple[float, float, float], ...] = (
    (0.95, 0.81, 0.73), (0.92, 0.75, 0.64), (0.87, 0.67, 0.54), (0.77, 0.57, 0.43),
    (0.63, 0.44, 0.32), (0.48, 0.32, 0.23), (0.35, 0.23, 0.17),
)  # fmt: skip
HAIR_COLOURS: tuple[tuple[float, float, float], ...] = (
    (0.07, 0.06, 0.06), (0.12, 0.08, 0.06), (0.2, 0.13, 0.08), (0.33, 0.21, 0.12),
    (0.52, 0.35, 0.19), (0.76, 0.6, 0.38), (0.48, 0.2, 0.1), (0.55, 0.54, 0.52),
    (0.82, 0.8, 0.77), (0.3, 0.14, 0.3),
)  # fmt: skip
# Relief of a face: x, y, spread x, spread y, height; x > 0 entries are mirrored.
_RELIEF: tuple[tuple[float, float, float, float, float], ...] = (
    (0.0, 0.0, 0.07, 0.2, 0.10), (0.0, 0.2, 0.1, 0.08, 0.13), (0.14, 0.24, 0.06, 0.05, 0.06),
    (0.4, -0.16, 0.2, 0.09, -0.08), (0.4, -0.14, 0.12, 0.05, 0.05), (0.36, -0.32, 0.26, 0.06, 0.04),
    (0.5, 0.18, 0.2, 0.16, 0.07), (0.0, 0.82, 0.2, 0.11, 0.09), (0.0, 0.5, 0.26, 0.07, 0.05),
    (0.0, 0.67, 0.2, 0.045, -0.045), (0.62, 0.42, 0.14, 0.2, -0.05), (0.3, 0.34, 0.06, 0.12, -0.03),
)  # fmt: skip
_COARSE = 128  # shading is smooth: computed on a coarse grid, then enlarged


@dataclass(frozen=True)
class Light:
    """One lamp and an even fill.

    Attributes:
        toward: Unit vector to the lamp: right, down, to the viewer.
        ambient: Share of light that has no direction.
        gloss: Strength of highlights on skin.
    """

    toward: tuple[float, float, float]
    ambient: float
    gloss: float


@dataclass(frozen=True)
class Head:
    """Where the parts of one face lie.

    Attributes:
        frame: Pixel size of the picture.
        centre: Face centre in units.
        half: Half width and half height in units.
        roll, yaw, pitch: Pose in radians.
        skin: Skin colour, (3,).
        tone: Place on the light-to-dark scale, 0..1.
        hair: Hair colour, (3,).
        light: Lamp of the scene.
        relief: How strongly the face is modelled, around 1.
        eye_x, eye_y, mouth_x, mouth_y, nose_y: Places of the parts, head coordinates before
            turning; `mouth_x` is half the width of the mouth.
        smile: How far the corners of the mouth are drawn up.
        crooked: How much further one corner is drawn up than the other, as a share of `smile`.
        jaw: Half width at the jaw corner and at the chin.
        asymmetry: Strength of the ways in which the sides differ, see `skew`; 0 is symmetric.
    """

    frame: Frame
    centre: tuple[float, float]
    half: tuple[float, float]
    roll: float
    yaw: float
    pitch: float
    skin: Array
    tone: float
    hair: Array
    light: Light
    relief: float
    eye_x: float
    eye_y: float
    mouth_x: float
    mouth_y: float
    nose_y: float
    smile: float
    crooked: float
    jaw: tuple[float, float]
    asymmetry: tuple[float, float, float, float, float]

    @property
    def shift(self) -> tuple[float, float]:
        """How far the middle of the face is moved by turning, head coordinates."""
        return 0.62 * math.sin(self.yaw), 0.3 * math.sin(self.pitch)

    @property
    def landmarks(self) -> Array:
        """Five landmarks in units, (5, 2): eyes, tip of the nose, corners of the mouth.

        The left eye and the left corner in the picture (the person's right ones) come first.
        """
        nose = self.turn([(0.0, self.nose_y)], 0.12)
        sides = np.array([-1.0, 1.0])
        eyes = self.turn(np.stack([sides * self.eye_x, np.full(2, self.eye_y)], 1))
        heights = self.mouth_y - self.smile * (1 + self.crooked * sides)
        corners = self.turn(np.stack([sides * self.mouth_x, heights], 1), 0.05)
        return np.concatenate([eyes, nose, corners])

    def skew(self, x: Array, y: Array) -> tuple[Array, Array]:
        """How far the asymmetry of the head moves a place, right and down; head coordinates.

        The middle line bends, the chin drifts, one half is wider; eyes and mouth tilt against
        each other, one side sits lower.
        """
        bend, chin, wider, twist, lower = self.asymmetry
        x, y = np.clip(x, -1, 1), np.clip(y, -1, 1)
        right = bend * (y**2 - 0.3) + chin * np.maximum(y, 0) ** 2 + wider * (x**2 - 1)
        return right, twist * x * y + lower * x

    def place(self, points: Points) -> Array:
        """Move head coordinates (N, 2) to units."""
        p = np.asarray(points, np.float64)
        p = p + np.stack(self.skew(p[:, 0], p[:, 1]), 1)
        return rotate(p * np.array(self.half), self.roll) + np.array(self.centre)

    def turn(self, points: Points, lift: float | Array = 0.0) -> Array:
        """Move points on the front of the face (N, 2) to units, with the perspective of the pose.

        Args:
            points: Head coordinates of the unturned face.
            lift: How far they stand out of the face, one value or (N,).
        """
        p = np.asarray(points, np.float64)
        depth = 0.62 * np.sqrt(np.clip(1 - 0.8 * p[:, 0] ** 2, 0, 1)) + lift
        x = p[:, 0] * math.cos(self.yaw) + depth * math.sin(self.yaw)
        y = p[:, 1] + 0.5 * depth * math.sin(self.pitch)
        return self.place(np.array([x, y]).T)


def skin_colour(rng: np.random.Generator) -> tuple[Array, float]:
    """Draw a skin colour (3,) and its place on the light-to-dark scale, 0..1."""
    tone = float(rng.random())
    steps = np.linspace(0, 1, len(SKIN_TONES))
    colour = np.array([np.interp(tone, steps, [c[i] for c in SKIN_TONES]) for i in range(3)])
    return np.clip(colour + rng.normal(0, 0.02, 3), 0.05, 1).astype(np.float32), tone


def draw_head(rng: np.random.Generator, frame: Frame) -> Head:
    """Draw pose, proportions, colours and light of a head at random."""
    skin, tone = skin_colour(rng)
    angle, lean = rng.uniform(-math.pi, 0.15 * math.pi), rng.uniform(0.15, 0.95)
    lamp = np.array([lean * math.cos(angle), lean * math.sin(angle), 1.0])
    lamp /= np.linalg.norm(lamp)
    choices = HAIR_COLOURS[:4] if tone > 0.6 and rng.random() < 0.8 else HAIR_COLOURS
    hair = np.clip(pick(rng, choices) + rng.normal(0, 0.025, 3), 0.02, 1).astype(np.float32)
    height = rng.uniform(84, 122)
    asymmetry = np.clip(rng.normal(0, 0.03, 5), -0.07, 0.07).tolist()
    return Head(
        frame=frame,
        centre=(128 + rng.normal(0, 7), 132 + rng.normal(0, 6)),
        half=(height * rng.uniform(0.68, 0.79), height),
        roll=math.radians(float(np.clip(rng.normal(0, 6), -16, 16))),
        yaw=float(np.clip(rng.normal(0, 0.2), -0.48, 0.48)),
        pitch=float(np.clip(rng.normal(0, 0.12), -0.3, 0.3)),
        skin=skin,
        tone=tone,
        hair=hair,
        light=Light(
            (float(lamp[0]), float(lamp[1]), float(lamp[2])),
            rng.uniform(0.12, 0.75),
            rng.uniform(0.0, 0.2),
        ),
        relief=rng.uniform(0.7, 1.4),
        eye_x=rng.uniform(0.38, 0.45),
        eye_y=-rng.uniform(0.1, 0.17),
        mouth_x=rng.uniform(0.24, 0.34),
        mouth_y=rng.uniform(0.48, 0.55),
        nose_y=rng.uniform(0.21, 0.27),
        smile=float(rng.normal(0.02, 0.025)),
        crooked=float(np.clip(rng.normal(0, 0.5), -1.2, 1.2)),
        jaw=(rng.uniform(0.66, 0.84), rng.uniform(0.28, 0.45)),
        asymmetry=(asymmetry[0], asymmetry[1], asymmetry[2], asymmetry[3], asymmetry[4]),
    )


def outline(head: Head) -> Array:
    """Trace the head without hair: closed outline in units."""
    jaw, chin = head.jaw
    lean, far = 0.16 * math.sin(head.yaw), 0.25 * math.sin(head.yaw)
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


def _normals(head: Head) -> tuple[Array, Array, Array]:
    """Surface directions on the coarse grid: right, down, to the viewer; each (128, 128)."""
    x, y = unit_grid(_COARSE)
    cos, sin = math.cos(head.roll), math.sin(head.roll)
    dx, dy = x - np.float32(head.centre[0]), y - np.float32(head.centre[1])
    across = (cos * dx + sin * dy) / np.float32(head.half[0])
    down = (cos * dy - sin * dx) / np.float32(head.half[1])
    shift_x, shift_y = head.shift
    skew_x, skew_y = head.skew(across, down)
    across, down = (across - skew_x).astype(np.float32), (down - skew_y).astype(np.float32)
    face_x, face_y = (across - shift_x) / math.cos(head.yaw), down - shift_y
    height = np.zeros_like(across)
    for px, py, sx, sy, amount in _RELIEF:
        vertical = np.exp(-0.5 * ((face_y - py) / sy) ** 2) * np.float32(amount * head.relief)
        for centre in {px, -px} if px else (0.0,):
            height += vertical * np.exp(-0.5 * ((face_x - centre) / sx) ** 2)
    step = 256.0 / _COARSE
    slope_y, slope_x = np.gradient(height)
    slope_x *= head.half[0] / step
    slope_y *= head.half[1] / step
    across, down = 0.92 * across, 0.85 * down
    front = np.sqrt(np.clip(1.0 - across**2 - down**2, 0.08, 1.0))
    normal_x = across - 0.75 * slope_x * front
    normal_y = 0.7 * down - 0.6 * slope_y * front
    length = np.sqrt(normal_x**2 + normal_y**2 + front**2)
    normal_x, normal_y, front = normal_x / length, normal_y / length, front / length
    return cos * normal_x - sin * normal_y, sin * normal_x + cos * normal_y, front


def shade_skin(rng: np.random.Generator, head: Head) -> tuple[Array, Array]:
    """Light the skin of a head.

    Returns:
        Light on the skin (S, S), about 0.3..1.3, and lit skin (S, S, 3); both float32.
    """
    normal_x, normal_y, normal_z = _normals(head)
    lamp = head.light.toward
    facing = np.clip(normal_x * lamp[0] + normal_y * lamp[1] + normal_z * lamp[2], 0, 1)
    ambient = head.light.ambient
    light = (ambient + (1.24 - ambient) * facing).astype(np.float32)
    light *= 0.82 + 0.18 * normal_z
    halfway = np.array(lamp) + (0, 0, 1)
    halfway = (halfway / np.linalg.norm(halfway)).astype(np.float32)
    spark = normal_x * halfway[0] + normal_y * halfway[1] + normal_z * halfway[2]
    spark = head.light.gloss * np.clip(spark, 0, 1) ** rng.uniform(14, 40)
    # Shadows in skin turn red, not grey: red falls off more slowly.
    tinted = np.stack([light**0.88, light**1.06, light**1.14], 2) * head.skin
    mottle = noise(rng, Frame(_COARSE), "cloud")[..., None] * np.float32(rng.uniform(0, 0.022))
    mottle = mottle * head.skin[0]
    tinted = (tinted + mottle * np.array([1.0, 0.7, 0.7], np.float32) + spark[..., None]).astype(
        np.float32
    )
    size = (head.frame.size, head.frame.size)
    picture = cv2.resize(tinted, size, interpolation=cv2.INTER_LINEAR)
    pores: Array = noise(rng, head.frame, "grain", 0) * np.float32(rng.uniform(0.004, 0.014))
    pores = pores + noise(rng, head.frame, "grain", 2) * np.float32(rng.uniform(0.0, 0.016))
    picture += spread(pores * np.float32(0.35 + 0.65 * head.skin.mean()))
    light_full = cv2.resize(light, size, interpolation=cv2.INTER_LINEAR)
    return light_full, np.clip(picture, 0, 1, out=picture)

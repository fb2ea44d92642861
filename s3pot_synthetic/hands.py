"""Hands and arms: fingers with joints and nails, thumb, palm, wrist, sleeve.

Hand coordinates: the unit is half the palm's width, x points towards the fingertips, y across.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from s3pot_synthetic.canvas import Array, Frame, colored, ellipse, pick, ribbon, rotate, spline
from s3pot_synthetic.face import Face
from s3pot_synthetic.head import skin_color
from s3pot_synthetic.layers import Layer
from s3pot_synthetic.textures import any_color, noise, texture

_LENGTHS = (1.55, 1.85, 1.75, 1.35)


@dataclass(frozen=True)
class _Hand:
    """Position, size and appearance of one hand."""

    frame: Frame
    center: Array
    angle: float
    size: float
    thumb: float  # side of the thumb, -1 or 1
    skin: Array
    surface: Array

    def place(self, points: Array | list[tuple[float, float]]) -> Array:
        return rotate(np.asarray(points, np.float64) * self.size, self.angle) + self.center

    def body(self, points: Array, swell: float) -> Layer:
        return Layer(self.frame.fill(self.place(points)), self.surface, swell * self.size)

    def crease(self, points: list[tuple[float, float]], alpha: float = 0.4) -> Layer:
        line = self.frame.stroke(spline(self.place(points), 4, False), 0.07 * self.size)
        return Layer(self.frame.soften(line, 0.6), self.skin * 0.5, 0.0, alpha)


def hand_surface(rng: np.random.Generator, face: Face) -> tuple[Array, Array]:
    """Draw the skin of a hand, usually like that of the face: (3,) and (S, S, 3)."""
    if rng.random() < 0.82:
        skin = np.clip(
            face.head.skin * rng.uniform(0.88, 1.08) + rng.normal(0, 0.015, 3), 0.05, 1
        ).astype(np.float32)
    else:
        skin = skin_color(rng)[0]
    spots: Array = np.float32(rng.uniform(0.006, 0.02)) * noise(rng, face.head.frame, "grain", 2)
    spots = spots + np.float32(rng.uniform(0.0, 0.025)) * noise(rng, face.head.frame, "cloud")
    return skin, colored(1 + 1.5 * spots, skin)


def _finger(rng: np.random.Generator, hand: _Hand, base: tuple[float, float], lean: float,
            length: float, width: float, nail: bool) -> list[Layer]:  # fmt: skip
    """Draw one finger with two joints: body, creases, nail."""
    points = [np.array(base)]
    angle = lean
    for share in (0.45, 0.3, 0.25):
        points.append(points[-1] + length * share * np.array([math.cos(angle), math.sin(angle)]))
        angle += rng.normal(0, 0.07)
    line = spline(np.array(points), 5, closed=False)
    widths = width * np.interp(
        np.linspace(0, 1, len(line)), [0, 0.42, 0.5, 0.8, 1], [1, 0.93, 0.98, 0.88, 0.78]
    )
    mask = hand.frame.fill(hand.place(ribbon(line, widths)))
    tip = hand.place([tuple(points[-1])])[0]
    radius = 0.39 * width * hand.size
    mask = cv2.max(
        mask, hand.frame.fill(ellipse(tip, (radius * 1.15, radius), hand.angle + angle, 20))
    )
    layers = [Layer(mask, hand.surface, width * 0.33 * hand.size)]
    across = np.array([-math.sin(lean), math.cos(lean)]) * width * 0.33
    for joint in points[1:3]:
        bulge = joint + 0.05 * np.array([math.cos(lean), math.sin(lean)])
        layers.append(hand.crease([tuple(joint - across), tuple(bulge), tuple(joint + across)]))
    if nail:
        spot = points[-1] + 0.02 * np.array([math.cos(angle), math.sin(angle)])
        shape = ellipse(
            hand.place([tuple(spot)])[0],
            np.array([0.34, 0.25]) * width * hand.size,
            hand.angle + angle,
            20,
            2.8,
        )
        nails = np.clip(hand.skin * 0.6 + (0.42, 0.3, 0.3), 0, 1)
        layers.append(Layer(hand.frame.fill(shape), nails, 0.1 * width * hand.size, 0.7))
    return layers


def draw_hand(rng: np.random.Generator, face: Face, center: Array, angle: float, size: float,
              split: str, pose: str) -> list[Layer]:  # fmt: skip
    """Draw a hand with its arm.

    Args:
        rng: Random stream.
        face: The face it is held to, which provides skin tone and light.
        center: Center of the palm in units.
        angle: Direction of the fingers, radians.
        size: Half width of the palm in units.
        split: Decides the sleeve's texture.
        pose: ``open``, ``together``, ``fist`` or ``point``.
    """
    skin, surface = hand_surface(rng, face)
    hand = _Hand(face.head.frame, center, angle, size, pick(rng, (-1.0, 1.0)), skin, surface)
    drift = rng.normal(0, 1.2)
    nail = bool(rng.random() < 0.65)
    arm = spline([(-0.7, 0.0), (-1.8, 0.1 * drift), (-9.0, drift)], 6, closed=False)
    layers = [hand.body(ribbon(arm, np.linspace(1.25, 2.1, len(arm))), 0.4)]
    palm = [
        (-1.15, -0.6),
        (-0.3, -0.88),
        (0.75, -0.98),
        (1.05, -0.5),
        (1.1, 0.5),
        (0.75, 0.95),
        (-0.3, 0.88),
        (-1.15, 0.6),
    ]
    layers.append(hand.body(spline(palm), 0.3))
    wrist = hand.frame.fill(hand.place(ellipse((-0.95, 0.0), (0.45, 0.52))))
    layers.append(Layer(hand.frame.soften(wrist, 0.12 * size), surface, 0.0, 0.95))
    if pose == "fist":
        layers += _folded(rng, hand, range(4), nail)
    else:
        layers += _stretched(rng, hand, pose, nail)
    if rng.random() < 0.65:
        layers.append(_sleeve(rng, hand, arm, split))
    return layers


def _stretched(rng: np.random.Generator, hand: _Hand, pose: str, nail: bool) -> list[Layer]:
    """Draw fingers that point forward; in ``point`` only the first does."""
    spread = rng.uniform(0.0, 0.05) if pose == "together" else rng.uniform(0.06, 0.32)
    layers = []
    order = [0, 3, 1, 2] if hand.thumb < 0 else [3, 0, 2, 1]
    count = 1 if pose == "point" else 4
    for i in order:
        y = (i - 1.5) * 0.5 * (-hand.thumb)
        if i >= count:
            continue
        lean = (i - 1.5) * spread * (-hand.thumb) + rng.normal(0, 0.03)
        layers += _finger(rng, hand, (0.6, y), lean, _LENGTHS[i] + 0.35, 0.52, nail)
    knuckles = hand.frame.fill(hand.place(ellipse((0.68, 0.0), (0.3, 0.88), 0.0, 32, 2.6)))
    layers.append(Layer(hand.frame.soften(knuckles, 0.13 * hand.size), hand.surface, 0.0, 0.92))
    for i in range(4):
        y = (i - 1.5) * 0.5
        layers.append(hand.crease([(0.86, y - 0.13), (0.92, y), (0.86, y + 0.13)], 0.25))
    if pose == "point":
        layers += _folded(rng, hand, range(1, 4), nail)
    side = hand.thumb
    reach = rng.uniform(0.7, 1.2) if pose != "together" else rng.uniform(0.15, 0.5)
    layers += _finger(rng, hand, (-0.45, side * 0.55), side * reach, 1.65, 0.58, nail)
    ball = hand.frame.fill(hand.place(ellipse((-0.4, side * 0.52), (0.5, 0.36), side * 0.5)))
    layers.append(Layer(hand.frame.soften(ball, 0.1 * hand.size), hand.surface, 0.0, 0.9))
    return layers


def _folded(rng: np.random.Generator, hand: _Hand, fingers: range, nail: bool) -> list[Layer]:
    """Draw curled fingers that lie on the palm, and the thumb across them."""
    layers = []
    for i in fingers:
        y = (i - 1.5) * 0.5 * (-hand.thumb)
        length = 0.75 + 0.12 * _LENGTHS[i]
        shape = ellipse((0.62, y), (length * 0.62, 0.27), rng.normal(0, 0.05), 28, 3.2)
        layers.append(hand.body(shape, 0.17))
        layers.append(hand.crease([(0.55, y - 0.18), (0.6, y), (0.55, y + 0.18)]))
    layers += _finger(rng, hand, (-0.35, hand.thumb * 0.7), -hand.thumb * 0.45, 1.35, 0.55, nail)
    return layers


def _sleeve(rng: np.random.Generator, hand: _Hand, arm: Array, split: str) -> Layer:
    start = int(rng.integers(6, 9))
    line = arm[start:]
    cloth = texture(rng, hand.frame, split, any_color(rng))
    shape = ribbon(line, np.linspace(1.9, 2.9, len(line)))
    return Layer(hand.frame.fill(hand.place(shape)), cloth, 0.55 * hand.size)


def hand(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Hold one or both hands to the face: anywhere, or in resting and hiding poses."""
    head = face.head
    layers = []
    for _ in range(2 if rng.random() < 0.18 else 1):
        pose = pick(rng, ("open", "open", "open", "together", "together", "fist", "point"))
        size = rng.uniform(22, 42) * head.half[0] / 72  # a palm is about 0.6 of a face wide
        side = pick(rng, (-1.0, 1.0))
        manner = rng.random()
        if manner < 0.25:  # the chin or a cheek rests on it, the fingers point up
            spot = (side * rng.uniform(0.2, 0.85), rng.uniform(0.0, 0.75))
            angle = -math.pi / 2 - side * rng.uniform(-0.2, 0.7)
        elif manner < 0.5:  # from the side over mouth, nose, eyes or forehead
            spot = (side * rng.uniform(-0.3, 0.3), rng.uniform(-0.7, 0.7))
            angle = math.pi * (side > 0) - side * rng.uniform(-0.9, 0.5)
        else:  # anywhere; arms come from below more often than from above
            spot = (rng.uniform(-0.6, 0.6), rng.uniform(-0.45, 0.75))
            angle = rng.uniform(-math.pi, math.pi)
            if rng.random() < 0.7:
                angle = rng.uniform(-math.pi * 0.95, -math.pi * 0.05)
        angle += head.roll
        forward = np.array([math.cos(angle), math.sin(angle)])
        back = rng.uniform(0.2, 1.9) if pose != "fist" else rng.uniform(-0.2, 1.2)
        place = head.turn([spot])[0] - forward * back * size
        layers += draw_hand(rng, face, place, angle, size, split, pose)
    return layers

"""Common occluders that are objects: phones, cups, books, cloths, patches, veils, glasses."""

from __future__ import annotations

import math

import cv2
import numpy as np

from s3pot_synthetic.canvas import Array, ellipse, pick, rotate, spline
from s3pot_synthetic.face import Face
from s3pot_synthetic.hands import draw_hand, hand_surface
from s3pot_synthetic.layers import Layer, target
from s3pot_synthetic.textures import any_color, noise, texture


def held_thing(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Hold a phone, cup, book, ball or card in front of the face, often with a visible hand."""
    frame = face.head.frame
    place = target(rng, face)
    angle = rng.normal(0, 0.35)
    kind = pick(rng, ("phone", "cup", "book", "ball", "card"))
    cloth = texture(rng, frame, split, any_color(rng))
    layers = []

    def box(offset: tuple[float, float], radii: tuple[float, float], power: float = 14.0) -> Array:
        return ellipse(place + rotate(np.array([offset]), angle)[0], radii, angle, 56, power)

    if rng.random() < 0.5:
        reach = rotate(np.array([[rng.normal(0, 14), 52.0]]), angle)[0]
        layers += draw_hand(
            rng, face, place + reach, angle - math.pi / 2, rng.uniform(20, 27), split, "together"
        )
    if kind == "phone":
        wide = rng.uniform(17, 26)
        layers.append(
            Layer(frame.fill(box((0, 0), (wide, wide * 2.05), 9)), any_color(rng) * 0.6, 1.5)
        )
        layers.append(Layer(frame.fill(box((0, 0), (wide * 0.9, wide * 1.9), 14)), cloth))
        lens = frame.fill(box((-wide * 0.5, -wide * 1.5), (wide * 0.2, wide * 0.2), 3))
        layers.append(Layer(lens, (0.04, 0.04, 0.05), 1.0))
    elif kind == "cup":
        wide = rng.uniform(20, 30)
        grip = frame.stroke(
            box((wide * 1.1, 0), (wide * 0.45, wide * 0.6), 2), wide * 0.25, closed=True
        )
        layers.append(Layer(grip, cloth, 2.0))
        layers.append(Layer(frame.fill(box((0, 0), (wide, wide * 1.25), 7)), cloth, wide * 0.42))
        layers.append(
            Layer(
                frame.fill(box((0, -wide * 1.12), (wide * 0.95, wide * 0.2), 2)),
                any_color(rng) * 0.5,
                2.0,
            )
        )
    elif kind == "book":
        radii = (rng.uniform(30, 52), rng.uniform(30, 58))
        layers.append(Layer(frame.fill(box((2, 2), radii, 40)), (0.9, 0.88, 0.8)))
        layers.append(Layer(frame.fill(box((0, 0), radii, 40)), cloth, 1.0))
        for row in range(int(rng.integers(0, 4))):
            line = frame.fill(box((0, radii[1] * (0.3 * row - 0.6)), (radii[0] * 0.7, 2.5), 10))
            layers.append(Layer(line, any_color(rng)))
    elif kind == "ball":
        layers.append(Layer(frame.fill(box((0, 0), (rng.uniform(20, 42),) * 2, 2)), cloth, 13.0))
    else:
        layers.append(
            Layer(
                frame.fill(box((0, 0), (rng.uniform(24, 60), rng.uniform(12, 34)), 20)), cloth, 0.8
            )
        )
    return layers


def cloth(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Hang a piece of cloth or paper in front of the face: irregular outline, folds."""
    frame = face.head.frame
    place = target(rng, face)
    turns = np.sort(rng.random(9)) * 2 * math.pi
    radius = rng.uniform(24, 58) * np.clip(1 + rng.normal(0, 0.28, 9), 0.4, 1.7)
    outline = place + np.stack(
        [radius * np.cos(turns), radius * np.sin(turns) * rng.uniform(0.6, 1.2)], 1
    )
    if rng.random() < 0.3:
        outline = outline[::2]
        shape = frame.fill(outline)
    else:
        shape = frame.fill(spline(outline))
    picture = texture(rng, frame, split)
    folds = 1 + np.float32(rng.uniform(0.03, 0.2)) * noise(
        rng, frame, pick(rng, ("cloud", "grain")), 3
    )
    return [Layer(shape, np.clip(picture * folds[..., None], 0, 1), rng.uniform(1, 9))]


def skin_patch(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Press something shapeless and skin-colored against the face: a shoulder, another cheek."""
    surface = hand_surface(rng, face)[1]
    frame = face.head.frame
    angle = rng.uniform(0, 2 * math.pi)
    size = rng.uniform(20, 44)
    along = np.array([math.cos(angle), math.sin(angle)])
    place = target(rng, face)
    body = spline([place + rotate(np.array([p]), angle)[0] for p in (
        (-size, 0), (-0.7 * size, -0.6 * size), (size, -0.9 * size), (190, -1.3 * size),
        (190, 1.3 * size), (size, 0.9 * size), (-0.7 * size, 0.6 * size))])  # fmt: skip
    crease = frame.stroke(np.stack([place - along * size * 0.3, place + along * size]), 1.5)
    fold = Layer(
        cv2.min(frame.soften(crease, 1.2), frame.fill(body)), face.head.skin * 0.5, 0.0, 0.4
    )
    return [Layer(frame.fill(body), surface, size * 0.4), fold]


def veil(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Hang something semi-transparent in front of the face: gauze, tinted film, smoked glass."""
    frame = face.head.frame
    place = target(rng, face)
    radii = rng.uniform(30, 75), rng.uniform(22, 60)
    shape = ellipse(place, radii, rng.normal(0, 0.7), 48, rng.uniform(2, 12))
    if rng.random() < 0.5:
        shape = spline(shape[::6] + rng.normal(0, 7, (8, 2)))
    mask = frame.fill(shape)
    picture = texture(rng, frame, split, any_color(rng))
    edge = frame.stroke(shape, rng.uniform(1.2, 3), closed=True)
    return [
        Layer(mask, picture, rng.uniform(0, 6), rng.uniform(0.62, 0.85)),
        Layer(edge, picture * 0.8, 0.0, rng.uniform(0.62, 0.9)),
    ]


def tumbler(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Drink from a glass: cloudy glass, colored drink, bright edges."""
    head = face.head
    frame = face.head.frame
    place = head.turn([(rng.normal(0, 0.2), head.mouth_y + rng.uniform(-0.05, 0.25))], 0.2)[0]
    wide = rng.uniform(18, 30)
    tall = rng.uniform(30, 48)
    angle = rng.normal(0, 0.25)

    def at(points: list[tuple[float, float]]) -> Array:
        return rotate(np.array(points) * (wide, tall), angle) + place

    glass = frame.fill(at([(-1, -1), (1, -1), (0.82, 1), (-0.82, 1)]))
    drink = frame.fill(at([(-0.93, -0.4), (0.93, -0.4), (0.78, 0.92), (-0.78, 0.92)]))
    rim = frame.stroke(ellipse(at([(0, -1)])[0], (wide, wide * 0.2), angle), 1.6, closed=True)
    shine = frame.soften(frame.stroke(at([(-0.7, -0.8), (-0.6, 0.8)]), 3), 1.0)
    return [
        Layer(glass, any_color(rng, 0.1) * 0.3 + 0.6, wide * 0.3, rng.uniform(0.62, 0.75)),
        Layer(drink, any_color(rng, 0.9), wide * 0.3, rng.uniform(0.62, 0.95)),
        Layer(rim, (0.9, 0.93, 0.95), 0.0, 0.8),
        Layer(cv2.min(shine, glass), (1, 1, 1), 0.0, 0.55),
    ]

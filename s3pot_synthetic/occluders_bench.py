"""Occluders that only ``bench`` contains: fan, scarf, ice cream, bandage, crossed arms, bouquet."""

from __future__ import annotations

import math

import cv2
import numpy as np

from s3pot_synthetic.canvas import ellipse, pick, ribbon, rotate, spline
from s3pot_synthetic.face import Face
from s3pot_synthetic.hands import draw_hand, hand_surface
from s3pot_synthetic.layers import Layer, target
from s3pot_synthetic.textures import any_color, noise, texture


def fan(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Open a folding fan in front of a part of the face."""
    frame = face.head.frame
    place = target(rng, face)
    lean = rng.normal(0, 0.6)
    size = rng.uniform(70, 110)
    opened = rng.uniform(0.8, 1.2)
    pivot = place + rotate(np.array([[0.0, size * 0.8]]), lean)[0]
    t = np.linspace(-opened, opened, 28) + lean - math.pi / 2
    ray = np.stack([np.cos(t), np.sin(t)], 1)
    sheet = np.concatenate([pivot + ray * size, (pivot + ray * size * 0.35)[::-1]])
    picture = texture(rng, frame, split, any_color(rng, 0.7))
    layers = [Layer(frame.fill(sheet), picture, 2.0)]
    wood = any_color(rng, 0.2) * 0.7
    for i, direction in enumerate(ray[::3]):
        rib = np.stack([pivot, pivot + direction * size * 0.97])
        layers.append(Layer(frame.stroke(rib, 2.2), wood, 0.8))
        if i % 2:
            pleat = frame.fill(
                np.stack([pivot, pivot + ray[3 * i] * size, pivot + ray[3 * i - 3] * size])
            )
            layers.append(Layer(cv2.min(pleat, layers[0].mask), picture * 0.6, 0.0, 0.5))
    return layers


def scarf(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Wind a scarf around the lower or upper face: soft folds, one hanging end."""
    head = face.head
    frame = face.head.frame
    level = pick(rng, (rng.uniform(0.2, 0.7), rng.uniform(-0.4, -0.1)))
    thick = rng.uniform(0.3, 0.55)
    x = np.linspace(-1.2, 1.2, 9)
    sag = 0.14 * (1 - x**2) + rng.normal(0, 0.02, 9)
    band = ribbon(
        head.place(np.stack([x, level + thick / 2 + sag], 1)), np.full(9, thick * head.half[1])
    )
    picture = texture(rng, frame, split, any_color(rng))
    knit = np.clip(1 + 0.12 * noise(rng, frame, "strand"), 0.4, 1.6)[..., None]
    picture = np.clip(picture * knit, 0, 1)
    side = pick(rng, (-1, 1))
    end = ribbon(
        head.place(
            [(side * 0.6, level + 0.3), (side * 0.75, level + 0.9), (side * 0.65, level + 1.6)]
        ),
        np.array([26, 32, 34]),
    )
    mask = frame.fill(band)
    layers = [Layer(frame.fill(end), picture, 6.0), Layer(mask, picture, 9.0)]
    for share in rng.uniform(0.15, 0.85, 4):
        line = head.place(np.stack([x, level + thick * share + sag + rng.normal(0, 0.05) * x], 1))
        crease = frame.soften(frame.stroke(spline(line, 4, False), 3), 1.6)
        layers.append(Layer(cv2.min(crease, mask), picture * 0.45, 0.0, 0.55))
    return layers


def ice_cream(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Eat an ice cream: waffle cone, one to three scoops."""
    head = face.head
    frame = face.head.frame
    place = head.turn([(rng.normal(0, 0.2), head.mouth_y + rng.uniform(0.0, 0.25))], 0.2)[0]
    size = rng.uniform(17, 27)
    angle = rng.normal(0, 0.3)

    def at(points: list[tuple[float, float]]) -> np.ndarray:
        return rotate(np.array(points) * size, angle) + place

    cone = frame.fill(at([(-0.85, 0.5), (0.85, 0.5), (0.1, 3.6), (-0.1, 3.6)]))
    layers = [Layer(cone, np.array([0.8, 0.58, 0.3]), size * 0.3)]
    for offset in np.arange(-3.0, 3.1, 0.45):
        for slope in (-0.8, 0.8):
            line = frame.stroke(at([(offset - 2 * slope, 0.5), (offset + 2 * slope, 3.6)]), 1.2)
            layers.append(Layer(cv2.min(line, cone), (0.5, 0.32, 0.15), 0.0, 0.5))
    for spot in ((0.0, -1.0), (0.5, 0.0), (-0.5, 0.0))[3 - int(rng.integers(1, 4)) :]:
        ball = ellipse(at([spot])[0], (size, size * 0.95), 0.0, 48) + rng.normal(0, 0.5, (48, 2))
        flavour = any_color(rng, 0.5) * 0.5 + 0.45
        layers.append(
            Layer(
                frame.fill(ball), flavour * (1 + 0.05 * noise(rng, frame))[..., None], size * 0.38
            )
        )
    return layers


def bandage(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Stick adhesive bandages on the face or wind gauze around the head, mostly skin-colored."""
    head = face.head
    frame = face.head.frame
    layers = []
    skin_like = np.clip(
        head.skin * 0.9 + np.array([0.09, 0.06, 0.04]) + rng.normal(0, 0.03, 3), 0, 1
    )
    weave = (1 + 0.07 * noise(rng, frame, "strand", 0) + 0.07 * noise(rng, frame, "strand", 6))[
        ..., None
    ]
    if rng.random() < 0.4:
        for _ in range(int(rng.integers(2, 5))):
            level = rng.uniform(-0.45, 0.5)
            tilt = rng.normal(0, 0.2)
            x = np.linspace(-1.05, 1.05, 7)
            line = head.place(np.stack([x, level + tilt * x + 0.06 * (1 - x**2)], 1))
            layers.append(
                Layer(
                    frame.fill(ribbon(line, np.full(7, rng.uniform(12, 20)))),
                    weave * (0.9, 0.88, 0.83),
                    3.0,
                )
            )
        return layers
    color = skin_like if rng.random() < 0.7 else any_color(rng)
    for _ in range(int(rng.integers(2, 5))):
        place = target(rng, face)
        angle = rng.uniform(0, math.pi)
        wide = rng.uniform(8, 13)
        strip = ellipse(place, (wide * rng.uniform(2.4, 3.6), wide), angle, 48, 5)
        layers.append(Layer(frame.fill(strip), np.clip(weave * color, 0, 1), 1.6))
        pad = ellipse(place, (wide * 0.9, wide * 0.8), angle, 24, 6)
        layers.append(Layer(frame.fill(pad), np.clip(color * 0.9, 0, 1), 1.0, 0.7))
    return layers


def crossed_arms(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Lay bare or sleeved forearms across the face, one or two."""
    frame = face.head.frame
    layers = []
    skin, surface = hand_surface(rng, face)
    bare = rng.random() < 0.65
    cover = surface if bare else texture(rng, frame, split, any_color(rng))
    for turn in (1, -1)[: 2 if rng.random() < 0.5 else 1]:
        place = target(rng, face)
        angle = turn * rng.uniform(0.1, 0.9)
        along = np.array([math.cos(angle), math.sin(angle)])
        line = place + np.linspace(-200, 200, 9)[:, None] * along
        width = rng.uniform(34, 52) * np.linspace(0.72, 1.28, 9)[:: pick(rng, (-1, 1))]
        mask = frame.fill(ribbon(line, width))
        layers.append(Layer(mask, cover, 15.0))
        for offset in rng.uniform(-60, 60, 2 if bare else 5):
            fold = ellipse(
                place + along * offset, (2, width.mean() * 0.45), angle + rng.normal(0, 0.2), 16
            )
            crease = cv2.min(frame.soften(frame.stroke(fold[:8], 1.6), 1.5), mask)
            layers.append(Layer(crease, skin * 0.4 if bare else cover * 0.5, 0.0, 0.35))
    return layers


def bouquet(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Hold a bunch of flowers up to the face."""
    frame = face.head.frame
    place = target(rng, face)
    layers = []
    fist = place + (rng.normal(0, 8), rng.uniform(60, 85))
    spots = place + rng.normal(0, 21, (int(rng.integers(6, 13)), 2))
    for spot in spots:
        layers.append(Layer(frame.stroke(np.stack([fist, spot]), 2.5), (0.2, 0.42, 0.15), 1.0))
    layers += draw_hand(
        rng, face, fist, -math.pi / 2 + rng.normal(0, 0.3), rng.uniform(19, 25), split, "fist"
    )
    palette = [any_color(rng, 0.9) for _ in range(2)]
    for spot in spots:
        color = pick(rng, palette)
        size = rng.uniform(9, 16)
        count = int(rng.integers(5, 9))
        for turn in np.arange(count) * 2 * math.pi / count + rng.random():
            middle = spot + 0.6 * size * np.array([math.cos(turn), math.sin(turn)])
            petal = ellipse(middle, (size * 0.6, size * 0.36), turn, 18)
            layers.append(
                Layer(frame.fill(petal), np.clip(color * rng.uniform(0.8, 1.15), 0, 1), size * 0.14)
            )
        layers.append(
            Layer(frame.fill(ellipse(spot, (size * 0.3,) * 2, 0, 14)), (0.85, 0.7, 0.2), 1.5)
        )
    return layers

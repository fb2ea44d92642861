"""Occluders without a meaning: arbitrary shapes pasted over a face, with hard or soft edges."""

from __future__ import annotations

import math

import cv2
import numpy as np

from s3pot_synthetic.canvas import Array, ellipse, pick, ribbon, rotate, spline
from s3pot_synthetic.face import Face
from s3pot_synthetic.layers import Layer, target
from s3pot_synthetic.natural import surface
from s3pot_synthetic.textures import texture


def _any_surface(rng: np.random.Generator, face: Face, split: str) -> Array:
    """Draw any texture at any contrast; one in four has nearly the color of the skin."""
    base = None
    if rng.random() < 0.25:
        light = face.head.light.exposure
        base = np.clip(face.head.skin * light + rng.normal(0, 0.05, 3), 0, 1).astype(np.float32)
    if rng.random() < 0.7:
        size = face.head.frame.size
        return surface(rng, size, size, base).astype(np.float32) / np.float32(255)
    return texture(rng, face.head.frame, split, base)


def blob(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Paste blobs, polygons, bars or circles of any texture: composites with hard edges."""
    frame = face.head.frame
    layers = []
    for _ in range(int(rng.choice((1, 1, 1, 2, 4)))):
        place = target(rng, face)
        radius = math.exp(rng.uniform(math.log(10), math.log(58)))
        angle = rng.uniform(0, math.pi)
        kind = rng.random()
        if kind < 0.3:
            flat = rng.uniform(0.3, 1.0)
            power = pick(rng, (2.0, 2.0, 4.0, 30.0))
            outline = ellipse(place, (radius, radius * flat), angle, 40, power)
        elif kind < 0.75:
            corners = int(rng.integers(3, 11))
            turns = np.sort(rng.random(corners)) * 2 * math.pi
            reach = radius * rng.uniform(0.4, 1.3, corners)
            outline = np.stack([reach * np.cos(turns), reach * np.sin(turns)], 1) + place
            outline = spline(outline) if rng.random() < 0.6 else outline
        else:
            way = np.cumsum(rng.normal(0, radius * 0.5, (6, 2)), 0)
            line = spline(place + way - way.mean(0), 6, closed=False)
            wide = rng.uniform(4, 22)
            outline = ribbon(line, wide * np.linspace(1, rng.uniform(0.3, 1.3), len(line)))
        mask = frame.fill(outline)
        if rng.random() < 0.2:
            mask = frame.soften(mask, rng.uniform(0.5, 2.5))
        swell = rng.uniform(2, 0.3 * radius + 3) if rng.random() < 0.35 else 0.0
        layers.append(Layer(mask, _any_surface(rng, face, split), swell))
    return layers


def doughnut(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Lay something flat on the face: a doughnut, a slice, a sticker, an adhesive bandage."""
    head = face.head
    frame = face.head.frame
    spot = (rng.uniform(-0.45, 0.45), rng.uniform(-0.75, 0.4))
    place = head.turn([spot], 0.05)[0]
    angle = rng.uniform(0, 2 * math.pi)
    radius = rng.uniform(13, 36)
    flat = rng.uniform(0.75, 1.0)
    picture = _any_surface(rng, face, split)
    body = frame.fill(ellipse(place, (radius, radius * flat), angle, 48))
    kind = pick(rng, ("doughnut", "doughnut", "slice", "sticker", "strip"))
    if kind == "strip":
        strip = ellipse(place, (radius * 1.2, radius * 0.35), angle, 40, 8)
        return [Layer(frame.fill(strip), picture, 1.5)]
    if kind == "sticker":
        return [Layer(body, picture, 0.0)]
    if kind == "slice":
        rind = Layer(body, picture * np.float32(0.6), 2.0)
        inner = frame.fill(ellipse(place, (radius * 0.86, radius * flat * 0.86), angle, 40))
        layers = [rind, Layer(inner, picture, 1.0)]
        for turn in np.linspace(0, 2 * math.pi, int(rng.integers(5, 11)))[:-1]:
            end = place + rotate(np.array([[radius * 0.8, 0.0]]), angle + turn)[0]
            line = frame.stroke(np.stack([place, end]), 1.2)
            layers.append(Layer(cv2.min(line, inner), picture * np.float32(0.7), 0.0, 0.5))
        return layers
    dough = np.array((0.78, 0.55, 0.32)) * rng.uniform(0.6, 1.1)
    hole_share = rng.uniform(0.2, 0.38)
    hole = frame.fill(ellipse(place, (radius * hole_share, radius * flat * hole_share), angle, 32))
    ring = cv2.subtract(body, hole)
    outline = ellipse(place, (radius * 0.87, radius * flat * 0.87), angle, 14)
    icing = frame.fill(spline(outline + rng.normal(0, radius * 0.035, outline.shape)))
    larger = hole_share + 0.08
    cut = ellipse(place, (radius * larger, radius * flat * larger), angle, 32)
    icing = cv2.subtract(icing, frame.fill(cut))
    crumb = np.clip(dough + rng.normal(0, 0.02, 3), 0, 1)
    layers = [Layer(ring, crumb, radius * 0.2), Layer(icing, picture, radius * 0.16)]
    for _ in range(int(rng.integers(0, 22))):
        turn = rng.uniform(0, 2 * math.pi)
        far = rng.uniform(0.52, 0.8) * radius
        middle = place + far * np.array([math.cos(turn), math.sin(turn) * flat])
        crumb_shape = ellipse(middle, (radius * 0.08, radius * 0.03), rng.uniform(0, 3), 8)
        layers.append(Layer(cv2.min(frame.fill(crumb_shape), icing), rng.random(3), 0.5))
    return layers


def cutlery(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Hold a fork, a spoon, a knife, chopsticks, a pen or a brush before the face."""
    head = face.head
    frame = face.head.frame
    kind = pick(rng, ("fork", "fork", "spoon", "knife", "sticks", "pen"))
    tip = head.turn([(rng.uniform(-0.5, 0.5), head.mouth_y + rng.uniform(-0.6, 0.3))], 0.2)[0]
    angle = rng.uniform(-0.3, math.pi + 0.3)
    size = rng.uniform(7, 14)

    def at(points: list[tuple[float, float]] | Array) -> Array:
        """Place tool coordinates: x along the handle away from the tip, y across."""
        return rotate(np.asarray(points, np.float64) * size, angle) + tip

    if rng.random() < 0.65:
        metal = np.clip(rng.uniform(0.45, 0.85) + rng.normal(0, 0.03, 3), 0, 1)
    else:
        metal = _any_surface(rng, face, split)
    long = rng.uniform(10, 26)
    thick = rng.uniform(0.3, 0.6)
    handle = ribbon(at([(2.4, 0), (6, 0), (long, 0)]), size * np.array([0.7, 1.0, 2.2]) * thick)
    layers = [Layer(frame.fill(handle), metal, size * 0.12)]
    if kind == "fork":
        teeth = int(rng.integers(3, 5))
        outline = [(2.6, 0.25), (1.6, 1.0)]
        pitch = 2.0 / teeth
        for i in range(teeth):
            y = 1.0 - pitch * (i + 0.5)
            half = pitch * 0.27
            outline += [(0.6, y + half), (-1.4, y + half * 0.5), (-1.4, y - half * 0.5)]
            outline += [(0.6, y - half)]
        outline += [(1.6, -1.0), (2.6, -0.25)]
        layers.append(Layer(frame.fill(at(outline)), metal, size * 0.15))
    elif kind == "spoon":
        bowl = at(ellipse((0.6, 0), (2.0, 1.25)))
        inner = at(ellipse((0.55, 0), (1.7, 1.0)))
        layers.append(Layer(frame.fill(bowl), metal, size * 0.5))
        shade = np.asarray(metal) * np.float32(0.7)
        layers.append(Layer(frame.fill(inner), shade, size * 0.3))
    elif kind == "knife":
        blade = at([(3, 0.5), (-3, 0.55), (-4.2, -0.1), (-3.6, -0.5), (3, -0.45)])
        layers.append(Layer(frame.fill(blade), metal, 1.0))
    else:
        lean = rng.uniform(-0.06, 0.06)
        count = 2 if kind == "sticks" else 1
        for i in range(count):
            line = at([(-2, i * 0.6), (long, i * 0.6 + long * (lean + 0.05 * i))])
            widths = size * np.array([0.4, 0.7]) * (1 if kind == "sticks" else 1.3)
            layers.append(Layer(frame.fill(ribbon(line, widths)), metal, size * 0.12))
    streak = ribbon(at([(2.6, 0.12 * thick), (long, 0.3 * thick)]), size * np.array([0.1, 0.2]))
    shine = cv2.min(frame.fill(streak), layers[0].mask)
    layers.append(Layer(shine, (1.0, 1.0, 1.0), 0.0, rng.uniform(0.1, 0.5)))
    return layers


def pane(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Hold something clear before the face: a glass, a bottle, a film with streaks of light."""
    frame = face.head.frame
    place = target(rng, face)
    radii = (rng.uniform(18, 48), rng.uniform(24, 70))
    angle = rng.normal(0, 0.5)
    power = rng.uniform(2, 14)
    outline = ellipse(place, radii, angle, 48, power)
    mask = frame.fill(outline)
    # A clear object shows what is behind it, refracted and tinted; it still hides it.
    size = frame.size
    bend = rng.uniform(0.7, 1.5)
    middle = (place + 0.5) * frame.scale - 0.5
    shift = middle - bend * middle + rng.normal(0, 6, 2) * frame.scale
    move = np.array([[bend, 0, shift[0]], [0, bend, shift[1]]])
    behind = cv2.warpAffine(face.image, move, (size, size), borderMode=cv2.BORDER_REFLECT)
    behind = cv2.GaussianBlur(behind, (0, 0), max(0.4, rng.uniform(0.5, 5) * frame.scale))
    tint = np.clip(1 - rng.uniform(0, 0.5) * rng.random(3), 0, 1).astype(np.float32)
    behind = behind / np.float32(max(0.3, face.head.light.exposure))
    gray = np.float32(rng.uniform(0.0, 0.35))
    content = np.clip(behind * tint * (1 - gray) + gray * np.float32(rng.uniform(0.2, 1.0)), 0, 1)
    rim = frame.stroke(outline, rng.uniform(1.2, 4), closed=True)
    layers = [
        Layer(mask, content, rng.uniform(0, 4)),
        Layer(rim, np.full(3, rng.uniform(0.3, 1.0)), 0.0, rng.uniform(0.3, 0.9)),
    ]
    for _ in range(int(rng.integers(1, 4))):
        x = rng.uniform(-0.8, 0.8)
        streak_ends = np.array([(x, -0.9), (x + rng.normal(0, 0.1), rng.uniform(0, 0.9))]) * radii
        streak = frame.stroke(rotate(streak_ends, angle) + place, rng.uniform(1.5, 7))
        streak = cv2.min(frame.soften(streak, 1.2), mask)
        layers.append(Layer(streak, (1.0, 1.0, 1.0), 0.0, rng.uniform(0.15, 0.55)))
    return layers

"""Marks on the skin that are not occlusions: beard, blush, freckles, tattoos, cast shadows."""

from __future__ import annotations

import cv2
import numpy as np

from s3pot_synthetic.canvas import Array, Canvas, ellipse, pick, spline, spread
from s3pot_synthetic.head import Head
from s3pot_synthetic.textures import noise


def skin_marks(rng: np.random.Generator, head: Head, canvas: Canvas, face: Array) -> None:
    """Draw blush, freckles, moles, wrinkles and tattoos under the features.

    Args:
        rng: Random stream.
        head: The head.
        canvas: Picture, changed in place.
        face: Mask of the head, (S, S) uint8.
    """
    frame = canvas.frame
    if rng.random() < 0.25:
        red = (1.03, rng.uniform(0.8, 0.95), rng.uniform(0.8, 0.95))
        for side in (-1, 1):
            spot = frame.fill(head.turn(ellipse((side * 0.52, 0.22), (0.2, 0.13))))
            canvas.tint(frame.soften(spot, 8), red, face)
    if rng.random() < 0.1:
        spots = frame.empty()
        for point in head.turn(rng.normal(0, 1, (60, 2)) * (0.36, 0.16) + (0, 0.1)):
            spots = cv2.max(
                spots, frame.fill(ellipse(point, np.full(2, rng.uniform(0.4, 1.0)), 0, 8))
            )
        canvas.tint(frame.soften(spots, 0.5), (0.88, 0.76, 0.7), face)
    for _ in range(int(rng.choice((0, 0, 0, 1, 2)))):
        mole = ellipse(
            head.turn([rng.uniform(-0.7, 0.7, 2)])[0], np.full(2, rng.uniform(0.5, 1.3)), 0, 10
        )
        canvas.tint(frame.fill(mole), 0.45, face)
    if rng.random() < 0.15 + 0.6 * head.age:
        for level in np.linspace(-0.62, -0.42, int(rng.integers(2, 4))):
            crease = [(-0.45, level), (0, level - 0.03 + rng.normal(0, 0.01)), (0.45, level)]
            line = frame.stroke(spline(head.turn(crease), 6, False), 1.3)
            canvas.tint(frame.soften(line, 1.0), rng.uniform(0.7, 0.92), face)
    if rng.random() < head.age:
        _crows_feet(rng, head, canvas, face)
    if rng.random() < 0.07:
        _tattoo(rng, head, canvas, face)


def _crows_feet(rng: np.random.Generator, head: Head, canvas: Canvas, face: Array) -> None:
    """Draw fine lines at the outer corners of the eyes, and below the eyes."""
    lines = canvas.frame.empty()
    for side in (-1, 1):
        start = np.array([side * (head.eye_x + 0.21), head.eye_y])
        for rise in np.linspace(-0.07, 0.1, int(rng.integers(2, 5))):
            middle = start + (side * 0.06, 0.4 * rise)
            end = start + (side * rng.uniform(0.1, 0.2), rise)
            way = spline(head.turn(np.stack([start, middle, end])), 4, closed=False)
            lines = cv2.max(lines, canvas.frame.stroke(way, 1.0))
        for drop in rng.uniform(0.08, 0.2, 2):
            points = start + np.array([(-0.4 * side, drop), (-0.2 * side, drop + 0.03), (0, drop)])
            way = spline(head.turn(points), 4, closed=False)
            lines = cv2.max(lines, canvas.frame.stroke(way, 1.0))
    canvas.tint(canvas.frame.soften(lines, 0.7), rng.uniform(0.72, 0.92), face)


def _tattoo(rng: np.random.Generator, head: Head, canvas: Canvas, face: Array) -> None:
    ink = canvas.frame.empty()
    place = rng.uniform((-0.6, -0.5), (0.6, 0.6))
    for _ in range(int(rng.integers(1, 4))):
        curve = spline(head.turn(place + rng.normal(0, 0.1, (4, 2))), 6, bool(rng.random() < 0.5))
        ink = cv2.max(ink, canvas.frame.stroke(curve, rng.uniform(1.2, 2.6)))
    canvas.paint(canvas.frame.soften(ink, 0.6), head.skin * (0.3, 0.36, 0.45), None, 0.75, face)


def beard(rng: np.random.Generator, head: Head, canvas: Canvas, face: Array, surface: Array) -> str:
    """Draw stubble, a mustache, a goatee or a full beard; returns its name."""
    name = pick(rng, ("full", "stubble", "stubble", "goatee", "moustache"))
    low = head.nose_y + 0.085
    y = head.mouth_y
    lip = [
        (-0.38, y),
        (-0.2, low + 0.03),
        (0, low),
        (0.2, low + 0.03),
        (0.38, y),
        (0.2, y - 0.05),
        (-0.2, y - 0.05),
    ]
    if name == "moustache":
        shape = head.turn(lip, 0.04)
    elif name == "goatee":
        shape = head.turn([*lip[:5], (0.36, y + 0.3), (0, 1.0), (-0.36, y + 0.3)], 0.02)
    else:
        cheek = rng.uniform(0.2, 0.4)
        shape = head.turn(
            [
                (-1.1, -0.05),
                (-0.85, cheek - 0.05),
                (-0.5, cheek + 0.1),
                (0, low),
                (0.5, cheek + 0.1),
                (0.85, cheek - 0.05),
                (1.1, -0.05),
                (1.1, 0.8),
                (0, 1.2),
                (-1.1, 0.8),
            ]
        )
    frame = canvas.frame
    mask = frame.soften(frame.fill(spline(shape)), rng.uniform(2.0, 6.0))
    coarse = pick(rng, (0, 0, 1))
    depth = rng.uniform(0.1, 0.45)
    speckle = np.clip(0.8 + depth * noise(rng, frame, "grain", coarse), 0, 1)
    mask = cv2.min((mask * speckle).astype(np.uint8), face)
    if name == "goatee":  # shaped beards are dense
        mask = cv2.max(mask, cv2.min(frame.soften(frame.fill(spline(shape)), 3.0), face) // 4 * 3)
    strength = rng.uniform(0.08, 0.5) if name == "stubble" else rng.uniform(0.45, 0.97)
    gray = rng.uniform(0, 0.8) if rng.random() < 0.2 else 0.0
    hairs = surface * np.float32(rng.uniform(0.55, 1.0))
    light: Array = hairs.mean(2) * np.float32(0.6 / max(float(head.hair.mean()), 0.05))
    streaks = 1 + np.float32(0.12) * noise(rng, frame, "grain", 1)
    hairs = (hairs * np.float32(1 - gray) + spread(light * np.float32(gray))) * spread(streaks)
    if name in ("full", "goatee") and strength > 0.6 and rng.random() < 0.3:
        _hang(rng, head, canvas, hairs)
    canvas.paint(mask, hairs, None, strength)
    return name


def _hang(rng: np.random.Generator, head: Head, canvas: Canvas, hairs: Array) -> None:
    """Let a long beard hang below the chin."""
    x = 0.4 * head.shift[0]
    wide = rng.uniform(0.25, 0.75)
    low = rng.uniform(1.1, 1.5)
    shape = [(x - wide, 0.7), (x, 0.6), (x + wide, 0.7), (x + 0.7 * wide, low - 0.1), (x, low)]
    shape.append((x - 0.7 * wide, low - 0.1))
    mask = canvas.frame.fill(spline(head.place(np.array(shape) + rng.normal(0, 0.03, (6, 2)))))
    canvas.tint(canvas.frame.soften(mask, 4), 0.7)
    canvas.paint(canvas.frame.soften(mask, 2.0), hairs * np.float32(0.85), None, 0.97)


def thrown_light(rng: np.random.Generator, canvas: Canvas) -> str:
    """Cast the shadow of something outside, or a patch of light, over the whole picture.

    It is not an occlusion: the raw and the clean picture both have it. Returns its name.
    """
    frame = canvas.frame
    kind = pick(rng, ("edge", "blinds", "leaves", "patch"))
    mask = frame.empty()
    angle = rng.uniform(0, np.pi)
    if kind == "edge":
        mask = frame.fill(
            ellipse(rng.uniform(-40, 296, 2), (260, rng.uniform(60, 120)), angle, 24, 12)
        )
    elif kind == "blinds":
        for offset in np.arange(-160, 161, rng.uniform(22, 44)):
            center = np.array([128 - offset * np.sin(angle), 128 + offset * np.cos(angle)])
            bar = ellipse(center, (300, rng.uniform(4, 9)), angle, 8, 20)
            mask = cv2.max(mask, frame.fill(bar))
    else:
        for _ in range(14 if kind == "leaves" else 1):
            radii = rng.uniform(8, 26, 2) * (1.0 if kind == "leaves" else 2.2)
            mask = cv2.max(
                mask, frame.fill(ellipse(rng.uniform(30, 226, 2), radii, rng.random() * 3))
            )
    factor = rng.uniform(1.15, 1.45) if kind == "patch" else rng.uniform(0.5, 0.85)
    canvas.tint(
        frame.soften(mask, rng.uniform(1.5, 7)),
        factor * np.array([1.0, 1.0, rng.uniform(0.92, 1.08)]),
    )
    return kind

"""Common occluders without hands: worn objects, food, tools, plants, letters, cloth."""

from __future__ import annotations

import math
import string

import cv2
import numpy as np

from s3pot_synthetic.canvas import ellipse, pick, ribbon, rotate, spline, unit_grid
from s3pot_synthetic.face import Face
from s3pot_synthetic.hair import lock_line
from s3pot_synthetic.layers import Layer, target
from s3pot_synthetic.textures import any_color, noise, texture
from s3pot_synthetic.wear import glasses_lines, lens_outlines

_MASK_COLORS = (
    (0.6, 0.77, 0.88), (0.9, 0.92, 0.93), (0.09, 0.09, 0.1), (0.62, 0.83, 0.76), (0.85, 0.66, 0.7),
)  # fmt: skip
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
)


def surgical_mask(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Draw a mask over nose and mouth, or pulled below the nose, with pleats and ear loops."""
    head = face.head
    frame = face.head.frame
    top = rng.uniform(-0.02, 0.2) if rng.random() < 0.85 else rng.uniform(0.28, 0.36)
    color = np.array(pick(rng, _MASK_COLORS) if rng.random() < 0.7 else any_color(rng), np.float32)
    cloth = texture(rng, frame, split, color) if rng.random() < 0.3 else None
    if cloth is None:
        cloth = color * (1 + 0.02 * noise(rng, frame, "grain", 1))[..., None]
    edge = [
        (-0.92, top + 0.1),
        (-0.4, top + 0.03),
        (0.0, top - 0.1),
        (0.4, top + 0.03),
        (0.92, top + 0.1),
    ]
    edge += [(0.82, 0.72), (0.4, 1.0), (0.0, 1.06), (-0.4, 1.0), (-0.82, 0.72)]
    mask = frame.fill(spline(head.turn(edge, 0.08), 5))
    loops = frame.empty()
    for side in (-1, 1):
        for start, end in ((top + 0.14, -0.08), (0.68, 0.16)):
            ear = head.place([(side * 1.0, end)])
            loops = cv2.max(
                loops,
                frame.stroke(np.concatenate([head.turn([(side * 0.88, start)], 0.08), ear]), 1.6),
            )
    layers = [Layer(loops, (0.88, 0.88, 0.87)), Layer(mask, cloth, rng.uniform(7, 13))]
    for level in (
        np.linspace(top + 0.22, 0.82, int(rng.integers(2, 5))) if rng.random() < 0.75 else ()
    ):
        pleat = spline(
            head.turn([(-0.82, level), (0.0, level + 0.05), (0.82, level)], 0.1), 6, False
        )
        fold = cv2.min(frame.soften(frame.stroke(pleat, 2.2), 1.0), mask)
        layers.append(Layer(fold, color * 0.45, 0.0, 0.4))
    return layers


def sunglasses(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Draw dark glasses: an occluder, as the eyes cannot be seen (clear glasses are class 10)."""
    frame = face.head.frame
    rims = lens_outlines(rng, face.head)
    growth = rng.uniform(1.0, 1.3)
    rims = [(shape - shape.mean(0)) * growth + shape.mean(0) for shape in rims]
    lens = frame.empty()
    rim = frame.empty()
    for shape in rims:
        lens = cv2.max(lens, frame.fill(shape))
        rim = cv2.max(rim, frame.stroke(shape, rng.uniform(2, 4.5), closed=True))
    for line in glasses_lines(face.head, rims):
        rim = cv2.max(rim, frame.stroke(line, 3))
    y = unit_grid(frame.size)[1]
    fade = np.clip((y - np.float32(rims[0][:, 1].mean() - 18)) / 36, 0, 1)[..., None]
    dark = (any_color(rng, 0.6) * 0.22).astype(np.float32)
    glass = dark + fade * np.float32(rng.uniform(0.0, 0.25)) * any_color(rng, 0.5)
    sky = frame.fill(spline(rims[0].mean(0) + rng.normal(0, 22, (5, 2))))
    return [
        Layer(lens, glass, 0.0, rng.uniform(0.86, 1.0)),
        Layer(cv2.min(frame.soften(sky, 2), lens), (0.75, 0.82, 0.9), 0.0, rng.uniform(0.05, 0.4)),
        Layer(rim, any_color(rng) * rng.uniform(0.1, 0.9), 1.0),
    ]


def hair_strands(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Let strands of the person's own hair, or of dark hair, fall over the face."""
    surface = face.hair if rng.random() < 0.8 else face.hair * np.float32(0.5)
    mask = face.head.frame.empty()
    for _ in range(int(rng.integers(2, 6))):
        line = lock_line(rng, face.head)
        width = rng.uniform(3, 15)
        for _ in range(int(rng.integers(1, 4))):
            strand = (
                line
                + rng.normal(0, 3, 2)
                + np.linspace(0, 1, len(line))[:, None] * rng.normal(0, 9, 2)
            )
            widths = np.interp(np.linspace(0, 1, len(line)), [0, 0.6, 1], [width, width * 0.8, 0.8])
            mask = cv2.max(mask, face.head.frame.fill(ribbon(strand, widths)))
    return [Layer(mask, surface, 1.6)]


def food(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Hold an apple, a banana, a burger or a cookie to the mouth."""
    head = face.head
    frame = face.head.frame
    place = head.turn([(rng.uniform(-0.35, 0.35), head.mouth_y + rng.uniform(-0.25, 0.3))], 0.2)[0]
    kind = pick(rng, ("fruit", "banana", "burger", "biscuit"))
    size = rng.uniform(22, 42)
    angle = rng.normal(0, 0.4)
    speckle = noise(rng, frame, "grain", 2)
    if kind == "fruit":
        color = np.array(
            pick(rng, ((0.75, 0.1, 0.1), (0.55, 0.7, 0.2), (0.95, 0.55, 0.1), (0.9, 0.6, 0.45)))
        )
        skin = color * (1 + 0.07 * speckle + 0.1 * noise(rng, frame, "cloud"))[..., None]
        shine = frame.fill(ellipse(place - size * 0.35, (size * 0.22, size * 0.15), 0.7))
        stem = frame.stroke(np.stack([place + (0, -size * 0.9), place + (3, -size * 1.2)]), 3)
        body = frame.fill(ellipse(place, (size, size * rng.uniform(0.9, 1.05))))
        return [
            Layer(stem, (0.3, 0.2, 0.1)),
            Layer(body, skin, size * 0.4),
            Layer(frame.soften(shine, 3), (1, 1, 1), 0, 0.4),
        ]
    if kind == "banana":
        t = np.linspace(-1.1, 1.1, 12)
        line = (
            rotate(np.stack([size * 1.5 * np.sin(t), size * 1.5 * (0.6 - np.cos(t))], 1), angle)
            + place
        )
        widths = np.interp(
            np.linspace(0, 1, 12),
            [0, 0.12, 0.5, 0.88, 1],
            [3, 0.5 * size, 0.75 * size, 0.5 * size, 4],
        )
        return [
            Layer(
                frame.fill(ribbon(line, widths)),
                np.array([0.93, 0.78, 0.25]) * (1 + 0.03 * speckle)[..., None],
                size * 0.25,
            )
        ]
    if kind == "biscuit":
        body = frame.fill(ellipse(place, (size, size * 0.95)))
        crumbs = np.clip(1 + 0.1 * speckle, 0.3, 2)[..., None] * (0.74, 0.52, 0.3)
        chips = frame.empty()
        for spot in rng.normal(0, size * 0.45, (9, 2)):
            chips = cv2.max(chips, frame.fill(ellipse(place + spot, rng.uniform(2, 4.5, 2), 0, 12)))
        return [
            Layer(body, crumbs, size * 0.2),
            Layer(cv2.min(chips, body), (0.2, 0.11, 0.06), 1.0),
        ]
    layers = []
    bands = (
        (0.35, (0.8, 0.55, 0.28), 0.42),
        (0.12, (0.3, 0.17, 0.1), 0.2),
        (0.0, (0.85, 0.2, 0.12), 0.1),
        (-0.1, (0.4, 0.68, 0.2), 0.16),
        (-0.38, (0.8, 0.53, 0.25), 0.5),
    )
    for offset, filling, thick in bands:
        middle = rotate(np.array([[0.0, offset * size]]), angle)[0] + place
        shape = ellipse(middle, (size * 1.1, thick * size), angle, 40, 2.6) + rng.normal(
            0, 0.6, (40, 2)
        )
        layers.append(
            Layer(
                frame.fill(shape), np.array(filling) * (1 + 0.06 * speckle)[..., None], size * 0.14
            )
        )
    return layers


def microphone(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Hold a microphone to the mouth, with the handle downward and a mesh or foam head."""
    head = face.head
    frame = face.head.frame
    tip = head.turn([(rng.normal(0, 0.15), head.mouth_y + rng.uniform(0.0, 0.25))], 0.2)[0]
    angle = rng.uniform(0.4, 2.7)
    size = rng.uniform(15, 27)
    along = np.array([math.cos(angle), math.sin(angle)])
    handle = ribbon(
        np.stack([tip + along * size * 0.6, tip + along * 90, tip + along * 190]),
        (size * 1.3, size * 0.9, size * 0.8),
    )
    x, y = unit_grid(frame.size)
    pitch = np.float32(rng.uniform(1.2, 2.2))
    mesh = np.float32(rng.uniform(0.0, 0.2)) * np.sin(x * pitch) * np.sin(y * pitch)
    gray = any_color(rng, 0.25) * rng.uniform(0.4, 1.0)
    bulb = frame.fill(ellipse(tip, (size * 1.12, size), angle))
    ring = ribbon(
        np.stack([tip + along * size * 0.75, tip + along * size * 1.1]), (size * 1.5,) * 2
    )
    return [
        Layer(
            frame.fill(handle), texture(rng, frame, split, any_color(rng, 0.2) * 0.5), size * 0.3
        ),
        Layer(
            bulb, gray * (1 + mesh + 0.04 * noise(rng, frame, "grain", 0))[..., None], size * 0.36
        ),
        Layer(frame.fill(ring), gray * 0.6, size * 0.25),
    ]


def text(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Print letters over the picture, sometimes on a bar, like captions and watermarks."""
    frame = face.head.frame
    layers = []
    for _ in range(int(rng.integers(1, 4))):
        word = "".join(
            pick(rng, string.ascii_uppercase + string.digits)
            for _ in range(int(rng.integers(3, 9)))
        )
        place = target(rng, face)
        mask = frame.empty()
        size = rng.uniform(1.0, 2.4) * frame.scale
        weight = max(1, round(rng.uniform(3, 9) * frame.scale))
        corner = (round((place[0] - 70) * frame.scale), round((place[1] + 12) * frame.scale))
        cv2.putText(mask, word, corner, pick(rng, _FONTS), size, 255, weight, cv2.LINE_AA)
        if rng.random() < 0.3:
            bar = ellipse(place + (0, 4), (150, 22), 0.0, 8, 40)
            layers.append(Layer(frame.fill(bar), any_color(rng), 0.0, rng.uniform(0.65, 1.0)))
        layers.append(
            Layer(mask, texture(rng, frame, split, any_color(rng, 0.6)), 0.0, rng.uniform(0.7, 1.0))
        )
    return layers


def foliage(rng: np.random.Generator, face: Face, split: str) -> list[Layer]:
    """Hang twigs with leaves, grass or petals in front of the face."""
    frame = face.head.frame
    layers = []
    green = np.array([rng.uniform(0.08, 0.5), rng.uniform(0.3, 0.62), rng.uniform(0.04, 0.25)])
    color = green if rng.random() < 0.8 else any_color(rng, 0.8)
    surface = np.clip(1 + 0.12 * noise(rng, frame, "cloud") + 0.05 * noise(rng, frame), 0.4, 1.6)
    shades = [
        np.clip(color * share * surface[..., None], 0, 1) for share in rng.uniform(0.65, 1.3, 3)
    ]
    for _ in range(int(rng.integers(1, 4))):
        end = target(rng, face)
        heading = rng.uniform(-math.pi, math.pi)
        start = end - 170 * np.array([math.cos(heading), math.sin(heading)])
        twig = spline(np.stack([start, (start + end) / 2 + rng.normal(0, 16, 2), end]), 8, False)
        layers.append(Layer(frame.stroke(twig, rng.uniform(1.5, 4)), (0.3, 0.21, 0.12), 1.0))
        long = rng.uniform(9, 24)
        wide = rng.uniform(0.18, 0.45)
        for i, point in enumerate(twig[3:]):
            for side in (-1, 1):
                lean = heading + side * rng.uniform(0.5, 1.2)
                line = point + np.linspace(0, long, 7)[:, None] * np.array(
                    [math.cos(lean), math.sin(lean)]
                )
                shape = ribbon(
                    line, long * wide * 2 * np.array([0.05, 0.6, 0.95, 1.0, 0.8, 0.45, 0.02])
                )
                layers.append(Layer(frame.fill(shape), pick(rng, shades), long * wide * 0.4))
                if i % 2 == 0:
                    layers.append(Layer(frame.stroke(line, 0.8), color * 0.5, 0.0, 0.5))
    return layers

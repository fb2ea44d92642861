"""Clear glasses and earrings: parts of the face, classes 10 and 11.

Dark sunglasses are not here: they hide the eyes and count as an occluder, in every split.
"""

from __future__ import annotations

import cv2
import numpy as np

from s3pot_synthetic.canvas import Array, Canvas, ellipse, pick, spline
from s3pot_synthetic.head import EARRING, GLASSES, Head
from s3pot_synthetic.natural import surface
from s3pot_synthetic.textures import any_color

_FRAMES = (
    (0.05, 0.05, 0.06),
    (0.28, 0.17, 0.1),
    (0.72, 0.62, 0.35),
    (0.55, 0.56, 0.6),
    (0.55, 0.1, 0.14),
)
_METALS = (
    (0.9, 0.76, 0.35),
    (0.82, 0.83, 0.86),
    (0.65, 0.12, 0.22),
    (0.2, 0.5, 0.6),
    (0.1, 0.1, 0.1),
)


def lens_outlines(rng: np.random.Generator, head: Head) -> list[Array]:
    """Draw the rims of a pair of glasses: two outlines in units, (40, 2) each."""
    radii = rng.uniform(0.27, head.eye_x - 0.08), rng.uniform(0.13, 0.19)
    power = rng.uniform(2, 4.5)
    drop = rng.uniform(0.0, 0.04)
    return [
        head.turn(ellipse((side * head.eye_x, head.eye_y + drop), radii, 0.0, 40, power), 0.06)
        for side in (-1, 1)
    ]


def glasses_lines(head: Head, rims: list[Array]) -> list[Array]:
    """Return the bridge and the two temples that belong to rims: lines in units."""
    left, right = rims
    bridge = np.stack([left[left[:, 0].argmax()], right[right[:, 0].argmin()]])
    arch = np.insert(bridge, 1, bridge.mean(0) + (0, -0.03 * head.half[1]), 0)
    outer_points = left[left[:, 0].argmin()], right[right[:, 0].argmax()]
    temples = [
        np.stack([end, head.place([(side * 1.0, head.eye_y - 0.02)])[0]])
        for side, end in zip((-1, 1), outer_points)
    ]
    return [spline(arch, 6, closed=False), *temples]


def glasses(rng: np.random.Generator, head: Head, canvas: Canvas) -> None:
    """Draw clear glasses with their shadow and a reflection; lenses and rims are ``eye_glass``."""
    frame = canvas.frame
    rims = lens_outlines(rng, head)
    lens = frame.empty()
    rim = frame.empty()
    width = rng.uniform(1.3, 4.2)
    for shape in rims:
        lens = cv2.max(lens, frame.fill(shape))
        rim = cv2.max(rim, frame.stroke(shape, width, closed=True))
    for line in glasses_lines(head, rims):
        rim = cv2.max(rim, frame.stroke(line, max(1.5, width * 0.8)))
    lamp = head.light.toward
    move = np.array(
        [[1, 0, -5 * lamp[0] * frame.scale], [0, 1, (2 - 4 * lamp[1]) * frame.scale]], np.float32
    )
    shade = cv2.warpAffine(frame.soften(rim, 1.2), move, (frame.size, frame.size))
    canvas.tint(shade, rng.uniform(0.6, 0.85))
    tint = np.array([0.5, 0.55, 0.6]) * rng.uniform(0.4, 1.3)
    canvas.paint(lens, tint, GLASSES, rng.uniform(0.02, 0.2))
    if rng.random() < 0.6:
        _reflect(rng, canvas, rims, lens)
    canvas.paint(rim, np.clip(pick(rng, _FRAMES) + rng.normal(0, 0.03, 3), 0, 1), GLASSES)


def _reflect(rng: np.random.Generator, canvas: Canvas, rims: list[Array], lens: Array) -> None:
    """Let both lenses reflect a lamp, a window or a bright area; they stay part of the face."""
    frame = canvas.frame
    kind = pick(rng, ("streak", "window", "place"))
    strength = rng.uniform(0.1, 0.75)
    offset = rng.uniform(-0.3, 0.3, 2)
    lean = rng.uniform(-0.8, 0.8)
    cool = np.array((0.92, 0.96, 1.0)) * rng.uniform(0.7, 1.0)
    for shape in rims:
        center = shape.mean(0)
        size = np.ptp(shape, axis=0)
        if kind == "place":
            seen = surface(rng, frame.size, frame.size, cool).astype(np.float32) / np.float32(255)
            canvas.paint(lens, seen, None, 0.5 * strength, frame.fill(shape))
            continue
        wide = 0.08 if kind == "streak" else rng.uniform(0.15, 0.3)
        radii = size * (wide, 0.6 if kind == "streak" else 0.3)
        patch = frame.fill(ellipse(center + size * offset, radii, lean, 16, 6))
        canvas.paint(frame.soften(patch, rng.uniform(0.5, 2)), cool, None, strength, lens)


def earrings(rng: np.random.Generator, head: Head, canvas: Canvas, lobes: list[Array]) -> None:
    """Hang studs, drops or rings on the lobes."""
    frame = canvas.frame
    color = np.array(pick(rng, _METALS))
    kind = pick(rng, ("stud", "drop", "ring"))
    size = rng.uniform(3, 7)
    for lobe in lobes:
        point = head.place([lobe])[0]
        if kind == "ring":
            ring = ellipse(point + (0, size), (size * 0.8, size))
            canvas.paint(frame.stroke(ring, 1.8, closed=True), color, EARRING)
            continue
        radii = (size * 0.55,) * 2 if kind == "stud" else (size * 0.6, size * 1.5)
        canvas.paint(frame.fill(ellipse(point + (0, radii[1] * 0.8), radii)), color, EARRING)
        canvas.paint(
            frame.fill(ellipse(point + (-0.8, radii[1] * 0.5), (1, 1))), (1, 1, 1), None, 0.8
        )


def necklace(rng: np.random.Generator, head: Head, canvas: Canvas) -> None:
    """Draw a chain or beads around the neck; the neck keeps its class."""
    color = np.array(pick(rng, _METALS)) if rng.random() < 0.7 else any_color(rng)
    line = spline(
        head.place([(-0.55, 1.08), (-0.3, 1.27), (0, 1.33), (0.3, 1.27), (0.55, 1.08)]), 6, False
    )
    if rng.random() < 0.5:
        canvas.paint(canvas.frame.stroke(line, 1.4), color)
        return
    beads = rng.uniform(2, 3.6)
    for point in line[::2]:
        canvas.paint(canvas.frame.fill(ellipse(point, (beads, beads), 0, 14)), color)
        canvas.paint(
            canvas.frame.fill(ellipse(point - 0.9, (0.8, 0.8), 0, 8)), (1, 1, 1), None, 0.7
        )

"""Hair of the head: styles, strands, locks."""

from __future__ import annotations

import math

import cv2
import numpy as np

from s3pot_synthetic.canvas import Array, Canvas, ellipse, pick, ribbon, spline, unit_grid
from s3pot_synthetic.head import HAIR, Head
from s3pot_synthetic.textures import noise, noise_banks

_STYLES = ("bald", "short", "fringe", "long", "long_fringe", "afro", "bun", "bob", "buzz")
_CHANCES = (0.07, 0.21, 0.15, 0.2, 0.1, 0.07, 0.07, 0.08, 0.05)


def draw_style(rng: np.random.Generator) -> str:
    """Draw a hair style by name."""
    return _STYLES[int(rng.choice(len(_STYLES), p=_CHANCES))]


def is_long(style: str) -> bool:
    """Say whether the hair hangs beside the face."""
    return style.startswith("long") or style == "bob"


def hair_surface(rng: np.random.Generator, head: Head, light: Array, style: str) -> Array:
    """Paint what hair looks like everywhere: strands from the crown, (S, S, 3) float32."""
    if style in ("afro", "buzz"):
        strands = noise(rng, head.frame, "grain", 2 if style == "afro" else 1)
        gloss = np.zeros_like(light)
    else:
        strands, gloss = _strands(rng, head)
    contrast = np.float32(rng.uniform(0.14, 0.3) * (1.15 - 0.6 * head.hair.mean()))
    shade = np.clip(1 + contrast * strands, 0.35, 1.8) * (0.55 + 0.45 * light)
    shine: Array = gloss * np.float32(rng.uniform(0.0, 0.16)) * np.clip(1 + 0.8 * strands, 0, 2)
    shine = shine + np.float32(0.02) * strands
    return cv2.merge(
        [np.clip(shade * value + shine, 0, 1).astype(np.float32) for value in head.hair]
    )


def _strands(rng: np.random.Generator, head: Head) -> tuple[Array, Array]:
    """Bend noise along lines that leave the crown and hang down: strand and gloss fields (S, S)."""
    x, y = unit_grid(head.frame.size)
    cos, sin = math.cos(head.roll), math.sin(head.roll)
    dx, dy = x - np.float32(head.centre[0]), y - np.float32(head.centre[1])
    across = (cos * dx + sin * dy) / np.float32(head.half[0]) - np.float32(rng.uniform(-0.4, 0.4))
    down = (cos * dy - sin * dx) / np.float32(head.half[1]) + np.float32(1.0)
    along = cv2.magnitude(across, down)
    angle = np.arctan2(across, np.clip(down, -3.0, 0.9)) * np.float32(180.0)
    wave = rng.uniform(0, 12) * np.sin(along * np.float32(rng.uniform(6, 22)))
    wave = wave + np.float32(rng.uniform(0, 14)) * noise(rng, head.frame, "cloud")
    field = noise_banks()["grain"][int(rng.integers(1, 3))]
    map_x = np.mod(angle + wave.astype(np.float32) + 1024, 512)
    map_y = np.mod(along * np.float32(rng.uniform(12, 26)), 511)
    strands = cv2.remap(
        field, map_x.astype(np.float32), map_y.astype(np.float32),
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP,
    )  # fmt: skip
    gloss = np.exp(-0.5 * ((along - np.float32(rng.uniform(0.45, 0.75))) / 0.13) ** 2)
    return strands, gloss.astype(np.float32)


def back_hair(
    rng: np.random.Generator, head: Head, canvas: Canvas, surface: Array, style: str
) -> None:
    """Draw the hair behind the head."""
    if style in ("bald", "buzz"):
        return
    if is_long(style):
        length = rng.uniform(0.62, 0.85) if style == "bob" else rng.uniform(0.9, 1.9)
        wide, flare = rng.uniform(1.14, 1.4), rng.uniform(0.88, 1.15)
        half = [(0.85, -1.05), (wide, -0.2), (wide * flare, length), (0.4, length * 1.05)]
        shape = spline(head.place([(0, -1.24), *half, *((-x, y) for x, y in half[::-1])]))
    elif style == "afro":
        puff = ellipse((0, -0.45), (rng.uniform(1.3, 1.65), rng.uniform(0.85, 1.05)), 0.0, 60)
        shape = head.place(puff * (1 + rng.normal(0, 0.015, (60, 1))))
    else:
        shape = head.place(ellipse((0, -0.33), (rng.uniform(1.05, 1.14), rng.uniform(0.8, 0.9))))
    mask = canvas.frame.fill(shape)
    if style == "bun":
        knot = ellipse((rng.normal(0, 0.15), -1.2), (0.36, 0.24))
        mask = cv2.max(mask, canvas.frame.fill(head.place(knot)))
    canvas.paint(mask, surface * np.float32(0.82), HAIR)


def front_hair(
    rng: np.random.Generator, head: Head, canvas: Canvas, surface: Array, style: str
) -> None:
    """Draw the hair above and beside the face, and a few loose locks."""
    if style == "bald":
        return
    fringe = style.endswith("fringe")
    line = -rng.uniform(0.3, 0.44) if fringe else -rng.uniform(0.54, 0.74)
    side = rng.uniform(0.1, 0.65) if is_long(style) else -rng.uniform(0.0, 0.35)
    part = rng.uniform(-0.6, 0.6) * (0.4 if fringe else 1.0)
    top = 1.04 if style == "buzz" else rng.uniform(1.1, 1.24)
    outer = [(-1.1, side), (-1.09, -0.5), (-0.8, -top + 0.17), (0, -top)]
    outer += [(0.8, -top + 0.17), (1.09, -0.5), (1.1, side)]
    wobble = rng.normal(0, 0.03, 5)
    inner = [
        (0.95, side * 0.9), (0.84, line * 0.75 + wobble[0]), (0.45, line + wobble[1]),
        (part, line - abs(wobble[2]) * 2), (-0.45, line + wobble[3]),
        (-0.84, line * 0.75 + wobble[4]), (-0.95, side * 0.9),
    ]  # fmt: skip
    mask = canvas.frame.fill(spline(head.place(outer + inner)))
    if fringe or rng.random() < 0.5:
        mask = cv2.max(mask, _fringe_ends(rng, head, canvas, line))
    canvas.tint(canvas.frame.soften(mask, 3.5), rng.uniform(0.6, 0.9))
    canvas.paint(mask, surface, HAIR, 0.75 if style == "buzz" else 1.0)
    for _ in range(int(rng.integers(0, 7)) if rng.random() < 0.35 else 0):
        x = rng.uniform(-0.9, 0.9)
        lock = [
            (x, -0.92),
            (x + rng.normal(0, 0.12), -0.55),
            (x + rng.normal(0, 0.2), -rng.uniform(0.1, 0.4)),
        ]
        curve = spline(head.place(lock), 6, closed=False)
        widths = np.linspace(rng.uniform(2, 5), 0.8, len(curve))
        canvas.paint(canvas.frame.fill(ribbon(curve, widths)), surface, HAIR)


def _fringe_ends(rng: np.random.Generator, head: Head, canvas: Canvas, line: float) -> Array:
    """Break the hair line into tufts: mask."""
    mask = canvas.frame.empty()
    slant = rng.normal(0, 0.12)
    for x in np.linspace(-0.75, 0.75, int(rng.integers(9, 18))):
        x = x + rng.normal(0, 0.03)
        low = line + rng.uniform(-0.06, 0.12) + 0.25 * (x * x) * 0.3
        tuft = spline(
            head.place([(x - slant, -0.9), (x - slant * 0.4, line - 0.12), (x, low)]), 4, False
        )
        widths = np.linspace(0.14 * head.half[0], 1.0, len(tuft))
        mask = cv2.max(mask, canvas.frame.fill(ribbon(tuft, widths)))
    return mask


def lock_line(rng: np.random.Generator, head: Head) -> Array:
    """Draw the course of a lock that falls into the face: (N, 2) units."""
    x, sway = rng.uniform(-0.8, 0.8), pick(rng, (-1.0, 1.0)) * rng.uniform(0.05, 0.35)
    points = [
        (x * 0.8, -1.05),
        (x + sway * 0.3, -0.5),
        (x + sway, 0.0),
        (x + sway * 0.6, rng.uniform(0.2, 0.9)),
    ]
    return spline(head.place(points), 8, closed=False)

"""The hair of the head: styles, strands, locks."""

from __future__ import annotations

import math

import cv2
import numpy as np

from s3pot_synthetic.canvas import (
    Array,
    Canvas,
    Frame,
    ellipse,
    mask_box,
    pick,
    ribbon,
    spline,
    unit_grid,
)
from s3pot_synthetic.head import HAIR, Head
from s3pot_synthetic.textures import noise, noise_banks

_STYLES = ("bald", "short", "fringe", "long", "long_fringe", "afro", "bun", "bob", "buzz")
_CHANCES = (0.02, 0.12, 0.07, 0.36, 0.12, 0.06, 0.12, 0.11, 0.02)
_MASCULINE = np.array((10.0, 6.0, 1.5, 0.15, 0.1, 1.0, 0.1, 0.1, 9.0))  # factors on the frequency

_COARSE = 128


def draw_style(rng: np.random.Generator, masculine: bool) -> str:
    """Draw a hair style by name."""
    chances = np.array(_CHANCES) * (_MASCULINE if masculine else 1.0)
    return _STYLES[int(rng.choice(len(_STYLES), p=chances / chances.sum()))]


def is_long(style: str) -> bool:
    """Whether the hair hangs beside the face."""
    return style.startswith("long") or style == "bob"


def hair_surface(rng: np.random.Generator, head: Head, light: Array, style: str) -> Array:
    """Paint the hair surface over the whole picture: strands from the crown, (S, S, 3) float32."""
    if style in ("afro", "buzz"):
        strands = noise(rng, head.frame, "grain", 2 if style == "afro" else 1)
        strands = strands + 0.6 * noise(rng, head.frame, "cloud")
        gloss = np.zeros_like(light)
    else:
        strands, gloss = _strands(rng, head)
    brightness = float(head.hair.mean())
    contrast = np.float32(rng.uniform(0.08, 0.2) * (1.1 - 0.5 * brightness))
    shade = np.clip(1 + contrast * strands, 0.4, 1.7) * (0.25 + 0.72 * light)
    amount = np.float32(rng.uniform(0.0, 0.2) * head.light.exposure)
    shine = amount * gloss * np.clip(1 + 0.9 * strands, 0, 2) * light
    warm = 0.5 + 0.5 * head.hair / max(float(head.hair.max()), 0.05)
    return cv2.merge(
        [
            np.clip(shade * value + shine * tone, 0, 1).astype(np.float32)
            for value, tone in zip(head.hair, warm)
        ]
    )


def _strands(rng: np.random.Generator, head: Head) -> tuple[Array, Array]:
    """Bend noise along lines from the part that hang down: strands and gloss, (S, S) each."""
    x, y = unit_grid(_COARSE)  # the flow is smooth; only the strands need the full size
    cos, sin = math.cos(head.roll), math.sin(head.roll)
    dx, dy = x - np.float32(head.center[0]), y - np.float32(head.center[1])
    across = (cos * dx + sin * dy) / np.float32(head.half[0]) - np.float32(rng.uniform(-0.5, 0.5))
    above = np.float32(rng.uniform(0.35, 1.0))
    down = (cos * dy - sin * dx) / np.float32(head.half[1]) + np.float32(1.0) + above
    along = cv2.magnitude(across, down)
    angle = np.arctan2(across, np.clip(down, 0.05, 1.0 + above))
    curl = pick(rng, (0.0, 0.4, 1.0, 2.5)) * rng.uniform(0.3, 1.0)
    wave = curl * 5 * np.sin(along * np.float32(rng.uniform(5, 14)) + 2 * angle)
    wave = wave + np.float32(3 + 7 * curl) * noise(rng, Frame(_COARSE), "cloud")
    size = (head.frame.size, head.frame.size)
    bank = noise_banks()["grain"]
    shift = rng.uniform(0, 512, 4).astype(np.float32)
    strands = np.zeros(size, np.float32)
    fine = rng.uniform(170, 300)
    for choice, density, share in ((1, fine, 0.55), (2, fine * 0.45, 0.6), (3, fine * 0.3, 0.7)):
        map_x = angle * np.float32(density) + wave * np.float32(density / fine) + shift[choice]
        map_y = along * np.float32(density * 0.045) + shift[0]
        strands += np.float32(share) * cv2.remap(
            bank[choice],
            cv2.resize(map_x.astype(np.float32), size),
            cv2.resize(map_y.astype(np.float32), size),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
    middle = above + np.float32(rng.uniform(0.25, 0.7))
    gloss = np.exp(-0.5 * ((along - middle) / np.float32(rng.uniform(0.1, 0.22))) ** 2)
    return strands, cv2.resize(gloss.astype(np.float32), size)


def feather(
    rng: np.random.Generator, frame: Frame, mask: Array, width: float, upright: bool
) -> Array:
    """Break the edge of a mask into hairs, (S, S) uint8.

    Args:
        rng: Random stream.
        frame: Pixel size.
        mask: The mask, (S, S) uint8.
        width: Width of the edge in units.
        upright: Whether the hairs run vertically; otherwise they are curls.
    """
    box = mask_box(mask, round(3 * width * frame.scale) + 2)
    if box is None:
        return mask
    hairs = noise(rng, frame, "strand", 6)[box] if upright else noise(rng, frame, "grain", 0)[box]
    rough = np.float32(rng.uniform(0.05, 0.22) if upright else rng.uniform(0.0, 0.08))
    soft = frame.soften(mask, width)[box].astype(np.float32) * np.float32(1 / 255)
    edge = 4 * soft * (1 - soft)
    cover = np.clip((soft + rough * edge * hairs - 0.5) * np.float32(1.8) + 0.5, 0, 1)
    broken = frame.empty()
    broken[box] = (cover * 255).astype(np.uint8)
    return broken


def back_hair(
    rng: np.random.Generator, head: Head, canvas: Canvas, surface: Array, style: str
) -> None:
    """Draw the hair behind the head."""
    if style in ("bald", "buzz"):
        return
    if is_long(style):
        length = rng.uniform(0.62, 0.85) if style == "bob" else rng.uniform(0.9, 1.9)
        wide = rng.uniform(1.08, 1.34)
        flare = rng.uniform(0.85, 1.12)
        half = [(0.8, -1.02), (wide, -0.25), (wide * flare, length), (0.4, length * 1.05)]
        ring = np.array([(0, -1.2), *half, *((-x, y) for x, y in half[::-1])])
        shape = spline(head.place(ring + rng.normal(0, 0.025, ring.shape)))
    elif style == "afro":
        puff = ellipse((0, -0.4), (rng.uniform(1.25, 1.6), rng.uniform(0.82, 1.0)), 0.0, 60)
        shape = head.place(puff * (1 + rng.normal(0, 0.02, (60, 1))))
    else:
        shape = head.place(ellipse((0, -0.3), (rng.uniform(1.03, 1.1), rng.uniform(0.78, 0.9))))
    mask = canvas.frame.fill(shape)
    if style == "bun":
        knot = ellipse((rng.normal(0, 0.2), -1.15), (0.3, 0.2))
        mask = cv2.max(mask, canvas.frame.fill(head.place(knot)))
    mask = feather(rng, canvas.frame, mask, rng.uniform(0.8, 3.0), False)
    canvas.paint(mask, surface * np.float32(rng.uniform(0.5, 0.85)), HAIR)
    for _ in range(int(rng.integers(0, 16))):  # single stray hairs
        start = shape[int(rng.integers(len(shape)))]
        way = start + np.cumsum(rng.normal(0, 5.5, (4, 2)), 0)
        hairs = canvas.frame.stroke(spline(way, 5, closed=False), 0.8)
        canvas.paint(hairs, surface, None, rng.uniform(0.2, 0.45))


def front_hair(
    rng: np.random.Generator, head: Head, canvas: Canvas, surface: Array, style: str
) -> None:
    """Draw the hair above and beside the face, and loose locks of the hairstyle."""
    if style == "bald":
        return
    frame = canvas.frame
    fringe = style.endswith("fringe")
    mask, line = _cap(rng, head, frame, style)
    if fringe:
        mask = cv2.max(mask, _fringe_ends(rng, head, canvas, line))
    soft = 1.0 if fringe else rng.uniform(1.2, 4.0)
    mask = feather(rng, frame, mask, soft, style != "afro")
    canvas.tint(frame.soften(mask, 3.5), rng.uniform(0.6, 0.95))
    canvas.paint(mask, surface, HAIR, rng.uniform(0.5, 0.85) if style == "buzz" else 1.0)
    if style not in ("buzz", "afro") and rng.random() < 0.33:
        _loose_locks(rng, head, canvas, surface)


def _cap(rng: np.random.Generator, head: Head, frame: Frame, style: str) -> tuple[Array, float]:
    """Draw the hair on the skull: its mask, and the height of the hairline."""
    fringe = style.endswith("fringe")
    line = -rng.uniform(0.3, 0.46) if fringe else -rng.uniform(0.55, 0.76)
    side = rng.uniform(0.1, 0.65) if is_long(style) else rng.uniform(-0.35, 0.12)
    part = rng.uniform(-0.6, 0.6) * (0.4 if fringe else 1.0)
    top = 1.03 if style == "buzz" else rng.uniform(1.06, 1.2)
    outer = [(-1.05, side), (-1.07, side), (-1.07, -0.5), (-0.8, -top + 0.17), (0, -top)]
    outer += [(0.8, -top + 0.17), (1.07, -0.5), (1.07, side), (1.05, side)]
    wobble = rng.normal(0, 0.035, 7)
    temple = rng.uniform(0.78, 0.9)
    receding = max(0.0, rng.normal(0, 0.08))
    inner = np.array([
        (0.96, side * 0.95), (0.97, 0.3 * side - 0.12), (temple, -0.28 + wobble[5]),
        (temple - 0.04, line * 0.72 + wobble[0]), (0.5, line - receding + wobble[1]),
        (part, line + 0.3 * receding - abs(wobble[2])), (-0.5, line - receding + wobble[3]),
        (-temple + 0.04, line * 0.72 + wobble[4]), (-temple, -0.28 + wobble[6]),
        (-0.97, 0.3 * side - 0.12), (-0.96, side * 0.95),
    ])  # fmt: skip
    if is_long(style):  # it hangs over ears and cheeks, often parted like a curtain
        low = rng.uniform(0.5, 1.1)
        near = rng.uniform(0.66, 0.92)
        outer[0] = outer[1] = (-1.07, low)
        outer[-1] = outer[-2] = (1.07, low)
        curtain = rng.random() < 0.6 and not fringe
        high = line + 0.05 if not curtain else -rng.uniform(0.7, 0.88)
        middle = line if not curtain else -rng.uniform(0.35, 0.6)
        lean = rng.uniform(-0.04, 0.04, 4)
        inner = np.array([
            (near + lean[0], low), (near + lean[1], 0.25), (near - 0.03, -0.2 + wobble[5]),
            (0.55 + wobble[0], middle), (part + 0.1, high + 0.06), (part, high),
            (part - 0.1, high + 0.06), (-0.55 + wobble[3], middle),
            (-near + 0.03, -0.2 + wobble[6]), (-near + lean[2], 0.25), (-near + lean[3], low),
        ])  # fmt: skip
    shape = np.concatenate([head.place(outer), head.turn(np.clip(inner, -1, 1))])
    return frame.fill(spline(shape)), line


def _fringe_ends(rng: np.random.Generator, head: Head, canvas: Canvas, line: float) -> Array:
    """Break the hairline into tufts of uneven length; returns a mask."""
    mask = canvas.frame.empty()
    slant = rng.normal(0, 0.15)
    sweep = rng.normal(0, 0.1)
    ragged = rng.uniform(0.02, 0.12)
    for x in np.linspace(-0.85, 0.85, int(rng.integers(16, 34))):
        x = x + rng.normal(0, 0.03)
        low = line + rng.normal(0.02, ragged) + 0.1 * x * x + sweep * x
        way = [(x - slant, -0.85), (x - slant * 0.4, (line - 0.85) / 2), (x, low)]
        tuft = spline(head.turn(way), 4, False)
        widths = np.linspace(rng.uniform(0.06, 0.14) * head.half[0], 0.8, len(tuft))
        mask = cv2.max(mask, canvas.frame.fill(ribbon(tuft, widths)))
    return mask


def _loose_locks(rng: np.random.Generator, head: Head, canvas: Canvas, surface: Array) -> None:
    """Draw a few strands over forehead and temples; they are hair, not an occluder."""
    frame = canvas.frame
    for _ in range(int(rng.integers(1, 7))):
        x = rng.uniform(-0.95, 0.95)
        far = rng.uniform(-0.5, 0.25)
        far = max(far, -0.45) if abs(x) > 0.6 else min(far, -0.2)
        lock = [(x, -0.85), (x + rng.normal(0, 0.1), -0.55), (x + rng.normal(0, 0.15), far)]
        curve = spline(head.turn(np.clip(lock, -1, 1)), 6, closed=False)
        for _ in range(int(rng.integers(1, 5))):
            hairs: Array = curve + np.linspace(0, 1, len(curve))[:, None] * rng.normal(0, 4, 2)
            widths = np.linspace(rng.uniform(0.8, 3.2), 0.6, len(curve))
            shape = frame.fill(ribbon(hairs, widths))
            canvas.paint(frame.soften(shape, 0.5), surface, HAIR, rng.uniform(0.6, 0.95))


def lock_line(rng: np.random.Generator, head: Head) -> Array:
    """Draw the path of a lock that falls into the face: (N, 2) units."""
    x = rng.uniform(-0.8, 0.8)
    sway = pick(rng, (-1.0, 1.0)) * rng.uniform(0.05, 0.35)
    points = [
        (x * 0.8, -1.05),
        (x + sway * 0.3, -0.5),
        (x + sway, 0.0),
        (x + sway * 0.6, rng.uniform(0.2, 0.9)),
    ]
    return spline(head.place(points), 8, closed=False)

"""Eyes, brows, nose, mouth and ears of a drawn face."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from s3pot_synthetic.canvas import Array, Canvas, colored, ellipse, pick, ribbon, spline
from s3pot_synthetic.head import BROW, EAR, EYE, LIP, MOUTH, NOSE, NOSE_LIFT, Head
from s3pot_synthetic.textures import noise

_IRISES = (
    (0.2, 0.12, 0.06), (0.12, 0.08, 0.05), (0.35, 0.22, 0.1), (0.28, 0.42, 0.58),
    (0.32, 0.46, 0.3), (0.42, 0.45, 0.48),
)  # fmt: skip


def ears(rng: np.random.Generator, head: Head, canvas: Canvas, skin: Array) -> list[Array]:
    """Draw the ears visible in the pose; returns the lobes, each (2,) in head coordinates."""
    lobes = []
    level = rng.uniform(-0.06, 0.06) + head.shift[1] * -0.3
    for side in (-1, 1):
        seen = 1 - side * head.yaw * 2.0
        if seen < 0.35:
            continue
        width = 0.13 * min(seen, 1.4)
        x = side * (0.99 - 0.9 * (1 - math.cos(head.yaw)) * (side * head.yaw < 0))
        shape = [
            (x - side * 0.1, level - 0.2), (x + side * width, level - 0.2),
            (x + side * width * 1.1, level), (x + side * width * 0.5, level + 0.16),
            (x, level + 0.22), (x - side * 0.1, level + 0.1),
        ]  # fmt: skip
        canvas.paint(canvas.frame.fill(spline(head.place(shape))), skin * np.float32(0.93), EAR)
        shell = head.place(ellipse((x + side * width * 0.45, level - 0.02), (width * 0.4, 0.12)))
        canvas.tint(canvas.frame.soften(canvas.frame.fill(shell), 1.5), (0.68, 0.58, 0.55))
        lobes.append(np.array([x + side * 0.035, level + 0.21]))
    return lobes


@dataclass(frozen=True)
class _Lids:
    """The common properties of both eyes.

    Attributes:
        wide: Half width, in head coordinates.
        opened: Height of the upper lid above the middle.
        slant: How much higher the outer corner is.
        gaze: Position of the iris, -1 to 1.
        lashes: Width of the upper lid's line, units.
        shadow: Factors for the skin around the eye.
        crease: Depth of the crease above the lid, 0..1.
        bags: Factor for the skin below the eye.
    """

    wide: float
    opened: float
    slant: float
    gaze: float
    lashes: float
    shadow: Array
    crease: float
    bags: float


def eyes(rng: np.random.Generator, head: Head, canvas: Canvas, light: Array, made_up: bool) -> None:
    """Draw both eyes: lids, white, iris, lashes, sometimes eye shadow."""
    iris = np.array(pick(rng, _IRISES[:2] if rng.random() < head.tone else _IRISES))
    iris = iris * rng.uniform(0.5, 1.0) * head.light.exposure
    opened = rng.uniform(0.045, 0.078) if rng.random() > 0.07 else rng.uniform(0.006, 0.016)
    if head.smile > 0.04:
        opened *= 0.8
    shadow = np.full(3, rng.uniform(0.68, 0.95))
    if made_up and rng.random() < 0.4:
        shadow = np.clip(rng.normal(0.65, 0.2, 3), 0.25, 1.05)
    lids = _Lids(
        wide=rng.uniform(0.165, 0.205),
        opened=opened,
        slant=rng.normal(0.004, 0.012),
        gaze=float(np.clip(rng.normal(0, 0.2), -0.5, 0.5)),
        lashes=rng.uniform(1.3, 2.6) if made_up else rng.uniform(0.8, 1.6),
        shadow=shadow,
        crease=rng.uniform(0.2, 0.9),
        bags=rng.uniform(0.75, 1.0) - 0.1 * head.age,
    )
    veins = 1 + np.float32(0.04) * noise(rng, canvas.frame, "cloud")
    white = colored(np.clip(light * 0.82, 0, 1.05) * veins, (0.86, 0.82, 0.8))
    squint = np.clip(rng.normal(0, 0.09), -0.25, 0.25)  # one eye is open wider than the other
    for side in (-1, 1):
        lids_of_side = replace(lids, opened=opened * (1 + side * squint))
        _eye(head, canvas, white, iris, side, lids_of_side)


def _eye(head: Head, canvas: Canvas, white: Array, iris: Array, side: int, lids: _Lids) -> None:
    frame = canvas.frame
    x0 = side * head.eye_x
    y0 = head.eye_y
    opened = lids.opened
    t = np.linspace(0, np.pi, 14)
    across = x0 - side * lids.wide * np.cos(t)  # from the inner to the outer corner
    tilt = lids.slant * np.cos(t)
    upper = np.stack([across, y0 - opened * np.sin(t) ** 0.8 * (1 + 0.15 * np.cos(t)) + tilt], 1)
    lower = np.stack([across, y0 + opened * 0.6 * np.sin(t) * (1 - 0.2 * np.cos(t)) + tilt], 1)
    around = frame.fill(head.turn(ellipse((x0, y0 - 0.045), (lids.wide * 1.1, 0.06))))
    canvas.tint(frame.soften(around, 4), lids.shadow)
    bag = spline(head.turn(lower + (0, 0.05)), 2, closed=False)
    canvas.tint(frame.soften(frame.stroke(bag, 2.5), 1.5), lids.bags)
    hole = frame.fill(head.turn(np.concatenate([upper, lower[::-1]])))
    canvas.paint(frame.soften(hole, 0.4), white, EYE)
    # The iris is round in the picture, regardless of the proportions of the head.
    middle = head.turn([(x0 + lids.gaze * lids.wide * 0.8, y0 - opened * 0.15)])[0]
    radius = max(lids.wide * head.half[0] * 0.42, 3.0)
    for scale, color in ((1.0, iris * 0.4), (0.82, iris), (0.4, np.full(3, 0.02))):
        disc = frame.fill(ellipse(middle, np.full(2, radius * scale), 0, 24))
        if scale == 1.0:
            canvas.paint(frame.soften(disc, 0.6), color, EYE, clip=hole)
        else:
            canvas.paint(frame.soften(disc, 0.5), color, clip=hole)
    lid = frame.soften(frame.stroke(head.turn(upper), 4.0), 1.4)
    canvas.tint(lid, 0.5, hole)
    lamp = head.light.toward
    glint = middle + np.array([lamp[0], lamp[1]]) * radius * 0.4 + (0, -radius * 0.1)
    spot = frame.fill(ellipse(glint, np.full(2, 0.9), 0, 12))
    canvas.paint(
        frame.soften(spot, 0.4), np.full(3, min(1.0, head.light.exposure)), None, 0.85, hole
    )
    lashes = frame.soften(frame.stroke(head.turn(upper), lids.lashes), 0.4)
    dark = head.skin * 0.14 * head.light.exposure
    canvas.paint(lashes, dark, None, 0.92)
    canvas.paint(frame.soften(frame.stroke(head.turn(lower), 0.9), 0.5), dark * 2, None, 0.4)
    crease = upper[1:-1] + (0, -0.028)
    line = frame.soften(frame.stroke(head.turn(crease), 1.2), 0.6)
    canvas.tint(line, 1 - 0.6 * lids.crease)
    inner = head.turn([(x0 - side * lids.wide * 0.95, y0 + tilt[0])])[0]
    corner = frame.fill(ellipse(inner, (1.5, 1.2), 0, 10))
    canvas.tint(frame.soften(corner, 0.7), (0.8, 0.6, 0.58))


def brows(rng: np.random.Generator, head: Head, canvas: Canvas, light: Array, clip: Array) -> None:
    """Draw the eyebrows as tapered bands of short hairs."""
    arch = rng.uniform(0.0, 0.05)
    thick = rng.uniform(0.03, 0.075)
    lift = rng.uniform(0.095, 0.15)
    angle = rng.normal(-0.005, 0.015)
    alpha = rng.uniform(0.55, 0.95)
    soft = rng.uniform(0.8, 1.6)
    cocked = np.clip(rng.normal(0, 0.012), -0.03, 0.03)  # one brow is raised above the other
    color = np.minimum(head.hair * rng.uniform(0.55, 0.95), head.skin * 0.7)
    hairs = colored(
        (0.2 + 0.8 * light) * np.clip(1 + 0.3 * noise(rng, canvas.frame, "strand"), 0.3, 2), color
    )
    for side in (-1, 1):
        t = np.linspace(-1, 1, 9)
        x = side * (head.eye_x + 0.01 + t * 0.225)
        y = head.eye_y - lift - arch * (1 - (t - 0.3) ** 2) + angle * t + 0.02 * (t > 0.6) * t
        y = y - side * cocked
        width = thick * np.interp(t, [-1, -0.4, 0.4, 1], [0.75, 1.0, 0.8, 0.15]) * head.half[1]
        mask = canvas.frame.fill(ribbon(head.turn(np.stack([x, y], 1)), width))
        speckle = np.clip(0.95 + 0.25 * noise(rng, canvas.frame, "grain", 0), 0, 1)
        mask = (canvas.frame.soften(mask, soft) * speckle).astype(np.uint8)
        canvas.paint(mask, hairs, BROW, alpha, clip)


def nose(rng: np.random.Generator, head: Head, canvas: Canvas) -> None:
    """Draw the wings and nostrils of the nose; its shape comes from the light."""
    wide = head.nose_x
    low = head.nose_y
    top = head.eye_y + 0.06
    frame = canvas.frame
    tip = NOSE_LIFT

    def bend(points: list[tuple[float, float]] | Array) -> Array:
        """Lift points by more the lower they lie on the nose."""
        p = np.asarray(points)
        return head.turn(p, tip * np.clip((p[:, 1] - top) / (low - top), 0, 1))

    half = [
        (0.3, top),
        (0.42, low - 0.14),
        (0.95, low - 0.045),
        (1.0, low + 0.015),
        (0.55, low + 0.055),
    ]
    right = [(x * wide, y) for x, y in half]
    shape = [*right, (0.0, low + 0.075), *((-x, y) for x, y in right[::-1])]
    mask = frame.fill(spline(bend(shape)))
    canvas.mark(mask, NOSE)
    nostrils = float(np.clip(1 - 2.2 * head.pitch + rng.normal(0, 0.2), 0.3, 1.8))
    under = bend([(-wide * 0.8, low + 0.05), (0, low + 0.09), (wide * 0.8, low + 0.05)])
    canvas.tint(frame.soften(frame.stroke(spline(under, 6, False), 4), 2.0), rng.uniform(0.7, 0.9))
    for side in (-1, 1):
        hole = bend(ellipse((side * wide * 0.45, low + 0.045), (wide * 0.24, 0.014 * nostrils)))
        dark = head.skin * (0.2, 0.14, 0.13) * head.light.exposure
        canvas.paint(frame.soften(frame.fill(hole), 0.9), dark, None, 0.8)
        wing = bend(
            [
                (side * wide * 0.82, low - 0.06),
                (side * wide * 1.04, low),
                (side * wide * 0.8, low + 0.045),
            ]
        )
        canvas.tint(
            frame.soften(frame.stroke(spline(wing, 6, False), 1.6), 0.9), rng.uniform(0.7, 0.95)
        )
        if rng.random() < 0.45:
            fold = [
                (side * wide * 1.15, low),
                (side * 0.3, low + 0.12),
                (side * 0.36, head.mouth_y - 0.03),
            ]
            line = spline(head.turn(fold), 6, False)
            canvas.tint(frame.soften(frame.stroke(line, 2.2), 1.4), rng.uniform(0.7, 0.92))


def mouth(
    rng: np.random.Generator, head: Head, canvas: Canvas, light: Array, made_up: bool
) -> None:
    """Draw lips, closed or open over teeth and tongue."""
    frame = canvas.frame
    y0 = head.mouth_y
    wide = head.mouth_x
    kind = rng.random()
    if head.smile > 0.04:  # a grin shows teeth more often than not
        gape = 0.0 if kind < 0.2 else rng.uniform(0.05, 0.12)
    elif kind < 0.7:
        gape = 0.0
    else:
        gape = rng.uniform(0.02, 0.1) if kind < 0.9 else rng.uniform(0.1, 0.26)
    upper, lower = rng.uniform(0.02, 0.042), rng.uniform(0.03, 0.058)
    t = np.linspace(-1, 1, 17)
    x = t * wide
    arc = 1 - t**2
    bow = 1 - 0.3 * np.exp(-((t / 0.14) ** 2)) - 0.25 * (np.abs(t) > 0.75) * (np.abs(t) - 0.75) * 4
    middle = y0 - head.smile * t**2 * (1 + head.crooked * t)
    top_in, low_in = middle - gape * 0.3 * arc, middle + gape * 0.7 * arc
    top_out, low_out = top_in - upper * arc**0.7 * bow, low_in + lower * arc**0.8

    def band(first: Array, second: Array) -> Array:
        outline = np.concatenate([np.stack([x, first], 1), np.stack([x, second], 1)[::-1]])
        return frame.fill(head.turn(outline, 0.05))

    color = _lip_color(rng, head, made_up)
    lit = colored(np.clip(light * (1 + 0.04 * noise(rng, frame, "strand", 6)), 0, 1.4), color)
    outer = band(top_out, low_out)
    canvas.paint(frame.soften(outer, 0.7 if made_up else 1.4), lit, None, rng.uniform(0.7, 0.95))
    canvas.mark(outer, LIP)
    canvas.tint(frame.soften(band(top_out, top_in), 0.8), rng.uniform(0.78, 0.95), outer)
    shine = head.turn(
        ellipse((0, y0 + gape * 0.7 + lower * 0.45), (wide * 0.42, lower * 0.22)), 0.05
    )
    canvas.tint(frame.soften(frame.fill(shine), 1.3), rng.uniform(1.0, 1.25), outer)
    if gape > 0:
        _inside(rng, head, canvas, light, (x, middle, arc), gape, band(top_in, low_in))
    else:
        seam = head.turn(np.stack([x, middle], 1), 0.05)
        line = frame.soften(frame.stroke(seam, 1.3), 0.5)
        canvas.paint(line, color * 0.3 * head.light.exposure, None, 0.8)
    for end in (0, -1):
        corner = frame.fill(ellipse(head.turn([(x[end], middle[end])], 0.03)[0], (2.4, 1.8), 0, 16))
        canvas.tint(frame.soften(corner, 1.4), 0.7)


def _inside(
    rng: np.random.Generator,
    head: Head,
    canvas: Canvas,
    light: Array,
    lips: tuple[Array, Array, Array],
    gape: float,
    inside: Array,
) -> None:
    """Draw the inside of an open mouth.

    Args:
        rng: Random stream.
        head: The head.
        canvas: Picture, changed in place.
        light: Light on the face, (S, S).
        lips: Positions across, the line between the lips, and how far it opens (0..1), (N,) each.
        gape: How far the mouth is open, in head coordinates.
        inside: Mask of the opening, (S, S) uint8.
    """
    frame, (x, middle, arc) = canvas.frame, lips
    canvas.paint(inside, np.array((0.19, 0.05, 0.06)) * head.light.exposure, MOUTH)
    tongue = head.turn(ellipse((0, middle[8] + gape * 0.55), (x[-1] * 0.55, gape * 0.3)), 0.05)
    red = colored(np.clip(light, 0, 1.2), (0.6, 0.27, 0.26))
    canvas.paint(frame.soften(frame.fill(tongue), 1.5), red, None, 0.75, inside)
    rows = [(-0.3 * gape, min(0.3 * gape + 0.7 * gape, rng.uniform(0.05, 0.085)))]
    if rng.random() < 0.12:
        rows = []
    elif gape > 0.12 and rng.random() < 0.4:
        rows.append((0.55 * gape, 0.2 * gape))
    enamel = np.array((0.88, 0.85, 0.79)) + rng.uniform(-0.12, 0.06) * np.array((0.5, 0.8, 1.5))
    white = colored(np.clip(light * rng.uniform(0.75, 1.0), 0, 1.2), enamel)
    for start, tall in rows:
        first, second = middle + start * arc, middle + start * arc + tall * arc**0.5
        outline = np.concatenate([np.stack([x, first], 1), np.stack([x, second], 1)[::-1]])
        teeth = cv2.min(frame.fill(head.turn(outline, 0.05)), inside)
        canvas.paint(frame.soften(teeth, 0.5), white, None, 0.95, inside)
        for gap in np.arange(-0.84, 0.85, 0.14) * x[-1]:
            top = middle[8] + start - 0.02
            line = head.turn([(gap, top), (gap, top + tall + 0.04)], 0.05)
            canvas.tint(frame.soften(frame.stroke(line, 0.6), 0.4), rng.uniform(0.8, 0.95), teeth)
    lip = head.turn(np.stack([x, middle - 0.3 * gape * arc], 1), 0.05)
    canvas.tint(frame.soften(frame.stroke(lip, 2), 1), 0.6, inside)
    for corner in head.turn(np.stack([x, middle], 1)[[0, -1]], 0.05):
        dark = frame.fill(ellipse(corner, (5, 5), 0, 16))
        canvas.tint(frame.soften(dark, 2.5), 0.45, inside)


def _lip_color(rng: np.random.Generator, head: Head, made_up: bool) -> Array:
    if not made_up or rng.random() < 0.3:
        return np.clip(head.skin * (0.92, 0.6, 0.58) + rng.normal(0, 0.025, 3), 0.05, 1)
    red = np.array([0.68, 0.2, 0.24]) * rng.uniform(0.5, 1.15)
    return np.clip(red + rng.normal(0, 0.07, 3), 0.03, 1)

"""Eyes, brows, nose, mouth and ears of a drawn face."""

from __future__ import annotations

import numpy as np

from s3pot_synthetic.canvas import Array, Canvas, coloured, ellipse, pick, ribbon, spline
from s3pot_synthetic.head import BROW, EAR, EYE, LIP, MOUTH, NOSE, Head
from s3pot_synthetic.textures import noise

_IRISES = (
    (0.2, 0.12, 0.06), (0.12, 0.08, 0.05), (0.35, 0.22, 0.1), (0.28, 0.42, 0.58),
    (0.32, 0.46, 0.3), (0.42, 0.45, 0.48),
)  # fmt: skip


def ears(rng: np.random.Generator, head: Head, canvas: Canvas, skin: Array) -> list[Array]:
    """Draw the ears that the pose shows; gives the lobes, each (2,) head coordinates."""
    lobes = []
    level = rng.uniform(-0.06, 0.06) + head.shift[1] * -0.3
    for side in (-1, 1):
        seen = 1 - side * head.yaw * 2.0
        if seen < 0.35:
            continue
        width, x = 0.13 * min(seen, 1.3), side * 0.99
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


def eyes(rng: np.random.Generator, head: Head, canvas: Canvas, light: Array) -> None:
    """Draw both eyes: lids, white, iris, lashes, sometimes eye shadow."""
    iris = np.array(pick(rng, _IRISES)) * rng.uniform(0.8, 1.2)
    wide, slant = rng.uniform(0.15, 0.185), rng.normal(0, 0.012)
    opened = rng.uniform(0.055, 0.085) if rng.random() > 0.06 else rng.uniform(0.012, 0.025)
    gaze = np.clip(rng.normal(0, 0.16), -0.4, 0.4)
    lashes = rng.uniform(0.8, 2.6)
    shadow = rng.normal(0.6, 0.25, 3) if rng.random() < 0.25 else np.full(3, rng.uniform(0.7, 0.95))
    white = coloured(np.clip(light * 0.5 + 0.36, 0, 1), (0.97, 0.94, 0.92))
    fold, bags = rng.uniform(0.3, 0.8), rng.uniform(0.75, 0.98)
    squint = np.clip(rng.normal(0, 0.09), -0.25, 0.25)  # one eye is opened wider than the other
    for side in (-1, 1):
        _eye(
            head,
            canvas,
            white,
            iris * head.light.ambient**0.3,
            side,
            (wide, opened * (1 + side * squint), slant, gaze, lashes),
            np.clip(shadow, 0.2, 1.1),
            (fold, bags),
        )


def _eye(
    head: Head,
    canvas: Canvas,
    white: Array,
    iris: Array,
    side: int,
    shape: tuple[float, float, float, float, float],
    shadow: Array,
    creases: tuple[float, float],
) -> None:
    wide, opened, slant, gaze, lashes = shape
    frame, x0, y0 = canvas.frame, side * head.eye_x, head.eye_y
    t = np.linspace(0, np.pi, 14)
    across = x0 - side * wide * np.cos(t)
    tilt = side * slant * (across - x0) / wide * -1.0
    upper = np.stack([across, y0 - opened * np.sin(t) ** 0.75 + tilt], 1)
    lower = np.stack([across, y0 + opened * 0.62 * np.sin(t) + tilt], 1)
    around = frame.fill(head.turn(ellipse((x0, y0 - opened * 0.7), (wide * 1.1, opened * 1.3))))
    canvas.tint(frame.soften(around, 3), shadow)
    bag = spline(head.turn(lower + (0, 0.055)), 2, closed=False)
    canvas.tint(frame.soften(frame.stroke(bag, 2.5), 1.5), creases[1])
    hole = frame.fill(head.turn(np.concatenate([upper, lower[::-1]])))
    canvas.paint(hole, white, EYE)
    # The iris is round in the picture, whatever the proportions of the head.
    middle = head.turn([(x0 + gaze * wide * 0.9, y0 - opened * 0.12)])[0]
    radius = min(opened * head.half[1] * 0.98 + 1.2, wide * head.half[0] * 0.52)
    radius = max(radius, 3.6)
    for scale, colour in ((1.0, iris * 0.45), (0.84, iris), (0.42, np.full(3, 0.02))):
        canvas.paint(
            frame.fill(ellipse(middle, np.full(2, radius * scale), 0, 24)), colour, clip=hole
        )
    lamp = head.light.toward
    glint = middle + np.array([lamp[0], lamp[1]]) * radius * 0.45 + (0, -radius * 0.15)
    canvas.paint(frame.fill(ellipse(glint, np.full(2, 1.1), 0, 12)), (1, 1, 1), None, 0.9, hole)
    lid = frame.soften(frame.stroke(head.turn(upper), 3.0), 1.2)
    canvas.tint(lid, 0.55, hole)
    canvas.paint(frame.stroke(head.turn(upper), lashes), head.skin * 0.16, None, 0.88)
    canvas.paint(frame.stroke(head.turn(lower), 0.8), head.skin * 0.42, None, 0.45)
    crease = upper[2:-1] + (0, -opened * 0.55 - 0.012)
    canvas.paint(frame.stroke(head.turn(crease), 0.9), head.skin * 0.45, None, creases[0])


def brows(rng: np.random.Generator, head: Head, canvas: Canvas, clip: Array) -> None:
    """Draw the eye brows as tapered bands of short hairs."""
    arch, thick, lift = rng.uniform(0.01, 0.07), rng.uniform(0.025, 0.07), rng.uniform(0.13, 0.19)
    angle, alpha = rng.normal(0, 0.02), rng.uniform(0.65, 0.95)
    cocked = np.clip(rng.normal(0, 0.012), -0.03, 0.03)  # one brow is raised above the other
    colour = np.minimum(head.hair * rng.uniform(0.55, 0.95), head.skin * 0.75)
    hairs = coloured(np.clip(1 + 0.35 * noise(rng, canvas.frame, "strand"), 0.3, 2), colour)
    for side in (-1, 1):
        t = np.linspace(-1, 1, 9)
        x = side * (head.eye_x + 0.01 + t * 0.225)
        y = head.eye_y - lift - arch * (1 - (t - 0.3) ** 2) + angle * t + 0.02 * (t > 0.6) * t
        y = y - side * cocked
        width = thick * np.interp(t, [-1, -0.4, 0.4, 1], [0.75, 1.0, 0.8, 0.15]) * head.half[1]
        mask = canvas.frame.fill(ribbon(head.turn(np.stack([x, y], 1)), width))
        canvas.paint(canvas.frame.soften(mask, 0.9), hairs, BROW, alpha, clip)


def nose(rng: np.random.Generator, head: Head, canvas: Canvas) -> None:
    """Draw the nose: its shape comes from the light, this adds shadow side, wings and nostrils."""
    wide, low, top = rng.uniform(0.15, 0.23), head.nose_y, head.eye_y + 0.06
    frame, tip = canvas.frame, 0.12

    def bend(points: list[tuple[float, float]] | Array) -> Array:
        """Lift points the more, the lower they lie on the nose."""
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
    lamp = head.light
    dark = -1.0 if lamp.toward[0] > 0 else 1.0
    depth = 1 - min(0.5, 1.3 * abs(lamp.toward[0]) * (1 - lamp.ambient))
    flank = bend(
        [
            (dark * wide * x, y)
            for x, y in (
                (0.12, top),
                (0.5, top + 0.02),
                (0.62, low - 0.1),
                (1.02, low),
                (0.45, low + 0.02),
            )
        ]
    )
    canvas.tint(frame.soften(frame.fill(spline(flank)), 2.2), depth)
    under = bend([(-wide * 0.8, low + 0.05), (0, low + 0.09), (wide * 0.8, low + 0.05)])
    canvas.tint(
        frame.soften(frame.stroke(spline(under, 6, False), 4), 2.0), rng.uniform(0.62, 0.85)
    )
    for side in (-1, 1):
        hole = bend(ellipse((side * wide * 0.46, low + 0.035), (wide * 0.24, 0.017)))
        canvas.paint(frame.soften(frame.fill(hole), 0.7), head.skin * 0.2, None, 0.85)
        wing = bend(
            [
                (side * wide * 0.82, low - 0.06),
                (side * wide * 1.04, low),
                (side * wide * 0.8, low + 0.045),
            ]
        )
        canvas.tint(
            frame.soften(frame.stroke(spline(wing, 6, False), 1.6), 0.9), rng.uniform(0.6, 0.85)
        )
        if rng.random() < 0.45:
            fold = [
                (side * wide * 1.15, low),
                (side * 0.3, low + 0.12),
                (side * 0.36, head.mouth_y - 0.03),
            ]
            line = spline(head.turn(fold), 6, False)
            canvas.tint(frame.soften(frame.stroke(line, 2.2), 1.4), rng.uniform(0.7, 0.92))


def mouth(rng: np.random.Generator, head: Head, canvas: Canvas, light: Array) -> None:
    """Draw lips, closed or open over teeth and tongue."""
    frame, y0, wide = canvas.frame, head.mouth_y, head.mouth_x
    gape = 0.0 if rng.random() < 0.55 else rng.uniform(0.02, 0.14)
    upper, lower = rng.uniform(0.025, 0.045), rng.uniform(0.035, 0.06)
    t = np.linspace(-1, 1, 17)
    x, arc = t * wide, 1 - t**2
    bow = 1 - 0.3 * np.exp(-((t / 0.14) ** 2)) - 0.25 * (np.abs(t) > 0.75) * (np.abs(t) - 0.75) * 4
    middle = y0 - head.smile * t**2 * (1 + head.crooked * t)
    top_in, low_in = middle - gape * 0.35 * arc, middle + gape * 0.65 * arc
    top_out, low_out = top_in - upper * arc**0.7 * bow, low_in + lower * arc**0.8

    def band(first: Array, second: Array) -> Array:
        outline = np.concatenate([np.stack([x, first], 1), np.stack([x, second], 1)[::-1]])
        return frame.fill(head.turn(outline, 0.05))

    colour = _lip_colour(rng, head)
    lit = coloured(np.clip(light * (1 + 0.05 * noise(rng, frame, "strand", 6)), 0, 1.4), colour)
    outer = band(top_out, low_out)
    canvas.paint(frame.soften(outer, 0.7), lit, None, 0.93)
    canvas.mark(outer, LIP)
    canvas.tint(frame.soften(band(top_out, top_in), 0.8), 0.8, outer)
    shine = head.turn(
        ellipse((0, y0 + gape * 0.65 + lower * 0.45), (wide * 0.42, lower * 0.22)), 0.05
    )
    canvas.tint(frame.soften(frame.fill(shine), 1.3), rng.uniform(1.05, 1.3), outer)
    if gape > 0:
        inside = band(top_in, low_in)
        canvas.paint(inside, (0.19, 0.05, 0.06), MOUTH)
        tongue = head.turn(ellipse((0, y0 + gape * 0.6), (wide * 0.5, gape * 0.28)), 0.05)
        canvas.paint(frame.soften(frame.fill(tongue), 1.5), (0.55, 0.2, 0.2), None, 0.7, inside)
        if rng.random() < 0.8:
            teeth = band(top_in, top_in + min(gape * 0.6, 0.055) * arc**0.4)
            canvas.paint(
                teeth, coloured(np.clip(light, 0, 1.1), (0.9, 0.87, 0.8)), None, 0.95, inside
            )
            for gap in np.arange(-0.8, 0.81, 0.16) * wide:
                line = head.turn([(gap, y0 - 0.06), (gap, y0 + 0.05)], 0.05)
                canvas.tint(frame.stroke(line, 0.6), 0.8, teeth)
    else:
        seam = head.turn(np.stack([x, middle], 1), 0.05)
        canvas.paint(frame.stroke(seam, 1.1), colour * 0.32, None, 0.85)
    for end in (0, -1):
        corner = frame.fill(ellipse(head.turn([(x[end], middle[end])], 0.03)[0], (2.4, 1.8), 0, 16))
        canvas.tint(frame.soften(corner, 1.2), 0.65)


def _lip_colour(rng: np.random.Generator, head: Head) -> Array:
    if rng.random() < 0.7:
        return np.clip(head.skin * (0.88, 0.6, 0.6) + rng.normal(0, 0.03, 3), 0.05, 1)
    return np.clip(np.array([0.65, 0.13, 0.2]) + rng.normal(0, 0.1, 3), 0.03, 1)

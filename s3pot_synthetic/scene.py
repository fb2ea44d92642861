"""The surroundings of the face: background, neck, clothes, hats."""

from __future__ import annotations

import cv2
import numpy as np

from s3pot_synthetic.canvas import (
    Array,
    Canvas,
    Frame,
    blend,
    colored,
    ellipse,
    mask_box,
    pick,
    saturate,
    spline,
    spread,
    unit_grid,
)
from s3pot_synthetic.head import BACKGROUND, NECK, Head
from s3pot_synthetic.natural import surface
from s3pot_synthetic.textures import any_color, noise, texture


def background(rng: np.random.Generator, frame: Frame, split: str) -> tuple[Array, Array]:
    """Draw a background with clutter, mostly out of focus.

    Returns:
        Picture, (S, S, 3) float32, and the numbers of the objects in it, (S, S) int16, 0 behind
        all.
    """
    segments = np.zeros((frame.size, frame.size), np.int16)
    kind = rng.random()
    if kind < 0.35:  # a wall, a sheet of paper in a studio
        plain = any_color(rng, 0.1)
        picture = np.empty((frame.size, frame.size, 3), np.float32)
        picture[:] = plain
        picture *= spread(1 + np.float32(rng.uniform(0.01, 0.08)) * noise(rng, frame, "cloud"))
    elif kind < 0.75:  # a place like those in photographs
        picture = surface(rng, frame.size, frame.size).astype(np.float32) / np.float32(255)
    else:
        picture = texture(rng, frame, split, any_color(rng, 0.15))
    if rng.random() < (0.2 if kind < 0.35 else 0.75):
        for number in range(1, int(rng.integers(2, 11))):
            segments[_clutter(rng, frame, split, picture) > 127] = number
    sigma = rng.choice((0.8, 3.0, 9.0)) * rng.uniform(0.5, 1.5) * frame.scale
    if rng.random() < 0.8:
        reduced = 4 if sigma > 6 else 2
        small = cv2.resize(
            picture, None, fx=1 / reduced, fy=1 / reduced, interpolation=cv2.INTER_AREA
        )
        small = cv2.GaussianBlur(small, (0, 0), max(0.4, sigma / reduced))
        picture = cv2.resize(small, (frame.size, frame.size), interpolation=cv2.INTER_LINEAR)
    picture = saturate(picture, rng.uniform(0.15, 1.0))
    x, y = unit_grid(frame.size)
    slope = rng.normal(0, 0.15, 2)
    fade = 1 + ((x - 128) * np.float32(slope[0]) + (y - 128) * np.float32(slope[1])) / 128
    picture *= spread(fade)
    return np.clip(picture, 0, 1, out=picture), segments


def _clutter(rng: np.random.Generator, frame: Frame, split: str, picture: Array) -> Array:
    """Add one object to the background, in place; returns its mask, (S, S) uint8."""
    center = rng.uniform(-20, 276, 2)
    kind = int(rng.integers(4))
    if kind == 0:  # a piece of furniture, a window, a book
        shape = ellipse(center, rng.uniform(15, 90, 2), rng.normal(0, 0.1), 40, 12)
    elif kind == 1:  # something round, or a light far away
        shape = ellipse(center, np.full(2, rng.uniform(5, 35)))
    elif kind == 2:  # a post or a branch
        shape = ellipse(center, (rng.uniform(4, 14), 260), rng.normal(0, 0.3), 12, 8)
    else:
        shape = spline(center + rng.normal(0, 40, (6, 2)))
    mask = frame.fill(shape)
    color = texture(rng, frame, split) if rng.random() < 0.35 else any_color(rng, 0.3)
    box = mask_box(mask)
    if box is not None:
        blend(picture[box], mask[box], 1.0, color[box] if color.ndim == 3 else color)
    return mask


def neck_and_clothes(
    rng: np.random.Generator, head: Head, canvas: Canvas, column_light: Array, split: str
) -> None:
    """Draw the neck with the shadow of the chin, and clothes.

    Args:
        rng: Random stream.
        head: The head.
        canvas: Picture, changed in place.
        column_light: Factors that light an upright column, (S, S, 3).
        split: Decides the textures.
    """
    width = rng.uniform(0.52, 0.7)
    lean = head.shift[0] * 0.25
    column = [(lean - width, 0.3), (lean + width, 0.3), (width * 1.05, 1.15), (width * 1.7, 1.7)]
    column += [(-width * 1.7, 1.7), (-width * 1.05, 1.15)]
    neck = canvas.frame.fill(head.place(column))
    tint = head.skin * np.float32(rng.uniform(0.86, 0.98))
    grain = 1 + np.float32(rng.uniform(0.005, 0.02)) * noise(rng, canvas.frame, "grain", 1)
    canvas.paint(neck, column_light * colored(grain, tint), NECK)
    drop = 0.1 - 0.12 * head.light.toward[1]
    sideways = 0.5 * head.shift[0] - 0.25 * head.light.toward[0]
    chin = canvas.frame.fill(head.place(ellipse((sideways, 0.8 + drop), (0.85, 0.34))))
    dark = rng.uniform(0.45, 0.75) + 0.25 * head.light.ambient
    canvas.tint(canvas.frame.soften(chin, 3 + 4 * (1 - head.light.hard)), min(dark, 0.95), neck)
    drop = rng.uniform(1.12, 1.35)
    scoop = rng.uniform(0, 0.3)
    collar = [(-2.4, 2.3), (-2.1, 1.5), (-width * 1.2, drop - 0.08), (-width * 0.5, drop + scoop)]
    collar += [(-x, y) for x, y in collar[::-1]]
    shirt = canvas.frame.fill(spline(head.place(collar), 5))
    canvas.tint(canvas.frame.soften(shirt, 3), 0.75)
    canvas.paint(shirt, texture(rng, canvas.frame, split, any_color(rng)), BACKGROUND)
    if rng.random() < 0.3:
        edge = spline(head.place([(-width * 1.2, drop - 0.08), (0, drop + scoop + 0.06),
                                  (width * 1.2, drop - 0.08)]), 8, closed=False)  # fmt: skip
        canvas.paint(canvas.frame.stroke(edge, rng.uniform(2, 7)), any_color(rng), BACKGROUND)


def hat(rng: np.random.Generator, head: Head, canvas: Canvas, split: str) -> None:
    """Draw a beanie, a cap or a headband; like cloth, it is background in the parsing."""
    low = -rng.uniform(0.42, 0.6)
    frame = canvas.frame
    cloth = texture(rng, frame, split, any_color(rng))
    crown = [(-1.08, low + 0.1), (-1.08, -0.75), (-0.75, -1.2), (0, -1.33), (0.75, -1.2)]
    crown += [
        (1.08, -0.75),
        (1.08, low + 0.1),
        (0.5, low - 0.02),
        (0, low - 0.05),
        (-0.5, low - 0.02),
    ]
    kind = pick(rng, ("beanie", "cap", "band"))
    if kind == "band":
        low -= 0.1
        crown = [(-1.07, low + 0.05), (-1.07, low - 0.2), (0, low - 0.36), (1.07, low - 0.2)]
        crown += [(1.07, low + 0.05), (0, low - 0.08)]
    mask = frame.fill(spline(head.place(crown)))
    canvas.tint(frame.soften(mask, 5), rng.uniform(0.55, 0.85))
    inner = frame.soften(mask, 9).astype(np.float32) / np.float32(255)
    canvas.paint(mask, cloth * spread(0.5 + 0.5 * inner), BACKGROUND)
    if kind == "cap":
        x = head.shift[0] * 0.6
        brim = [
            (x - 0.85, low),
            (x, low - 0.16),
            (x + 0.85, low),
            (x + 0.5, low + 0.12),
            (x, low + 0.17),
        ]
        brim += [(x - 0.5, low + 0.12)]
        part = frame.fill(spline(head.place(brim)))
        canvas.tint(frame.soften(part, 4), 0.7)
        canvas.paint(part, cloth * np.float32(0.8), BACKGROUND)
    elif kind == "beanie":
        band = spline(head.place([(-1.08, low), (0, low - 0.14), (1.08, low)]), 8, closed=False)
        canvas.tint(frame.stroke(band, 0.13 * head.half[1]), rng.uniform(0.75, 1.2), mask)

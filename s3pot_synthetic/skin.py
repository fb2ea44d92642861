"""The skin of a head in the light of the scene: form, shadows, highlights, tints, pores."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from s3pot_synthetic.canvas import Array, Frame, spread
from s3pot_synthetic.head import Head
from s3pot_synthetic.lighting import Lamp, cast_shadow, enlarge, to_painted
from s3pot_synthetic.relief import (
    COARSE,
    Place,
    bumps_map,
    draw_relief,
    locate,
    normals,
    sample_map,
)
from s3pot_synthetic.textures import noise

# How far light bleeds across the terminator, by color: red penetrates skin deepest.
_WRAP = (0.3, 0.17, 0.12)


@dataclass(frozen=True)
class LitSkin:
    """The surface of a head; S is the side in pixels.

    Attributes:
        light: Factor by which the light scales a painted color there, (S, S) float32.
        picture: The lit skin, (S, S, 3) float32.
        place: Positions of the coarse grid's pixels on the face.
    """

    light: Array
    picture: Array
    place: Place


def shade_skin(rng: np.random.Generator, head: Head) -> LitSkin:
    """Light the skin of a head."""
    place = locate(head, draw_relief(rng, head))
    directions = normals(head, place)
    radiance, spark = _reckon(rng, head, place, directions)
    tint = _tint(rng, head, place)
    # Reflected light and highlights add up photometrically and are then converted to painted
    # values.
    albedo = cv2.pow(np.clip(head.skin * tint, 0.01, 1), 2.2)
    painted = to_painted(albedo * radiance + spark)
    picture = enlarge(painted, head.frame)
    picture *= spread(1 + _pores(rng, head))
    light = enlarge(to_painted(radiance.mean(2)), head.frame)
    return LitSkin(light, np.clip(picture, 0, 1.3, out=picture), place)


def _reckon(
    rng: np.random.Generator, head: Head, place: Place, directions: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    """Sum the lamps: light scattered by skin (128, 128, 3), and highlights, same shape."""
    light = head.light
    normal_x, normal_y, normal_z = directions
    dome = np.sqrt(np.clip(1 - (0.95 * place.across) ** 2 - (0.75 * place.down) ** 2, 0, 1))
    form = (np.float32(0.85) * dome + place.height).astype(np.float32)
    cell = 256.0 / COARSE / head.half[0]
    # Hollows receive less light from the sky.
    hollow = cv2.GaussianBlur(place.height, (0, 0), 7) - place.height
    sky = (
        np.clip(1 - 4.5 * hollow, 0.35, 1.15) * (0.75 + 0.25 * normal_z) * (0.92 - 0.16 * normal_y)
    )
    radiance = np.repeat((light.ambient * sky)[..., None], 3, 2).astype(np.float32)
    spark = np.zeros_like(radiance)
    sharp = rng.uniform(5, 30)
    oily = np.float32(light.gloss) * np.clip(1 + 0.12 * noise(rng, Frame(COARSE), "grain", 1), 0, 2)
    oily = oily * (0.55 + 0.45 * np.exp(-0.5 * (place.u / 0.4) ** 2))
    main = Lamp(light.toward, light.color, light.hard)
    for lamp in (main, *light.others):
        lamp_x, lamp_y, lamp_z = (np.float32(value) for value in lamp.toward)
        facing = normal_x * lamp_x + normal_y * lamp_y + normal_z * lamp_z
        seen = cast_shadow(form, lamp.toward, lamp.hard, cell)
        if lamp.hard < 0.7:
            seen = cv2.GaussianBlur(seen, (0, 0), 0.6 + 2.2 * (1 - lamp.hard))
        half = np.array(lamp.toward) + (0, 0, 1)
        half = (half / np.linalg.norm(half)).astype(np.float32)
        mirror = np.clip(normal_x * half[0] + normal_y * half[1] + normal_z * half[2], 0, 1)
        mirror = oily * seen * (0.7 * mirror**sharp + 0.3 * mirror ** (sharp * 0.3))
        mirror = mirror * (0.6 + 0.8 * (1 - normal_z))
        for channel in range(3):
            wrap = np.float32(_WRAP[channel])
            lit = np.clip((facing + wrap) / (1 + wrap), 0, 1) * seen
            strength = np.float32(lamp.color[channel] * (1.15 - 0.6 * light.ambient))
            radiance[..., channel] += strength * lit
            spark[..., channel] += strength * mirror
    inner = (np.abs(place.u) < 0.75) & (np.abs(place.v) < 0.8)
    brightest = float(np.percentile(radiance.mean(2)[inner], 88)) if inner.any() else 1.0
    scale = np.float32(light.exposure**2.2 / max(brightest, 1e-3))
    return radiance * scale, np.clip(spark * scale, 0, 1)


def _tint(rng: np.random.Generator, head: Head, place: Place) -> Array:
    """Draw redder, darker and patchier areas of skin: factors (128, 128, 3)."""
    red = rng.uniform(0.0, 0.14) * (1.2 - head.tone)
    ruddy = [(0.0, head.nose_y, 0.12, 0.1, 0.06, 0.8), (0.0, 0.9, 0.2, 0.1, 0.1, 0.3)]
    dark = []
    for side in (-1, 1):
        ruddy.append((side * 0.52, 0.2, 0.2, 0.13, 0.16, rng.uniform(0.5, 1.0)))
        dark.append((side * head.eye_x, head.eye_y + 0.04, 0.18, 0.08, 0.07, 1.0))
        dark.append((side * 0.16, head.eye_y, 0.06, 0.07, 0.07, 0.8))
    redness = np.float32(red) * sample_map(bumps_map(ruddy), place.u, place.v)
    shade = np.float32(rng.uniform(0.02, 0.2)) * sample_map(bumps_map(dark), place.u, place.v)
    patches = np.float32(rng.uniform(0, 0.03)) * noise(rng, Frame(COARSE), "cloud")
    spots = np.float32(rng.uniform(0, 0.012)) * noise(rng, Frame(COARSE), "grain", 2)
    base = 1 - shade + patches + spots
    return cv2.merge(
        [
            (base + 0.25 * redness).astype(np.float32),
            (base - redness - 0.3 * patches).astype(np.float32),
            (base - 0.8 * redness - 0.3 * patches).astype(np.float32),
        ]
    )


def _pores(rng: np.random.Generator, head: Head) -> Array:
    """Draw the fine grain of skin as relative values, (S, S) float32."""
    coarse = rng.uniform(0.0, 0.014) * (1 + head.age)
    field = noise(rng, head.frame, "grain", 0) * np.float32(rng.uniform(0.004, 0.014))
    return np.asarray(field + noise(rng, head.frame, "grain", 2) * np.float32(coarse))


def lit_column(head: Head) -> Array:
    """Light an upright column such as a neck: factors for painted colors, (S, S, 3) float32."""
    light = head.light
    side = np.linspace(-1, 1, 64, dtype=np.float32) * np.float32(128 / head.half[0] / 0.62)
    center = np.float32((head.center[0] - 128) / head.half[0] / 0.62)
    normal_x = np.clip(side - center, -0.98, 0.98)
    normal_z = np.sqrt(1 - normal_x**2)
    facing = np.clip((normal_x * light.toward[0] + normal_z * light.toward[2] + 0.2) / 1.2, 0, 1)
    row = light.ambient * (0.7 + 0.3 * normal_z) + (1.15 - 0.6 * light.ambient) * facing
    row = to_painted((row / 1.1).astype(np.float32)) * np.float32(light.exposure)
    line = np.stack([row * np.float32(value) for value in light.color], 1)
    return cv2.resize(line[None], (head.frame.size, head.frame.size))

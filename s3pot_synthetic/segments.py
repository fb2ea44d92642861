"""Pictures in which every segment is known, to teach a segmenter to follow its prompts.

``texture_scene`` quickly draws arbitrary overlapping shapes with arbitrary surfaces.
``draw_scene_segments`` returns all parts of a drawn face, its surroundings and its occluders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from s3pot.labels import region_of
from s3pot_synthetic.canvas import Array, Frame, ellipse, pick, ribbon, rotate, spline
from s3pot_synthetic.finish import draw_camera, take
from s3pot_synthetic.head import HAIR, NECK
from s3pot_synthetic.layers import SOLID
from s3pot_synthetic.natural import surface
from s3pot_synthetic.sample import draw_scene

_MAX_SHAPES = 40


@dataclass(frozen=True)
class SceneSegments:
    """A picture and its segments; S is the side in pixels.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        parts: Finest segments, (S, S) int16: 0 is the background behind everything, and every other
            number is one part of an object (an eye, a finger, a shirt); numbers may be missing.
        things: Whole objects, (S, S) int16: the face (without hair, ears, neck), hair, clothes,
            each occluder, each object in the background; 0 as above.
    """

    image: Array
    parts: Array
    things: Array


def texture_scene(rng: np.random.Generator, size: int = 256) -> tuple[Array, Array]:
    """Draw 5 to 40 overlapping shapes of any form, surface, contrast, blur and shading.

    Args:
        rng: Random stream; the same state gives the same bytes.
        size: Side in pixels.

    Returns:
        Image, (S, S, 3) uint8 RGB, and segments, (S, S) int16: 0 behind everything, then one number
        for every shape, some of which may be completely hidden.
    """
    image = surface(rng, size, size)
    ids = np.zeros((size, size), np.int16)
    count = round(math.exp(rng.uniform(math.log(5), math.log(_MAX_SHAPES))))
    largest = rng.uniform(0.2, 0.55) * size
    depth_blur = rng.uniform(0.5, 3.0) if rng.random() < 0.3 else 0.0
    for number in range(1, count + 1):
        # Sizes as in photographs: every scale covers about the same area.
        radius = math.exp(rng.uniform(math.log(0.02 * size), math.log(largest)))
        outlines = _outlines(rng, rng.uniform(0, size, 2), radius)
        _lay(rng, image, ids, outlines, number)
        if depth_blur and number == count // 2:
            image = cv2.GaussianBlur(image, (0, 0), depth_blur * size / 256)
    if rng.random() < 0.6:
        image = _uneven_light(rng, image)
    if rng.random() < 0.8:
        frame = Frame(size)
        camera = draw_camera(rng)
        image = take(rng, frame, camera, image.astype(np.float32) * np.float32(1 / 255))
    return image, ids


def draw_scene_segments(
    index: int, size: int = 256, split: str = "train", *, seed: int = 0
) -> SceneSegments:
    """Draw the same sample as ``draw_face`` with the same arguments, with all of its segments.

    Raises:
        S3potError: An argument is out of range.
    """
    scene = draw_scene(index, size, split, seed=seed)
    labels = scene.sample.labels
    parts = scene.face.segments.copy()
    things = scene.face.segments.copy()
    next_thing = int(things.max()) + 1
    for where in (region_of(labels), labels == HAIR, labels == NECK):
        things[where] = next_thing
        next_thing += 1
    next_part = int(parts.max()) + 1
    for layer in scene.layers:
        if layer.alpha >= SOLID:
            where = layer.mask > 127
            parts[where] = next_part
            things[where] = next_thing + layer.thing
            next_part += 1
    return SceneSegments(scene.sample.raw, parts, things)


def _outlines(rng: np.random.Generator, center: Array, radius: float) -> list[Array]:
    """Draw a shape in pixels: closed outlines (N, 2), filled by the even-odd rule."""
    kind = rng.random()
    angle = rng.uniform(0, 2 * math.pi)
    if kind < 0.3:  # disc, egg, box with rounded corners, box
        radii = (radius, radius * rng.uniform(0.3, 1.0))
        outline = ellipse(center, radii, angle, 40, pick(rng, (2.0, 2.0, 3.0, 6.0, 30.0)))
    elif kind < 0.55:  # blob or star-shaped polygon
        corners = int(rng.integers(3, 12))
        turns = np.sort(rng.random(corners)) * 2 * math.pi
        reach = radius * rng.uniform(0.4, 1.2, corners)
        outline = np.stack([reach * np.cos(turns), reach * np.sin(turns)], 1) + center
        outline = spline(outline) if rng.random() < 0.6 else outline
    elif kind < 0.8:  # band: a finger, a strap, a stem, a strand
        way = np.cumsum(rng.normal(0, radius * 0.45, (5, 2)), 0)
        along = np.linspace(-radius, radius, 5)[:, None] * (math.cos(angle), math.sin(angle))
        line = spline(center + along + way - way.mean(0), 6, closed=False)
        wide = radius * math.exp(rng.uniform(math.log(0.06), math.log(0.6)))
        outline = ribbon(line, wide * np.linspace(1, rng.uniform(0.2, 1.2), len(line)))
    elif kind < 0.9:  # fork, comb, hand: bands with gaps between them
        teeth = int(rng.integers(2, 6))
        wide = radius / teeth * rng.uniform(0.5, 0.85)
        outline = _comb(rng, teeth, radius, wide)
        outline = rotate(outline, angle) + center
    else:  # ring or frame: a hole in the middle
        power = pick(rng, (2.0, 2.0, 8.0))
        flat = rng.uniform(0.5, 1.0)
        outer = ellipse(center, (radius, radius * flat), angle, 40, power)
        share = rng.uniform(0.4, 0.85)
        return [outer, (outer - center) * share + center]
    return [outline]


def _comb(rng: np.random.Generator, teeth: int, radius: float, wide: float) -> Array:
    """Draw a base with teeth that point up: (N, 2) around the origin."""
    pitch = 2 * radius / teeth
    points = [(-radius, radius * 0.9), (-radius, 0.0)]
    for i in range(teeth):
        x = -radius + pitch * (i + 0.5)
        tall = -radius * rng.uniform(0.5, 1.2)
        points += [(x - wide / 2, 0.0), (x - wide / 2.4, tall), (x + wide / 2.4, tall)]
        points.append((x + wide / 2, 0.0))
    return np.array([*points, (radius, 0.0), (radius, radius * 0.9)])


def _lay(
    rng: np.random.Generator, image: Array, ids: Array, outlines: list[Array], number: int
) -> None:
    """Paint one shape over image and segments, in place."""
    every = np.concatenate(outlines)
    margin = 3
    low = np.maximum(np.floor(every.min(0)).astype(int) - margin, 0)
    high = np.minimum(np.ceil(every.max(0)).astype(int) + margin, ids.shape[0])
    if (high - low < 2).any():
        return
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    points = [np.round((outline - low) * 16).astype(np.int32) for outline in outlines]
    cv2.fillPoly(mask, points, 255, cv2.LINE_AA, 4)
    box = slice(low[1], high[1]), slice(low[0], high[0])
    part = image[box]
    fill = _fill(rng, part, mask)
    opacity = rng.uniform(0.35, 0.8) if rng.random() < 0.08 else 1.0
    cover = mask
    if rng.random() < 0.3:
        cover = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 2.0))
    if rng.random() < 0.3:
        _cast_shadow(rng, image, mask, low)
    weight = cover.astype(np.float32) * np.float32(opacity / 255)
    weight = cv2.merge((weight, weight, weight))
    behind = cv2.multiply(part, 1 - weight, dtype=cv2.CV_8U)
    image[box] = cv2.add(behind, cv2.multiply(fill, weight, dtype=cv2.CV_8U))
    ids[box][mask > 127] = number


def _fill(rng: np.random.Generator, below: Array, mask: Array) -> Array:
    """Draw the surface of a shape, (H, W, 3) uint8: any texture, shaded flat, slanted or round."""
    height, width = mask.shape
    base = None
    if rng.random() < 0.25:  # nearly the color of what lies below: hard to distinguish
        base = np.clip(below.mean((0, 1)) / 255 + rng.normal(0, 0.06, 3), 0, 1)
    fill = surface(rng, height, width, base)
    shape = rng.random()
    if shape < 0.35:
        return fill
    if shape < 0.7:
        slope = rng.normal(0, 0.35, 2)
        across = np.linspace(-1, 1, width, dtype=np.float32)[None] * np.float32(slope[0])
        shade = (
            np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(slope[1]) + across
        )
    else:
        sigma = max(1.0, min(height, width) / 5)
        step = max(1, int(sigma / 3))
        small = cv2.resize(mask, (max(2, width // step), max(2, height // step)))
        soft = cv2.GaussianBlur(
            small.astype(np.float32) * np.float32(1 / 255), (0, 0), sigma / step
        )
        slope_y, slope_x = np.gradient(soft)
        lamp = rng.normal(0, 2.0, 2) * sigma / step
        relief = slope_x * np.float32(lamp[0]) + slope_y * np.float32(lamp[1]) + 0.5 * (soft - 0.7)
        shade = cv2.resize(relief.astype(np.float32), (width, height))
    shade = np.clip(1 + shade, 0.15, 1.8)
    return cv2.multiply(fill, cv2.merge((shade, shade, shade)), dtype=cv2.CV_8U)


def _cast_shadow(rng: np.random.Generator, image: Array, mask: Array, low: Array) -> None:
    """Darken the surroundings of a shape, in place."""
    side = image.shape[0]
    shift = low + np.round(rng.normal(0, 0.015 * side, 2)).astype(int)
    start = np.maximum(shift, 0)
    stop = np.minimum(shift + mask.shape[::-1], side)
    if (stop - start < 2).any():
        return
    part = mask[start[1] - shift[1] : stop[1] - shift[1], start[0] - shift[0] : stop[0] - shift[0]]
    soft = cv2.blur(part, (5, 5))
    factor = 1 - soft.astype(np.float32) * np.float32(rng.uniform(0.1, 0.6) / 255)
    box = slice(start[1], stop[1]), slice(start[0], stop[0])
    image[box] = cv2.multiply(image[box], cv2.merge((factor, factor, factor)), dtype=cv2.CV_8U)


def _uneven_light(rng: np.random.Generator, image: Array) -> Array:
    """Vary the light across the picture, or in soft or hard patches."""
    side = image.shape[0]
    coarse = rng.uniform(0.55, 1.2, (3, 3)).astype(np.float32)
    light = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.25:
        edge = np.linspace(-1, 1, side, dtype=np.float32)
        slope = rng.normal(0, 1, 2).astype(np.float32)
        line = (slope[0] * edge[None] + slope[1] * edge[:, None] + rng.normal(0, 0.4)) * 20
        lit_side = np.clip(line, 0, 1).astype(np.float32)
        light *= np.float32(rng.uniform(0.3, 0.8)) + np.float32(0.5) * lit_side
    return cv2.multiply(image, cv2.merge((light, light, light)), dtype=cv2.CV_8U)

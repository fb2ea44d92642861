"""The layers of an occluder, their lighting, and compositing over a face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from s3pot_synthetic.canvas import Array, Canvas, Vector, blend, colored, mask_box, spread
from s3pot_synthetic.face import Face


@dataclass(frozen=True)
class Layer:
    """One layer of an occluder.

    Attributes:
        mask: Coverage, (S, S) uint8.
        color: RGB triple or picture (S, S, 3), [0, 1].
        round: How round the body looks: blur, in units, of the shading; 0 is flat.
        alpha: Opacity, 0..1. From 0.6 on, the layer belongs to the occluder; more transparent
            layers are highlights on an earlier layer.
        thing: Number of the occluder it belongs to, from 0.
    """

    mask: Array
    color: Vector
    round: float = 0.0
    alpha: float = 1.0
    thing: int = 0


SOLID = 0.6  # minimum opacity of a layer that counts as occluder


def coverage(layers: Sequence[Layer]) -> Array:
    """Return the union of the layers that hide what is below them: mask (S, S) uint8."""
    total = np.zeros_like(layers[0].mask)
    for layer in layers:
        if layer.alpha >= SOLID:
            total = cv2.max(total, layer.mask)
    return total


def target(rng: np.random.Generator, face: Face) -> Array:
    """Draw a position on the face: (2,) units."""
    return face.head.turn([(rng.uniform(-0.6, 0.6), rng.uniform(-0.45, 0.75))])[0]


def compose(rng: np.random.Generator, face: Face, layers: Sequence[Layer]) -> Array:
    """Composite an occluder and its cast shadow over a face.

    The shadow belongs to the picture, not to the occluder's mask.

    Returns:
        (S, S, 3) float32, [0, 1].
    """
    frame = face.head.frame
    canvas = Canvas(frame, face.image.copy())
    lamp = face.head.light.toward
    if rng.random() < 0.75:
        far = rng.uniform(2, 13)
        sigma = rng.uniform(1.2, 6)
        shift = np.array([-lamp[0] * far, -lamp[1] * far + 1.0], np.float32) * frame.scale
        move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
        shadow = frame.soften(coverage(layers), sigma)
        shadow = cv2.warpAffine(
            shadow, move, (frame.size, frame.size), borderMode=cv2.BORDER_REPLICATE
        )
        depth = 1 - rng.uniform(0.15, 0.55) * (1.1 - face.head.light.ambient)
        canvas.tint(shadow, (depth, depth * 0.97, depth * 0.95))
    exposure = _light_before(rng, face)
    for layer in layers:
        _lay(canvas, layer, lamp, exposure)
    return np.clip(canvas.image, 0, 1, out=canvas.image)


def _light_before(rng: np.random.Generator, face: Face) -> Array:
    """Compute the light on an object in front of a face: factors (S, S, 3) float32.

    Usually it is the light of the face without its relief; composites have their own light.
    """
    light = face.head.light
    size = face.head.frame.size
    if rng.random() < 0.2:
        return np.full((size, size, 3), rng.uniform(0.7, 1.15), np.float32)
    coarse = cv2.resize(face.light, (6, 6), interpolation=cv2.INTER_AREA)
    share = np.float32(rng.uniform(0.2, 0.75))  # the rest is not affected by the head's shadow side
    coarse = share * coarse + (1 - share) * np.float32(0.92 * light.exposure)
    coarse = coarse * np.float32(rng.uniform(0.88, 1.1))
    field = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return colored(field, light.color)


def _lay(canvas: Canvas, layer: Layer, lamp: Sequence[float], exposure: Array) -> None:
    sigma = layer.round * canvas.frame.scale
    box = mask_box(layer.mask, round(2 * sigma) + 1)
    if box is None:
        return
    mask = layer.mask[box]
    color = np.asarray(layer.color, np.float32)
    shade = exposure[box]
    if sigma > 0:
        shade = shade * spread(swell(mask, sigma, lamp))
    lit = color[box] * shade if color.ndim == 3 else shade * color
    blend(canvas.image[box], mask, layer.alpha, np.minimum(lit, 1.3))


def swell(mask: Array, sigma: float, lamp: Sequence[float]) -> Array:
    """Shade a flat shape as if it were round.

    Args:
        mask: Shape, (H, W) uint8.
        sigma: Blur in pixels that creates its height; about a third of its width.
        lamp: Direction of the light.

    Returns:
        Factors around 1, (H, W) float32.
    """
    step = 2 if sigma > 3 else 1
    size = (max(1, mask.shape[1] // step), max(1, mask.shape[0] // step))
    small = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) if step > 1 else mask
    height = cv2.GaussianBlur(small.astype(np.float32) / 255.0, (0, 0), sigma / step)
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3)
    tilt = np.float32(0.13 * sigma / step)
    factor = (
        0.56
        + 0.5 * height
        - tilt * (np.float32(lamp[0]) * slope_x + np.float32(lamp[1]) * slope_y) * 4
    )
    factor = np.clip(factor, 0.25, 1.5)
    if step > 1:
        factor = cv2.resize(factor, (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_LINEAR)
    return factor

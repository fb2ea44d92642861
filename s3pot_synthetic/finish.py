"""The effects of camera and file format on a picture; the last step."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from s3pot_synthetic.canvas import Array, Frame, saturate, spread


@dataclass(frozen=True)
class Camera:
    """One set of camera effects, shared by the occluded and the clean picture.

    Attributes:
        blur: Lens blur in units; 0 for none.
        reduction: Factor by which the picture was once reduced, 0..1; 1 for none.
        sharpening: Strength of the sharpening that cameras add; 0 for none.
        vignette: How much darker the corners are, 0..1.
        color: Saturation; 0 is gray, 1 as painted.
        noise: Sensor noise, standard deviation in [0, 1].
        coarse: Share of the noise that is correlated between neighbors, 0..1.
        table: Gain, color cast and tone curve as a lookup table, (256, 1, 3) uint8.
        quality: JPEG quality, or 0 for none.
    """

    blur: float
    reduction: float
    sharpening: float
    vignette: float
    color: float
    noise: float
    coarse: float
    table: Array
    quality: int


def draw_camera(rng: np.random.Generator) -> Camera:
    """Draw camera effects at random."""
    cast = rng.normal(0, 0.11 if rng.random() < 0.1 else 0.03, 3)
    gain = rng.uniform(0.85, 1.12) * np.clip(1 + cast, 0.78, 1.22)
    gamma = rng.uniform(0.82, 1.22)
    lift = rng.uniform(0.0, 0.06)
    level = np.clip(np.linspace(0, 1, 256)[:, None] ** gamma * gain, 0, 1)
    contrast = rng.uniform(-0.1, 0.65)  # an S-shaped curve deepens shadows and lifts highlights
    level = level + contrast * (level**2 * (3 - 2 * level) - level)
    table = np.clip(level * (1 - lift) + lift, 0, 1)
    gray = rng.random() < 0.05
    return Camera(
        blur=rng.uniform(0.3, 1.3) if rng.random() < 0.55 else 0.0,
        reduction=rng.uniform(0.35, 0.75) if rng.random() < 0.2 else 1.0,
        sharpening=rng.uniform(0.2, 1.0) if rng.random() < 0.25 else 0.0,
        vignette=rng.uniform(0.1, 0.45) if rng.random() < 0.2 else 0.0,
        color=0.0 if gray else rng.uniform(0.8, 1.25),
        noise=rng.uniform(0.002, 0.012) if rng.random() < 0.75 else rng.uniform(0.01, 0.035),
        coarse=rng.uniform(0, 1) if rng.random() < 0.5 else 0.0,
        table=np.round(table * 255).astype(np.uint8)[:, None, :],
        quality=int(rng.integers(30, 96)) if rng.random() < 0.65 else 0,
    )


def take(rng: np.random.Generator, frame: Frame, camera: Camera, image: Array) -> Array:
    """Take a picture: (S, S, 3) float32, from 0, to uint8; values above 1 are overexposed.

    Args:
        rng: Random stream of the sensor noise, one per picture.
        frame: Pixel size.
        camera: The camera effects.
        image: The scene in front of the lens.
    """
    if camera.reduction < 1:
        small = max(8, round(frame.size * camera.reduction))
        image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        image = cv2.resize(image, (frame.size, frame.size), interpolation=cv2.INTER_CUBIC)
    if camera.blur * frame.scale > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), camera.blur * frame.scale)
    if camera.sharpening:
        soft = cv2.GaussianBlur(image, (0, 0), max(0.6, 1.2 * frame.scale))
        image = cv2.addWeighted(image, 1 + camera.sharpening, soft, -camera.sharpening, 0)
    image = saturate(image, camera.color)
    if camera.vignette:
        line = np.linspace(-1, 1, frame.size, dtype=np.float32) ** 2
        fall = 1 - np.float32(camera.vignette / 2) * (line[None] + line[:, None])
        image *= spread(fall)
    # One field serves three channels: flipped, its values are far from their copies.
    field = rng.standard_normal(image.shape[:2], dtype=np.float32)
    if camera.coarse:
        sigma = max(0.5, 1.1 * frame.scale)
        soft = cv2.GaussianBlur(field, (0, 0), sigma)
        strength = 3.5 * sigma * camera.coarse  # compensates for the deviation lost by blurring
        field = cv2.addWeighted(field, 1 - camera.coarse, soft, strength, 0)
    field *= np.float32(255 * camera.noise)
    grain: Array = cv2.merge(
        (field, np.ascontiguousarray(field[::-1]), np.ascontiguousarray(field[:, ::-1]))
    )
    grain += np.float32(0.5)
    grain += image * np.float32(255)
    pixels: Array = cv2.LUT(np.clip(grain, 0, 255, out=grain).astype(np.uint8), camera.table)
    if camera.quality:
        # Encoder and decoder agree on the channel order, so RGB passes through as it is.
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, camera.quality])
        pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return pixels

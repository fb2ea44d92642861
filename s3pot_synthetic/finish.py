"""What a camera and a file format do to a picture; the last step."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from s3pot_synthetic.canvas import Array, Frame, spread


@dataclass(frozen=True)
class Camera:
    """One set of camera faults, shared by the occluded and the clean picture.

    Attributes:
        blur: Lens blur in units; 0 is none.
        colour: Saturation; 0 is grey, 1 as painted.
        noise: Sensor noise, standard deviation in [0, 1].
        table: Gain, colour cast and gamma as a look-up table, (256, 1, 3) uint8.
        quality: JPEG quality, or 0 for none.
    """

    blur: float
    colour: float
    noise: float
    table: Array
    quality: int


def draw_camera(rng: np.random.Generator) -> Camera:
    """Draw camera faults at random."""
    gain = rng.uniform(0.7, 1.2) * np.clip(1 + rng.normal(0, 0.06, 3), 0.82, 1.18)
    gamma, lift = rng.uniform(0.7, 1.4), rng.uniform(0.0, 0.08)
    level = np.linspace(0, 1, 256)[:, None] ** gamma * gain
    table = np.clip(level * (1 - lift) + lift, 0, 1)
    return Camera(
        blur=rng.uniform(0.3, 1.5) if rng.random() < 0.6 else 0.0,
        colour=rng.uniform(0.45, 1.15),
        noise=rng.uniform(0.002, 0.02),
        table=np.round(table * 255).astype(np.uint8)[:, None, :],
        quality=int(rng.integers(30, 96)) if rng.random() < 0.6 else 0,
    )


def take(rng: np.random.Generator, frame: Frame, camera: Camera, image: Array) -> Array:
    """Take a picture: (S, S, 3) float32 in [0, 1] to uint8.

    Args:
        rng: Stream of the sensor noise, one per picture.
        frame: Pixel size.
        camera: Faults.
        image: What is before the lens.
    """
    if camera.blur * frame.scale > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), camera.blur * frame.scale)
    grey = image @ np.array([0.3, 0.59, 0.11], np.float32)
    image = spread(grey * np.float32(1 - camera.colour)) + image * np.float32(camera.colour)
    # One field serves three channels: turned over, its values are far from their copies.
    field = rng.standard_normal(image.shape[:2], dtype=np.float32) * np.float32(255 * camera.noise)
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

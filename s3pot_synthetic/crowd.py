"""Scenes with any number of drawn faces of any size, and the detections expected for them.

A scene is composed of the cutouts of a ``crowd_bank.Bank``: a cluttered background, people in it
(from 12 px to the whole picture, tilted by up to 45 degrees and more, side-lit, tinted, out of
focus), objects in front of their faces, objects and faceless heads that must not be detected as
faces, and finally camera effects. The same arguments give the same bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from s3pot_synthetic.canvas import Array, ellipse, pick, rotate, spline
from s3pot_synthetic.crowd_bank import FACE_SIZE, Bank
from s3pot_synthetic.finish import draw_camera
from s3pot_synthetic.textures import any_color

SMALLEST, LARGEST = 10.0, 1.15  # side of a face box: pixels, and share of the picture's side
IGNORED_HIDDEN = 0.75  # faces hidden by more than this count as neither face nor background
_PORTRAIT, _EMPTY = 0.4, 0.06  # shares of scenes with one large face, and without a face
_UPSIDE_DOWN = 0.04  # share of people who are upside down; they are not to be detected
_FACELESS = 0.08  # share of people whose face is erased
_MARGIN = 48  # pixels by which a portrait's own background is extended
_OPAQUE = np.full((FACE_SIZE, FACE_SIZE, 1), 255, np.uint8)


@dataclass(frozen=True)
class CrowdScene:
    """A picture and its faces.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        boxes: x, y, width, height of each face from hairline to chin, (N, 4) float32 pixels; they
            may extend beyond the picture.
        landmarks: Five landmarks of each face as in ``s3pot.rg.detect.Face``, (N, 5, 2) float32
            pixels.
        ignored: Boxes of faces that are too small or too occluded to be required, (M, 4).
    """

    image: Array
    boxes: Array
    landmarks: Array
    ignored: Array


@dataclass(frozen=True)
class _Person:
    """One cutout placed in a scene."""

    box: Array
    landmarks: Array
    outline: Array
    hidden: float
    is_face: bool


def draw_crowd(rng: np.random.Generator, bank: Bank, size: int) -> CrowdScene:
    """Compose one scene.

    Args:
        rng: Random stream.
        bank: The cutouts it is composed of.
        size: Side in pixels.
    """
    image = _place(rng, bank, size)
    for _ in range(int(rng.integers(0, 4))):
        _distract(rng, bank, image)
    people: list[_Person] = []
    chance = rng.random()
    if chance < _PORTRAIT:
        side = size * rng.uniform(0.32, LARGEST)
        people += _add_person(rng, bank, image, people, side)
    elif chance < 1 - _EMPTY:
        count = int(rng.integers(1, 7))
        largest = size * rng.uniform(0.15, 0.6)
        sides = np.exp(rng.uniform(math.log(1.2 * SMALLEST), math.log(largest), count))
        for side in np.sort(sides):
            people += _add_person(rng, bank, image, people, float(side))
    if rng.random() < 0.25:
        _distract(rng, bank, image)
    return _finish(rng, image, people, size)


def _finish(rng: np.random.Generator, image: Array, people: list[_Person], size: int) -> CrowdScene:
    faces = []
    ignored = []
    for number, person in enumerate(people):
        if not person.is_face:
            continue
        covered = _covered_by(person, people[number + 1 :], size)
        x, y = person.box[:2] + person.box[2:] / 2
        outside = not (0 <= x < size and 0 <= y < size)
        if (
            max(covered, person.hidden) > IGNORED_HIDDEN
            or outside
            or person.box[2:].max() < SMALLEST
        ):
            ignored.append(person.box)
        else:
            faces.append(person)
    return CrowdScene(
        _camera(rng, image),
        np.array([face.box for face in faces], np.float32).reshape(-1, 4),
        np.array([face.landmarks for face in faces], np.float32).reshape(-1, 5, 2),
        np.array(ignored, np.float32).reshape(-1, 4),
    )


def _covered_by(person: _Person, later: list[_Person], size: int) -> float:
    """Share of a face hidden by people in front of it or the picture's edge: about 0..1."""
    grid = person.box[:2] + person.box[2:] * _GRID
    hidden = ((grid < 0) | (grid >= size)).any(axis=1)
    for other in later:
        head = np.concatenate([other.box[:2] - other.box[2:] * 0.15, other.box[2:] * (1.3, 1.6)])
        hidden |= ((grid >= head[:2]) & (grid < head[:2] + head[2:])).all(axis=1)
    return float(hidden.mean())


_GRID = np.stack(np.meshgrid(np.linspace(0.15, 0.85, 6), np.linspace(0.15, 0.85, 6)), -1)
_GRID = _GRID.reshape(-1, 2)


def _place(rng: np.random.Generator, bank: Bank, size: int) -> Array:
    """Crop a window from a background: (size, size, 3) uint8."""
    place = bank.places[int(rng.integers(len(bank.places)))]
    side = int(rng.integers(place.shape[0] // 3, place.shape[0] + 1))
    top, left = rng.integers(0, place.shape[0] - side + 1, 2)
    window = place[top : top + side, left : left + side]
    window = window[:, ::-1] if rng.random() < 0.5 else window
    window = window[::-1] if rng.random() < 0.2 else window
    image = cv2.resize(np.ascontiguousarray(window), (size, size), interpolation=cv2.INTER_LINEAR)
    return cv2.LUT(image, _tone(rng, 0.25))


def _tone(rng: np.random.Generator, strength: float) -> Array:
    """Draw a tone curve and color cast as a lookup table, (256, 1, 3) uint8."""
    gamma = math.exp(rng.normal(0, strength))
    gain = np.exp(rng.normal(0, strength, 1) + rng.normal(0, 0.3 * strength, 3))
    curve = np.clip(np.linspace(0, 1, 256)[:, None] ** gamma * gain, 0, 1)
    return np.round(curve * 255).astype(np.uint8)[:, None, :]


def _angle(rng: np.random.Generator) -> float:
    """Draw the roll angle of a head in the picture, in radians."""
    if rng.random() < 0.6:
        return math.radians(float(rng.normal(0, 12)))
    return math.radians(float(rng.uniform(-52, 52)))


def _motion(
    rng: np.random.Generator, outline: Array, side: float, center: Array, angle: float
) -> Array:
    """Build the affine map from a cutout to the scene, (2, 3): flip, stretch, rotation, scale."""
    stretch = math.exp(rng.normal(0, 0.07))
    shear = rng.normal(0, 0.05)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    linear = np.array([[mirror * stretch, shear], [0.0, 1 / stretch]])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = turn @ linear
    moved = outline @ linear.T
    linear = linear * (side / (moved.max(axis=0) - moved.min(axis=0)).max())
    middle = (outline.max(axis=0) + outline.min(axis=0)) / 2
    return np.concatenate([linear, (center - linear @ middle)[:, None]], axis=1)


def _apply(points: Array, motion: Array) -> Array:
    return points @ motion[:, :2].T + motion[:, 2]


def _warp(source: Array, motion: Array, size: int, margin: int = 0) -> tuple[Array, slice, slice]:
    """Warp a cutout into the part of a scene that it covers.

    Args:
        source: (FACE_SIZE, FACE_SIZE, 4) uint8.
        motion: From its pixels to those of the scene, (2, 3).
        size: Side of the scene.
        margin: Pixels by which the cutout is extended by reflection at its edges.

    Returns:
        The part, (h, w, C) uint8, and its rows and columns in the scene; may be empty.
    """
    if margin:
        source = cv2.copyMakeBorder(source, margin, margin, margin, margin, cv2.BORDER_REFLECT)
        motion = np.concatenate([motion[:, :2], _apply(np.full((1, 2), -margin), motion).T], axis=1)
    scale = math.sqrt(abs(np.linalg.det(motion[:, :2])))
    shrink = min(1.0, 1.3 * scale)
    if shrink < 0.75:
        # Warping samples single pixels, so first resize the source to about its final size.
        side = max(4, round(source.shape[0] * shrink))
        factor = source.shape[0] / side
        source = cv2.resize(source, (side, side), interpolation=cv2.INTER_AREA)
        motion = np.concatenate(
            [motion[:, :2] * factor,
             (motion[:, 2] + motion[:, :2] @ np.full(2, factor / 2 - 0.5))[:, None]], axis=1
        )  # fmt: skip
    last = source.shape[0] - 1
    corners = _apply(np.array([[0, 0], [last, 0], [last, last], [0, last]]), motion)
    low = np.clip(np.floor(corners.min(axis=0)) - 1, 0, size).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 2, 0, size).astype(int)
    rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
    if (high <= low).any():
        return np.zeros((0, 0, source.shape[2]), np.uint8), rows, columns
    shifted = motion.copy()
    shifted[:, 2] -= low
    extent = (int(high[0] - low[0]), int(high[1] - low[1]))
    part = cv2.warpAffine(source, shifted, extent, flags=cv2.INTER_LINEAR)
    return part, rows, columns


def _lay(image: Array, part: Array, rows: slice, columns: slice, weight: Array) -> None:
    """Blend a part into a scene, in place; the weight is (h, w) uint8."""
    if part.size == 0:
        return
    under = image[rows, columns]
    share = cv2.merge([weight, weight, weight]).astype(np.float32) * np.float32(1 / 255)
    mixed = under + share * (part[..., :3].astype(np.float32) - under)
    image[rows, columns] = mixed.astype(np.uint8)


def _light(rng: np.random.Generator, part: Array, box: Array) -> Array:
    """Light a person from one side and change the tone; (h, w, 3) uint8."""
    lit = cv2.LUT(np.ascontiguousarray(part[..., :3]), _tone(rng, 0.3))
    if rng.random() < 0.45:
        height, width = lit.shape[:2]
        angle = rng.uniform(0, 2 * math.pi)
        direction = np.array([math.cos(angle), 0.5 * math.sin(angle)])
        reach = max(4.0, float(box[2:].max())) * rng.uniform(0.05, 0.6)
        x = np.arange(width, dtype=np.float32) - np.float32(width / 2)
        y = np.arange(height, dtype=np.float32)[:, None] - np.float32(height / 2)
        offset = (x * np.float32(direction[0]) + y * np.float32(direction[1])) / np.float32(reach)
        dark = rng.uniform(0.2, 0.9)
        bright = rng.uniform(0.95, 1.5)
        shade = dark + (bright - dark) / (1 + np.exp(-np.clip(offset, -20, 20)))
        shade = shade.astype(np.float32)
        lit = np.clip(lit * cv2.merge([shade, shade, shade]), 0, 255).astype(np.uint8)
    return lit


def _find_center(
    rng: np.random.Generator, people: list[_Person], side: float, size: int
) -> Array | None:
    """Draw a position for a face that leaves the others visible; None if there is none."""
    low, high = (0.3 * side, size - 0.4 * side) if side < 0.6 * size else (0.38 * size, 0.62 * size)
    for _ in range(8):
        center = rng.uniform(low, high, 2)
        apart = [
            np.abs(center - (p.box[:2] + p.box[2:] / 2)).max() > 0.55 * (side + p.box[2:].max())
            for p in people
        ]
        if all(apart) or (rng.random() < 0.05 and side > 24):
            return center
    return None


def _add_person(
    rng: np.random.Generator, bank: Bank, image: Array, people: list[_Person], side: float
) -> list[_Person]:
    """Place one person in a scene, in place; returns the person, or None if there is no room."""
    size = image.shape[0]
    index = int(rng.integers(len(bank.people)))
    center = _find_center(rng, people, side, size)
    if center is None:
        return []
    upside_down = rng.random() < _UPSIDE_DOWN
    faceless = rng.random() < _FACELESS
    angle = math.pi + rng.normal(0, 0.4) if upside_down else _angle(rng)
    outline = bank.outlines[index].astype(np.float64)
    motion = _motion(rng, outline, side, center, angle)
    moved = _apply(outline, motion)
    low, high = moved.min(axis=0), moved.max(axis=0)
    box = np.concatenate([low, high - low])
    # A portrait keeps its own background, reflected a little where it ends, as in alignment.
    portrait = side > 0.35 * size and rng.random() < 0.5
    source = np.dstack([bank.whole[index], _OPAQUE]) if portrait else bank.people[index]
    if faceless:
        source = _without_face(rng, source, outline)
    margin = _MARGIN if portrait else 0
    part, rows, columns = _warp(source, motion, size, margin)
    if part.size == 0:
        return []
    if rng.random() < 0.2:
        part = cv2.GaussianBlur(part, (0, 0), side * rng.uniform(0.004, 0.03) + 0.2)
    _lay(image, _light(rng, part, box), rows, columns, part[..., 3])
    hidden = 0.0
    if rng.random() < 0.4:
        hidden = _occlude(rng, bank, image, index, motion, moved)
    points = _apply(bank.landmarks[index].astype(np.float64), motion)
    if motion[0, 0] * motion[1, 1] - motion[0, 1] * motion[1, 0] < 0:
        points = points[[1, 0, 2, 4, 3]]
    return [_Person(box, points, moved, hidden, not (upside_down or faceless))]


def _without_face(rng: np.random.Generator, source: Array, outline: Array) -> Array:
    """Erase a face: (S, S, C) uint8; the result has the shape of a head but no features."""
    middle = outline.mean(axis=0)
    half = np.ptp(outline, axis=0) / 2
    shape = ellipse(middle, half * rng.uniform(0.85, 1.05), 0.0, 40)
    mask = np.zeros(source.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(shape).astype(np.int32)], 255)
    if rng.random() < 0.5:
        # The back of the head: the hair on top is extended downward.
        strip = source[max(0, int(middle[1] - 1.3 * half[1])) : int(middle[1] - 0.8 * half[1])]
        filling = cv2.resize(
            strip, (source.shape[1], source.shape[0]), interpolation=cv2.INTER_LINEAR
        )
    else:
        coarse = cv2.resize(source, (9, 9), interpolation=cv2.INTER_AREA)
        filling = cv2.resize(coarse, (source.shape[1], source.shape[0]))
    wiped = np.array(source)
    soft = cv2.GaussianBlur(mask, (0, 0), 3).astype(np.float32)[..., None] / np.float32(255)
    colors = wiped[..., :3]
    wiped[..., :3] = (colors + soft * (filling[..., :3].astype(np.float32) - colors)).astype(
        np.uint8
    )
    return wiped


def _occlude(
    rng: np.random.Generator, bank: Bank, image: Array, index: int, motion: Array, outline: Array
) -> float:
    """Hide a part of a face, in place.

    Args:
        rng: Random stream.
        bank: Provides the occluders.
        image: The scene.
        index: Number of the person, whose own occluder fits best.
        motion: The map from the cutout to the scene.
        outline: Outline of the face in the scene, (K, 2).

    Returns:
        Share of the face that is hidden, 0..1.
    """
    size = image.shape[0]
    face = np.zeros((size, size), np.uint8)
    cv2.fillPoly(face, [np.round(outline).astype(np.int32)], 255)
    if rng.random() < 0.6:
        part, rows, columns = _warp(bank.occluders[index], motion, size)
    else:
        part, rows, columns = _patch(rng, bank, outline, size)
    if part.size == 0:
        return 0.0
    inside = int((face > 0).sum())
    hidden = int((cv2.min(face[rows, columns], part[..., 3]) > 127).sum())
    _lay(image, part, rows, columns, part[..., 3])
    return hidden / max(1, inside)


def _patch(
    rng: np.random.Generator, bank: Bank, outline: Array, size: int
) -> tuple[Array, slice, slice]:
    """Draw a patch near a face, cut from any background or in one color.

    Returns:
        As for ``_warp``: the part with its coverage, (h, w, 4) uint8, its rows and columns.
    """
    low, high = outline.min(axis=0), outline.max(axis=0)
    side = float((high - low).max())
    center = low + (high - low) * rng.uniform(0.0, 1.0, 2)
    radii = side * rng.uniform(0.08, 0.45, 2)
    kind = int(rng.integers(3))
    if kind == 0:
        shape = ellipse(center, radii, rng.uniform(0, np.pi))
    elif kind == 1:
        shape = ellipse(center, (radii[0] * 0.4, side), rng.uniform(0, np.pi), 24, 12)
    else:
        ring = ellipse((0.0, 0.0), radii, 0.0, 8) * rng.uniform(0.5, 1.4, (8, 1))
        shape = rotate(spline(ring), rng.uniform(0, np.pi)) + center
    start = np.clip(np.floor(shape.min(axis=0)), 0, size).astype(int)
    stop = np.clip(np.ceil(shape.max(axis=0)) + 1, 0, size).astype(int)
    rows, columns = slice(start[1], stop[1]), slice(start[0], stop[0])
    height, width = (int(n) for n in (stop - start)[::-1])
    if height <= 0 or width <= 0:
        return np.zeros((0, 0, 4), np.uint8), rows, columns
    mask = np.zeros((height, width), np.uint8)
    fixed = np.round((shape - start) * 16).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, 4)
    if rng.random() < 0.6:
        place = bank.places[int(rng.integers(len(bank.places)))]
        top, left = rng.integers(0, [max(1, n - s) for n, s in zip(place.shape, (height, width))])
        colors = place[top : top + height, left : left + width]
        colors = cv2.resize(np.ascontiguousarray(colors), (width, height))
    else:
        colors = np.full((height, width, 3), any_color(rng) * 255, np.float32).astype(np.uint8)
    return np.dstack([colors, mask]), rows, columns


def _distract(rng: np.random.Generator, bank: Bank, image: Array) -> None:
    """Add a distractor without a face to a scene, in place: a hand, a mask, a spotted object."""
    size = image.shape[0]
    side = math.exp(rng.uniform(math.log(16), math.log(0.5 * size)))
    center = rng.uniform(0, size, 2)
    if rng.random() < 0.5:
        source = bank.occluders[int(rng.integers(len(bank.occluders)))]
        corners = np.array([[0.0, 0], [FACE_SIZE, 0], [FACE_SIZE, FACE_SIZE], [0, FACE_SIZE]])
        motion = _motion(rng, corners, 1.5 * side, center, rng.uniform(0, 2 * np.pi))
        part, rows, columns = _warp(source, motion, size)
        if part.size:
            _lay(image, part, rows, columns, part[..., 3])
        return
    box = np.array([center - side / 2, center + side / 2])
    part, rows, columns = _patch(rng, bank, box, size)
    if part.size == 0:
        return
    spots = int(rng.integers(0, 4))
    dark = any_color(rng, 0.2) * 255 * rng.uniform(0.05, 1.0)
    height, width = part.shape[:2]
    colors = np.ascontiguousarray(part[..., :3])
    for _ in range(spots):
        place = (int(rng.integers(width)), int(rng.integers(height)))
        radius = max(1, int(side * rng.uniform(0.02, 0.09)))
        cv2.circle(colors, place, radius, dark.tolist(), -1, cv2.LINE_AA)
    _lay(image, colors, rows, columns, part[..., 3])


def _camera(rng: np.random.Generator, image: Array) -> Array:
    """Apply the effects of lens, sensor and file format to a scene: (S, S, 3) uint8."""
    size = image.shape[0]
    camera = draw_camera(rng)
    image = cv2.LUT(image, camera.table)
    chance = rng.random()
    if chance < 0.2:
        # Upscaled from a smaller picture.
        low = int(size * rng.uniform(0.45, 0.95))
        small = cv2.resize(image, (low, low), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (size, size), interpolation=pick(rng, _ENLARGING))
    elif chance < 0.45:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4))
    if rng.random() < 0.12:
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        image = cv2.merge([gray, gray, gray])
    if rng.random() < 0.6:
        grain = np.empty(image.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(2**31)))
        cv2.randn(grain, 0, 255 * camera.noise * 1.2)
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = int(rng.integers(25, 96))
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return image


_ENLARGING = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST)

"""The crop and its inverse, on drawn photos with known points."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from s3pot.geometry import Alignment
from s3pot.io import write_json
from s3pot.rg.align import from_landmarks, identity
from s3pot.rg.warp import _reflected, crop, crop_labels, to_photo
from s3pot.types import S3potError

FIVE = np.array([[0.377, 0.469], [0.623, 0.469], [0.5, 0.613], [0.393, 0.725], [0.611, 0.725]])


def plan(
    side: float, center: tuple[float, float], degrees: float, photo_size: tuple[int, int], size: int
) -> Alignment:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return from_landmarks(side * (FIVE - 0.5) @ turn.T + center, photo_size, size)


def smooth_photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A sum of slow waves, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = np.zeros((height, width, 3))
    for _ in range(12):
        fy, fx, phase = rng.uniform(-9, 9), rng.uniform(-9, 9), rng.uniform(0, 6, 3)
        waves += np.sin(2 * np.pi * (fy * y + fx * x)[..., None] + phase)
    return (127 + 20 * waves).clip(0, 255).astype(np.uint8)


def blob(height: int, width: int, at: np.ndarray, sigma: float) -> np.ndarray:
    """A soft white spot on black, centered at x, y; uint8 (H, W, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    spot = 255 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * sigma**2))
    return np.repeat(spot[..., None].round().astype(np.uint8), 3, axis=2)


def centroid(image: np.ndarray) -> np.ndarray:
    weight = image[..., 0].astype(float)
    y, x = np.mgrid[0 : weight.shape[0], 0 : weight.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def sampled(photo: np.ndarray, way: Alignment) -> tuple[np.ndarray, np.ndarray]:
    """The slow, obvious crop with four neighbors for each pixel, and where all four exist."""
    top_left, bottom_left, _, top_right = way.corners
    height, width = way.size
    out = np.zeros((height, width, 3))
    inside = np.zeros((height, width), bool)
    for i in range(height):
        for j in range(width):
            x, y = (
                top_left
                + (top_right - top_left) * (j + 0.5) / width
                + (bottom_left - top_left) * (i + 0.5) / height
            )
            c, r = int(np.floor(x)), int(np.floor(y))
            if 0 <= c < photo.shape[1] - 1 and 0 <= r < photo.shape[0] - 1:
                inside[i, j] = True
                upper = photo[r, c] * (c + 1 - x) + photo[r, c + 1] * (x - c)
                lower = photo[r + 1, c] * (c + 1 - x) + photo[r + 1, c + 1] * (x - c)
                out[i, j] = upper * (r + 1 - y) + lower * (y - r)
    return out, inside


@pytest.mark.parametrize("borders", ["reflect", "black"])
@pytest.mark.parametrize("seed", range(4))
def test_crop_against_the_obvious_one(seed: int, borders: str) -> None:
    rng = np.random.default_rng(seed)
    photo = smooth_photo(90, 120, seed)
    center = (rng.uniform(20, 100), rng.uniform(20, 70))
    way = plan(rng.uniform(40, 90), center, rng.uniform(-180, 180), (90, 120), 48)
    got = crop(photo, dataclasses.replace(way, borders=borders))
    want, inside = sampled(photo, way)
    assert inside.mean() > 0.3
    assert np.abs(got - want)[inside].max() <= 1.01  # PIL truncates fractions
    if borders == "black" and not inside.all():
        assert (got[~inside] == 0).all(axis=1).mean() > 0.8  # the rest is at the photo's border


@pytest.mark.parametrize(("side", "shrink"), [(300.0, 2), (555.0, 4), (100.0, 1)])
def test_a_spot_lands_where_the_quad_says(side: float, shrink: int) -> None:
    photo_size = (701, 803)
    way = plan(side, (400.3, 350.7), 17, photo_size, 64)
    assert way.shrink == shrink
    corners = way.corners
    share = np.array([0.3, 0.6])
    spot = corners[0] + share[0] * (corners[3] - corners[0]) + share[1] * (corners[1] - corners[0])
    got = centroid(crop(blob(*photo_size, spot, side / 20), way))
    assert np.abs(got - (share * 64 - 0.5)).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("side", [60.0, 200.0, 300.0])
def test_round_trip_neither_shifts_nor_changes(side: float) -> None:
    photo = smooth_photo(400, 420)
    way = plan(side, (201.4, 180.2), -12, (400, 420), 128)
    back = to_photo(crop(photo, way), way)
    near = np.s_[160:200, 180:220]
    assert np.abs(photo[near].astype(int) - back[near]).mean() < 3
    spot = np.array([205.3, 177.8])
    trip = to_photo(crop(blob(400, 420, spot, 6), way), way)
    assert np.hypot(*(centroid(trip) - spot)) < 0.1


@pytest.mark.slow
def test_a_reduced_crop_is_that_of_the_whole_reduced_photo() -> None:
    """Enough of the photo is kept around the face for the filter that reduces it."""
    photo = np.random.default_rng(5).integers(0, 256, (1200, 1600, 3)).astype(np.uint8)
    way = plan(640, (810, 590), 0, (1200, 1600), 75)
    assert way.shrink == 4
    reduced = Image.fromarray(photo).resize((400, 300), Image.Resampling.LANCZOS)
    quad = ((way.corners + 0.5) / 4).ravel().tolist()
    bilinear = Image.Resampling.BILINEAR
    want = np.asarray(reduced.transform((75, 75), Image.Transform.QUAD, quad, bilinear))
    assert np.abs(crop(photo, way).astype(int) - want).max() <= 1


@pytest.mark.slow
def test_reflected_border() -> None:
    photo = smooth_photo(800, 600)
    way = plan(480, (80, 400), 0, (800, 600), 400)
    got = crop(photo, way)
    black = crop(photo, dataclasses.replace(way, borders="black"))
    outside = (black == 0).all(axis=2)
    assert outside.any() and not (got[outside] == 0).all(axis=1).any()
    edge = int(outside[200].sum())  # columns left of the photo
    np.testing.assert_array_equal(got[:, edge + 1 :], black[:, edge + 1 :])
    mirror = got[:, edge : edge + 3][:, ::-1].astype(int)
    assert np.abs(got[:, edge - 4 : edge - 1] - mirror).mean() < 12
    median = np.median(photo[160:640, :360], axis=(0, 1))
    far, near = (np.abs(got[:, c].astype(int) - median).mean() for c in (0, edge + 5))
    assert far < near


def padded(image: np.ndarray, corners: np.ndarray, side: float) -> np.ndarray:
    """The slow, obvious border: FFHQ's recipe pixel by pixel, outside of the image only."""
    height, width = image.shape[:2]
    left, top = (max(0, 3 - int(np.floor(low))) for low in corners.min(axis=0))
    ends = zip(corners.max(axis=0), (width, height))
    right, bottom = (max(0, int(np.ceil(high)) + 3 - end) for high, end in ends)
    mirrored = np.pad(image.astype(float), ((top, bottom), (left, right), (0, 0)), mode="reflect")
    blurred = ndimage.gaussian_filter(mirrored, (0.02 * side, 0.02 * side, 0))
    median = np.median(image, axis=(0, 1))
    fade = max(left, top, right, bottom, 0.3 * side)
    out = mirrored.copy()
    for row in range(len(out)):
        for column in range(len(out[0])):
            outside_x = max(left - column, column - (left + width - 1))
            outside_y = max(top - row, row - (top + height - 1))
            share = max(outside_x, outside_y, 0) / fade
            pixel = mirrored[row, column]
            pixel = pixel + (blurred[row, column] - pixel) * min(3 * share, 1)
            out[row, column] = pixel + (median - pixel) * share
    return out


@pytest.mark.parametrize("degrees", [0, -140])
@pytest.mark.parametrize("center", [(20, 50), (95, 12), (60, 80), (62, 45)])
def test_the_border_against_the_obvious_one(center: tuple[float, float], degrees: float) -> None:
    """On noise, a different width of the blur or of the fading is noticeable at once."""
    image = np.random.default_rng(3).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    square = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5]])
    side = 110.0
    corners = side * square @ turn.T + center
    want = padded(image, corners, side)
    larger, moved = _reflected(Image.fromarray(image), corners)
    got = np.asarray(larger)
    assert got.shape == want.shape
    before = np.maximum(3 - np.floor(corners.min(axis=0)), 0)
    np.testing.assert_allclose(moved, corners + before)
    inner = np.s_[9:-9, 9:-9]  # four standard deviations from the border, where blurs differ
    assert np.abs(got - want)[inner].max() < 2.6  # Pillow's blur is three boxes


def test_reflection_is_not_needed_inside() -> None:
    photo = smooth_photo(200, 200)
    way = plan(90, (100, 100), 30, (200, 200), 64)
    np.testing.assert_array_equal(
        crop(photo, way), crop(photo, dataclasses.replace(way, borders="black"))
    )


@pytest.mark.parametrize("borders", ["reflect", "black"])
@pytest.mark.parametrize("photo_size", [(1, 1), (1, 30), (40, 2)])
def test_faces_far_larger_than_the_photo(photo_size: tuple[int, int], borders: str) -> None:
    photo = np.full((*photo_size, 3), 90, np.uint8)
    for center in ((0.0, 0.0), (500.0, -400.0)):
        way = dataclasses.replace(plan(80, center, 40, photo_size, 32), borders=borders)
        got = crop(photo, way)
        assert got.shape == (32, 32, 3)
        assert np.isin(got, [0, 89, 90]).all()
        assert to_photo(got, way).shape == photo.shape


def test_masks_travel() -> None:
    size = (300, 280)
    way = plan(180, (140, 150), 25, size, 128)
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    disc = np.hypot(x - 140, y - 150) < 50
    got = crop(disc, way)
    assert got.dtype == bool and got.shape == (128, 128)
    back = to_photo(got, way)
    assert back.dtype == bool and back.shape == size
    assert (back & disc).sum() / (back | disc).sum() > 0.97
    assert not to_photo(np.ones((512, 512), bool), way)[0, 0]  # any size of the working image
    area = to_photo(np.ones((512, 512), bool), way).sum()
    assert abs(area / way.side**2 - 1) < 0.02


def test_masks_are_empty_beyond_the_photo() -> None:
    way = plan(120, (0, 0), 0, (100, 100), 64)
    got = crop(np.ones((100, 100), bool), way)
    assert not got[:20, :20].any() and got[40:, 40:].all()


def test_pictures_are_black_beyond_the_working_image() -> None:
    way = plan(160, (150, 150), 20, (300, 300), 256)
    back = to_photo(np.full((256, 256, 3), 200, np.uint8), way)
    covered = to_photo(np.ones((256, 256), bool), way)
    assert (back[covered] == 200).all()
    assert not back[~covered].any()


def test_whole_pictures_of_other_size() -> None:
    photo = smooth_photo(480, 320)
    way = identity(photo)
    assert (crop(photo, way) == photo).all() and crop(photo, way) is not photo
    half = photo.reshape(240, 2, 160, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    assert np.abs(to_photo(half, way).astype(int) - photo).mean() < 3
    assert to_photo(np.ones((60, 40), bool), way).all()


def test_round_trip_through_json(tmp_path: Path) -> None:
    way = dataclasses.replace(plan(80, (41.3, 60.9), 7, (100, 90), 32), score=0.875)
    values = {**dataclasses.asdict(way), "detector": "yunet"}
    write_json(tmp_path / "a.json", values)
    assert Alignment.read(tmp_path / "a.json") == way
    whole = identity(np.zeros((3, 5, 3), np.uint8))
    write_json(tmp_path / "b.json", dataclasses.asdict(whole))
    assert Alignment.read(tmp_path / "b.json").is_whole


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("quad", [[0, 0]]),
        ("quad", [[1, 1]] * 4),
        ("quad", [[float("nan"), 0]] * 4),
        ("size", 5),
        ("size", [0, 5]),
        ("shrink", 0),
        ("borders", "white"),
        ("score", "high"),
    ],
)
def test_damaged_file(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "a.json"
    values = dataclasses.asdict(plan(80, (40, 60), 7, (100, 90), 32))
    path.write_text(json.dumps({**values, key: value}), encoding="utf-8")
    with pytest.raises(S3potError):
        Alignment.read(path)
    del values[key]
    write_json(path, values)
    with pytest.raises(S3potError, match=f"a.json is not an alignment.*key .{key}. is missing"):
        Alignment.read(path)


def test_another_photo_is_refused() -> None:
    way = plan(80, (40, 60), 7, (100, 90), 32)
    other = np.zeros((90, 100, 3), np.uint8)
    with pytest.raises(S3potError, match="same upright photo"):
        crop(other, way)


@pytest.mark.slow
@pytest.mark.parametrize("degrees", [0, 20])
def test_a_pixel_of_a_class_map_takes_the_class_that_covers_most_of_it(degrees: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 12, (10, 9)), np.ones((6, 6), int)).astype(np.uint8)
    way = plan(40, (30, 27), degrees, labels.shape, size=32)
    coverage = np.zeros((12, *way.size))
    for label in range(12):
        one_hot = np.repeat((labels == label)[..., None] * np.uint8(255), 3, axis=2)
        sample, inside = sampled(one_hot, way)
        coverage[label] = sample[..., 0]
    first, second = np.sort(coverage, axis=0)[::-1][:2]
    is_clear = inside & (first - second > 3)  # Pillow rounds to 8 bits
    assert is_clear.mean() > 0.8
    found = crop_labels(labels, way)
    np.testing.assert_array_equal(found[is_clear], coverage.argmax(axis=0)[is_clear])


def test_the_whole_class_map_stays_as_it_is() -> None:
    labels = np.random.default_rng(0).integers(0, 12, (32, 32)).astype(np.uint8)
    np.testing.assert_array_equal(crop_labels(labels, identity(labels)), labels)

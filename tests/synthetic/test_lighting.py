"""Shape and shading of drawn heads, camera defects, surface textures."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from s3pot_synthetic.canvas import Frame
from s3pot_synthetic.finish import Camera, draw_camera, take
from s3pot_synthetic.head import Head, draw_head
from s3pot_synthetic.lighting import Light, cast_shadow, draw_light, to_painted
from s3pot_synthetic.relief import (
    COARSE,
    MAP_SIDE,
    REACH,
    bumps_map,
    draw_relief,
    locate,
    normals,
    sample_map,
)
from s3pot_synthetic.skin import shade_skin

SIZE = 128


def head_of(seed: int, light: Light, **changes: float) -> Head:
    """Draw a symmetric head in the middle of the image, by default seen from the front."""
    head = draw_head(np.random.default_rng(seed), Frame(SIZE))
    head = replace(
        head, center=(128.0, 128.0), roll=0.0, yaw=0.0, pitch=0.0, light=light,
        asymmetry=(0.0, 0.0, 0.0, 0.0, 0.0),
    )  # fmt: skip
    return replace(head, **changes)


def lamp_at(x: float, y: float, z: float, **more: float) -> Light:
    toward = np.array([x, y, z]) / np.linalg.norm([x, y, z])
    return Light((float(toward[0]), float(toward[1]), float(toward[2])), 0.1, 0.0, **more)


def halves(field: np.ndarray) -> tuple[float, float]:
    """Mean over the left and the right cheek of a centered head."""
    rows = slice(SIZE // 2, SIZE * 5 // 8)
    return float(field[rows, 44:58].mean()), float(field[rows, 70:84].mean())


@pytest.mark.parametrize("side", [-1, 1])
def test_the_side_towards_the_lamp_is_lit(side: int) -> None:
    for seed in range(4):
        lit = shade_skin(np.random.default_rng(0), head_of(seed, lamp_at(side, -0.2, 0.3)))
        left, right = halves(lit.light)
        assert (right > 1.3 * left) if side > 0 else (left > 1.3 * right)


def test_a_frontal_lamp_lights_both_sides() -> None:
    for seed in range(4):
        lit = shade_skin(np.random.default_rng(0), head_of(seed, lamp_at(0, 0, 1)))
        left, right = halves(lit.light)
        assert left == pytest.approx(right, rel=0.08)


def test_exposure_scales_the_lit_side() -> None:
    means = []
    for exposure in (0.5, 1.0):
        head = head_of(1, lamp_at(0.2, -0.4, 1, exposure=exposure))
        means.append(shade_skin(np.random.default_rng(0), head).light[40:90, 45:85].mean())
    assert means[0] / means[1] == pytest.approx(0.5, rel=0.02)


def test_highlights_are_there_on_dark_skin_too() -> None:
    for tone in (0.2, 0.8):
        brightest = []
        for gloss in (0.0, 0.3):
            light = replace(lamp_at(0.3, -0.5, 1), gloss=gloss)
            head = replace(head_of(2, light), skin=np.full(3, tone, np.float32))
            picture = shade_skin(np.random.default_rng(0), head).picture
            brightest.append(np.percentile(picture[30:100, 40:90].mean(2), 99))
        assert brightest[1] > brightest[0] + 0.03


@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (0.5, 0.1), (-0.6, -0.2)])
def test_pixels_are_located_where_points_of_the_face_are_drawn(yaw: float, pitch: float) -> None:
    """`locate` undoes `Head.turn` on the front of a face without relief."""
    head = head_of(3, lamp_at(0, 0, 1), yaw=yaw, pitch=pitch)
    flat = np.zeros((MAP_SIDE, MAP_SIDE), np.float32)
    place = locate(head, flat)
    points = np.array([(x, y) for x in (-0.5, -0.2, 0.0, 0.3, 0.5) for y in (-0.6, 0.0, 0.6)])
    units = head.turn(points)
    columns, rows = ((units + 0.5) * COARSE / 256 - 0.5).astype(np.float32).T[..., None]
    found_u = cv2.remap(place.u, columns, rows, cv2.INTER_LINEAR)[:, 0]
    found_v = cv2.remap(place.v, columns, rows, cv2.INTER_LINEAR)[:, 0]
    np.testing.assert_allclose(found_u, points[:, 0], atol=0.03)
    np.testing.assert_allclose(found_v, points[:, 1], atol=0.03)


def test_normals_have_length_one_and_turn_with_the_head() -> None:
    means = []
    for yaw in (-0.5, 0.0, 0.5):
        head = head_of(4, lamp_at(0, 0, 1), yaw=yaw)
        place = locate(head, draw_relief(np.random.default_rng(0), head))
        directions = np.stack(normals(head, place))
        np.testing.assert_allclose((directions**2).sum(0), 1, atol=1e-4)
        assert (directions[2] > 0).all()
        means.append(directions[0][50:80, 50:78].mean())
    assert means[0] < means[1] - 0.15 and means[1] < means[2] - 0.15


def test_maps_of_bumps_are_sums_of_bumps() -> None:
    bumps = [(0.3, -0.2, 0.1, 0.2, 0.1, 0.5), (-0.5, 0.4, 0.2, 0.1, 0.3, -0.2)]
    line = np.linspace(-REACH, REACH, MAP_SIDE)
    x, y = np.meshgrid(line, line)
    expected = np.zeros_like(x)
    for px, py, sx, above, below, height in bumps:
        spread_y = np.where(y < py, above, below)
        expected += height * np.exp(-0.5 * (((x - px) / sx) ** 2 + ((y - py) / spread_y) ** 2))
    field = bumps_map(bumps)
    np.testing.assert_allclose(field, expected, atol=1e-6)
    u, v = np.array([[0.3]], np.float32), np.array([[-0.2]], np.float32)
    assert sample_map(field, u, v)[0, 0] == pytest.approx(0.5, abs=0.03)


def test_a_post_throws_its_shadow_away_from_the_lamp() -> None:
    height = np.zeros((60, 60), np.float32)
    height[28:32, 28:32] = 0.5
    for x in (-1, 1):
        toward = (x * 0.7071, 0.0, 0.7071)
        seen = cast_shadow(height, toward, 1.0, 0.03)
        assert seen[30, 30 - x * 10] < 0.3  # half a unit high: half a unit of shadow at 45 degrees
        assert seen[30, 30 + x * 10] == 1 and seen[10, 10] == 1
        assert seen[30, 30 - x * 26] > 0.9


def test_painted_values_are_roots_of_light() -> None:
    light = np.array([[0.0, 0.5, 1.0, 2.0]], np.float32)
    np.testing.assert_allclose(to_painted(light) ** 2.2, light, atol=1e-5)


def test_lights_are_of_many_kinds() -> None:
    lights = [draw_light(np.random.default_rng(seed)) for seed in range(300)]
    for light in lights:
        assert np.linalg.norm(light.toward) < 1.0 + 1e-9
        assert 0 <= light.ambient <= 1 and 0 <= light.hard <= 1 and light.exposure > 0.4
    exposures = np.array([light.exposure for light in lights])
    assert 0.05 < (exposures > 1.15).mean() < 0.35 and 0.03 < (exposures < 0.75).mean() < 0.2
    assert 0.05 < np.mean([len(light.others) > 0 for light in lights]) < 0.3
    half_dark = [abs(light.toward[0]) > 0.8 and light.ambient < 0.25 for light in lights]
    assert np.mean(half_dark) > 0.05


def camera(**changes: float) -> Camera:
    """Describe a camera without defects other than those given."""
    table = np.arange(256, dtype=np.uint8)[:, None, None].repeat(3, 2)
    plain = Camera(0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, table, 0)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_a_camera_without_faults_changes_nothing() -> None:
    image = np.random.default_rng(0).random((32, 32, 3)).astype(np.float32)
    pixels = take(np.random.default_rng(0), Frame(32), camera(), image)
    np.testing.assert_array_equal(pixels, np.round(image * 255).astype(np.uint8))


def test_camera_faults_do_what_they_say() -> None:
    rng = np.random.default_rng(1)
    image = cv2.GaussianBlur(rng.random((64, 64, 3)).astype(np.float32), (0, 0), 1.0)
    frame = Frame(64)
    plain = take(np.random.default_rng(0), frame, camera(), image).astype(float)
    gray = take(np.random.default_rng(0), frame, camera(color=0.0), image).astype(int)
    assert np.ptp(gray, axis=2).max() <= 1
    small = take(np.random.default_rng(0), frame, camera(reduction=0.4), image)
    sharp = take(np.random.default_rng(0), frame, camera(sharpening=0.8), image)
    assert small.std() < plain.std() < sharp.std()
    dark = take(np.random.default_rng(0), frame, camera(vignette=0.4), image).astype(float)
    assert dark[:4, :4].mean() < 0.75 * plain[:4, :4].mean()
    assert dark[30:34, 30:34].mean() == pytest.approx(plain[30:34, 30:34].mean(), rel=0.02)
    for coarse in (0.0, 1.0):
        noisy = take(np.random.default_rng(0), frame, camera(noise=0.02, coarse=coarse), image)
        assert 3.5 < (noisy - plain).std() < 7


def test_tone_curves_rise() -> None:
    for seed in range(50):
        table = draw_camera(np.random.default_rng(seed)).table.astype(int)
        assert (np.diff(table, axis=0) >= 0).all()

"""A mask saved in any common way is read as the same mask, or is refused because of its values.

Reported at sam-hq #42, boundary-iou-api #9, sd-webui-controlnet #3079, imgaug #202,
image-segmentation-keras #117, segmentation_models #68.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Callable

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFilter

from s3pot.data.image import write_png
from s3pot.data.masks import MASK_SUFFIXES, BadMask, as_mask, find_mask, mask_names, read_mask
from s3pot.metrics import mask_scores

HOLE = np.zeros((96, 128), dtype=bool)
HOLE[30:60, 40:90] = True
BITS = HOLE.astype(np.uint8)


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    stream.seek(0)
    return stream


def gray(high: int, dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(BITS.astype(dtype) * dtype(high))


def colored(inside: tuple[int, ...], outside: tuple[int, ...]) -> Image.Image:
    return Image.fromarray(np.where(HOLE[..., None], inside, outside).astype(np.uint8))


def palette(index: int, colors: list[int]) -> Image.Image:
    image = Image.fromarray(BITS * np.uint8(index))
    image.putpalette(colors + [0] * (768 - len(colors)))
    return image


def soft(scale: int, how: Image.Resampling) -> Image.Image:
    large = gray(255).resize((128 * scale, 96 * scale), Image.Resampling.NEAREST)
    return large.resize((128, 96), how)


def deep(pixels: np.ndarray, ending: str = ".png") -> io.BytesIO:
    """A file of 16 bits a channel, uint16 (H, W, 3 or 4) in OpenCV's order."""
    return io.BytesIO(cv2.imencode(ending, pixels)[1].tobytes())


def deep_gray(high: int, opacity: int | None = None) -> np.ndarray:
    channels = [BITS.astype(np.uint16) * np.uint16(high)] * 3
    if opacity is not None:
        channels.append(np.full(HOLE.shape, opacity, np.uint16))
    return np.dstack(channels)


def with_clear_rim(image: Image.Image) -> Image.Image:
    """A black and white mask after a rotation: transparent where there was nothing."""
    alpha = np.full(HOLE.shape, 255, np.uint8)
    alpha[:10] = 0
    alpha[:, -5:] = 0
    return Image.merge("LA", (image, Image.fromarray(alpha))).convert("RGBA")


def speckled_opaque() -> Image.Image:
    alpha = np.full(HOLE.shape, 255, np.uint8)
    alpha[::7, ::5] = 254
    return Image.merge("LA", (gray(255), Image.fromarray(alpha))).convert("RGBA")


EXACT: dict[str, Callable[[], io.BytesIO]] = {
    "0 and 255": lambda: saved(gray(255)),
    "0 and 1": lambda: saved(gray(1)),
    "0 and 2": lambda: saved(gray(2)),
    "0 and 12": lambda: saved(gray(12)),
    "0 and 100": lambda: saved(gray(100)),
    "0 and 127": lambda: saved(gray(127)),
    "100 and 200": lambda: saved(Image.fromarray(BITS * 100 + 100)),
    "one bit": lambda: saved(Image.fromarray(HOLE)),
    "one bit BMP": lambda: saved(Image.fromarray(HOLE), "BMP"),
    "PBM": lambda: saved(Image.fromarray(HOLE), "PPM"),
    "RGB": lambda: saved(gray(255).convert("RGB")),
    "RGB of 0 and 1": lambda: saved(gray(1).convert("RGB")),
    "red on black": lambda: saved(colored((255, 0, 0), (0, 0, 0))),
    "dark blue on black": lambda: saved(colored((0, 0, 128), (0, 0, 0))),
    "16 bit to 65535": lambda: saved(gray(65535, np.uint16)),
    "16 bit to 255": lambda: saved(gray(255, np.uint16)),
    "16 bit to 1": lambda: saved(gray(1, np.uint16)),
    "32 bit": lambda: saved(gray(7, np.int32), "TIFF"),
    "float": lambda: saved(Image.fromarray(HOLE.astype(np.float32)), "TIFF"),
    "16 bit RGB to 65535": lambda: deep(deep_gray(65535)),
    "16 bit RGB to 255": lambda: deep(deep_gray(255)),
    "16 bit RGB to 1": lambda: deep(deep_gray(1)),
    "16 bit RGB TIFF to 255": lambda: deep(deep_gray(255), ".tiff"),
    "16 bit opaque RGBA to 255": lambda: deep(deep_gray(255, opacity=65535)),
    "16 bit alpha": lambda: deep(np.dstack([deep_gray(0), BITS.astype(np.uint16) * 255])),
    "signed, 0 and -1": lambda: saved(Image.fromarray(-BITS.astype(np.int32)), "TIFF"),
    "nearly opaque": lambda: saved(speckled_opaque()),
    "clear rim": lambda: saved(with_clear_rim(gray(255))),
    "white on clear": lambda: saved(colored((255, 255, 255, 255), (0, 0, 0, 0))),
    "black on clear": lambda: saved(colored((0, 0, 0, 255), (0, 0, 0, 0))),
    "black on clear white": lambda: saved(colored((0, 0, 0, 255), (255, 255, 255, 0))),
    "cut-out on clear": lambda: saved(colored((200, 60, 30, 255), (0, 0, 0, 0))),
    "half clear": lambda: saved(colored((255, 0, 0, 128), (255, 0, 0, 0))),
    "opaque RGBA": lambda: saved(colored((255, 255, 255, 255), (0, 0, 0, 255))),
    "gray and alpha": lambda: saved(colored((255,) * 4, (0,) * 4).convert("LA")),
    "VOC palette, class 1": lambda: saved(palette(1, [0, 0, 0, 128, 0, 0])),
    "VOC palette, class 8": lambda: saved(palette(8, [0] * 24 + [64, 0, 0])),
    "palette of one color": lambda: saved(palette(3, [9, 9, 9] * 4)),
    "palette with a clear index": lambda: saved(
        palette(1, [0, 0, 0, 255, 255, 255]), transparency=0
    ),
    "palette white first": lambda: saved(gray(255).convert("RGB").quantize(2, method=0)),
    "palette red first": lambda: saved(colored((255, 0, 0), (0, 0, 0)).quantize(2, method=0)),
    "GIF of RGB": lambda: saved(gray(255).convert("RGB"), "GIF"),
    "GIF of gray": lambda: saved(gray(255), "GIF"),
    "lossless WEBP": lambda: saved(gray(255), "WEBP", lossless=True),
}
NOISY: dict[str, Callable[[], io.BytesIO]] = {
    **{
        f"JPEG {quality}{' again as PNG' if again else ''}": (
            lambda q=quality, a=again: noisy("JPEG", q, gray(255), a)
        )
        for quality in (20, 40, 75, 95)
        for again in (False, True)
    },
    "JPEG of 0 and 100": lambda: noisy("JPEG", 60, gray(100), False),
    "JPEG of red": lambda: noisy("JPEG", 75, colored((255, 0, 0), (0, 0, 0)), False),
    "WEBP": lambda: noisy("WEBP", 60, gray(255), False),
    "float with soft edges": lambda: saved(
        Image.fromarray(np.array(soft(2, Image.Resampling.BILINEAR), np.float32) / 255), "TIFF"
    ),
    "soft edges": lambda: saved(soft(3, Image.Resampling.BILINEAR)),
    "soft alpha": lambda: saved(
        Image.merge("LA", (gray(0), soft(3, Image.Resampling.BICUBIC))).convert("RGBA")
    ),
}


def noisy(form: str, quality: int, image: Image.Image, again: bool) -> io.BytesIO:
    stream = saved(image, form, quality=quality)
    return saved(Image.open(stream).copy()) if again else stream


@pytest.mark.parametrize("way", EXACT)
def test_two_values_are_a_mask(way: str) -> None:
    np.testing.assert_array_equal(read_mask(EXACT[way]()), HOLE)


@pytest.mark.parametrize("way", NOISY)
def test_noise_around_two_values_is_tolerated(way: str) -> None:
    mask = read_mask(NOISY[way]())
    outline = cv2.dilate(BITS, np.ones((3, 3))) - cv2.erode(BITS, np.ones((3, 3)))
    assert (mask != HOLE).sum() <= 0.1 * outline.sum()
    assert not ((mask != HOLE) & (outline == 0)).any()


def with_patch(image: Image.Image, value: Any) -> Image.Image:
    pixels = np.array(image)
    pixels[5:15, 5:25] = value
    return Image.fromarray(pixels)


MORE: dict[str, tuple[Callable[[], Image.Image], str]] = {
    "trimap": (lambda: with_patch(gray(255), 128), "3 values (0, 128, 255)"),
    "classes": (lambda: with_patch(gray(1), 2), "3 values (0, 1, 2)"),
    "classes and a void": (lambda: with_patch(gray(1), 255), "3 values (0, 1, 255)"),
    "many classes": (
        lambda: Image.fromarray(np.repeat(np.arange(12, dtype=np.uint8), 40).reshape(24, 20)),
        "12 values (0, 1, 2, 3, 4, 5, 6, 7, ...)",
    ),
    "19 classes and a void": (
        lambda: with_patch(
            Image.fromarray(np.repeat(np.arange(19, dtype=np.uint8), 400).reshape(95, 80)), 255
        ),
        "20 values (0, 1, 2",
    ),
    "two colors on black": (
        lambda: with_patch(colored((255, 0, 0), (0, 0, 0)), (0, 255, 0)),
        "3 values ((0, 0, 0), (0, 255, 0), (255, 0, 0))",
    ),
    "probability": (lambda: gray(255).filter(ImageFilter.GaussianBlur(8)), "values (0, 1, 2"),
    "gradient": (lambda: Image.linear_gradient("L"), "256 values (0, 1, 2"),
    "palette of three": (
        lambda: Image.fromarray(np.array(with_patch(gray(1), 2)), "P"),
        "3 values (0, 1, 2)",
    ),
    "photo": (
        lambda: Image.fromarray(
            np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        ),
        "values (",
    ),
    "not a number": (
        lambda: Image.fromarray(np.where(HOLE, np.nan, 0).astype(np.float32)),
        "not finite numbers",
    ),
}


@pytest.mark.parametrize("kind", MORE)
def test_more_values_are_listed(kind: str) -> None:
    make, said = MORE[kind]
    with pytest.raises(BadMask) as caught:
        read_mask(make(), "x.png")
    assert str(caught.value).startswith("x.png ")
    assert said in str(caught.value)


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_a_third_class_is_found_under_noise(form: str) -> None:
    stream = saved(with_patch(gray(255), 128), form, quality=90)
    with pytest.raises(BadMask, match="values"):
        read_mask(stream, "x")


def test_a_jpeg_of_0_and_1_has_lost_the_mask() -> None:
    with pytest.raises(BadMask, match="x is a JPEG with values from 0 to 1.*as PNG"):
        read_mask(saved(gray(1), "JPEG", quality=75), "x")


def test_a_jpeg_of_0_and_1_saved_again_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    disk = np.hypot(*np.mgrid[-48:48, -60:68]) < 30
    for mask in (HOLE, disk, ~disk):
        read_mask(saved(Image.fromarray(mask.astype(np.uint8))), "good")
    assert not caplog.text
    read_mask(noisy("JPEG", 75, gray(1), True), "lost")
    assert "lost: its outline looks like that of a mask of 0 and 1 damaged by JPEG" in caplog.text


def test_two_colors_without_black_cannot_be_told_apart() -> None:
    with pytest.raises(BadMask, match=r"\(255, 0, 0\) and \(255, 255, 255\), and neither is black"):
        read_mask(saved(colored((255, 0, 0), (255, 255, 255))), "x")


@pytest.mark.parametrize("high", [1, 255])
def test_one_value_is_all_or_nothing(high: int) -> None:
    full = Image.fromarray(np.full((4, 5), high, np.uint8))
    assert read_mask(saved(full)).all()
    assert not read_mask(saved(Image.new("L", (5, 4)))).any()
    assert not read_mask(saved(Image.new("RGBA", (5, 4), (255, 255, 255, 0)))).any()
    with pytest.raises(BadMask, match="the one value 128 everywhere"):
        read_mask(Image.new("L", (5, 4), 128), "x")


def test_a_mask_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    gray(255).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), np.rot90(HOLE, -1))


@pytest.mark.parametrize("values", [HOLE, BITS, HOLE.astype(float), BITS[None], BITS[..., None]])
def test_an_array_file_is_a_mask_too(tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", values)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.npy"), HOLE)


def test_arrays_that_are_no_masks_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "logits.npy", np.random.default_rng(0).normal(size=(4, 5)))
    with pytest.raises(BadMask, match="logits.npy is not a mask: it holds 20 values"):
        read_mask(tmp_path / "logits.npy")
    np.savez(tmp_path / "a.npz", HOLE)
    with pytest.raises(BadMask, match="a.npz is not an image; save the mask as PNG"):
        read_mask(tmp_path / "a.npz")


def test_what_we_write_is_read_back(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", HOLE)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), HOLE)


@pytest.mark.parametrize("high", [1, 255, 12, 0.5])
def test_arrays_of_two_values_are_scored_like_bool(high: float) -> None:
    other = np.roll(HOLE, 7, axis=1)
    assert mask_scores(HOLE * high, other * 255) == mask_scores(HOLE, other)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.linspace(0, 1, 20).reshape(4, 5), "20 values"),
        (np.arange(20).reshape(4, 5), r"20 values \(0, 1, 2"),
        (np.full((4, 5), 0.7), "the one value 0.7"),
        (np.full((4, 5), np.nan), "not finite numbers"),
        (np.zeros((4, 5, 1)), r"shape \(4, 5, 1\)"),
        (np.zeros((4, 5), dtype=complex), "type complex"),
        (np.full((4, 5), "a"), "type <U1"),
    ],
)
def test_arrays_that_are_no_masks_are_refused(array: np.ndarray, said: str) -> None:
    truth = np.eye(4, 5, dtype=bool)
    with pytest.raises(BadMask, match=f"the prediction .*{said}"):
        mask_scores(array, truth)
    with pytest.raises(ValueError, match=f"the truth .*{said}"):
        mask_scores(truth, array)
    with pytest.raises(BadMask, match=f"x .*{said}"):
        as_mask(array, "x")


def with_speckles(values: range) -> np.ndarray:
    """A mask of 0 and 255 with single pixels of further values, (96, 128)."""
    pixels = BITS * np.uint8(255)
    for place, value in enumerate(values):
        pixels[90 - 2 * (place // 60), 2 + 2 * (place % 60)] = value
    return pixels


def test_a_patch_of_another_value_is_noise_if_it_is_near_enough_and_values_are_many() -> None:
    few, many = with_speckles(range(1, 31)), with_speckles(range(1, 32))
    assert (len(np.unique(few)), len(np.unique(many))) == (32, 33)
    for pixels, level, is_mask in ((many, 8, True), (many, 9, False), (few, 8, False)):
        patched = with_patch(Image.fromarray(pixels), level)
        if is_mask:
            assert np.array_equal(read_mask(patched, "x"), HOLE)
        else:
            with pytest.raises(BadMask, match="values"):
                read_mask(patched, "x")


@pytest.mark.parametrize(("every", "is_mask"), [(30, True), (14, False)])
def test_pixels_in_between_are_lines_and_few(every: int, is_mask: bool) -> None:
    """As soft edges leave them; if they form lines across the image, they are something else."""
    half = np.arange(128) >= 64
    pixels = np.where(half, 255, 0).astype(np.uint8) * np.ones((96, 1), np.uint8)
    lines = pixels[:, ::every]
    lines[::2] = 120
    lines[1::2] = 136
    if is_mask:
        even = np.arange(128) % every > 0
        assert (read_mask(Image.fromarray(pixels), "x") == half)[:, even].all()
    else:
        with pytest.raises(BadMask, match="values"):
            read_mask(Image.fromarray(pixels), "x")


def on_clear(colors: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """A color image with a transparent margin, and where it is opaque, bool (H, W)."""
    opaque = np.zeros(HOLE.shape, dtype=bool)
    opaque[10:-10, 10:-10] = True
    alpha = opaque.astype(np.uint8) * np.uint8(255)
    return Image.fromarray(np.dstack([colors, alpha]).astype(np.uint8)), opaque


@pytest.mark.parametrize(("white", "is_white"), [(247, True), (246, False)])
def test_a_mask_with_a_clear_rim_is_black_and_white(white: int, is_white: bool) -> None:
    colors = np.repeat((BITS * np.uint8(white))[..., None], 3, axis=2)
    image, opaque = on_clear(colors)
    assert np.array_equal(read_mask(image, "x"), HOLE if is_white else opaque)


def test_what_is_drawn_in_colors_with_some_white_on_a_clear_canvas_is_the_drawing() -> None:
    colors = np.random.default_rng(1).integers(20, 240, (*HOLE.shape, 3))
    colors[HOLE] = 255
    image, opaque = on_clear(colors)
    assert np.array_equal(read_mask(image, "x"), opaque)


def test_indices_beyond_the_palette_are_classes_and_no_noise() -> None:
    indices = BITS * np.uint8(200)
    indices[2, 2] = 201
    image = Image.fromarray(indices, "P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    with pytest.raises(BadMask, match=r"3 values \(0, 200, 201\)"):
        read_mask(image, "x")


def test_a_palette_of_two_colors_counts_by_its_indices() -> None:
    mask = read_mask(palette(1, [200, 10, 10, 100, 90, 30]), "x")
    assert np.array_equal(mask, HOLE)


def test_noise_around_two_grays_that_are_neither_black_nor_white() -> None:
    gray_mask = Image.fromarray(np.where(HOLE, 200, 60).astype(np.uint8))
    assert (read_mask(saved(gray_mask, "JPEG", quality=80), "x") == HOLE).mean() > 0.99


def test_grays_with_a_few_colored_pixels_are_told_apart_by_their_brightness() -> None:
    pixels = np.repeat(np.where(HOLE, 200, 60).astype(np.uint8)[..., None], 3, axis=2)
    for place, tint in enumerate(range(20, 40)):
        pixels[2 + 4 * place, 3, 0] += tint
    assert np.array_equal(read_mask(Image.fromarray(pixels), "x"), HOLE)


def test_a_color_that_is_darker_than_the_black_around_it() -> None:
    """A pure blue of 45 looks darker than a gray of 31, which counts as black."""
    pixels = np.where(HOLE[..., None], (0, 0, 45), (31, 31, 31)).astype(np.uint8)
    pixels[2, 2] = (31, 31, 30)  # so that there are more than two values
    assert np.array_equal(read_mask(Image.fromarray(pixels), "x"), HOLE)


def test_of_three_values_a_black_patch_is_a_class() -> None:
    pixels = np.where(HOLE, 255, 3).astype(np.uint8)
    with pytest.raises(BadMask, match=r"3 values \(0, 3, 255\)"):
        read_mask(with_patch(Image.fromarray(pixels), 0), "x")


def test_a_mask_without_any_even_patch_has_no_third_class() -> None:
    """Stripes of two pixels with noise, so that no 3 x 3 pixels are equal."""
    stripes = np.arange(1, 41)[:, None] % 4 < 2  # a single one at either edge
    pixels = np.where(stripes, 255, 0) * np.ones((1, 60), int)
    pixels[::3, ::7] = np.where(pixels[::3, ::7] > 0, 250, 5)
    assert np.array_equal(read_mask(Image.fromarray(pixels.astype(np.uint8)), "x"), pixels > 99)


def test_values_beyond_8_bits_lie_further_apart() -> None:
    pixels = np.where(HOLE, 264, 240).astype(np.uint16)
    pixels[2, 2] = 239
    with pytest.raises(BadMask, match=r"3 values \(239, 240, 264\)"):
        read_mask(Image.fromarray(pixels), "x")


def test_names_of_masks_in_either_case() -> None:
    names = list(mask_names("a.b"))
    assert names[:2] == ["a.b.png", "a.b.PNG"]
    assert len(names) == len(set(names)) == 2 * len(MASK_SUFFIXES)


@pytest.mark.parametrize(("outside", "is_mask"), [(31, True), (32, False)])
def test_how_dark_a_color_has_to_be_to_count_as_black(outside: int, is_mask: bool) -> None:
    image = colored((255, 0, 0), (outside, 0, 0))
    if is_mask:
        assert np.array_equal(read_mask(image, "x"), HOLE)
    else:
        with pytest.raises(BadMask, match="neither is black"):
            read_mask(image, "x")


@pytest.mark.parametrize(("blue", "is_gray"), [(176, True), (175, False)])
def test_how_much_the_channels_of_a_gray_may_differ(blue: int, is_gray: bool) -> None:
    image = colored((200, 200, blue), (100, 100, 100))
    if is_gray:
        assert np.array_equal(read_mask(image, "x"), HOLE)
    else:
        with pytest.raises(BadMask, match="neither is black"):
            read_mask(image, "x")


@pytest.mark.parametrize(("high", "is_mask"), [(124, True), (123, False)])
def test_how_far_apart_two_noisy_values_have_to_be(high: int, is_mask: bool) -> None:
    pixels = np.where(HOLE, high, 100).astype(np.uint8)
    pixels[2, 2], pixels[2, 9] = 99, 101  # the mean of the lower values stays 100
    if is_mask:
        assert np.array_equal(read_mask(Image.fromarray(pixels), "x"), HOLE)
    else:
        with pytest.raises(BadMask, match="4 values"):
            read_mask(Image.fromarray(pixels), "x")


@pytest.mark.parametrize("often_high", [False, True])
def test_a_value_halfway_between_counts_as_the_more_frequent_one(often_high: bool) -> None:
    wanted = HOLE != often_high
    pixels = np.where(wanted, 254, 0).astype(np.uint8)
    pixels[2, 2:12] = 127
    pixels[2, 20] = 253 if often_high else 1  # three values would be three classes
    assert np.array_equal(read_mask(Image.fromarray(pixels), "x"), wanted)


def test_a_further_value_in_an_array_is_no_noise() -> None:
    pixels = BITS * np.uint8(255)
    pixels[2, 2] = 1
    assert np.array_equal(read_mask(Image.fromarray(pixels), "x"), HOLE)
    with pytest.raises(BadMask, match=r"3 values \(0, 1, 255\)"):
        as_mask(pixels, "x")


def test_a_palette_of_two_grays_counts_by_its_grays() -> None:
    assert np.array_equal(read_mask(palette(1, [200] * 3 + [60] * 3), "x"), ~HOLE)


def test_a_further_index_of_a_palette_is_a_class_and_no_noise() -> None:
    image = palette(200, np.random.default_rng(0).integers(0, 256, 768).tolist())
    image.putpixel((2, 2), 201)
    with pytest.raises(BadMask, match=r"3 values \(0, 200, 201\)"):
        read_mask(image, "x")


def test_arrays_of_one_pixel_and_of_none() -> None:
    assert np.array_equal(as_mask(np.ones((1, 1)), "x"), [[True]])
    with pytest.raises(BadMask, match=r"x is empty: its shape is \(0, 5\)"):
        as_mask(np.zeros((0, 5)), "x")


def test_one_color_everywhere_is_neither_full_nor_empty() -> None:
    with pytest.raises(BadMask, match=r"the one value \(255, 0, 0\) everywhere"):
        read_mask(Image.new("RGB", (5, 4), (255, 0, 0)), "x")


@pytest.mark.parametrize(("high", "is_faint"), [(7, True), (8, False), (255, False)])
def test_only_faint_masks_are_suspected_of_damage(
    high: int, is_faint: bool, caplog: pytest.LogCaptureFixture
) -> None:
    blocks = np.zeros((96, 128), np.uint8)
    blocks[32:64, 40:88] = high  # JPEG keeps blocks of 8 x 8 pixels as they are
    read_mask(saved(Image.fromarray(blocks)), "x")
    assert ("damaged by JPEG" in caplog.text) is is_faint


def test_of_two_masks_of_one_name_the_one_not_used_is_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.png", "a.bmp", "b.png", "b.pt"):
        Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(tmp_path / name, format="png")
    for _ in range(2):
        assert find_mask(tmp_path / "a") == tmp_path / "a.png"
        assert find_mask(tmp_path / "b") == tmp_path / "b.png"
    assert caplog.messages == [f"{tmp_path / 'a.png'} is used as the mask, not a.bmp beside it"]

"""Images of all kinds are read, and files are written completely."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s3pot.data.image import read_rgb, write_png
from s3pot.data.image_formats import BadImage


def picture(height: int = 20, width: int = 30, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int = 64, width: int = 48) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([3 * y, 4 * x, 60 + x + y], axis=2).astype(np.uint8)


# Orientation -> the stored pixels of an image that is displayed as `upright`.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: upright.transpose(1, 0, 2)[::-1],
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: upright.transpose(1, 0, 2)[:, ::-1],
}


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", sorted(STORED))
def test_exif_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = smooth()
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    stored = np.ascontiguousarray(STORED[orientation](upright))
    Image.fromarray(stored).save(path, exif=exif, quality=100)
    got = read_rgb(path)
    assert got.shape == upright.shape
    assert np.abs(got.astype(int) - upright).mean() < 3
    with Image.open(path) as opened:
        np.testing.assert_array_equal(read_rgb(opened), got)


def test_all_kinds_of_source_agree(tmp_path: Path) -> None:
    want = picture()
    path = tmp_path / "a.png"
    write_png(path, want)
    for source in (path, str(path), Image.fromarray(want), want):
        got = read_rgb(source)
        np.testing.assert_array_equal(got, want)
        assert got.flags.owndata and got.flags.c_contiguous and got.flags.writeable
    read_rgb(want)[:] = 0
    assert want.any()


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_16_bit_gray(tmp_path: Path, dtype: str) -> None:
    values = np.array([[0, 255, 256, 32768, 65535]], dtype=dtype)
    path = tmp_path / "a.tif"
    Image.fromarray(values).save(path)
    assert read_rgb(path)[0, :, 1].tolist() == [0, 0, 1, 128, 255]


def test_16_bit_png(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16)).save(path)
    assert read_rgb(path).tolist() == [[[0] * 3, [128] * 3, [255] * 3]]


def test_float_and_integer_pictures() -> None:
    unit = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
    assert read_rgb(Image.fromarray(unit))[0, :, 0].tolist() == [0, 128, 255]
    bytes_ = np.array([[-3.0, 127.6, 300.0, np.nan]], dtype=np.float32)
    assert read_rgb(Image.fromarray(bytes_))[0, :, 0].tolist() == [0, 128, 255, 0]
    wide = np.array([[-1, 512, 99999]], dtype=np.int32)
    assert read_rgb(Image.fromarray(wide))[0, :, 0].tolist() == [0, 2, 255]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB", "HSV"])
def test_color_modes(mode: str) -> None:
    source = Image.fromarray(smooth())
    if mode == "LAB":
        pytest.importorskip("PIL.ImageCms")
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(source, *profiles, outputMode="LAB")
    else:
        converted = source.convert(mode)
    got = read_rgb(converted)
    assert got.shape == (64, 48, 3) and got.dtype == np.uint8
    near = 140 if mode in ("1", "L") else 20
    assert np.abs(got.astype(int) - smooth()).mean() < near
    if mode == "L":
        assert (got[..., 0] == got[..., 2]).all()


def test_cmyk_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth()).convert("CMYK").save(path, quality=100)
    assert np.abs(read_rgb(path).astype(int) - smooth()).mean() < 5


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 200
    rgba[0, :, 3] = [0, 128, 255]
    got = read_rgb(rgba)[0].tolist()
    assert got[0] == [255, 255, 255] and got[2] == [200, 0, 0]
    assert abs(got[1][0] - 227) <= 1 and abs(got[1][1] - 127) <= 1
    gray = Image.fromarray(np.array([[[10, 0], [10, 255]]], np.uint8), mode="LA")
    assert read_rgb(gray)[0, :, 0].tolist() == [255, 10]
    path = tmp_path / "palette.png"
    indexed = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    indexed.putpalette([9, 8, 7, 6, 5, 4])
    indexed.save(path, transparency=0)
    assert read_rgb(path).tolist() == [[[255, 255, 255], [6, 5, 4]]]


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (5, 4, 4)])
def test_array_shapes(shape: tuple[int, ...]) -> None:
    assert read_rgb(np.full(shape, 255, np.uint8)).tolist() == np.full((5, 4, 3), 255).tolist()


PIXELS = np.random.default_rng(3).integers(0, 256, (6, 5, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (PIXELS / 255.0, PIXELS),
        ((PIXELS / 255).astype(np.float16), PIXELS),
        (PIXELS.astype(np.float32), PIXELS),
        ((PIXELS / 127.5 - 1).astype(np.float32), PIXELS),
        (PIXELS.astype(np.uint16), PIXELS),
        (PIXELS.astype(np.uint16) * 257, PIXELS),
        (PIXELS.astype(np.uint16) * 16, PIXELS),
        (PIXELS.astype(np.int64), PIXELS),
        (PIXELS > 127, (PIXELS > 127) * np.uint8(255)),
        ((PIXELS > 127).astype(np.int8), (PIXELS > 127) * np.uint8(255)),
        (PIXELS[None], PIXELS),
        (PIXELS.transpose(2, 0, 1), PIXELS),
        (PIXELS[:, :, :2], PIXELS[:, :, 0]),
        (PIXELS[:, :, [0, 1, 2, 2, 2]], PIXELS),
    ],
)
def test_the_cure_of_an_array_gives_its_picture(array: np.ndarray, expected: np.ndarray) -> None:
    with pytest.raises(BadImage, match=r"The array is .*; expected uint8 \(H, W, 3\)") as caught:
        read_rgb(array)
    advice = str(caught.value).partition(" in 0..255.")[2]
    cured = eval(advice.partition(": ")[2].rstrip("."), {"array": array, "np": np})
    assert cured.dtype == np.uint8
    assert np.abs(cured.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[-300.0, 500.0]]), "values -300 to 500; .* Scale its values to 0..255 first"),
        (np.array([[np.nan, 1.0]]), "values 1 to 1; .* not finite numbers: replace them"),
        (np.zeros((2, 4, 4, 3), np.uint8), "It holds several images"),
        (np.zeros((0, 4, 3), np.uint8), "It has no pixels"),
        (np.zeros(4, np.uint8), "An image has height, width and channels"),
        (np.array([[None]]), "Convert it to numbers"),
    ],
)
def test_other_arrays_are_refused_with_advice(array: np.ndarray, message: str) -> None:
    with pytest.raises(BadImage, match=message):
        read_rgb(array)


@pytest.mark.parametrize("size", [(1, 1), (1, 8192), (8192, 1)])
def test_extreme_sides(tmp_path: Path, size: tuple[int, int]) -> None:
    want = picture(*size)
    write_png(tmp_path / "a.png", want)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), want)


@pytest.mark.slow
def test_8k_picture(tmp_path: Path) -> None:
    Image.new("L", (8192, 8192), 7).save(tmp_path / "a.png", compress_level=1)
    got = read_rgb(tmp_path / "a.png")
    assert got.shape == (8192, 8192, 3) and got[-1, -1].tolist() == [7, 7, 7]


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "gif", "bmp"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.3, 0.7])
def test_truncated(tmp_path: Path, suffix: str, kept: float) -> None:
    stream = io.BytesIO()
    image = Image.fromarray(picture(200, 200))
    image.save(stream, format={"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()))
    path = tmp_path / f"broken.{suffix}"
    path.write_bytes(stream.getvalue()[: int(kept * len(stream.getvalue()))])
    with pytest.raises(BadImage, match=rf"broken\.{suffix} is not a readable image: .+"):
        read_rgb(path)


def test_no_picture(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(BadImage, match="not a readable image"):
        read_rgb(tmp_path / "text.png")
    with pytest.raises(BadImage, match="^the given image is not .*: its format is not rec"):
        read_rgb(io.BytesIO(b"hello"))
    with pytest.raises(BadImage, match="is a folder"):
        read_rgb(tmp_path)
    with pytest.raises(BadImage, match=r"gone\.png does not exist\."):
        read_rgb(tmp_path / "gone.png")
    for array in (np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8)):
        with pytest.raises(BadImage, match="expected uint8"):
            read_rgb(array)


@pytest.mark.parametrize("seed", range(20))
def test_flipped_bytes_never_crash(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    stream = io.BytesIO()
    Image.fromarray(smooth()).save(stream, format=["PNG", "JPEG", "TIFF", "GIF"][seed % 4])
    data = np.frombuffer(stream.getvalue(), np.uint8).copy()
    data[rng.integers(0, min(len(data), 400), 8)] = rng.integers(0, 256, 8)
    path = tmp_path / "a.bin"
    path.write_bytes(data.tobytes())
    try:
        assert read_rgb(path).dtype == np.uint8
    except BadImage as error:
        assert "a.bin" in str(error)


def test_masks_are_written_as_0_and_255(tmp_path: Path) -> None:
    mask = np.array([[True, False]])
    write_png(tmp_path / "deep" / "er" / "m.png", mask)
    with Image.open(tmp_path / "deep" / "er" / "m.png") as image:
        assert image.mode == "L" and np.asarray(image).tolist() == [[255, 0]]

"""Photos from cameras, phones and scanners: sideways, too large, or in unusual formats.

Reported at deepface #837, FaceRecognitionDotNet #176, opencv_zoo #206 (turned photos, pixel limit)
and gradio #2637 (what an image may be given as).
"""

from __future__ import annotations

import io
import json
import math
import struct
import subprocess
import sys
import types
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import generate_reference
from s3pot.data.image import is_image, read_rgb, write_png
from s3pot.data.image_formats import IMAGE_FORMATS, IMAGE_SUFFIXES, RAW_SUFFIXES, BadImage
from s3pot.geometry import TURNS, Alignment, rotated_points
from s3pot.io import write_json
from s3pot.rg.align import FaceAligner, identity
from s3pot.rg.detect import Face
from s3pot.rg.warp import crop, to_photo

# Mean positions of the five landmarks in FFHQ, as shares of the side.
FFHQ = np.array([[0.377, 0.469], [0.623, 0.469], [0.5, 0.613], [0.393, 0.725], [0.611, 0.725]])


def smooth(height: int = 60, width: int = 40) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([3 * y, 4 * x, 60 + x + y], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("bits", "values", "expected"),
    [
        (8, [0, 1, 128, 255], [0, 1, 128, 255]),
        (10, [0, 512, 1023], [0, 128, 255]),
        (12, [0, 16, 2048, 4095], [0, 1, 128, 255]),
        (14, [0, 8192, 16383], [0, 128, 255]),
        (16, [0, 255, 256, 32768, 65535], [0, 0, 1, 128, 255]),
    ],
)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_gray_in_16_bits_has_its_brightness(
    bits: int, values: list[int], expected: list[int], form: str
) -> None:
    stream = io.BytesIO()
    kept = np.int32 if form == "PPM" else np.uint16  # old Pillow versions write no PPM of uint16
    Image.fromarray(np.array([values], dtype=kept)).save(stream, form)
    stream.seek(0)
    assert read_rgb(stream)[0, :, 1].tolist() == expected


@pytest.mark.parametrize("ending", [".png", ".tiff"])
@pytest.mark.parametrize(("bits", "highest"), [(8, 255), (12, 4095), (16, 65535)])
def test_colors_in_16_bits_have_their_brightness(bits: int, highest: int, ending: str) -> None:
    rgb = np.zeros((4, 6, 3), dtype=np.uint16)
    rgb[:, 3:] = [highest, highest // 2 + 1, 0]
    stream = io.BytesIO(cv2.imencode(ending, rgb[..., ::-1])[1].tobytes())
    image = read_rgb(stream)
    assert image[0, 0].tolist() == [0, 0, 0]
    assert image[0, 5].tolist() == [255, 128, 0]


def test_clear_colors_in_16_bits_lie_over_white() -> None:
    bgra = np.zeros((4, 6, 4), dtype=np.uint16)
    bgra[:, :3] = [0, 0, 65535, 65535]
    image = read_rgb(io.BytesIO(cv2.imencode(".png", bgra)[1].tobytes()))
    assert image[0, 0].tolist() == [255, 0, 0]
    assert image[0, 5].tolist() == [255, 255, 255]


def test_the_limit_on_pixels_is_named_and_can_be_set(tmp_path: Path) -> None:
    Image.new("L", (300, 200)).save(tmp_path / "a.png")
    with pytest.raises(BadImage, match=r"300 x 200 pixels.*run.max_megapixels=1 "):
        read_rgb(tmp_path / "a.png", max_pixels=59_999)
    assert read_rgb(tmp_path / "a.png", max_pixels=60_000).shape == (200, 300, 3)


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares its size and contains almost nothing else."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + data + chunk(b"IEND", b"")


def test_a_file_that_cannot_go_back_is_read(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", smooth())
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdout.buffer.write(open('a.png', 'rb').read())"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and not process.stdout.seekable()
        np.testing.assert_array_equal(read_rgb(process.stdout), smooth())


def test_what_is_not_there_or_no_file_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="gone.jpg does not exist"):
        read_rgb(tmp_path / "gone.jpg")
    with pytest.raises(BadImage, match="is a folder; expected an image"):
        read_rgb(tmp_path)


def test_a_bomb_is_refused_by_its_header_and_pillows_limit_stays(
    recwarn: pytest.WarningsRecorder,
) -> None:
    before = Image.MAX_IMAGE_PIXELS
    for side, said in ((100_000, "10000 million"), (13_500, "182 million")):
        with pytest.raises(BadImage, match=said):
            read_rgb(io.BytesIO(png_header(side, side)))
    with pytest.raises(BadImage, match="not a readable image"):  # within the limit, but truncated
        read_rgb(io.BytesIO(png_header(11_000, 11_000)))
    assert Image.MAX_IMAGE_PIXELS == before
    assert not any(issubclass(w.category, Image.DecompressionBombWarning) for w in recwarn)


@pytest.mark.slow
def test_the_limit_reaches_the_command(tmp_path: Path, mini_options: list[str]) -> None:
    write_png(tmp_path / "in" / "a.png", np.zeros((1200, 1000, 3), np.uint8))
    folders = ["--input_dir", str(tmp_path / "in"), "--output_dir", str(tmp_path / "out")]
    arguments = [*folders, *mini_options, "align.size=64"]
    assert generate_reference.main([*arguments, "run.max_megapixels=1.1"]) == 2
    assert generate_reference.main([*arguments, "run.max_megapixels=1.2"]) == 0


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


def test_heic_is_named_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # not installed
    for name in ("a.heic", "a.jpg"):  # phones rename them, too
        (tmp_path / name).write_bytes(HEIC)
        with pytest.raises(BadImage, match="is a HEIC photo.*pip install pillow-heif"):
            read_rgb(tmp_path / name)
        assert not is_image(tmp_path / name)


def test_heic_is_read_where_pillow_heif_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("pillow_heif")

    def register_heif_opener() -> None:
        def open_heif(stream: Any, name: Any) -> Image.Image:
            return Image.new("RGB", (5, 4), (1, 2, 3))

        Image.register_open("HEIF", open_heif, lambda head: head[4:8] == b"ftyp")

    fake.register_heif_opener = register_heif_opener  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pillow_heif", fake)
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    assert read_rgb(io.BytesIO(HEIC))[0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("name", ["a.CR2", "a.nef", "a.ARW", "a.dng", "a.cr3"])
def test_camera_raw_is_named_with_its_cure(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.fromarray(smooth()).save(path, "TIFF")  # as if Pillow could read its preview
    with pytest.raises(BadImage, match=f"{name} is a camera RAW file.*Export it"):
        read_rgb(path)


def test_formats_that_run_programs_or_are_rare_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    Image.fromarray(smooth()).save(tmp_path / "a.tga")
    Image.fromarray(smooth()).save(tmp_path / "a.ico")
    for name in ("a.eps", "a.tga", "a.ico"):
        assert not is_image(tmp_path / name)
        with pytest.raises(BadImage, match=f"{name} is not a readable image"):
            read_rgb(tmp_path / name)


def with_exif(exif: bytes, form: str = "JPEG") -> io.BytesIO:
    stream = io.BytesIO()
    Image.fromarray(smooth()).save(stream, form, exif=exif, quality=100)
    stream.seek(0)
    return stream


def exif_of(orientation: Any, kind: int = 3) -> bytes:
    entry = struct.pack("<HHI", 0x0112, kind, 1) + struct.pack("<I", orientation)
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + bytes(4)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0II*\0",
        b"Exif\0\0garbage garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(30),
        exif_of(0),
        exif_of(9),
        exif_of(65535),
        exif_of(6, kind=7),
        exif_of(6, kind=99),
    ],
)
@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_a_photo_with_broken_exif_is_read_as_it_lies(exif: bytes, form: str) -> None:
    got = read_rgb(with_exif(exif, form))
    assert got.shape == (60, 40, 3)
    assert np.abs(got.astype(int) - smooth()).mean() < 3


def test_damaged_exif_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def broken(self: Image.Image) -> None:
        raise SyntaxError("not a TIFF file")

    write_png(tmp_path / "a.png", smooth())
    monkeypatch.setattr(Image.Image, "getexif", broken)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), smooth())
    assert "a.png: its EXIF data is damaged and is not applied" in caplog.text


def test_a_good_orientation_beside_broken_tags_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x9286] = b"\xff\xfe\xff"  # a comment without a valid encoding
    exif[0x8769] = {0x9000: b"????", 0xA002: 2**31}
    stream = with_exif(exif.tobytes())
    monkeypatch.setattr(Image.Exif, "tobytes", lambda self, offset=8: 1 / 0)
    assert read_rgb(stream).shape == (40, 60, 3)


def test_what_an_image_may_be_given_as(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", smooth())
    content = (tmp_path / "a.png").read_bytes()
    gray = smooth()[..., :1]
    with (tmp_path / "a.png").open("rb") as file:
        for source in (file, io.BytesIO(content), str(tmp_path / "a.png"), smooth()):
            np.testing.assert_array_equal(read_rgb(source), smooth())
    np.testing.assert_array_equal(read_rgb(smooth()[:, ::-1]), smooth()[:, ::-1])
    np.testing.assert_array_equal(read_rgb(gray), np.repeat(gray, 3, axis=2))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"bytes", "from a value of type bytes.*io.BytesIO"),
        (torch.zeros(3, 4, 4), "from a value of type Tensor; expected a path"),
        (None, "from None; expected a path"),
        (3, "from a value of type int"),
        ([[1, 2]], "from a value of type list"),
        (np.zeros((4, 5, 3)), r"float64 \(4, 5, 3\).*array \* 255"),
        (np.full((4, 5, 3), 65535, np.uint16), r"uint16 .* 65535 to 65535;.*array >> 8"),
        (np.zeros((3, 5, 5), np.uint8), r"transpose\(1, 2, 0\)"),
        (np.zeros((4, 5, 2), np.uint8), r"uint8 \(4, 5, 2\); expected uint8"),
        (np.zeros((0, 5, 3), np.uint8), r"\(0, 5, 3\)"),
        (np.zeros(5, np.uint8), r"\(5,\)"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"\(1, 4, 5, 3\)"),
        (np.zeros((4, 5), bool), "bool"),
    ],
    ids=str,
)
def test_what_else_is_given_is_named(source: Any, said: str) -> None:
    with pytest.raises(BadImage, match=said):
        read_rgb(source)


class TurnedDetector:
    """Detects a marked face in any orientation, but with a high score only if it is upright.

    The face is a red spot at its chin and a green one at its forehead; like a real detector it
    takes a face that lies on its side as upright.
    """

    sure_score = 0.92
    likely_score = 0.85

    def __init__(self, doubt: float = 0.3) -> None:
        self.doubt = doubt
        self.looks = 0

    def detect(self, image: np.ndarray) -> list[Face]:
        self.looks += 1
        forehead = np.argwhere((image[..., 1] > 180) & (image[..., 0] < 90))
        chin = np.argwhere((image[..., 0] > 180) & (image[..., 1] < 90))
        if not len(forehead) or not len(chin):
            return []
        top, bottom = forehead.mean(axis=0)[::-1], chin.mean(axis=0)[::-1]
        length = float(np.linalg.norm(bottom - top))
        angle = abs(math.degrees(math.atan2(bottom[0] - top[0], bottom[1] - top[1])))
        score = 0.95 if angle < 40 else self.doubt
        landmarks = (FFHQ - 0.5) * 1.6 * length + (top + bottom) / 2
        return [Face((*landmarks.min(axis=0), length, length), score, landmarks)]


def marked_photo(height: int = 200, width: int = 300) -> np.ndarray:
    photo = np.full((height, width, 3), 120, np.uint8)
    photo[70:80, 145:155] = (0, 255, 0)
    photo[130:140, 145:155] = (255, 0, 0)
    return photo


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_turned_photo_is_righted_and_the_turn_is_kept(turn: int, tmp_path: Path) -> None:
    upright = marked_photo()
    photo = np.ascontiguousarray(np.rot90(upright, -turn // 90))
    detector = TurnedDetector()
    (want,) = FaceAligner(detector, 64, "reflect").align(upright)
    (way,) = FaceAligner(detector, 64, "reflect").align(photo)
    assert (way.turn, way.score, way.photo_size) == (turn, want.score, photo.shape[:2])
    got = crop(photo, way)
    assert np.abs(got.astype(int) - crop(upright, want)).mean() < 1
    write_json(tmp_path / "a.json", way.to_dict())
    assert Alignment.read(tmp_path / "a.json") == way
    mask = np.zeros((64, 64), bool)
    mask[:32] = True  # the forehead's half
    back = to_photo(mask, way)
    green = (photo[..., 1] > 180) & (photo[..., 0] < 90)
    red = (photo[..., 0] > 180) & (photo[..., 1] < 90)
    assert back[green].all() and not back[red].any()


class AnyWayDetector(TurnedDetector):
    """Detects the same face with its true landmarks in any orientation."""

    sure_score = 0.0

    def detect(self, image: np.ndarray) -> list[Face]:
        """Rotate the image until the face is upright, and rotate the landmarks back."""
        self.looks += 1
        for turn in TURNS:
            pixels = np.ascontiguousarray(np.rot90(image, turn // 90))
            faces = TurnedDetector().detect(pixels)
            if faces and faces[0].score > 0.9:
                size = (pixels.shape[0], pixels.shape[1])
                points = rotated_points(faces[0].landmarks, (360 - turn) % 360, size)
                return [Face((*points.min(axis=0), *np.ptp(points, axis=0)), 0.9, points)]
        return []


@pytest.mark.parametrize("turn", TURNS)
def test_a_detector_that_needs_no_turned_photos_looks_once(turn: int) -> None:
    upright = marked_photo()
    photo = np.ascontiguousarray(np.rot90(upright, -turn // 90))
    detector = AnyWayDetector()
    (want,) = FaceAligner(TurnedDetector(), 64, "reflect").align(upright)
    (way,) = FaceAligner(detector, 64, "reflect").align(photo)
    assert (way.turn, way.photo_size, detector.looks) == (turn, photo.shape[:2], 1)
    assert np.abs(crop(photo, way).astype(int) - crop(upright, want)).mean() < 1


@pytest.mark.parametrize("turn", TURNS)
def test_points_move_with_the_pixels(turn: int) -> None:
    image = np.zeros((5, 8), np.uint8)
    image[1, 6], image[4, 0] = 1, 2
    moved = rotated_points(np.array([[6, 1], [0, 4]]), turn, (5, 8))
    turned = np.rot90(image, turn // 90)
    assert [turned[y, x] for x, y in moved] == [1, 2]


def test_old_alignments_have_no_turn(tmp_path: Path) -> None:
    values = identity(marked_photo()).to_dict()
    del values["turn"]
    (tmp_path / "a.json").write_text(json.dumps(values))
    assert Alignment.read(tmp_path / "a.json").turn == 0


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_crop_keeps_its_pixels(turn: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 80, (128, 128, 3)).astype(np.uint8)
    pixels[22:27, 62:67] = (0, 255, 0)
    pixels[102:107, 62:67] = (255, 0, 0)
    photo = np.ascontiguousarray(np.rot90(pixels, -turn // 90))
    (way,) = FaceAligner(TurnedDetector(), 64, "reflect").align(photo)
    assert way.turn == turn and way.size == (128, 128) and not way.is_whole
    np.testing.assert_array_equal(crop(photo, way), pixels)


def test_an_upright_photo_is_looked_at_once_more_only() -> None:
    detector = TurnedDetector()
    FaceAligner(detector, 64, "reflect").align(marked_photo())
    assert detector.looks == 2  # the photo, and the aligned face


@pytest.mark.parametrize("doubt", [0.9, 0.93])
def test_a_small_difference_turns_nothing(doubt: float) -> None:
    photo = np.ascontiguousarray(np.rot90(marked_photo(), 2))
    (way,) = FaceAligner(TurnedDetector(doubt), 64, "reflect").align(photo)
    assert way.turn == (180 if doubt + 0.03 < 0.95 else 0)


def test_no_face_any_way_up() -> None:
    gray = np.full((80, 80, 3), 120, np.uint8)
    assert FaceAligner(TurnedDetector(), 64, "reflect").align(gray) == [identity(gray)]


def test_module_constants_agree_with_pillow() -> None:
    Image.init()
    unknown = set(IMAGE_FORMATS) - set(Image.OPEN) - {"AVIF", "HEIF"}
    assert unknown == set()
    assert not IMAGE_SUFFIXES & RAW_SUFFIXES

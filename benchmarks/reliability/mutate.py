"""Broken, odd and hostile files, all generated from a seed."""

from __future__ import annotations

import copy
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

Random = np.random.Generator

EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 50_000, 0x7FFFFFFF, 0xFFFFFFFF)
HEAD = 96  # bytes at the beginning, with sizes and types, which are mutated more often
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1e308,
    float("nan"),
    float("inf"),
    10**400,
    "",
    "x" * 5000,
    "../../../../etc/passwd",
    "/dev/zero",
    "\ud800",
    "\x00",
    "<script>alert(1)</script>",
    [],
    {},
    [[[[]]]],
    {"a": {"b": {}}},
    [None],
    ["x", 3],
    [1e308, -1e308],
)


def mutated(random: Random, content: bytes) -> bytes:
    """Change one to three things in a file."""
    for _ in range(int(random.integers(1, 4))):
        change = _BYTE_CHANGES[int(random.integers(len(_BYTE_CHANGES)))]
        content = change(random, content)
    return content


def _place(random: Random, content: bytes) -> int:
    end = min(HEAD, len(content)) if random.random() < 0.5 else len(content)
    return int(random.integers(max(end, 1)))


def _flip_bits(random: Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(int(random.integers(1, 9))):
        if changed:
            changed[_place(random, content)] ^= 1 << int(random.integers(8))
    return bytes(changed)


def _set_number(random: Random, content: bytes) -> bytes:
    value = EXTREMES[int(random.integers(len(EXTREMES)))]
    order = "<>"[int(random.integers(2))]
    packed = struct.pack(f"{order}I", value)[-int(random.integers(1, 5)) :]
    at = _place(random, content)
    return content[:at] + packed + content[at + len(packed) :]


def _cut(random: Random, content: bytes) -> bytes:
    return content[: int(random.integers(len(content) + 1))]


def _drop_block(random: Random, content: bytes) -> bytes:
    at = _place(random, content)
    return content[:at] + content[at + int(random.integers(1, 200)) :]


def _repeat_block(random: Random, content: bytes) -> bytes:
    at = _place(random, content)
    block = content[at : at + int(random.integers(1, 200))]
    return content[:at] + block * int(random.integers(2, 30)) + content[at:]


def _insert_noise(random: Random, content: bytes) -> bytes:
    at = _place(random, content)
    return content[:at] + random.bytes(int(random.integers(1, 100))) + content[at:]


def _zero_block(random: Random, content: bytes) -> bytes:
    at = _place(random, content)
    size = int(random.integers(1, 300))
    return content[:at] + bytes(len(content[at : at + size])) + content[at + size :]


_BYTE_CHANGES: tuple[Callable[[Random, bytes], bytes], ...] = (
    _flip_bits,
    _flip_bits,
    _set_number,
    _set_number,
    _cut,
    _drop_block,
    _repeat_block,
    _insert_noise,
    _zero_block,
)


def mutated_json(random: Random, content: bytes) -> bytes:
    """Mutate JSON as text, or insert odd values somewhere in its content."""
    if random.random() < 0.25:
        return mutated(random, content)
    tree = json.loads(content)
    for _ in range(int(random.integers(1, 4))):
        tree = _with_odd_value(random, tree)
    return json.dumps(tree).encode("utf-8", errors="surrogatepass")


def _with_odd_value(random: Random, tree: Any) -> Any:
    """Replace, remove or add one value somewhere in plain data."""
    tree = copy.deepcopy(tree)
    odd = ODD_VALUES[int(random.integers(len(ODD_VALUES)))]
    places = list(_places_in(tree))
    if not places:
        return odd
    container, key = places[int(random.integers(len(places)))]
    if random.random() < 0.2:
        del container[key]
    else:
        container[key] = odd
    return tree


def _places_in(tree: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(tree, (dict, list)):
        keys: Sequence[Any] = list(tree) if isinstance(tree, dict) else range(len(tree))
        for key in keys:
            yield tree, key
            yield from _places_in(tree[key])


def images() -> dict[str, bytes]:
    """Return one small valid image in each format, by its extension."""
    random = np.random.default_rng(5)
    pixels = np.kron(random.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    formats: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        ".png": (image, "PNG", {}),
        ".gray.png": (image.convert("L"), "PNG", {}),
        ".palette.png": (image.quantize(16), "PNG", {}),
        ".alpha.png": (image.convert("RGBA"), "PNG", {}),
        ".16bit.png": (Image.fromarray(pixels[..., 0].astype(np.uint16) * 200), "PNG", {}),
        ".jpg": (image, "JPEG", {"exif": exif}),
        ".progressive.jpg": (image, "JPEG", {"progressive": True}),
        ".cmyk.jpg": (image.convert("CMYK"), "JPEG", {}),
        ".webp": (image, "WEBP", {}),
        ".lossless.webp": (image, "WEBP", {"lossless": True}),
        ".bmp": (image, "BMP", {}),
        ".tif": (image, "TIFF", {"compression": "tiff_lzw"}),
        ".raw.tif": (image, "TIFF", {}),
        ".float.tif": (Image.fromarray(pixels[..., 0].astype(np.float32)), "TIFF", {}),
        ".gif": (image, "GIF", {"save_all": True, "append_images": [image.rotate(90)]}),
        ".ppm": (image, "PPM", {}),
        ".jp2": (image, "JPEG2000", {}),
    }
    files = {}
    for ending, (picture, form, options) in formats.items():
        stream = io.BytesIO()
        picture.save(stream, format=form, **options)
        files[ending] = stream.getvalue()
    return files


def png_of(width: int, height: int, data: bytes, extra: bytes = b"") -> bytes:
    """Build a gray PNG with an arbitrary header."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def hostile_images() -> dict[str, bytes]:
    """Return decompression bombs, false headers, polyglots and unsupported formats, by name."""
    good = images()
    bomb = zlib.compress(bytes(64 << 20))
    text_bomb = _chunk(b"zTXt", b"a\x00\x00" + bomb)
    profile_bomb = _chunk(b"iCCP", b"a\x00\x00" + bomb)
    small = zlib.compress(bytes(65 * 64))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../evil.txt", "x")
    gif = bytearray(good[".gif"])
    gif[6:10] = b"\xff\xff\xff\xff"
    bmp = bytearray(good[".bmp"])
    struct.pack_into("<ii", bmp, 18, 50_000, -50_000)
    jpeg = good[".jpg"].replace(
        b"\xff\xc0\x00\x11\x08\x00\x40\x00\x40", b"\xff\xc0\x00\x11\x08\xff\xdc\xff\xdc"
    )
    loop = bytearray(good[".raw.tif"])
    (directory,) = struct.unpack_from("<I", loop, 4)
    (entries,) = struct.unpack_from("<H", loop, directory)
    struct.pack_into("<I", loop, directory + 2 + 12 * entries, directory)  # it points to itself
    return {
        "huge.png": png_of(50_000, 50_000, zlib.compress(bytes(1000))),
        "huge_and_full.png": png_of(50_000, 50_000, bomb),
        "no_width.png": png_of(0, 64, small),
        "endless_width.png": png_of(0x7FFFFFFF, 1, small),
        "long_data.png": png_of(64, 64, bomb),
        "text_bomb.png": png_of(64, 64, small, text_bomb),
        "profile_bomb.png": png_of(64, 64, small, profile_bomb),
        "many_pixels.png": png_of(9_000, 6_000, zlib.compress(bytes(9_001 * 6_000))),
        "thin.png": png_of(20_000, 1, zlib.compress(bytes(20_001))),
        "one_pixel.png": png_of(1, 1, zlib.compress(b"\0\0")),
        "huge.gif": bytes(gif),
        "huge.bmp": bytes(bmp),
        "huge.jpg": jpeg,
        "loop.tif": bytes(loop),
        "png_and_zip.png": good[".png"] + archive.getvalue(),
        "zip_as.png": archive.getvalue(),
        "jpeg_as.png": good[".jpg"],
        "html_as.jpg": b"<html><script>alert(1)</script></html>",
        "svg_as.png": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>",
        "pdf_as.jpg": b"%PDF-1.4\n1 0 obj\n",
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
        "fits.png": b"SIMPLE  =                    T"
        + b" " * 50
        + b"BITPIX  =                    8"
        + b" " * 2770,
        "psd.png": b"8BPS\0\1"
        + bytes(6)
        + struct.pack(">HIIHH", 3, 50_000, 50_000, 8, 3)
        + bytes(100),
        "mcidas.png": b"\0\0\0\0\0\0\0\4" + bytes(248),
        "pickle.png": b"\x80\2cos\nsystem\nX\4\0\0\0true\x85R.",
        "empty.png": b"",
        "noise.jpg": np.random.default_rng(1).bytes(5000),
        "text.webp": b"not an image\n" * 20,
    }


def class_maps(random: Random, count: int) -> Iterator[bytes]:
    """Generate class maps with other types (including objects), shapes and values; broken files."""
    good = np.zeros((64, 64), np.uint8)
    good[10:50, 15:50] = 6
    types = (
        "int8",
        "int64",
        "uint16",
        "float16",
        "float64",
        "complex64",
        "bool",
        "U3",
        "M8[s]",
        ">i4",
    )
    for _ in range(count):
        choice = random.random()
        if choice < 0.4:
            yield mutated(random, _npy(good))
        elif choice < 0.6:
            kind = types[int(random.integers(len(types)))]
            yield _npy(good.astype(kind))
        elif choice < 0.8:
            shape = tuple(random.integers(0, 5, int(random.integers(0, 5))))
            yield _npy(np.zeros(shape, np.uint8))
        elif choice < 0.9:
            odd = (np.nan, np.inf, -1, 12, 255, 6.5)[int(random.integers(6))]
            values = good.astype(np.float64)
            values[int(random.integers(64)), int(random.integers(64))] = odd
            yield _npy(values)
        else:
            yield _npy_with_header(random)


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _npy_with_header(random: Random) -> bytes:
    """Build a class map with a custom header text, which NumPy reads as Python."""
    headers = (
        "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 99999), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 64), }",
        "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (4,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': __import__('os'), }",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (99999999999,), }",
        "(" * 5000,
        "{" * 200,
        "'''",
    )
    header = headers[int(random.integers(len(headers)))].encode("latin-1")
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(64)


def labelme_file(size: int = 64) -> bytes:
    """Build a valid LabelMe file with a shape of each kind."""
    square = [[10, 10], [30, 10], [30, 30], [10, 30]]
    shapes = [
        {"label": "hand", "points": square, "shape_type": "polygon", "group_id": None, "flags": {}},
        {"label": "cup", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"},
        {"label": "ball", "points": [[40, 40], [45, 45]], "shape_type": "circle"},
        {"label": "_background_", "points": square, "shape_type": "polygon"},
        {"label": "hair", "points": square, "shape_type": "polygon"},
    ]
    content: dict[str, Any] = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": "a.png",
        "imageData": None,
        "imageHeight": size,
        "imageWidth": size,
    }
    return json.dumps(content).encode("utf-8")


def hostile_yaml() -> list[bytes]:
    """Return YAML bombs, YAML that runs code, and invalid YAML."""
    aliases = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    aliases += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return [
        "\n".join(aliases).encode(),
        b"&a [*a]",
        b"a: &a {b: *a}",
        b"!!python/object/apply:os.system ['true']",
        b"train: !!python/name:os.system",
        b"[" * 20_000,
        b"a: " * 3_000,
        b"- " * 30_000,
        b"{a: 1, a: 2}",
        b"train: {lr: 1e400}",
        b"train: {epochs: 99999999999999999999999999}",
        b"train: {lr: .nan}",
        b"? {a: b}\n: c",
        b"? [a]\n: c",
        b"--- 1\n--- 2",
        b"%YAML 9.9\n---\na: b",
        b"\xff\xfe\x00",
        b"a: \xe4",
        b"a: 2001-99-99",
        b"a: !!binary '!'",
        b"a: !!float x",
        b"a: !!timestamp x",
        b"a: !!int 0x",
        b"<<: 3",
        b"<<: [1]",
        b"",
        b"null",
        b"3",
        b"\t- a",
    ]


def checkpoints(random: Random, good: Sequence[bytes], count: int) -> Iterator[bytes]:
    """Generate broken checkpoints from valid ones, and some with other values in them."""
    for _ in range(count):
        content = good[int(random.integers(len(good)))]
        if random.random() < 0.7 or not content.startswith(b"PK"):
            yield mutated(random, content)
            continue
        tree = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        for _ in range(int(random.integers(1, 4))):
            tree = _with_odd_tensor(random, tree)
        stream = io.BytesIO()
        torch.save(tree, stream)
        yield stream.getvalue()


def _with_odd_tensor(random: Random, tree: Any) -> Any:
    """Replace a value in a checkpoint by an odd one, often a tensor of another type."""
    tree = copy.deepcopy(tree)  # it may hold one of the odd values, which must stay as they are
    odd: Sequence[Any] = (
        torch.full((3,), float("nan")),
        torch.zeros(0),
        torch.zeros(2, 3, 4, 5),
        torch.tensor(float("inf")),
        torch.zeros(32, dtype=torch.complex64),
        torch.zeros(32, dtype=torch.bool),
        torch.full((32,), 1e38),
        *(value for value in ODD_VALUES if value not in ("\ud800",)),
    )
    places = list(_places_in(tree)) if isinstance(tree, dict) else []
    if not places:
        return odd[int(random.integers(len(odd)))]
    container, key = places[int(random.integers(len(places)))]
    container[key] = odd[int(random.integers(len(odd)))]
    return tree

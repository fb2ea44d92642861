"""Files crafted to hang a command, to lead it out of its folder, or to control the terminal."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import evaluate
import generate_reference
import inference
from s3pot.commands import compare, data_convert, data_validate, figure
from s3pot.commands.cli import printable
from s3pot.data.cache import FeatureCache
from s3pot.data.image import image_size, is_image, read_rgb, write_png
from s3pot.data.image_formats import BadImage
from s3pot.data.labelme import read_labelme
from s3pot.data.labelme_shapes import MOST_SHAPES
from s3pot.data.masks import BadMask, read_mask
from s3pot.io import (
    MAX_YAML_BYTES,
    BadFile,
    file_sha256,
    leads_outside,
    read_bytes,
    read_json,
    read_npy,
    read_yaml,
)

Folder = Callable[..., Path]
DEEP = "[" * 100_000


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares its size and contains nothing else."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + head
        + struct.pack(">I", zlib.crc32(head))
        + struct.pack(">I", 0)
        + b"IDAT"
        + struct.pack(">I", zlib.crc32(b"IDAT"))
    )


def npy_header(text: str) -> bytes:
    """A ``.npy`` file that consists of a header only."""
    head = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head


@pytest.mark.parametrize(
    "read",
    [read_bytes, read_json, read_yaml, read_npy, file_sha256, read_rgb, image_size, read_mask],
)
def test_a_pipe_is_not_waited_for(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    """Opening a pipe would wait until something is written to it."""
    for suffix in (".npy", ".png"):
        path = tmp_path / f"pipe{suffix}"
        os.mkfifo(path)
        with pytest.raises((BadFile, BadImage), match="not a file but a pipe"):
            read(path)


def test_a_pipe_is_no_image_and_no_cache_entry(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key.feat")
    assert not is_image(tmp_path / "key.feat")
    assert FeatureCache(tmp_path, 1000).read("key", "a") is None


def test_what_a_shell_gives_as_a_pipe_is_read() -> None:
    """``--config <(...)`` names a pipe in /dev/fd."""
    reading, writing = os.pipe()
    os.write(writing, b"train: {epochs: 3}")
    os.close(writing)
    try:
        assert read_yaml(Path(f"/dev/fd/{reading}")) == {"train": {"epochs": 3}}
    finally:
        os.close(reading)


def test_pipes_among_faces_and_records_do_not_hold_up_a_run(
    tmp_path: Path,
    processed_folder: Folder,
    mini_options: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = processed_folder(2)
    names = sorted(path.name[: -len("_ref.png")] for path in data.glob("*_ref.png"))
    (data / f"{names[0]}.png").unlink()
    os.mkfifo(data / f"{names[0]}.png")
    out = tmp_path / "out"
    out.mkdir()
    os.mkfifo(out / f"{names[1]}_result.json")
    os.mkfifo(out / "summary.json")
    command = ["--datapath", str(data), "--output_dir", str(out), *mini_options]
    assert inference.main(command) == 1
    assert f"{names[0]}.png is not a file but a pipe" in capsys.readouterr().err
    assert (out / f"{names[1]}_occlusion.png").is_file()


def test_a_yaml_that_would_be_read_for_minutes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"[" + b"a," * (MAX_YAML_BYTES // 2) + b"a]")
    with pytest.raises(BadFile, match="larger than 256 KiB"):
        read_yaml(path)


@pytest.mark.parametrize(
    "line",
    [
        DEEP,
        '{"stem": "a", "kinds": [1, "hand"]}',
        '{"stem": "a", "kinds": "hand"}',
        '{"stem": "a", "kinds": [["hand"]]}',
        '{"stem": 5, "kinds": []}',
        "[]",
        '{"stem": "\udce9", "kinds": []}',
    ],
    ids=range(7),
)
def test_a_broken_meta_jsonl_is_named(
    tmp_path: Path, processed_folder: Folder, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    data = processed_folder(1)
    (data / "meta.jsonl").write_bytes(line.encode("utf-8", "surrogateescape"))
    command = ["--datapath", str(data), "--results", str(tmp_path)]
    assert evaluate.main([*command, "--output_dir", str(tmp_path / "table")]) == 2
    assert "is not a meta.jsonl of drawn faces" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("_parsing_mask.npy", npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (3,")),
        ("_parsing_mask.npy", npy_header("{'descr': '|u1', 'fortran_order': 0, 'shape': (-1,)}")),
        (".png", png_header(60_000, 60_000)),
        (".png", b"8BPS\x00\x01" + bytes(50)),
        ("_ref.png", b"SIMPLE  =                    T"),
    ],
)
def test_a_dry_run_names_broken_faces(
    tmp_path: Path,
    processed_folder: Folder,
    mini_options: list[str],
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
) -> None:
    data = processed_folder(1)
    face = next(data.glob("*_ref.png")).name[: -len("_ref.png")]
    (data / f"{face}{name}").write_bytes(content)
    suite = tmp_path / "suite.yaml"
    suite.write_text(f"datapath: {data}\nrows:\n  - {{name: a, method: parser}}\n")
    assert evaluate.main(["--suite", str(suite), "--dry_run", *mini_options]) == 1
    is_too_large = content == png_header(60_000, 60_000)
    fault = "3600 million; the limit is 179 million" if is_too_large else "is not a readable"
    assert fault in capsys.readouterr().out


@pytest.mark.parametrize("name", ["../secret/a", "/secret/a", "b/../../a"])
def test_a_summary_leads_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """The names in a summary are those of files that are read and linked to."""
    results = tmp_path / "results"
    results.mkdir()
    row = {"name": name, "occluded_share": 0.5, "is_occluded": True}
    (results / "summary.json").write_text(json.dumps([row]), encoding="utf-8")
    out = ["--output_dir", str(tmp_path / "out")]
    assert compare.main([str(results), str(results), *out]) == 2
    assert figure.main([str(results), *out]) == 2
    assert capsys.readouterr().err.count("would lie outside") == 2
    assert leads_outside(name) and not leads_outside("b/a..b/c")


def _annotated(folder: Path, shapes: list[dict[str, Any]], **more: Any) -> Path:
    path = folder / "a.json"
    path.write_text(json.dumps({"shapes": shapes, **more}), encoding="utf-8")
    return path


def test_annotations_that_would_be_drawn_for_hours_are_refused(tmp_path: Path) -> None:
    circle = {"label": "hand", "shape_type": "circle", "points": [[0, 0], [9, 9]]}
    few = _annotated(tmp_path, [circle] * 50)
    mask = read_labelme(few, (40, 40))
    assert mask is not None and mask.any()
    many = _annotated(tmp_path, [circle] * (MOST_SHAPES + 1))
    with pytest.raises(BadFile, match="would take very long"):
        read_labelme(many, (40, 40))
    with pytest.raises(BadFile, match="would take very long"):
        read_labelme(_annotated(tmp_path, [circle] * 2000), (4000, 4000))


def test_a_mask_inside_an_annotation_is_about_as_large_as_its_image(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((3000, 3000), bool)).save(stream, "PNG")
    mask = base64.b64encode(stream.getvalue()).decode()
    shape = {"label": "hand", "shape_type": "mask", "points": [[0, 0], [9, 9]], "mask": mask}
    with pytest.raises(BadFile, match="3000 x 3000 pixels, far more than the image"):
        read_labelme(_annotated(tmp_path, [shape]), (40, 40))
    frame = {"imageWidth": 13_000, "imageHeight": 13_000}
    with pytest.raises(BadFile, match="would take very long"):
        read_labelme(_annotated(tmp_path, [shape] * 200, **frame), (40, 40))


def test_numbers_that_no_pixel_has_are_named(tmp_path: Path) -> None:
    shape = {"label": "hand", "points": [[1, 1], [2, int("9" * 400)], [3, 4]]}
    with pytest.raises(BadFile, match="cannot be drawn"):
        read_labelme(_annotated(tmp_path, [shape]), (40, 40))


def _coco(folder: Path, file_name: str, annotations: list[dict[str, Any]]) -> Path:
    image = {"id": 1, "file_name": file_name, "width": 40, "height": 40}
    categories = [{"id": 1, "name": "occlusion"}]
    content = {"images": [image], "annotations": annotations, "categories": categories}
    folder.mkdir()
    write_png(folder / "a.png", np.zeros((40, 40, 3), np.uint8))
    (folder / "c.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize("polygons", [1, 20])
def test_instances_that_would_be_drawn_for_hours_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], polygons: int
) -> None:
    polygon = [0, 0, 9, 0, 9, 9]
    instance = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [polygon] * polygons}
    data = _coco(tmp_path / "data", "a.png", [instance] * (1 + MOST_SHAPES // polygons))
    command = ["--from", "coco", "--input_dir", str(data), "--output_dir", str(tmp_path / "out")]
    assert data_convert.main([*command, "--to", "folders"]) == 2
    assert "would take very long" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["\ud800.png", "a\0b.png", "a\x1b[2Jb.png", "../a.png"])
def test_a_data_set_names_files_that_cannot_be(
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """The report is printed without control sequences for the terminal."""
    # Several processes of pytest cannot send each other a log that holds half a character.
    monkeypatch.setattr(logging.getLogger("s3pot"), "propagate", False)
    data = _coco(tmp_path / "data", name, [])
    out = tmp_path / "out"
    assert data_validate.main([str(data), "--from", "coco", "--output_dir", str(out)]) == 1
    printed = capfdbinary.readouterr()
    assert b"not a portable name" in printed.out
    assert b"\x1b" not in printed.out + printed.err and b"\0" not in printed.out


def test_names_do_not_speak_to_the_terminal(
    tmp_path: Path, mini_options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a\x1b]0;owned\x07\u202egnp.png").write_bytes(b"nothing")
    command = ["--input_dir", str(photos), "--output_dir", str(tmp_path / "out"), *mini_options]
    assert generate_reference.main(command) == 2
    said = capsys.readouterr().err
    assert r"a\x1b]0;owned\x07\u202egnp.png" in said
    assert not any(mark in said for mark in "\x1b\x07\u202e")


def test_messages_keep_their_lines_and_letters() -> None:
    assert printable("a\tb\nc: é 日本 😀") == "a\tb\nc: é 日本 😀"
    assert printable("a\rb\x9b1m\x7f\udce9") == r"a\rb\x9b1m\x7f\udce9"


@pytest.mark.parametrize("descr", ["'|V0'", "'<U0'", "'|S0'", "[('a', '|u1', (0,))]"])
def test_arrays_of_nothing_that_claim_to_be_vast(tmp_path: Path, descr: str) -> None:
    """Such a header declares ten billion elements of zero bytes each."""
    path = tmp_path / "a.npy"
    shape = "(100000, 100000)"
    path.write_bytes(npy_header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"))
    with pytest.raises((BadMask, BadFile)):
        read_mask(path)

"""File names with any bytes and of any length, and arrays that are not what their names say.

Reported at internetarchive #284, ownphotos #112 (bytes), stable-diffusion #2, crushee #81 (length),
ProtoMotions #11, Pytorch-UNet #364 (arrays).
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
from pathlib import Path
from typing import Any, Callable
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest

import evaluate
import generate_reference
import inference
import train_general
import train_per_image
from s3pot.commands import compare, figure, segment
from s3pot.data.face_folder import BadFace, find_faces, load_labels
from s3pot.data.image import write_png
from s3pot.data.output_guard import OutputFiles
from s3pot.io import BadFile, atomic_path, read_json, read_npy, read_yaml, write_csv, write_json
from s3pot.io import write_npy as write_array
from s3pot.report.summary import read_summary
from s3pot.types import S3potError
from tests.builders import read_csv

ODD_NAMES = [
    "m\udce9lange",
    "\udcff",
    "a\udc80b\udcfe",
    "日本\udce9",
    "plain",
    "é 'q' \"d\" %23 #1&",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_that_are_no_text_survive_json(tmp_path: Path, name: str) -> None:
    values = {name: [name, {"file": f"{name}.png"}], "other": "日本"}
    write_json(tmp_path / "a.json", values)
    assert read_json(tmp_path / "a.json") == values
    text = (tmp_path / "a.json").read_text(encoding="utf-8")  # valid UTF-8, whatever the name
    assert "日本" in text and json.loads(text) == values


def test_other_escapes_are_not_touched(tmp_path: Path) -> None:
    values = ["\\udce9", "😀", "\u2028", 'a"b', "\x00"]
    write_json(tmp_path / "a.json", values)
    assert read_json(tmp_path / "a.json") == values


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_that_are_no_text_survive_csv(tmp_path: Path, name: str) -> None:
    write_csv(tmp_path / "a.csv", [{"name": name, "value": 1}, {"name": "b", "more": None}])
    rows = read_csv(tmp_path / "a.csv")
    assert rows[0]["name"] == name.encode("utf-8", "backslashreplace").decode("utf-8")
    assert rows[1] == {"name": "b", "value": "", "more": ""}


@pytest.mark.parametrize("length", [1, 200, 251])
def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path: Path, length: int) -> None:
    path = tmp_path / f"{'k' * length}.png"
    write_png(path, np.zeros((2, 2, 3), np.uint8))
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_temporary_names_are_short_hidden_and_never_the_same(tmp_path: Path) -> None:
    seen = set()
    for _ in range(50):
        with atomic_path(tmp_path / ("k" * 250)) as temporary:
            assert len(temporary.name) < 40 and temporary.name.startswith(".")
            seen.add(temporary.name)
            temporary.write_text("x")
    assert len(seen) == 50


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="names are text on Windows")
def test_odd_names_are_done_and_too_long_ones_are_named(
    tmp_path: Path,
    mini_options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    names = ["a", "m\udce9lange", "k" * 245, "z"]
    try:
        for name in names:
            write_png(tmp_path / "in" / f"{name}.png", pixels)
    except (OSError, UnicodeError):
        pytest.skip("this disk takes names in UTF-8 only")
    folders = ["--input_dir", str(tmp_path / "in"), "--output_dir", str(tmp_path / "out")]
    # Messages with such a name cannot be sent from a pytest-xdist worker to its controller.
    monkeypatch.setattr(logging.getLogger("s3pot"), "propagate", False)
    assert generate_reference.main([*folders, *mini_options]) == 1
    done = {path.name[: -len("_align.json")] for path in (tmp_path / "out").glob("*_align.json")}
    assert done == {"a", "m\udce9lange", "z"}
    failures = (tmp_path / "out" / "failures.csv").read_text(encoding="utf-8")
    assert "kkkk" in failures and "too long" in failures.lower()
    assert generate_reference.main([*folders, *mini_options]) == 1  # the others are kept
    capsys.readouterr()


def test_no_result_has_a_name_that_is_too_long(tmp_path: Path) -> None:
    """The file of a name that no disk allows does not exist, rather than ends the command."""
    (tmp_path / "a_occlusion.png").touch()
    files = OutputFiles(tmp_path, ("_occlusion.png",), marks=("_result.json",))
    files.require_written_by_s3pot(["k" * 250])
    (tmp_path / "a_result.json").mkdir()  # a folder is no record
    with pytest.raises(S3potError, match=r"a_occlusion\.png would be replaced"):
        files.require_written_by_s3pot(["k" * 250, "a"])


LABELS = np.arange(48, dtype=np.uint8).reshape(6, 8) % 12


def raw(write: Callable[[io.BytesIO], Any]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def header(**values: Any) -> bytes:
    defaults = {"descr": "|u1", "fortran_order": False, "shape": (6, 8)}
    return raw(lambda s: np.lib.format.write_array_header_1_0(s, {**defaults, **values}))


GOOD: dict[str, bytes] = {
    "uint8": raw(lambda s: np.save(s, LABELS)),
    "int64": raw(lambda s: np.save(s, LABELS.astype(np.int64))),
    "float": raw(lambda s: np.save(s, LABELS.astype(float))),
    "big endian": raw(lambda s: np.save(s, LABELS.astype(">i4"))),
    "Fortran order": raw(lambda s: np.save(s, np.asfortranarray(LABELS))),
    "leading axis": raw(lambda s: np.save(s, LABELS[None])),
    "trailing axis": raw(lambda s: np.save(s, LABELS[..., None])),
    "version 2": raw(lambda s: np.lib.format.write_array(s, LABELS, version=(2, 0))),
    "version 3": raw(lambda s: np.lib.format.write_array(s, LABELS, version=(3, 0))),
}
BAD: dict[str, bytes] = {
    "empty": b"",
    "npz": raw(lambda s: np.savez(s, LABELS)),
    "compressed npz": raw(lambda s: np.savez_compressed(s, mask=LABELS)),
    "cut in the data": GOOD["uint8"][:-9],
    "cut in the header": GOOD["uint8"][:40],
    "a pickle": raw(lambda s: np.save(s, np.array([{"a": 1}], object), allow_pickle=True)),
    "LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
    "a web page": b"<!DOCTYPE html><html></html>",
    "a PNG": b"\x89PNG\r\n\x1a\n",
    "909 TiB": header(shape=(10**9, 10**6)),
    "9 GiB": header(shape=(100_000, 100_000)) + bytes(100),
    "negative shape": header(shape=(-1, 8)) + bytes(48),
    "header of no Python": GOOD["uint8"][:10] + b"{'descr': ('(" + GOOD["uint8"][23:],
    "header of open brackets": GOOD["uint8"][:10] + b"(" * 60 + GOOD["uint8"][70:],
    "version 9": b"\x93NUMPY\x09\x00" + GOOD["uint8"][8:],
    "NaN": raw(lambda s: np.save(s, np.full((8, 8), np.nan))),
    "halves": raw(lambda s: np.save(s, np.full((8, 8), 0.5))),
    "one-hot": raw(lambda s: np.save(s, np.eye(12, dtype=np.uint8)[LABELS])),
    "19 classes": raw(lambda s: np.save(s, LABELS + 7)),
    "negative": raw(lambda s: np.save(s, LABELS.astype(int) - 1)),
    "no pixel": raw(lambda s: np.save(s, np.zeros((0, 0), np.uint8))),
    "complex": raw(lambda s: np.save(s, LABELS.astype(complex))),
    "text": raw(lambda s: np.save(s, np.array([["a"]]))),
    "dates": raw(lambda s: np.save(s, np.zeros((2, 2), "datetime64[s]"))),
    "one number": raw(lambda s: np.save(s, np.uint8(3))),
}


@pytest.mark.parametrize("kind", GOOD)
def test_class_maps_of_every_kind_are_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.npy").write_bytes(GOOD[kind])
    labels = load_labels(tmp_path / "a.npy")
    assert labels.dtype == np.uint8 and labels.flags.writeable
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_class_map_is_one_named_failure(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.npy").write_bytes(BAD[kind])
    with pytest.raises(BadFace, match=r"a\.npy .*generate_reference|a\.npy holds"):
        load_labels(tmp_path / "a.npy")


def test_missing_arrays_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"a\.npy does not exist"):
        read_npy(tmp_path / "a.npy")
    with pytest.raises(BadFile, match="cannot be read|damaged"):
        read_npy(tmp_path)
    write_array(tmp_path / "a.npy", LABELS)
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), LABELS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 200_000, "is nested too deeply"),
        ('{"a": ' * 100_000, "is nested too deeply"),
        ("{", "is not a JSON file"),
        ("NaN nonsense", "is not a JSON file"),
        ("", "is not a JSON file"),
    ],
)
def test_json_that_cannot_be_used_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(BadFile, match=f"a.json {said}"):
        read_json(tmp_path / "a.json")


def test_json_and_yaml_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    with path.open("wb") as stream:
        stream.truncate(65 << 20)  # a hole: nothing is written
    with pytest.raises(BadFile, match=r"a\.txt is larger than 64 MiB"):
        read_json(path)
    with pytest.raises(BadFile, match=r"a\.txt is larger than 256 KiB"):
        read_yaml(path)


def alias_bomb(levels: int = 9, width: int = 9) -> str:
    lines = ["a0: &a0 [x]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]")
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (alias_bomb(), "more than 100,000 values once its aliases are expanded"),
        ("a: &a [*a]", "contains itself"),
        ("&a {b: *a}", "contains itself"),
        ("[" * 1500, "nested too deeply|no YAML file"),
        ("a: [", "is not a YAML file"),
        ("a: 2024-13-45", "is not a YAML file"),
        ("--- 1\n--- 2\n", "is not a YAML file"),
        ("a: !!python/object/apply:os.system [ls]", "is not a YAML file"),
        ("\x00", "is not a YAML file"),
    ],
)
def test_yaml_that_cannot_be_used_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(BadFile, match=said):
        read_yaml(tmp_path / "a.yaml")


def test_aliases_in_moderation_are_fine(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\nc: *a\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1}}
    (tmp_path / "a.yaml").write_text("")
    assert read_yaml(tmp_path / "a.yaml") is None


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="names are text on Windows")
def test_odd_names_go_through_a_table(
    tmp_path: Path,
    mini_options: list[str],
    processed_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = processed_folder(3)
    try:
        for path in data.glob("face_00*"):
            path.rename(path.with_name(path.name.replace("face_00", "m\udce9lange")))
    except (OSError, UnicodeError):
        pytest.skip("this disk takes names in UTF-8 only")
    monkeypatch.setattr(logging.getLogger("s3pot"), "propagate", False)
    masks = tmp_path / "masks"
    for face in find_faces(data):
        write_png(masks / f"{face.name}.png", np.eye(64, dtype=bool))
    rows = [
        {"name": "general", "adapter": "bundled"},
        {"name": "trained", "adapter": "trained"},
        {"name": "random", "points": "random", "point_count": 3},
        {"name": "threshold", "points": "threshold", "threshold": 0.2},
        {"name": "other", "reference": "other_reference"},
        {"name": "pixels", "method": "pixel", "threshold": 0.1},
        {"name": "masks", "method": "folder", "path": str(masks)},
    ]
    suite = {"datapath": str(data), "train": str(data), "rows": rows}
    (tmp_path / "suite.json").write_text(json.dumps(suite))
    folders = ["--suite", str(tmp_path / "suite.json"), "--output_dir", str(tmp_path / "table")]
    assert evaluate.main([*folders, *mini_options, "train.epochs=1"]) == 0
    assert {row["faces"] for row in read_csv(tmp_path / "table" / "table.csv")} == {"3"}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="names are text on Windows")
def test_odd_names_go_through_every_command(
    tmp_path: Path, mini_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [" lead m\udce9lange", "a\nb", "<b> #1 %23 'q'", "back\\slash x=1,2;[y]$(z)"]
    random = np.random.default_rng(0)
    try:
        for name in names:
            pixels = random.integers(0, 256, (48, 48, 3), dtype=np.uint8)
            write_png(tmp_path / "in" / f"{name}.png", pixels)
            write_png(tmp_path / "truth" / f"{name}.png", np.eye(48, dtype=bool))
    except (OSError, UnicodeError):
        pytest.skip("this disk takes names in UTF-8 only")
    monkeypatch.setattr(logging.getLogger("s3pot"), "propagate", False)

    def path(name: str) -> str:
        return str(tmp_path / name)

    data = ["--datapath", path("data"), *mini_options]
    photos = ["--input_dir", path("in"), "--output_dir", path("data"), "--truth_dir", path("truth")]
    assert generate_reference.main([*photos, *mini_options]) == 0
    for run in ("a", "b"):
        assert inference.main([*data, "--output_dir", path(run), "--save_vis"]) == 0
        assert evaluate.main([*data, "--results", path(run)]) == 0
    assert compare.main([path("a"), path("b"), "--output_dir", path("compare")]) == 0
    figures = ["--datapath", path("data"), "--output_dir", path("figures")]
    assert figure.main([path("a"), path("b"), *figures]) == 0
    short = [*data, "--epochs", "1"]
    assert train_per_image.main([*short, "--output_dir", path("per_image")]) == 0
    assert train_general.main([*short, "--output_dir", path("general")]) == 0
    assert segment.main([path("in"), "--output_dir", path("s"), "--save_vis", *mini_options]) == 0
    for run in ("a", "per_image", "s"):
        rows = read_summary(tmp_path / run).rows
        assert sorted(row["name"] for row in rows) == sorted(names)
        page = (tmp_path / run / "index.html").read_text(encoding="utf-8")
        assert "<b> #1" not in page and "&lt;b&gt; #1" in page
        links = [unquote_to_bytes(link) for link in re.findall(r'src="([^"]+)"', page)]
        pictures = [tmp_path / run / os.fsdecode(link) for link in links if b":" not in link[:5]]
        assert len(pictures) >= len(names) and all(picture.is_file() for picture in pictures)

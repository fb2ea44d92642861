"""Other files in a folder of photos, and the names of the faces.

Reported at sortphotos #100, photoprism #3083, aves #1045 (sidecars), at Hierarchical-Localization
#283, fastai #2270, datumaro #1255 (links) and at inselect #155, yolov5 #5248 (further faces).
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from PIL import Image

from s3pot.data.face_folder import find_faces
from s3pot.data.folders import ignores_case, walk
from s3pot.data.image import write_png
from s3pot.data.photo_search import find_given_photos, find_photos
from s3pot.data.photos import Photo, PhotoFolder, face_name
from s3pot.types import S3potError

needs_links = pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")


def photo(path: Path, seed: int = 0, size: tuple[int, int] = (20, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    form = {".jpg": "JPEG", ".jpeg": "JPEG"}.get(path.suffix.lower())
    Image.fromarray(pixels).save(path, form or path.suffix[1:] if path.suffix else "PNG")


def names(found: PhotoFolder) -> list[str]:
    return [entry.name for entry in found.photos if entry.problem is None]


def problems(found: PhotoFolder) -> dict[str, str]:
    return {entry.path.name: entry.problem for entry in found.photos if entry.problem is not None}


def find(folder: Path) -> PhotoFolder:
    return find_photos(folder / "in", folder / "out")


SIDECARS = {
    "IMG_1.AAE": b"<plist/>",
    "IMG_1.json": json.dumps({"shapes": []}).encode(),
    "IMG_1.xmp": b"<x:xmpmeta/>",
    "IMG_1.txt": b"0 0.5 0.5 0.1 0.1\n",
    "IMG_1.MOV": b"\0\0\0\x14ftypqt  " + bytes(40),
    "Thumbs.db": b"\xd0\xcf\x11\xe0" * 8,
    "labels.npy": b"\x93NUMPY",
    "notes.pdf": b"%PDF-1.4",
    "empty": b"",
}


def test_sidecars_claim_no_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    photo(tmp_path / "in" / "IMG_1.JPG")
    photo(tmp_path / "in" / "b.webp")
    for name, content in SIDECARS.items():
        (tmp_path / "in" / name).write_bytes(content)
    found = find(tmp_path)
    assert names(found) == ["IMG_1", "b"] and problems(found) == {}
    (message,) = [line for line in caplog.messages if "skipped" in line]
    assert "IMG_1.AAE" in message and message.endswith("and 5 more")


@pytest.mark.parametrize("name", ["x.CR2", "x.NEF", "x.dng", "x.HEIC"])
def test_of_raw_and_jpeg_the_readable_one_is_taken(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    photo(tmp_path / "in" / "x.jpg")
    (tmp_path / "in" / name).write_bytes(b"II*\0" + bytes(100))
    found = find(tmp_path)
    assert names(found) == ["x"] and problems(found) == {}
    assert found.photos[0].path.name == "x.jpg"
    assert f"{name}" in caplog.text


def test_backups_and_previews_are_no_photos_of_their_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    photo(tmp_path / "in" / "a.jpg")
    content = (tmp_path / "in" / "a.jpg").read_bytes()
    for name in ("a.jpg_original", "a.THM", "b.thm", "c.original", "nameless"):
        (tmp_path / "in" / name).write_bytes(content)
    found = find(tmp_path)
    assert names(found) == ["a", "c", "nameless"] and problems(found) == {}
    assert "a.jpg_original" in caplog.text and "b.thm" in caplog.text


def test_a_damaged_image_claims_no_name(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png", 1)
    photo(tmp_path / "in" / "a.jpg", 1)
    content = (tmp_path / "in" / "a.jpg").read_bytes()
    (tmp_path / "in" / "a.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "in" / "b.png").write_text("no image")
    found = find(tmp_path)
    assert [entry.path.name for entry in found.photos] == ["a.jpg", "a.png", "b.png"]
    assert "a.jpg is not a readable image" in problems(found)["a.jpg"]
    assert names(found) == ["a", "b"]  # a single file is read when it is processed


def test_two_images_of_one_name_stay_an_error(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "a.b.png", "sub/a.png"):
        photo(tmp_path / "in" / name)
    found = find(tmp_path)
    assert names(found) == ["a.b", "a", "sub/a"]
    assert "a.jpg, which has the same name but for its extension" in problems(found)["a.png"]
    (second,) = [entry for entry in found.photos if entry.problem is not None]
    assert second.name == "a.png"  # its failure must not pass for that of a.jpg
    with pytest.raises(S3potError, match="would overwrite"):
        found.check(second)


def test_every_photo_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Also those that cannot be processed: by its name, a later run recognizes a failure."""
    for name in ("a.jpg", "a.png", "b.bmp"):
        photo(tmp_path / "in" / "x" / name)
        photo(tmp_path / "in" / "y" / name)
    for name in ("b.png", "c.jpg", "c.png", "d.png"):
        (tmp_path / "in" / "x" / name).write_text("no image")
    (tmp_path / "in" / "x" / "a.webp").symlink_to("gone")
    (tmp_path / "in" / "x" / "e.png").symlink_to("gone")
    expected = ["a", "a.png", "a.webp", "b", "b.png", "c", "c.png", "d", "e"]
    assert [entry.name for entry in find(tmp_path).photos if entry.path.parent.name == "x"] == [
        f"x/{name}" for name in expected
    ]
    only_one = find_given_photos([str(tmp_path / "in" / "x")], tmp_path / "out")
    assert [entry.name for entry in only_one.photos] == expected
    several = find_given_photos(
        [str(path) for path in sorted((tmp_path / "in" / "x").iterdir())], tmp_path / "out"
    )
    assert [entry.name for entry in several.photos] == expected


def test_our_own_files_are_no_photos(tmp_path: Path) -> None:
    for name in (
        "a.png",
        "a_occlusion.png",
        "a_ref.png",
        "a_clean.png",
        "a_occlusion.jpg",
        "alone_occlusion.png",
        "a_face.png",
        "photo_occlusion.jpg",
    ):
        photo(tmp_path / "in" / name)
    assert names(find(tmp_path)) == ["a", "a_face", "photo_occlusion"]


@pytest.mark.parametrize("name", ["_clean.jpg", "_ref.jpg", "_occlusion.tiff", "_parsing_mask.jpg"])
def test_a_photo_called_like_a_mark_of_ours_alone_is_a_photo(tmp_path: Path, name: str) -> None:
    photo(tmp_path / "in" / name)
    photo(tmp_path / "in" / "a.png", 1)
    assert names(find(tmp_path)) == [Path(name).stem, "a"]
    hidden = tmp_path / "in" / f".{name}"
    photo(hidden)
    assert names(find_photos(hidden, tmp_path / "out")) == [hidden.stem]  # asked for


@pytest.mark.parametrize("name", ["a_occlusion.jpg", "alone_clean.png"])
def test_a_given_photo_that_is_called_like_a_file_of_ours_is_named(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    photo(tmp_path / "a.jpg")
    photo(tmp_path / name)
    given = [str(tmp_path / "a.jpg"), str(tmp_path / name)]
    assert names(find_given_photos(given, tmp_path / "out")) == ["a"]
    assert f"{tmp_path / name} is not taken for a photo" in caplog.text
    assert "Rename it if it is one." in caplog.text


@pytest.mark.parametrize("ending", ["_occlusion", "_clean", "_ref"])
def test_the_image_of_another_face_is_not_replaced(tmp_path: Path, ending: str) -> None:
    photo(tmp_path / "in" / "a.jpg")
    out = tmp_path / "out"
    out.mkdir()
    for name in ("a.png", "a_parsing_mask.npy", f"a{ending}.png"):
        (out / name).touch()
    find_photos(tmp_path / "in", out, truth_dir=tmp_path)  # its own files
    (out / f"a{ending}_parsing_mask.npy").touch()
    with pytest.raises(S3potError, match=f"a{ending}.png would be replaced by a file of a, but"):
        find_photos(tmp_path / "in", out, truth_dir=tmp_path)
    for path in out.glob(f"a{ending}*"):  # one of the cures that the message names
        path.unlink()
    find_photos(tmp_path / "in", out, truth_dir=tmp_path)


def test_one_photo_may_be_given(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpeg")
    assert names(find_photos(tmp_path / "a.jpeg", tmp_path / "out")) == ["a"]


def test_nothing_to_do_says_why(tmp_path: Path) -> None:
    with pytest.raises(S3potError, match="in does not exist"):
        find(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("x")
    with pytest.raises(S3potError, match="holds no photos"):
        find(tmp_path)
    with pytest.raises(S3potError, match="is the input folder"):
        find_photos(tmp_path / "in", tmp_path / "in")


def test_a_folder_that_may_not_be_entered_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "closed" / "b.png")
    iterdir = Path.iterdir

    def guarded(folder: Path) -> Iterator[Path]:
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied")
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", guarded)
    assert names(find(tmp_path)) == ["a"]
    assert "in/closed is left out: Permission denied" in caplog.text


@pytest.mark.parametrize("closed_to", ["listing", "stat"])
def test_a_folder_of_faces_that_may_not_be_entered_is_left_out(
    processed_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    closed_to: str,
) -> None:
    """Without the right to list a folder, or without the right to look at what it lists."""
    data = processed_folder(1)
    processed_folder(1, f"{data.name}/closed")
    iterdir, stat = Path.iterdir, Path.stat

    def listed(folder: Path) -> Iterator[Path]:
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied")
        return iterdir(folder)

    def looked_at(path: Path, *arguments: Any, **options: Any) -> os.stat_result:
        if path.parent.name == "closed":
            raise PermissionError(13, "Permission denied")
        return stat(path, *arguments, **options)

    if closed_to == "listing":
        monkeypatch.setattr(Path, "iterdir", listed)
    else:
        monkeypatch.setattr(Path, "stat", looked_at)
    assert [face.name for face in find_faces(data)] == ["face_00"]
    assert f"{data / 'closed'} is left out: Permission denied" in caplog.text


@needs_links
def test_linked_folders_are_followed(tmp_path: Path) -> None:
    photo(tmp_path / "far" / "person" / "x.png")
    photo(tmp_path / "in" / "local.png")
    photo(tmp_path / "in" / "real" / "y.png")
    (tmp_path / "in" / "person").symlink_to(tmp_path / "far" / "person")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in" / "real")
    (tmp_path / "in" / "real" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "up").symlink_to(tmp_path)
    (tmp_path / "in" / "self").symlink_to("self")
    photo(tmp_path / "out" / "old.png")
    (tmp_path / "in" / "results").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "z.png").symlink_to(tmp_path / "far" / "person" / "x.png")
    assert names(find(tmp_path)) == ["local", "person/x", "real/y", "z"]


@needs_links
def test_dead_links_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photo(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "dead.png").symlink_to("/nonexistent/y.png")
    (tmp_path / "in" / "folder").symlink_to("/nonexistent/folder")
    found = find(tmp_path)
    assert names(found) == ["a"]
    assert "a link to /nonexistent/y.png, which does not exist" in problems(found)["dead.png"]
    assert "broken links are skipped" in caplog.text and "in/folder" in caplog.text


@needs_links
def test_faces_are_found_behind_links(
    processed_folder: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    far = processed_folder(2, "far")
    data = tmp_path / "data"
    data.mkdir()
    (data / "linked").symlink_to(far)
    (data / "loop").symlink_to(data)
    (data / "dead").symlink_to("/nonexistent")
    assert [face.name for face in find_faces(data)] == ["linked/face_00", "linked/face_01"]
    assert "1 broken link below" in caplog.text


@needs_links
def test_a_folder_of_links_to_each_other_ends(tmp_path: Path) -> None:
    for index in range(12):
        folder = tmp_path / "in" / f"d{index}"
        folder.mkdir(parents=True)
        for other in range(12):
            (folder / f"to{other}").symlink_to(tmp_path / "in" / f"d{other}")
    photo(tmp_path / "in" / "d3" / "a.png")
    assert len(walk(tmp_path / "in").folders) == 13
    assert names(find(tmp_path)) == ["d3/a"]


def test_further_faces_never_take_the_name_of_another_photo(tmp_path: Path) -> None:
    for name in ("g.png", "g_face2.png", "h.png", "k_face3.jpg"):
        photo(tmp_path / "in" / name)
    found = find(tmp_path)
    by_name = {entry.name: entry for entry in found.photos}
    for name in by_name:
        found.check(by_name[name])
    with pytest.raises(S3potError, match=r"face 2 would be called g_face2 .*in/g_face2\.png"):
        found.check(by_name["g"], faces=2)
    found.check(by_name["h"], faces=5)
    found.check(by_name["g_face2"], faces=2)
    photo(tmp_path / "in" / "k.png")
    found = find(tmp_path)
    k = next(entry for entry in found.photos if entry.name == "k")
    found.check(k, faces=2)
    with pytest.raises(S3potError, match="face 3 would be called k_face3"):
        found.check(k, faces=3)
    assert [face_name("g", number) for number in (1, 2, 3)] == ["g", "g_face2", "g_face3"]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    # Reported at internetarchive #284, ownphotos #112.
    photo(tmp_path / "in" / "a.png")
    odd = os.fsencode(tmp_path / "in") + b"/m\xe9lange.png"
    try:
        with open(odd, "wb") as stream:  # noqa: PTH123
            Image.new("RGB", (5, 4)).save(stream, "PNG")
    except OSError:
        pytest.skip("this disk takes names in UTF-8 only")
    found = find(tmp_path)
    assert [os.fsencode(name) for name in names(found)] == [b"a", b"m\xe9lange"]
    write_png(tmp_path / "out" / f"{found.photos[1].name}_ref.png", np.zeros((2, 2, 3), np.uint8))
    assert (os.fsencode(tmp_path / "out") + b"/m\xe9lange_ref.png") in [
        os.fsencode(path) for path in (tmp_path / "out").iterdir()
    ]


@pytest.mark.parametrize("folder", ["@eaDir/a.jpg", "__MACOSX", "#recycle"])
def test_folders_of_the_system_hold_no_photos(tmp_path: Path, folder: str) -> None:
    photo(tmp_path / "in" / "a.jpg")
    photo(tmp_path / "in" / folder / "SYNOPHOTO_THUMB_M.jpg", seed=1)
    assert names(find(tmp_path)) == ["a"]


@pytest.mark.parametrize("pair", [("A.jpg", "a.jpg"), ("caf\u00e9.jpg", "cafe\u0301.jpg")])
def test_names_that_the_disk_of_the_results_takes_for_one(
    tmp_path: Path, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in pair:
        photo(tmp_path / "in" / name)
    found = find(tmp_path)
    if len(found.photos) == 1:
        pytest.skip("this disk takes the names of both photos for one")
    for entry in found.photos:
        found.check(entry)  # both can be done
    monkeypatch.setattr("s3pot.data.photos.ignores_case", lambda folder: True)
    found = find(tmp_path)
    first, second = found.photos
    found.check(first)
    with pytest.raises(S3potError, match="overwrite .* of the photo .*Rename one of the two"):
        found.check(second)


@needs_links
def test_whether_a_disk_ignores_case(tmp_path: Path) -> None:
    folder = tmp_path / "Results"
    folder.mkdir()
    is_one = (tmp_path / "rESULTS").exists()
    assert ignores_case(folder / "new" / "deeper") == is_one
    if not is_one:  # the same on a file system that does
        (tmp_path / "rESULTS").symlink_to(folder)
        assert ignores_case(folder)


def test_a_disk_is_not_judged_by_its_root_which_has_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not ignores_case(Path("/no_such_folder/results"))
    assert not ignores_case(Path("/"))
    monkeypatch.chdir(tmp_path)
    assert (
        ignores_case(Path("new/deeper")) == ignores_case(Path("../new")) == ignores_case(tmp_path)
    )


def test_rivals_are_the_photos_named_like_further_faces() -> None:
    names = ["a", "a_face", "a_face2", "a_face_b", "a_fac", "a/b", "b_face2", "aa_face2", "A_face2"]
    photos = [Photo(Path(f"{name}.png"), name) for name in names]
    photos.append(Photo(Path("a_face3.png"), "a_face3.png", problem="it cannot be read"))
    folder = PhotoFolder(tuple(photos), owners={})
    for photo in photos:
        expected = sorted(name for name in names if name.startswith(f"{photo.name}_face"))
        assert folder.rivals(photo) == expected
    assert folder.rivals(photos[0]) == ["a_face", "a_face2", "a_face_b"]


def test_rivals_of_many_photos_are_found_at_once() -> None:
    names = [f"{number:05d}{ending}" for number in range(10_000) for ending in ("", "_face2")]
    photos = [Photo(Path(f"{name}.png"), name) for name in names]
    folder = PhotoFolder(tuple(photos), owners={})
    start = time.process_time()
    assert sum(len(folder.rivals(photo)) for photo in photos) == 10_000
    assert time.process_time() - start < 2  # comparing every pair takes a minute


def test_a_pattern_matches_no_output_of_the_command(tmp_path: Path) -> None:
    trip = tmp_path / "trip"
    photo(trip / "a" / "1.png")
    photo(trip / "2.png", 1)
    out = trip / "out"
    photo(out / "a" / "1_overlay_photo.png", 2)
    photo(out / "faces" / "a" / "1.png", 3)
    for pattern, name in ((f"{trip}/**/*.png", "1"), (f"{trip}/*", "1"), (str(trip), "a/1")):
        assert names(find_given_photos([pattern], out)) == ["2", name]
    with pytest.raises(S3potError, match="No photo was found in .*/out/.*results are no photos"):
        find_given_photos([f"{out}/**/*.png"], out)
    assert names(find_given_photos([f"{out}/a/*.png"], tmp_path / "elsewhere")) != []


@pytest.mark.parametrize("mark", ["_parsing_mask.npy", "_align.json"])
def test_prepared_faces_are_no_photos(tmp_path: Path, mark: str) -> None:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "processed" / "b" / "a.png", 1)
    (tmp_path / "in" / "processed" / "b" / f"a{mark}").touch()
    assert names(find(tmp_path)) == ["a"]
    pattern = f"{tmp_path}/in/**/*.png"
    assert names(find_given_photos([pattern], tmp_path / "out")) == ["a"]
    face = tmp_path / "in" / "processed" / "b" / "a.png"
    assert names(find_given_photos([str(face)], tmp_path / "out")) == ["a"]  # asked for
    assert names(find_photos(face, tmp_path / "out")) == ["a"]
    with pytest.raises(S3potError, match="holds no photos.*Prepared faces and results are no phot"):
        find_photos(tmp_path / "in" / "processed", tmp_path / "out")


@pytest.mark.parametrize("mark", ["_parsing.npy", "_result.json"])
def test_results_are_no_photos(tmp_path: Path, mark: str) -> None:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "b_face.png", 1)  # somebody's photo: no result is beside it
    for seed, ending in enumerate(("face", "occlusion_photo", "overlay_photo", "overlay", "pair")):
        photo(tmp_path / "in" / "results" / f"a_{ending}.png", seed)
    (tmp_path / "in" / "results" / f"a{mark}").touch()
    assert names(find(tmp_path)) == ["a", "b_face"]

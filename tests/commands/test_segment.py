"""Photos to masks in one command, with tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest

import generate_reference
import inference
import s3pot.runs.generate_reference as reference_run
from s3pot import quality
from s3pot.commands import segment
from s3pot.data.face_folder import find_faces
from s3pot.data.image import read_rgb
from s3pot.data.output_guard import RESULT_ENDINGS
from s3pot.io import file_sha256
from s3pot.quality import Evidence, QualityLimits
from s3pot.report.vis import overlay
from s3pot.rg.align import FaceAligner
from s3pot.runs.segment import SegmentJob
from tests.builders import TwoFaces, write_photo

MASKS = ("occlusion.png", "face.png", "occlusion_photo.png", "face_photo.png")
FILES = (*MASKS, "parsing.npy", "overlay_photo.png", "result.json")
Run = Callable[..., int]


def summary_of(folder: Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads((folder / "summary.json").read_text())
    return content


@pytest.fixture
def run(tmp_path: Path, mini_options: list[str]) -> Run:
    def call(*arguments: str) -> int:
        return segment.main(["--output_dir", str(tmp_path / "out"), *arguments, *mini_options])

    return call


@pytest.mark.slow
def test_the_same_masks_as_by_two_commands(
    tmp_path: Path, run: Run, mini_options: list[str]
) -> None:
    photos, data, results = tmp_path / "in", tmp_path / "data", tmp_path / "results"
    pixels = {
        name: write_photo(photos / f"{name}.png", seed) for seed, name in enumerate(("a", "sub/b"))
    }
    folders = ["--input_dir", str(photos), "--output_dir", str(data)]
    assert generate_reference.main([*folders, *mini_options]) == 0
    folders = ["--datapath", str(data), "--output_dir", str(results), "--to_photo"]
    assert inference.main([*folders, *mini_options]) == 0
    assert run(str(photos)) == 0
    out = tmp_path / "out"
    for name in ("a", "sub/b"):
        assert all((out / f"{name}_{ending}").is_file() for ending in FILES)
        for ending in MASKS:
            ours = (out / f"{name}_{ending}").read_bytes()
            assert ours == (results / f"{name}_{ending}").read_bytes()
        mask = read_rgb(out / f"{name}_occlusion_photo.png")[..., 0] > 127
        drawn = read_rgb(out / f"{name}_overlay_photo.png")
        assert (drawn == overlay(pixels[name], mask)).all()
    assert [face.name for face in find_faces(out / "faces")] == ["a", "sub/b"]
    assert [row["name"] for row in summary_of(out)] == ["a", "sub/b"]
    assert not (out / "index.html").exists()


@pytest.mark.slow
def test_finished_photos_are_kept_and_failed_ones_named(tmp_path: Path, run: Run) -> None:
    write_photo(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    names = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert run(*names, "--save_vis") == 1
    out = tmp_path / "out"
    assert "a_overlay_photo.png" in (out / "index.html").read_text()
    (failure,) = [item for item in summary_of(out) if "failed" in item]
    assert (failure["name"], failure["failed"]["stage"]) == ("b", "read")
    stamp = (out / "a_face.png").stat().st_mtime_ns
    write_photo(tmp_path / "b.png", 1)
    assert run(*names, "--save_vis", "--retry_failed") == 0
    assert (out / "a_face.png").stat().st_mtime_ns == stamp
    assert [row["name"] for row in summary_of(out)] == ["a", "b"]
    (tmp_path / "b.png").write_text("damaged")
    assert run(*names) == 1
    assert run(*names, "--limit", "1") == 0
    assert ["failed" in item for item in summary_of(out)] == [False, True]
    assert run(names[0], "--retry_failed") == 0
    assert ["failed" in item for item in summary_of(out)] == [False, True]
    (out / "faces" / "a_ref.png").unlink()
    assert run(*names, "--save_vis") == 1
    assert (out / "a_face.png").stat().st_mtime_ns > stamp


@pytest.mark.slow
def test_all_faces_of_a_photo(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    aligner = FaceAligner(TwoFaces(), 64, "reflect", may_be_aligned=False)
    monkeypatch.setattr(reference_run, "build_aligner", lambda config: aligner)
    photo = write_photo(tmp_path / "group.png", size=(100, 140))
    assert run(str(tmp_path / "group.png")) == 0
    assert any("group.png: 2 faces; the largest is used" in text for text in caplog.messages)
    out = tmp_path / "out"
    assert [row["name"] for row in summary_of(out)] == ["group"]
    assert run(str(tmp_path / "group.png"), "--all_faces") == 0
    assert [row["name"] for row in summary_of(out)] == ["group", "group_face2"]
    masks = [
        read_rgb(out / f"{name}_occlusion_photo.png")[..., 0] > 127
        for name in ("group", "group_face2")
    ]
    assert masks[0].any() and (masks[1] & ~masks[0]).any()
    drawn = read_rgb(out / "group_face2_overlay_photo.png")
    assert (drawn == overlay(photo, masks[1])).all()
    drawn = read_rgb(out / "group_overlay_photo.png")  # marks the occlusions of both faces
    assert (drawn == overlay(photo, masks[0] | masks[1])).all()
    stamp = (out / "group_face2_face.png").stat().st_mtime_ns
    assert run(str(tmp_path / "group.png"), "--all_faces") == 0
    assert (out / "group_face2_face.png").stat().st_mtime_ns == stamp
    (out / "group_face2_face.png").unlink()
    assert run(str(tmp_path / "group.png"), "--all_faces", "--save_coco") == 0
    (image,) = json.loads((out / "occlusions_coco.json").read_text())["images"]
    assert (image["file_name"], image["height"], image["width"]) == ("group.png", 100, 140)
    assert (out / "group_face2_face.png").is_file()


@pytest.mark.slow
def test_patterns_and_several_inputs(tmp_path: Path, run: Run) -> None:
    for seed, name in enumerate(("x/a.png", "x/deep/b.png", "y/a.png")):
        write_photo(tmp_path / name, seed)
    inputs = [str(tmp_path / "x" / "**" / "*.png"), str(tmp_path / "y" / "a.png")]
    assert run(*inputs) == 0
    assert [row["name"] for row in summary_of(tmp_path / "out")] == ["x/a", "x/deep/b", "y/a"]


@pytest.mark.slow
def test_photos_of_several_places_have_short_names(tmp_path: Path, run: Run) -> None:
    for seed, name in enumerate(("deep/down/a.png", "other/b.png", "folder/sub/c.png")):
        write_photo(tmp_path / name, seed)
    inputs = [tmp_path / "deep" / "down" / "a.png", tmp_path / "other" / "b.png"]
    assert run(*map(str, inputs), str(tmp_path / "folder")) == 0
    assert [row["name"] for row in summary_of(tmp_path / "out")] == ["a", "b", "sub/c"]


def test_what_cannot_begin_is_one_line(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    assert run() == 2
    assert run(str(tmp_path / "none.png")) == 2
    assert run(str(tmp_path / "*.gif")) == 2
    (tmp_path / "text.txt").write_text("no photo")
    assert run(str(tmp_path / "text.txt")) == 2
    assert [message.split(";")[0] for message in caplog.messages if "error: " in message] == [
        "error: no photo was given",
        f"error: {tmp_path / 'none.png'} does not exist",
        f"error: {tmp_path / '*.gif'} matches no file",
        f"error: No photo was found in {tmp_path / 'text.txt'}",
    ]


@pytest.mark.slow
def test_doubtful_photos_fail_with_strict(tmp_path: Path, run: Run) -> None:
    write_photo(tmp_path / "wide.png", size=(40, 80))
    assert run(str(tmp_path / "wide.png")) == 0
    (row,) = summary_of(tmp_path / "out")
    assert row["quality"].startswith("doubtful: ")
    assert run(str(tmp_path / "wide.png"), "--strict") == 2


def test_a_photo_that_is_doubtful_to_sam_leaves_no_face_with_strict(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubts(evidence: Evidence, limits: QualityLimits) -> list[str]:
        return [] if evidence.similarity is None else ["no likeness"]

    monkeypatch.setattr(quality, "find_doubts", doubts)
    write_photo(tmp_path / "a.png")
    assert run(str(tmp_path / "a.png"), "--strict") == 2
    (failure,) = summary_of(tmp_path / "out")
    assert "no likeness" in failure["failed"]["reason"]
    assert not list((tmp_path / "out").rglob("a*"))


def test_records_name_the_photo_that_was_read(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, out = tmp_path / "a.png", tmp_path / "out"
    write_photo(photo)
    read_sha256 = file_sha256(photo)
    plain_compute = SegmentJob.compute

    def compute(job: SegmentJob, inputs: Any) -> Any:
        write_photo(photo, seed=1)
        return plain_compute(job, inputs)

    monkeypatch.setattr(SegmentJob, "compute", compute)
    assert run(str(photo)) == 0
    assert file_sha256(photo) != read_sha256
    for path in (out / "faces" / "a_align.json", out / "a_result.json"):
        record = json.loads(path.read_text())
        assert record["provenance"]["inputs"]["photo"] == read_sha256


@pytest.mark.slow
def test_a_photo_that_was_replaced_leaves_nothing(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, out = tmp_path / "a.png", tmp_path / "out"
    write_photo(photo, size=(100, 140))
    aligner = FaceAligner(TwoFaces(), 64, "reflect", may_be_aligned=False)
    with monkeypatch.context() as patch:
        patch.setattr(reference_run, "build_aligner", lambda config: aligner)
        assert run(str(photo), "--all_faces", "--save_vis", "--save_coco") == 0
    assert [row["name"] for row in summary_of(out)] == ["a", "a_face2"]
    write_photo(photo, 1)
    assert run(str(photo), "--all_faces") == 0  # one face now, and no pictures
    assert [row["name"] for row in summary_of(out)] == ["a"]
    assert not list(out.rglob("a_face2*"))
    assert not (out / "a_pair.png").exists()
    photo.write_bytes(b"no picture")
    assert run(str(photo)) == 2
    (failure,) = summary_of(out)
    assert failure["failed"]["stage"] == "read"


@pytest.mark.parametrize("given", ["folder", "file"])
def test_results_do_not_go_among_the_photos(
    tmp_path: Path, mini_options: list[str], given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    for name in ("a", "a_pair"):
        write_photo(photos / f"{name}.png")
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    source = photos / "a.png" if given == "file" else photos
    assert segment.main([str(source), "--output_dir", str(photos), *mini_options]) == 2
    assert "is the input folder" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in photos.iterdir()} == before


@pytest.mark.slow
def test_every_file_of_a_result_is_guarded(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of the same name that s3pot did not write is never replaced."""
    write_photo(tmp_path / "a.png")
    assert run(str(tmp_path / "a.png"), "--save_vis", "--save_coco") == 0
    out = tmp_path / "out"
    endings = {path.name[1:] for path in out.glob("a_*")}
    assert endings <= {*RESULT_ENDINGS, "_parsing.npy", "_result.json"}
    own = tmp_path / "other" / "a_pair.png"
    write_photo(own)
    before = own.read_bytes()
    assert run(str(tmp_path / "a.png"), "--output_dir", str(own.parent)) == 2
    assert "is not a result of s3pot" in capsys.readouterr().err
    assert own.read_bytes() == before

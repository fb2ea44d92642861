"""Reference generation through its script, on tiny models."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import generate_reference
import s3pot.build
import s3pot.runs.generate_reference as engine
from s3pot.data.image import read_rgb, write_png
from s3pot.geometry import Alignment
from s3pot.pipeline import ReferenceGenerator
from s3pot.rg.align import FaceAligner
from s3pot.types import AlignedFace, S3potError
from tests.builders import TwoFaces, read_csv, write_photo

SUFFIXES = (".png", "_ref.png", "_parsing_mask.npy", "_align.json")


@pytest.fixture
def run(tmp_path: Path, mini_options: list[str]) -> Callable[..., int]:
    def call(*arguments: str) -> int:
        folders = ["--input_dir", str(tmp_path / "in"), "--output_dir", str(tmp_path / "out")]
        overrides = [word for word in arguments if "=" in word]
        options = [word for word in arguments if "=" not in word]
        return generate_reference.main([*folders, *options, *mini_options, *overrides])

    return call


def files_of(folder: Path) -> set[str]:
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    return found - {"config.yaml", "summary.json", "summary.csv"}


def stamps(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in files_of(folder)}


def test_writes_the_folder_contract(tmp_path: Path, run: Callable[..., int]) -> None:
    pixels = write_photo(tmp_path / "in" / "a.png", size=(40, 56))
    write_photo(tmp_path / "in" / "sub" / "b.jpg.png", 1)
    assert run() == 0
    out = tmp_path / "out"
    assert files_of(out) == {f"{stem}{end}" for stem in ("a", "sub/b.jpg") for end in SUFFIXES}
    labels = np.load(out / "a_parsing_mask.npy")
    assert (read_rgb(out / "a.png") == pixels).all()
    assert read_rgb(out / "a_ref.png").shape == (40, 56, 3)
    assert (labels.shape, labels.dtype) == ((40, 56), np.uint8)
    assert labels.max() < 12
    record = json.loads((out / "a_align.json").read_text())
    assert Alignment.read(out / "a_align.json").is_whole
    assert set(record["provenance"]["models"]) == {"parser", "generator"}


@pytest.mark.slow
def test_photos_together_give_the_faces_of_each_alone(
    tmp_path: Path, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU takes several photos at once; without memory for them, each alone."""
    for index, size in enumerate(((48, 48), (48, 48), (40, 48), (48, 48))):
        write_photo(tmp_path / "in" / f"{index}.png", index, size)
    generate_together = ReferenceGenerator._generate_together
    counts = []

    def counted(
        self: ReferenceGenerator, images: Sequence[np.ndarray], names: Sequence[str]
    ) -> list[AlignedFace]:
        counts.append(len(images))
        return generate_together(self, images, names)

    def without_memory(
        self: ReferenceGenerator, images: Sequence[np.ndarray], names: Sequence[str]
    ) -> list[AlignedFace]:
        if len(images) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return counted(self, images, names)

    monkeypatch.setattr(ReferenceGenerator, "_generate_together", counted)
    assert run() == 0
    assert counts == [1, 1, 1, 1]
    files = [tmp_path / "out" / f"{index}{end}" for index in range(4) for end in SUFFIXES[:3]]
    alone = {path: path.read_bytes() for path in files}
    references = {path: read_rgb(path).astype(int) for path in files if "_ref" in path.name}
    monkeypatch.setattr(s3pot.build, "references_at_once", lambda config, device: 3)
    counts.clear()
    assert run("--overwrite") == 0
    assert counts == [2, 1, 1]  # the third has another size, the fourth is in the next batch
    for path in files:
        if path in references:
            assert np.abs(read_rgb(path) - references[path]).max() <= 1
        else:
            assert path.read_bytes() == alone[path]
    monkeypatch.setattr(ReferenceGenerator, "_generate_together", without_memory)
    counts.clear()
    assert run("--overwrite") == 0
    assert counts == [1, 1, 1, 1]
    assert {path: path.read_bytes() for path in files} == alone


@pytest.mark.slow
def test_a_photo_that_fails_does_not_repeat_the_others_of_its_batch(
    tmp_path: Path, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(4):
        write_photo(tmp_path / "in" / f"{index}.png", index, (48, 48))
    align = FaceAligner.align
    generate_together = ReferenceGenerator._generate_together
    aligned, counts = [], []

    def without_the_second(self: FaceAligner, *args: Any, name: str, **kwargs: Any) -> Any:
        aligned.append(Path(name).name)
        if name.endswith("1.png"):
            raise S3potError("there is no face")
        return align(self, *args, name=name, **kwargs)

    def counted(
        self: ReferenceGenerator, images: Sequence[np.ndarray], names: Sequence[str]
    ) -> list[AlignedFace]:
        counts.append(len(images))
        return generate_together(self, images, names)

    monkeypatch.setattr(s3pot.build, "references_at_once", lambda config, device: 4)
    monkeypatch.setattr(FaceAligner, "align", without_the_second)
    monkeypatch.setattr(ReferenceGenerator, "_generate_together", counted)
    assert run() == 1
    assert sorted(aligned) == [f"{index}.png" for index in range(4)]
    assert counts == [3]
    assert {path.name[0] for path in (tmp_path / "out").glob("*_ref.png")} == {"0", "2", "3"}


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["stored", "random"])
def test_same_bytes_on_one_core_and_on_two(
    tmp_path: Path, run: Callable[..., int], two_threads: None, noise: str
) -> None:
    for index in range(5):
        write_photo(tmp_path / "in" / f"{index}.png", index)
    written = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        assert run("--overwrite", f"reference.noise={noise}") == 0
        out = tmp_path / "out"
        written.append({name: (out / name).read_bytes() for name in files_of(out)})
    assert written[0] == written[1]
    assert len(written[0]) == 5 * len(SUFFIXES)


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["stored", "random"])
def test_same_bytes_again_whatever_else_is_done(
    tmp_path: Path, run: Callable[..., int], noise: str
) -> None:
    for index, name in enumerate("ab"):
        write_photo(tmp_path / "in" / f"{name}.png", index)
    out, noise = tmp_path / "out", f"reference.noise={noise}"
    assert run(noise) == 0
    first = {name: (out / name).read_bytes() for name in files_of(out)}
    (out / "b_align.json").unlink()
    assert run(noise) == 0
    assert run("--overwrite", noise) == 0
    assert first == {name: (out / name).read_bytes() for name in files_of(out)}


@pytest.mark.slow
def test_finished_photos_are_skipped_until_something_differs(
    tmp_path: Path, run: Callable[..., int]
) -> None:
    write_photo(tmp_path / "in" / "a.png")
    write_photo(tmp_path / "in" / "b.png", 1)
    assert run() == 0
    out = tmp_path / "out"
    before = stamps(out)
    assert run() == 0
    assert stamps(out) == before
    (out / "a_ref.png").write_bytes((out / "a_ref.png").read_bytes()[:50])  # truncated
    assert run() == 0
    changed = {name for name, stamp in stamps(out).items() if stamp != before[name]}
    assert changed == {f"a{end}" for end in SUFFIXES}
    before = stamps(out)
    assert run("reference.seed=7") == 0
    assert all(stamp != before[name] for name, stamp in stamps(out).items())
    before = stamps(out)
    write_photo(tmp_path / "in" / "b.png", 2)
    assert run("reference.seed=7") == 0
    changed = {name for name, stamp in stamps(out).items() if stamp != before[name]}
    assert changed == {f"b{end}" for end in SUFFIXES}


@pytest.mark.slow
def test_interrupted_photo_is_done_again(
    tmp_path: Path, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for index, name in enumerate("abc"):
        write_photo(tmp_path / "in" / f"{name}.png", index)
    generate, calls = ReferenceGenerator.generate_batch, []

    def interrupt(
        self: ReferenceGenerator, images: Sequence[np.ndarray], names: Sequence[str]
    ) -> list[AlignedFace]:
        calls.extend(names)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return generate(self, images, names)

    monkeypatch.setattr(ReferenceGenerator, "generate_batch", interrupt)
    assert run() == 130
    out = tmp_path / "out"
    assert (out / "a_align.json").exists()
    assert not (out / "b_align.json").exists()
    monkeypatch.setattr(ReferenceGenerator, "generate_batch", generate)
    before = stamps(out)
    assert run() == 0
    assert files_of(out) == {f"{stem}{end}" for stem in "abc" for end in SUFFIXES}
    assert all(stamps(out)[f"a{end}"] == before[f"a{end}"] for end in SUFFIXES)


@pytest.mark.slow
def test_bad_photos_are_named_and_the_rest_is_done(
    tmp_path: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "in"
    write_photo(folder / "good.png")
    (folder / "text.png").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:3000])
    (folder / ".hidden").write_text("skipped")
    assert run() == 1
    out = tmp_path / "out"
    assert files_of(out) == {f"good{end}" for end in SUFFIXES} | {"failures.csv"}
    failures = [(row["name"], row["stage"]) for row in read_csv(out / "failures.csv")]
    assert failures == [("cut", "read"), ("text", "read")]
    for name in ("text.png", "cut.png"):
        assert any(name in message and "failed" in message for message in caplog.messages)
    assert not any(".hidden" in message for message in caplog.messages)
    summary = json.loads((out / "summary.json").read_text())
    assert [item["name"] for item in summary if "failed" in item] == ["cut", "text"]
    (good,) = [item for item in summary if "failed" not in item]
    assert (good["name"], good["photo"]) == ("good", "good.png")
    record = json.loads((out / "good_align.json").read_text())
    assert good["quality"] == record["quality"] != ""
    assert record["models"]["set"] == "mini"
    assert record["models"].keys() == {"set", *record["provenance"]["models"]}
    assert record["models"]["parser"] == "parser.safetensors"


def test_failed_photos_are_tried_again(tmp_path: Path, run: Callable[..., int]) -> None:
    write_photo(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "late.png").write_text("not fetched yet")
    assert run() == 1
    write_photo(tmp_path / "in" / "late.png", 1)
    write_photo(tmp_path / "in" / "new.png", 2)
    before = stamps(tmp_path / "out")
    assert run("--retry_failed", "--overwrite") == 0
    after = stamps(tmp_path / "out")
    assert {name for name in after if name not in before} == {f"late{end}" for end in SUFFIXES}
    assert all(after[name] == before[name] for name in before if name.startswith("good"))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [item["name"] for item in summary] == ["good", "late"]


def test_a_photo_that_fails_after_it_succeeded_stays_a_failure(
    tmp_path: Path,
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its files of the earlier run are still there, and must not pass for a result."""

    def failures() -> list[str]:
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert [item["name"] for item in summary] == ["a", "b"]
        return [item["name"] for item in summary if "failed" in item]

    for name in ("a", "b"):
        write_photo(tmp_path / "in" / f"{name}.png")
    assert run() == 0
    (tmp_path / "in" / "b.png").write_text("damaged")
    assert run() == 1
    assert f"failed: {tmp_path / 'in' / 'b.png'} is not a readable image" in caplog.text
    assert run("--limit", "1") == 0
    assert failures() == ["b"]
    monkeypatch.chdir(tmp_path)  # the same folder in another spelling
    assert run("--input_dir", "in", "--retry_failed") == 1
    assert failures() == ["b"]
    summary = tmp_path / "out" / "summary.json"  # as an earlier version wrote it
    summary.write_text(summary.read_text().replace('"name": "b"', f'"name": "{tmp_path}/in/b.png"'))
    assert run("--limit", "1") == 0
    assert failures() == ["b"]
    write_photo(tmp_path / "in" / "b.png", 1)
    assert run("--retry_failed") == 0
    assert failures() == []


def test_doubtful_faces_are_recorded_and_with_strict_they_fail(
    tmp_path: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    write_photo(tmp_path / "in" / "wide.png", size=(40, 56))
    assert run() == 0
    record = json.loads((tmp_path / "out" / "wide_align.json").read_text())
    assert record["quality"].startswith("doubtful: ")
    assert "the photo is 56 x 40 and was not aligned" in record["quality"]
    assert "wide: the result is doubtful" in caplog.text
    assert run("--strict") == 2


def test_photos_that_would_overwrite_each_other(
    tmp_path: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    first = write_photo(tmp_path / "in" / "a.bmp.png", 0)
    Image.fromarray(first).save(tmp_path / "in" / "a.bmp.tif")
    write_photo(tmp_path / "in" / "a.bmp_ref.png", 2)
    assert run() == 1
    found = files_of(tmp_path / "out")
    assert found == {f"a.bmp{end}" for end in SUFFIXES} | {"failures.csv"}
    assert sum("would overwrite" in message for message in caplog.messages) == 1
    assert not any("a.bmp_ref" in path.name for path in (tmp_path / "out").glob("*_ref_*"))


@pytest.mark.slow
def test_any_kind_of_picture(tmp_path: Path, run: Callable[..., int]) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "in"
    write_photo(folder / "one_pixel.png", size=(1, 1))
    write_photo(folder / "narrow.png", size=(3, 200))
    Image.fromarray(rng.integers(0, 65535, (20, 30), dtype=np.uint16)).save(folder / "deep.png")
    Image.fromarray(rng.integers(0, 255, (20, 30, 4), dtype=np.uint8)).save(folder / "alpha.png")
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).convert("CMYK").save(folder / "cmyk.jpg")
    assert run() == 0
    sizes = {"one_pixel": (1, 1), "narrow": (3, 200), "deep": (20, 30), "cmyk": (9, 9)}
    for name, size in sizes.items():
        assert np.load(tmp_path / "out" / f"{name}_parsing_mask.npy").shape == size
        assert read_rgb(tmp_path / "out" / f"{name}_ref.png").shape == (*size, 3)


def test_truth_is_carried_along(
    tmp_path: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    pixels = write_photo(tmp_path / "in" / "val" / "a.png")
    write_photo(tmp_path / "in" / "b.png", 1)
    truth = np.zeros((48, 48), bool)
    truth[10:20, 5:9] = True
    write_png(tmp_path / "truth" / "val" / "a_occlusion.png", truth)
    write_png(tmp_path / "truth" / "val" / "a_clean.png", pixels // 2)
    assert run("--truth_dir", str(tmp_path / "truth")) == 0
    out = tmp_path / "out" / "val"
    assert (read_rgb(out / "a_occlusion.png")[..., 0] == truth * 255).all()
    assert (read_rgb(out / "a_clean.png") == pixels // 2).all()
    assert any("b: no ground truth in" in message for message in caplog.messages)
    write_png(tmp_path / "truth" / "val" / "a_clean.png", pixels[:9])
    assert run("--truth_dir", str(tmp_path / "truth")) == 1
    assert "a_clean.png has height and width 9 and 48, but the photo has 48 and 48" in caplog.text
    (tmp_path / "truth" / "val" / "a_clean.png").unlink()
    write_png(tmp_path / "truth" / "val" / "a_occlusion.png", truth[:9])
    assert run("--truth_dir", str(tmp_path / "truth")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("may_be_aligned", [True, False])
def test_alignment_and_all_faces(
    tmp_path: Path, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, may_be_aligned: bool
) -> None:
    aligner = FaceAligner(TwoFaces(), 64, "reflect", may_be_aligned)
    monkeypatch.setattr(engine, "build_aligner", lambda config: aligner)
    write_photo(tmp_path / "in" / "a.png", size=(100, 140))
    truth = np.zeros((100, 140), bool)
    truth[35:45, 25:35] = True
    write_png(tmp_path / "truth" / "a_occlusion.png", truth)
    aligned = ("--all_faces", "--truth_dir", str(tmp_path / "truth"))
    assert run(*aligned) == 0
    out = tmp_path / "out"
    ends = (*SUFFIXES, "_occlusion.png")
    assert files_of(out) == {f"{stem}{end}" for stem in ("a", "a_face2") for end in ends}
    assert read_rgb(out / "a.png").shape == (64, 64, 3)
    record = json.loads((out / "a_align.json").read_text())
    assert record["score"] == 0.9 and "a_face2_align.json" in record["files"]
    assert 0 < (read_rgb(out / "a_occlusion.png")[..., 0] > 0).mean() < 0.2
    before = stamps(out)
    assert run(*aligned) == 0
    assert stamps(out) == before
    (out / "a_face2_ref.png").unlink()
    assert run(*aligned) == 0
    assert (out / "a_face2_ref.png").exists()


def test_nothing_to_do_is_an_error(
    tmp_path: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    assert run() == 2
    (tmp_path / "in").mkdir()
    assert run() == 2
    write_photo(tmp_path / "in" / "a.png")
    assert run("--truth_dir", str(tmp_path / "none")) == 2
    assert run("--output_dir", str(tmp_path / "in")) == 2
    assert run("align.mode=sometimes") == 2
    assert len([m for m in caplog.messages if m.startswith("error: ")]) == 5


def test_output_inside_the_input_is_left_out(tmp_path: Path, run: Callable[..., int]) -> None:
    write_photo(tmp_path / "in" / "a.png")
    out = str(tmp_path / "in" / "processed")
    assert run("--output_dir", out) == 0
    assert run("--output_dir", out) == 0
    assert len(files_of(Path(out))) == len(SUFFIXES)


def test_missing_detector_says_what_to_do(
    tmp_path: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    write_photo(tmp_path / "in" / "a.png")
    assert run("align.mode=auto") == 2
    assert "mini detector: the file" in caplog.text


def test_a_truth_that_is_gone_or_of_another_kind_does_not_stay(
    tmp_path: Path, run: Callable[..., int]
) -> None:
    """Otherwise it would be scored: it is that of an earlier picture, or has the wrong polarity."""
    out, truth = tmp_path / "out", tmp_path / "truth"
    for name in ("a", "b"):
        write_photo(tmp_path / "in" / f"{name}.png")
        write_png(truth / f"{name}_occlusion.png", np.eye(48, dtype=bool))
    assert run("--truth_dir", str(truth)) == 0
    assert (out / "a_occlusion.png").is_file()
    (truth / "a_occlusion.png").rename(truth / "a_visible_face.png")
    (truth / "b_occlusion.png").unlink()
    assert run("--truth_dir", str(truth)) == 0
    truths = {path.name for path in out.iterdir()} - {
        f"{name}{ending}" for name in "ab" for ending in SUFFIXES
    }
    assert truths - {"config.yaml", "summary.json", "summary.csv"} == {"a_visible_face.png"}
    write_photo(tmp_path / "in" / "a.png", 1)
    assert run() == 0
    assert not (out / "a_visible_face.png").exists()


def test_a_truth_that_a_person_corrected_stays(tmp_path: Path, run: Callable[..., int]) -> None:
    write_photo(tmp_path / "in" / "a.png")
    write_png(tmp_path / "truth" / "a_occlusion.png", np.eye(48, dtype=bool))
    assert run("--truth_dir", str(tmp_path / "truth")) == 0
    corrected = tmp_path / "out" / "a_occlusion.png"
    write_png(corrected, np.eye(48, k=2, dtype=bool))
    before = corrected.read_bytes()
    assert run() == 0
    assert corrected.read_bytes() == before


def test_a_photo_added_later_with_the_name_of_a_finished_one_is_a_failure(
    tmp_path: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    write_photo(tmp_path / "in" / "p.webp")
    assert run() == 0
    write_photo(tmp_path / "in" / "p.png", 1)
    assert run() == 1
    assert "which has the same name but for its extension" in caplog.text
    assert len(read_csv(tmp_path / "out" / "summary.csv")) == 1


def test_faces_of_photos_that_were_renamed_are_named(
    tmp_path: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        write_photo(tmp_path / "in" / f"{name}.png")
    assert run("--limit", "1") == 0
    assert run() == 0
    assert "other inputs" not in caplog.text
    (tmp_path / "in" / "a.png").rename(tmp_path / "in" / "c.png")
    assert run() == 0
    assert "also holds 1 face made from other inputs: a." in caplog.text


def test_a_removed_photo_is_named_although_another_folder_has_its_file_name(
    tmp_path: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    for folder in ("a", "b"):
        write_photo(tmp_path / "in" / folder / "x.png")
    assert run() == 0
    photos = [row["photo"] for row in read_csv(tmp_path / "out" / "summary.csv")]
    assert photos == ["a/x.png", "b/x.png"]
    (tmp_path / "in" / "a" / "x.png").unlink()
    assert run() == 0
    assert "also holds 1 face made from other inputs: a/x." in caplog.text

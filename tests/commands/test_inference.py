"""Inference through its script, on tiny models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import inference
import s3pot.runs.segment_faces as engine
from s3pot import distributed
from s3pot.config import load_config
from s3pot.data.face_folder import find_faces
from s3pot.data.image import read_rgb, write_png
from s3pot.geometry import Alignment, as_quad, image_corners
from s3pot.io import write_json, write_npy
from s3pot.report.writer import ResultOptions
from s3pot.runs.inference import InferenceJob, InferenceOptions, build_inference_job
from s3pot.runs.prompt_store import PromptSource, PromptStore
from s3pot.runs.segment_faces import FaceInput, FaceOutput
from s3pot.types import Prompts
from s3pot.weights.registry import weight_files
from tests.builders import read_csv

MASKS = ("_occlusion.png", "_face.png", "_parsing.npy", "_result.json")
PICTURES = ("_pair.png", "_classes.png", "_points.png", "_attention.png", "_overlay.png")


@pytest.fixture
def data(processed_folder: Callable[..., Path]) -> Path:
    return processed_folder(3)


@pytest.fixture
def run(tmp_path: Path, data: Path, mini_options: list[str]) -> Callable[..., int]:
    def call(*arguments: str) -> int:
        folders = ["--datapath", str(data), "--output_dir", str(tmp_path / "out")]
        overrides = [word for word in arguments if "=" in word]
        options = [word for word in arguments if "=" not in word]
        return inference.main([*folders, *options, *mini_options, *overrides])

    return call


def files_of(folder: Path) -> set[str]:
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    return found - {"config.yaml"}


def contents(folder: Path) -> dict[str, bytes]:
    return {n: (folder / n).read_bytes() for n in files_of(folder) if n.endswith((".png", ".npy"))}


def expected(faces: Iterable[int], ends: Sequence[str]) -> set[str]:
    return {f"face_{index:02d}{end}" for index in faces for end in ends}


@pytest.mark.parametrize("save_vis", [False, True])
def test_only_what_is_written_is_kept_of_a_result(
    data: Path, mini_options: list[str], tmp_path: Path, save_vis: bool
) -> None:
    options = InferenceOptions(data, tmp_path / "out", results=ResultOptions(save_vis=save_vis))
    job = build_inference_job(load_config(None, mini_options), options)
    read = job.read(find_faces(data)[0])
    (computed,) = job.compute([read])
    assert computed.result.prediction is not None
    assert (computed.result.prediction.attention is not None) == save_vis
    cached = replace(read, source=computed.result.prompts)
    (again,) = job.compute([cached])
    assert again.result.prompts is cached.source  # not copied back from the device
    assert (again.result.masks.occlusion == computed.result.masks.occlusion).all()


@pytest.mark.slow
def test_same_bytes_on_one_core_and_on_two(
    tmp_path: Path, run: Callable[..., int], two_threads: None
) -> None:
    torch.set_num_threads(1)
    assert run("--save_vis") == 0
    alone = contents(tmp_path / "out")
    torch.set_num_threads(2)
    assert run("--save_vis", "--overwrite", "cache.mode=off") == 0
    assert contents(tmp_path / "out") == alone
    assert len(alone) == 3 * 12


def test_writes_masks_and_summary(tmp_path: Path, run: Callable[..., int]) -> None:
    assert run() == 0
    out = tmp_path / "out"
    assert files_of(out) == expected(range(3), MASKS) | {"summary.csv", "summary.json"}
    rows = read_csv(out / "summary.csv")
    assert [row["name"] for row in rows] == ["face_00", "face_01", "face_02"]
    plain = json.loads((out / "summary.json").read_text())
    for row, values in zip(rows, plain):
        occlusion = read_rgb(out / f"{row['name']}_occlusion.png")[..., 0] > 0
        visible = read_rgb(out / f"{row['name']}_face.png")[..., 0] > 0
        parsing = np.load(out / f"{row['name']}_parsing.npy")
        assert ((parsing == 12) == occlusion).all() and not (occlusion & visible).any()
        assert int(row["region_pixels"]) == (occlusion | visible).sum() > 0
        assert (row["occluded"] == "yes") == occlusion.any()
        assert int(row["positive_points"]) + int(row["negative_points"]) > 0
        assert len(row["sha256_sam"]) == len(row["sha256_adapter"]) == 64
        assert float(row["seconds_prompts"]) >= 0 and float(row["seconds_segment"]) > 0
        assert row["occlusion_iou"] == f"{values['occlusion_iou']:.6g}"


def test_pictures_and_page(tmp_path: Path, run: Callable[..., int]) -> None:
    assert run("--save_vis") == 0
    out = tmp_path / "out"
    assert expected(range(3), PICTURES) | {"index.html"} <= files_of(out)
    assert "face_02_attention.png" in (out / "index.html").read_text()


@pytest.mark.slow
def test_no_file_of_another_result_stays(
    tmp_path: Path, data: Path, run: Callable[..., int], mini_dir: Path
) -> None:
    out = tmp_path / "out"
    assert run("--save_vis", "--save_logits") == 0
    everything, page = contents(out), (out / "index.html").read_text()
    assert run() == 0  # nothing is lost by asking for less
    assert contents(out) == everything
    assert (out / "index.html").read_text() == page
    pixels = read_rgb(data / "face_01.png")
    write_png(data / "face_01.png", 255 - pixels)
    assert run() == 0
    assert files_of(out) == {
        *expected((0, 2), (*MASKS, *PICTURES, "_raw.png", "_reference.png", "_truth.png")),
        *expected((0, 2), ("_error.png", "_logits.npy")),
        *expected([1], MASKS),
        *("summary.csv", "summary.json", "index.html"),
    }
    page = (out / "index.html").read_text()
    assert "face_00_overlay.png" in page and "face_01_overlay.png" not in page
    rows = read_csv(out / "summary.csv")
    assert all(f"{float(row['occluded_share']):.1%}" in page for row in rows)


def test_a_coco_file_covers_the_faces_of_all_runs(
    tmp_path: Path, data: Path, run: Callable[..., int]
) -> None:
    photo = Alignment(as_quad(image_corners((64, 64)) + 10), (64, 64), (90, 80))
    write_json(data / "face_01_align.json", {**photo.to_dict(), "source": "party.jpg"})
    assert run("--save_coco", "--limit", "1") == 0
    assert run("--save_coco") == 0
    out = tmp_path / "out"
    coco = json.loads((out / "occlusions_coco.json").read_text())
    sizes = {image["file_name"]: (image["height"], image["width"]) for image in coco["images"]}
    assert sizes["party.jpg"] == (90, 80)
    assert list(sizes) == ["face_00.png", "party.jpg", "face_02.png"]
    occlusion = next(c["id"] for c in coco["categories"] if c["name"] == "occlusion")
    areas = {i["image_id"]: i["area"] for i in coco["annotations"] if i["category_id"] == occlusion}
    for image in coco["images"]:
        if image["file_name"].startswith("face"):
            name = image["file_name"].replace(".png", "_occlusion.png")
            assert areas.get(image["id"], 0) == (read_rgb(out / name)[..., 0] > 0).sum()
    before = (out / "occlusions_coco.json").read_bytes()
    assert run() == 0  # nothing is lost by asking for less
    assert (out / "occlusions_coco.json").read_bytes() == before


def test_a_face_that_fails_keeps_no_row_of_its_earlier_picture(
    tmp_path: Path, data: Path, run: Callable[..., int]
) -> None:
    assert run() == 0
    (data / "face_01.png").write_bytes(b"no picture")
    assert run() == 1
    rows = read_csv(tmp_path / "out" / "summary.csv")
    assert [row["name"] for row in rows] == ["face_00", "face_02"]


@pytest.mark.slow
def test_same_bytes_with_and_without_cache(
    tmp_path: Path, data: Path, run: Callable[..., int]
) -> None:
    assert run("--save_vis") == 0
    first = contents(tmp_path / "out")
    assert list((data / ".s3pot_cache").rglob("*.feat"))
    for mode in ("disk", "memory", "off"):
        other = str(tmp_path / mode)
        assert run("--save_vis", "--output_dir", other, f"cache.mode={mode}") == 0
        assert contents(tmp_path / mode) == first


@pytest.mark.slow
def test_finished_faces_are_kept_until_something_differs(
    tmp_path: Path, data: Path, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run() == 0
    done, write = [], engine.write_result
    monkeypatch.setattr(
        engine,
        "write_result",
        lambda out, result, *a, **k: (
            done.append(result.face.name),
            write(out, result, *a, **k),
        )[1],
    )
    rows = read_csv(tmp_path / "out" / "summary.csv")
    assert run() == 0
    assert done == [] and read_csv(tmp_path / "out" / "summary.csv") == rows
    (tmp_path / "out" / "face_01_face.png").unlink()
    assert run() == 0
    assert done == ["face_01"]
    write_npy(data / "face_02_parsing_mask.npy", np.full((64, 64), 6, np.uint8))
    assert run() == 0
    assert done == ["face_01", "face_02"]
    assert run("prompt.features=encoder") == 0
    assert len(done) == 5
    assert run("prompt.features=encoder", "--overwrite") == 0
    assert len(done) == 8


def test_interrupted_run_goes_on(
    tmp_path: Path, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = InferenceJob.compute

    def interrupt(self: InferenceJob, inputs: Sequence[FaceInput]) -> Sequence[FaceOutput]:
        if inputs[0].face.name == "face_01":
            raise KeyboardInterrupt
        return compute(self, inputs)

    monkeypatch.setattr(InferenceJob, "compute", interrupt)
    assert run() == 130
    out = tmp_path / "out"
    assert files_of(out) == expected([0], MASKS) | {"summary.csv", "summary.json"}
    assert [row["name"] for row in read_csv(out / "summary.csv")] == ["face_00"]
    stamp = (out / "face_00_occlusion.png").stat().st_mtime_ns
    monkeypatch.setattr(InferenceJob, "compute", compute)
    assert run() == 0
    assert len(read_csv(out / "summary.csv")) == 3
    assert (out / "face_00_occlusion.png").stat().st_mtime_ns == stamp


def test_bad_faces_are_named_and_the_rest_is_done(
    tmp_path: Path, data: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    (data / "face_00_ref.png").unlink()
    write_npy(data / "face_01_parsing_mask.npy", np.full((4, 4), 77, np.uint8))
    assert run() == 1
    assert [row["name"] for row in read_csv(tmp_path / "out" / "summary.csv")] == ["face_02"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [item["name"] for item in summary] == ["face_00", "face_01", "face_02"]
    assert [item.get("failed", {}).get("stage") for item in summary] == ["read", "read", None]
    assert "face_00_ref.png" in summary[0]["failed"]["reason"]
    for name in ("face_00", "face_01"):
        assert any(f"failed: {name}: " in message for message in caplog.messages)


@pytest.mark.slow
def test_failed_faces_are_tried_again(tmp_path: Path, data: Path, run: Callable[..., int]) -> None:
    reference = (data / "face_01_ref.png").read_bytes()
    (data / "face_01_ref.png").unlink()
    (data / "face_02_ref.png").unlink()
    assert run("--save_vis") == 1
    out = tmp_path / "out"
    stamp = (out / "face_00_occlusion.png").stat().st_mtime_ns
    (data / "face_01_ref.png").write_bytes(reference)
    assert run("--retry_failed", "--overwrite", "--save_vis") == 1
    assert (out / "face_00_occlusion.png").stat().st_mtime_ns == stamp
    assert [row["name"] for row in read_csv(out / "summary.csv")] == ["face_00", "face_01"]
    page = (out / "index.html").read_text()
    assert "face_00_overlay.png" in page and "face_01_overlay.png" in page
    (failure,) = [
        item for item in json.loads((out / "summary.json").read_text()) if "failed" in item
    ]
    assert failure["name"] == "face_02"


def test_a_summary_covers_the_faces_of_other_runs(
    tmp_path: Path, data: Path, run: Callable[..., int], processed_folder: Callable[..., Path]
) -> None:
    other = processed_folder(1, name="other")
    for path in other.glob("face_00*"):
        path.rename(path.with_name(path.name.replace("face_00", "guest")))
    assert run("--limit", "2") == 0
    out = tmp_path / "out"
    assert [row["name"] for row in read_csv(out / "summary.csv")] == ["face_00", "face_01"]
    assert run("--datapath", str(other), "--save_vis") == 0
    assert [row["name"] for row in read_csv(out / "summary.csv")] == ["face_00", "face_01", "guest"]
    assert "guest_overlay.png" in (out / "index.html").read_text()


@pytest.mark.slow
def test_faces_without_region_or_points(
    tmp_path: Path, data: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    write_npy(data / "face_00_parsing_mask.npy", np.zeros((64, 64), np.uint8))
    speck = np.zeros((64, 64), np.uint8)
    speck[0, 0] = 6  # inside the region, but not at a token's center
    write_npy(data / "face_01_parsing_mask.npy", speck)
    assert run("--save_vis") == 0
    rows = read_csv(tmp_path / "out" / "summary.csv")
    assert [row["occluded"] for row in rows[:2]] == ["no", "no"]
    assert [row["region_pixels"] for row in rows[:2]] == ["0", "1"]
    for name in ("face_00", "face_01"):
        assert not read_rgb(tmp_path / "out" / f"{name}_occlusion.png").any()
        assert any(m.startswith(f"{name}: no prompt point") for m in caplog.messages)
    assert np.load(tmp_path / "out" / "face_01_parsing.npy")[0, 0] == 6


@pytest.mark.slow
def test_only_negative_points_are_no_crash(
    tmp_path: Path, data: Path, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = PromptStore.compute

    def covered(self: PromptStore, sources: Sequence[PromptSource]) -> list[Prompts]:
        return [
            replace(prompts, point_labels=prompts.point_labels * 0)
            for prompts in compute(self, sources)
        ]

    monkeypatch.setattr(PromptStore, "compute", covered)
    assert run("--save_vis") == 0
    assert all(row["positive_points"] == "0" for row in read_csv(tmp_path / "out" / "summary.csv"))


def test_what_stops_everything_is_one_line(
    tmp_path: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    assert run("--datapath", str(tmp_path / "none")) == 2
    assert run("--checkpoint", str(tmp_path / "none.pth")) == 2
    assert run("--to_photo") == 2  # every face lacks its alignment
    errors = [m for m in caplog.messages if m.startswith("error: ")]
    assert len(errors) == 3


def test_official_models_need_weights_and_a_checkpoint(
    tmp_path: Path, data: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3POT_WEIGHTS_DIR", str(tmp_path))
    arguments = ["--datapath", str(data), "--output_dir", str(tmp_path / "out")]
    entry = weight_files()["sam_vit_h"]
    assert inference.main(arguments) == 2
    assert len(caplog.messages) == 1
    for part in (str(tmp_path), entry.file, "weights download sam_vit_h", "--config mini"):
        assert part in caplog.text
    caplog.clear()
    monkeypatch.setitem(weight_files(), "sam_vit_h", replace(entry, sha256=None, size=None))
    torch.save({}, tmp_path / entry.file)
    assert inference.main(arguments) == 2
    assert len(caplog.messages) == 1
    assert "--checkpoint" in caplog.text and "--config mini" in caplog.text
    assert not (tmp_path / "out").exists()


def test_an_unusable_truth_costs_the_score_not_the_mask(
    tmp_path: Path, data: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    (data / "face_01_occlusion.png").write_text("no picture")
    assert run() == 0
    rows = read_csv(tmp_path / "out" / "summary.csv")
    assert [row["occlusion_iou"] == "" for row in rows] == [False, True, False]
    assert any(m.startswith("face_01: no score") for m in caplog.messages)
    assert (tmp_path / "out" / "face_01_occlusion.png").is_file()


def test_a_doubtful_face_is_marked_and_with_strict_it_fails(
    tmp_path: Path, data: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    write_png(data / "face_01.png", np.zeros((64, 64, 3), np.uint8))
    assert run() == 0
    qualities = [row["quality"] for row in read_csv(tmp_path / "out" / "summary.csv")]
    assert "nothing is visible in the face region" in qualities[1]
    assert all("nothing is visible" not in quality for quality in (qualities[0], qualities[2]))
    assert "face_01: the result is doubtful: " in caplog.text
    # The test faces are plain ovals of skin without eyes, so none of them passes.
    assert run("--strict", "--overwrite") == 2
    assert "--strict" in caplog.text


def test_what_is_known_of_the_alignment_counts(
    tmp_path: Path, data: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    values = Alignment(as_quad(image_corners((64, 64))), (64, 64), (64, 64)).to_dict()
    records = {
        "face_00": {**values, "provenance": {"models": {"detector": "aa"}}},
        "face_01": {**values, "provenance": {"models": {}}},
        "face_02": ["no alignment"],
    }
    for name, record in records.items():
        write_json(data / f"{name}_align.json", record)
    assert run() == 0
    not_found = [
        "no face found in the photo" in row["quality"]
        for row in read_csv(tmp_path / "out" / "summary.csv")
    ]
    assert not_found == [True, False, False]
    assert "face_02: its alignment is not known" in caplog.text


@pytest.mark.slow
def test_processes_share_the_faces_and_a_last_call_sums_up(
    tmp_path: Path, data: Path, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run() == 0
    alone, shared = tmp_path / "out", tmp_path / "shared"
    assert run("--output_dir", str(shared), "--shard", "0/2") == 0
    assert files_of(shared) == expected((0, 2), MASKS)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    waits = []  # for the first process, which is not running here
    monkeypatch.setattr(distributed, "wait_for_other_processes", lambda: waits.append(1))
    assert run("--output_dir", str(shared)) == 0
    assert waits == [1]
    assert files_of(shared) == expected(range(3), MASKS)
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("WORLD_SIZE")
    stamps = {path: path.stat().st_mtime_ns for path in shared.glob("face_*")}
    assert run("--output_dir", str(shared)) == 0
    assert {path: path.stat().st_mtime_ns for path in shared.glob("face_*")} == stamps
    assert contents(shared) == contents(alone)
    assert [row["name"] for row in read_csv(shared / "summary.csv")] == [
        "face_00",
        "face_01",
        "face_02",
    ]
    assert run("--shard", "2/2") == 2

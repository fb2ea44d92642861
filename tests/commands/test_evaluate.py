"""Scoring a result folder, through the script."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import evaluate
import inference
from s3pot.data.image import read_rgb, write_png
from s3pot.labels import CLASSES
from tests.builders import read_csv


@pytest.fixture
def data(processed_folder: Callable[..., Path]) -> Path:
    return processed_folder(4)


@pytest.fixture
def results(tmp_path: Path, data: Path) -> Path:
    """Truth for faces 0 and 1, nothing for 2, everything for 3, whose truth is empty."""
    folder = tmp_path / "results"
    for index in range(4):
        name = f"face_{index:02d}_occlusion.png"
        truth = read_rgb(data / name)[..., 0] > 0
        write_png(folder / name, truth & (index < 2) | (index == 3))
    write_png(data / "face_03_occlusion.png", np.zeros((64, 64), bool))
    return folder


@pytest.fixture
def run(data: Path, results: Path) -> Callable[..., int]:
    def call(*arguments: str) -> int:
        return evaluate.main(["--datapath", str(data), "--results", str(results), *arguments])

    return call


@pytest.mark.figures
@pytest.mark.slow
def test_table(results: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    (row,) = read_csv(results / "table.csv")
    assert list(row)[:4] == ["name", "occlusion_iou", "occlusion_iou_low", "occlusion_iou_high"]
    assert float(row["occlusion_iou"]) == pytest.approx(2 / 3, abs=1e-4)
    assert (row["faces"], row["clean_faces"], row["clean_right"]) == ("3", "1", "0.0")
    assert row["mask_seconds"] == ""
    assert len(read_csv(results / "per_image.csv")) == 4
    assert capsys.readouterr().out == (results / "table.md").read_text()


@pytest.mark.slow
def test_a_limit_takes_the_first_faces(
    results: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    assert run("--limit", "2") == 0
    assert [row["face"] for row in read_csv(results / "per_image.csv")] == ["face_00", "face_01"]
    assert run("--limit", "-1") == 2
    assert "--limit is -1" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--overwrite"], "--overwrite computes the finished rows of a suite again"),
        (["--shard", "7/9"], "--shard divides a suite"),
        (["--shard", "0/1"], "--shard divides a suite"),
        (["--dry_run"], "--dry_run checks a suite"),
    ],
)
def test_options_of_a_suite_are_refused(
    results: Path,
    run: Callable[..., int],
    caplog: pytest.LogCaptureFixture,
    arguments: list[str],
    message: str,
) -> None:
    assert run(*arguments) == 2
    assert message in caplog.text
    assert not (results / "table.csv").exists()


def test_a_suite_refuses_the_kinds_of_drawn_faces(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert evaluate.main(["--suite", str(tmp_path / "s.yaml"), "--meta", "m.jsonl"]) == 2
    assert "--meta adds rows for kinds of occluders to the table of --results" in caplog.text


def test_several_processes_do_not_write_the_same_table(
    results: Path,
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run() == 2
    assert "the work of one process, but torchrun started 2" in caplog.text
    assert not (results / "table.csv").exists()


@pytest.mark.slow
def test_rows_per_occluder_kind(
    tmp_path: Path, data: Path, results: Path, run: Callable[..., int]
) -> None:
    kinds = {"face_00": ["hand"], "face_01": ["hand", "mask"], "face_02": ["mask"], "face_03": []}
    lines = [json.dumps({"stem": name, "kinds": values}) for name, values in kinds.items()]
    meta = tmp_path / "meta.jsonl"
    meta.write_text("\n".join(lines) + "\n")
    assert run("--meta", str(meta), "--output_dir", str(tmp_path / "table")) == 0
    rows = {row["name"]: row for row in read_csv(tmp_path / "table" / "table.csv")}
    assert list(rows) == ["all", "hand", "mask"]
    assert (rows["hand"]["occlusion_iou"], rows["hand"]["faces"]) == ("1.0", "2")
    assert (rows["mask"]["occlusion_iou"], rows["mask"]["faces"]) == ("0.5", "2")
    meta.write_text("{}")
    assert run("--meta", str(meta)) == 2


@pytest.mark.slow
def test_missing_and_odd_results_are_named(
    results: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    (results / "face_00_occlusion.png").unlink()
    write_png(results / "face_01_occlusion.png", np.zeros((4, 4), bool))
    assert run() == 1
    assert read_csv(results / "table.csv")[0]["faces"] == "1"
    for name in ("face_00", "face_01"):
        assert any(f"failed: {name}: " in message for message in caplog.messages)


def test_nothing_to_score_is_an_error(
    tmp_path: Path, data: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    for path in data.glob("*_occlusion.png"):
        path.unlink()
    assert run() == 2
    assert "--truth_dir" in caplog.text
    assert run("--results", str(tmp_path / "none")) == 2
    assert evaluate.main([]) == 2
    assert "--suite" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("min_share", ["0", "1"])
def test_a_bare_face_counts_alike_everywhere(
    tmp_path: Path, data: Path, mini_options: list[str], min_share: str
) -> None:
    for path in data.glob("*_occlusion.png"):
        write_png(path, np.zeros((64, 64), bool))
    out = tmp_path / "inferred"
    folders = ["--datapath", str(data), "--output_dir", str(out)]
    overrides = [*mini_options, f"mask.min_share={min_share}"]
    assert inference.main([*folders, "--save_vis", *overrides]) == 0
    assert evaluate.main(["--datapath", str(data), "--results", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    called = [row["occluded"] == "yes" for row in summary]
    assert [row["occlusion_iou"] for row in summary] == [float(not value) for value in called]
    (table,) = read_csv(out / "table.csv")
    assert float(table["false_alarms"]) == pytest.approx(np.mean(called))
    share = np.mean([row["occluded_share"] for row in summary])
    assert float(table["false_alarm_share"]) == pytest.approx(share, abs=1e-4)
    page = (out / "index.html").read_text()
    assert f"<dt>false alarms</dt><dd>{sum(called)}<small>of 4 unoccluded faces" in page
    assert any(called) == (min_share == "0")


@pytest.mark.slow
def test_the_gallery_agrees_with_the_table_when_truths_or_rules_change(
    tmp_path: Path, data: Path, mini_options: list[str]
) -> None:
    out = tmp_path / "inferred"

    def page_of(*overrides: str) -> str:
        """Score the masks, compare the page with the table, and return the page."""
        assert evaluate.main(["--datapath", str(data), "--results", str(out), *overrides]) == 0
        (table,) = read_csv(out / "table.csv")
        page = (out / "index.html").read_text()
        iou = float(table["occlusion_iou"])
        assert f"<dt>mean occlusion IoU</dt><dd>{iou:.3f}<small>95 % interval" in page
        assert f", {table['faces']} faces</small>" in page
        unoccluded = f"of {table['clean_faces']} unoccluded face"
        assert ("unoccluded face" in page) == (unoccluded in page) == (table["clean_faces"] != "0")
        return page

    truth = data / "face_00_occlusion.png"
    full_truth = truth.read_bytes()
    write_png(truth, np.zeros((64, 64), bool))
    parsing = np.load(data / "face_01_parsing_mask.npy")
    parsing[20:40, 20:44] = CLASSES.index("eye_glass")
    np.save(data / "face_01_true_parsing.npy", parsing)
    folders = ["--datapath", str(data), "--output_dir", str(out)]
    assert inference.main([*folders, "--save_vis", *mini_options]) == 0
    assert page_of().count("_truth.png") >= 4
    pages = page_of("truth.glasses=ignore")
    assert "in the pictures of 4 faces follows other settings" in pages
    assert "changed after the pictures" not in pages
    assert "face_01_error.png" in pages
    truth.write_bytes(full_truth)
    page = page_of()
    assert page.count("changed after the pictures were drawn") == 1
    assert "face_00_error.png" not in page and "face_01_error.png" in page
    assert "other settings" not in page
    (data / "face_02_occlusion.png").unlink()
    page = page_of()
    assert page.count("changed after the pictures were drawn") == 2
    assert "face_02_error.png" not in page


@pytest.mark.slow
def test_masks_of_other_files_and_of_several_runs_are_named(
    tmp_path: Path, data: Path, mini_options: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    folders = ["--datapath", str(data), "--output_dir", str(tmp_path / "masks")]
    scored = ["--datapath", str(data), "--results", str(tmp_path / "masks")]
    assert inference.main([*folders, *mini_options]) == 0
    caplog.clear()
    assert evaluate.main(scored) == 0
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    pixels = read_rgb(data / "face_01.png")
    write_png(data / "face_01.png", 255 - pixels)
    assert evaluate.main(scored) == 0
    assert "the files of 1 face in" in caplog.text and ": face_01; run the command" in caplog.text
    assert "different settings or weights" not in caplog.text
    assert inference.main([*folders, "--limit", "2", *mini_options, "mask.min_piece=0.01"]) == 0
    caplog.clear()
    assert evaluate.main(scored) == 0
    assert "come from 2 runs with different settings or weights" in caplog.text
    assert "have changed" not in caplog.text


@pytest.mark.slow
def test_faces_that_the_last_run_lacks_are_named(
    tmp_path: Path, data: Path, mini_options: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A face without reference, whose mask is that of an earlier run, and one without data."""
    folders = ["--datapath", str(data), "--output_dir", str(tmp_path / "masks")]
    scored = ["--datapath", str(data), "--results", str(tmp_path / "masks")]
    assert inference.main([*folders, *mini_options]) == 0
    (data / "face_01_ref.png").unlink()
    for path in data.glob("face_02*"):
        path.unlink()
    assert inference.main([*folders, *mini_options]) == 1
    caplog.clear()
    assert evaluate.main([*scored, "--limit", "2"]) == 0
    assert "the last run failed on 1 face in" in caplog.text
    assert "those of an earlier run: face_01" in caplog.text
    assert "1 result in" in caplog.text and "lacks them: face_02" in caplog.text

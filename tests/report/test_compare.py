"""Two result folders side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s3pot.commands import figure
from s3pot.commands.compare import main
from s3pot.data.image import write_png
from s3pot.io import write_json
from s3pot.report.compare import compare_runs, read_result_folder
from s3pot.statistics import paired_difference
from s3pot.types import S3potError
from tests.builders import read_csv

FACES = 8


def row(name: str, iou: float | None, share: float = 0.2, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "occluded": "yes" if share else "no",
        "occluded_share": share,
        "occlusion_iou": iou,
        **more,
    }


def write_run(folder: Path, rows: list[dict[str, Any]], columns: int) -> Path:
    """A result folder whose masks have the given numbers of occluded columns."""
    write_json(folder / "summary.json", rows)
    for entry in rows:
        mask = np.zeros((16, 16), bool)
        mask[:, :columns] = True
        write_png(folder / f"{entry['name']}_occlusion.png", mask)
        write_png(folder / f"{entry['name']}_overlay.png", np.zeros((16, 16, 3), np.uint8))
    (folder / "config.yaml").write_text(f"sam: {{batch: {columns}, normalize: true}}\n")
    return folder


@pytest.fixture
def first_ious() -> list[float]:
    return np.random.default_rng(0).uniform(0.4, 0.6, FACES).tolist()


@pytest.fixture
def second_ious(first_ious: list[float]) -> list[float]:
    return (np.array(first_ious) + np.random.default_rng(1).uniform(0, 0.2, FACES)).tolist()


@pytest.fixture
def runs(tmp_path: Path, first_ious: list[float], second_ious: list[float]) -> tuple[Path, Path]:
    first = [row(f"face {index}", iou, sha256_sam="aa") for index, iou in enumerate(first_ious)]
    second = [row(f"face {index}", iou, sha256_sam="bb") for index, iou in enumerate(second_ious)]
    first += [row("bare", 0.0, 0.1, true_share=0.0), row("only a", 1.0)]
    second += [row("bare", 1.0, 0.0, true_share=0.0), row("only b", 1.0)]
    return write_run(tmp_path / "a", first, 4), write_run(tmp_path / "b #2", second, 8)


def test_the_page_tells_what_differs(
    tmp_path: Path, runs: tuple[Path, Path], first_ious: list[float], second_ious: list[float]
) -> None:
    output = tmp_path / "out"
    assert main([str(runs[0]), str(runs[1]), "--output_dir", str(output)]) == 0
    text = (output / "index.html").read_text(encoding="utf-8")
    difference = paired_difference(second_ious, first_ious)
    assert difference is not None
    assert f"<dd>{difference.mean:+.3f}<small>" in text
    assert f"{difference.low:+.3f} to {difference.high:+.3f}" in text
    assert f"p = {difference.p_value:.2g} (sign flips), {FACES} faces" in text
    assert "<dt>different verdict</dt><dd>1</dd>" in text
    assert "Left out, because only one of the runs has them: only a, only b." in text
    assert "<td>sam.batch</td><td>4</td><td>8</td>" in text
    assert "<td>sha256_sam</td>" in text and "sam.normalize" not in text
    assert 'src="../b%20%232/face%200_overlay.png"' in text
    assert text.count("<article") == FACES + 1


def test_the_table_has_a_line_for_each_face(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    compare_runs(read_result_folder(runs[0]), read_result_folder(runs[1]), tmp_path / "out")
    rows = {line["name"]: line for line in read_csv(tmp_path / "out" / "compare.csv")}
    assert set(rows) == {"bare", *(f"face {index}" for index in range(FACES))}
    assert float(rows["bare"]["difference"]) == 1
    assert {line["agreement"] for line in rows.values()} == {"0.5"}
    assert (rows["bare"]["occluded_a"], rows["bare"]["occluded_b"]) == ("yes", "no")


def test_without_truth_and_pictures_there_is_still_a_comparison(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_json(tmp_path / name / "summary.json", [row("face", None)])
    assert main([str(tmp_path / "a"), str(tmp_path / "b"), "--output_dir", str(tmp_path)]) == 0
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "--save_vis" in text and "B minus A" not in text


def test_the_difference_of_one_face_has_no_interval(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", [row("face", 0.5)], 4)
    second = write_run(tmp_path / "b", [row("face", 0.75)], 4)
    facts = compare_runs(read_result_folder(first), read_result_folder(second), tmp_path / "out")
    (fact,) = [fact for fact in facts if fact.title == "IoU, B minus A"]
    assert (fact.value, fact.note) == ("+0.250", "p = 1 (sign flips), 1 face")


def test_faces_that_failed_in_a_run_are_left_out(
    tmp_path: Path, runs: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = runs[1] / "summary.json"
    rows = json.loads(path.read_text())
    rows[0] = {"name": rows[0]["name"], "failed": {"stage": "read", "reason": "it is cut off"}}
    path.write_text(json.dumps(rows))
    run = read_result_folder(runs[1])
    assert rows[0]["name"] not in run.rows and len(run.rows) == len(rows) - 1
    compare_runs(read_result_folder(runs[0]), run, tmp_path / "out")
    note = f"Left out, because they failed in the last run of B: {rows[0]['name']}."
    assert note in caplog.text
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert note in text
    assert "only one of the runs has them: only a, only b." in text


def test_what_cannot_be_compared_is_named(
    tmp_path: Path, runs: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert main([str(tmp_path / "none"), str(runs[1])]) == 2
    assert "none does not exist" in caplog.text
    (tmp_path / "file").touch()
    assert main([str(tmp_path / "file"), str(runs[1])]) == 2
    assert "file is a file; expected the folder" in caplog.text
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), str(runs[1])]) == 2
    assert "empty is not a result folder" in caplog.text
    other = write_run(tmp_path / "other", [row("someone else", None)], 1)
    with pytest.raises(S3potError, match="no face in common"):
        compare_runs(read_result_folder(runs[0]), read_result_folder(other), tmp_path)
    (other / "summary.json").write_text(json.dumps([{"name": "x"}]))
    with pytest.raises(S3potError, match="does not say how much of the face 'x' is occluded"):
        read_result_folder(other)
    (other / "summary.json").write_text("[]")
    with pytest.raises(S3potError, match="no rows"):
        read_result_folder(other)
    (runs[0] / "config.yaml").write_text("just words")
    with pytest.raises(S3potError, match="config"):
        read_result_folder(runs[0])


@pytest.mark.parametrize("spelling", ["a", "b #2/../a", "link"])
def test_a_run_that_is_given_twice_is_named(
    tmp_path: Path,
    runs: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    spelling: str,
) -> None:
    (tmp_path / "link").symlink_to(runs[0])
    monkeypatch.chdir(tmp_path)
    out = ["--output_dir", str(tmp_path / "out")]
    for command in (main, figure.main):
        caplog.clear()
        assert command([str(runs[0]), spelling, *out]) == 2
        assert f"{runs[0]} and {spelling} are the same result folder" in caplog.text
    assert figure.main(["b #2", str(runs[0]), spelling, *out]) == 2
    assert not (tmp_path / "out").exists()


def test_runs_scored_by_different_rules_are_compared_with_a_warning(
    tmp_path: Path, runs: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert main([str(runs[0]), str(runs[1]), "--output_dir", str(tmp_path / "out")]) == 0
    assert "scored with different values" not in caplog.text
    for run, glasses in zip(runs, ("keep", "ignore")):
        with (run / "config.yaml").open("a") as file:
            file.write(f"truth: {{glasses: {glasses}}}\n")
    assert main([str(runs[0]), str(runs[1]), "--output_dir", str(tmp_path / "out")]) == 0
    assert "scored with different values of truth.glasses, so" in caplog.text

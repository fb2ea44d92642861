"""The report counts the right faces, pairs equal ones, and refuses unusable inputs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from readme_commands import load_script

from s3pot.statistics import bootstrap_interval

# face → grade, kinds; the last one hides nothing
META = {
    "bench_0_000000": ("easy", ["hand"]),
    "bench_0_000001": ("hard", ["hand", "fan"]),
    "bench_0_000002": ("hard", ["fan"]),
    "bench_0_000003": ("easy", ["cloth"]),
    "bench_0_000004": ("easy", ["cloth"]),
    "bench_0_000005": ("medium", ["veil"]),
    "bench_0_000006": ("easy", []),
}
PLAIN = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
BETTER = [0.3, 0.1]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_script("tools/bench_report.py")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """``per_image.csv`` of two rows, one of them on two faces only, and ``meta.jsonl``."""
    scores = [("plain", f"set/{face}", iou, 5) for face, iou in zip(META, PLAIN)]
    scores += [("plain", "set/bench_0_000006", 0.0, 0)]
    scores += [("better", f"set/{face}", iou, 5) for face, iou in zip(META, BETTER)]
    with (tmp_path / "per_image.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "face", "iou", "true_positive", "false_negative"])
        writer.writerows([row, face, iou, hit, 0] for row, face, iou, hit in scores)
    entries = [
        {"stem": stem, "difficulty": grade, "kinds": kinds} for stem, (grade, kinds) in META.items()
    ]
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (tmp_path / "meta.jsonl").write_text(text, encoding="utf-8")
    return ["--scores", str(tmp_path / "per_image.csv"), "--meta", str(tmp_path / "meta.jsonl")]


def read(path: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {(line["group"], line["row"], line["minus"]): line for line in csv.DictReader(file)}


def test_means_counts_and_intervals(tool, files, tmp_path) -> None:
    assert tool.main(files) == 0
    found = read(tmp_path / "report.csv")
    wanted = {
        "all": PLAIN,  # without the face that hides nothing
        "easy": [0.1, 0.4, 0.5],
        "medium": [0.6],
        "hard": [0.2, 0.3],
        tool.COMMON: [0.1, 0.4, 0.5, 0.6],
        tool.HELD_OUT: [0.2, 0.3],
        "hand": [0.1, 0.2],
        "fan": [0.2, 0.3],
        "cloth": [0.4, 0.5],
        "veil": [0.6],
    }
    assert {group for group, _, _ in found} == set(wanted)
    for group, values in wanted.items():
        line = found[group, "plain", ""]
        assert int(line["faces"]) == len(values), group
        assert float(line["mean"]) == pytest.approx(np.mean(values), rel=1e-5), group
    interval = bootstrap_interval(PLAIN)
    line = found["all", "plain", ""]
    ends = (float(line["low"]), float(line["high"]))
    assert ends == pytest.approx((interval.low, interval.high), rel=1e-5)
    assert found["easy", "plain", ""]["low"] == ""  # three faces only
    assert found["medium", "better", ""]["mean"] == ""


def test_differences_are_paired(tool, files, tmp_path, capsys) -> None:
    assert tool.main([*files, "--pair", "better", "plain", "--pair", "plain", "better"]) == 0
    found = read(tmp_path / "report.csv")
    # Only the two faces that both rows have: (0.3 - 0.1) and (0.1 - 0.2).
    assert int(found["all", "better", "plain"]["faces"]) == 2
    assert float(found["all", "better", "plain"]["mean"]) == pytest.approx(0.05)
    assert float(found["all", "plain", "better"]["mean"]) == pytest.approx(-0.05)
    assert float(found["hard", "better", "plain"]["mean"]) == pytest.approx(-0.1)
    printed = capsys.readouterr().out
    assert "| better − plain | +0.050, n 2 | +0.200, n 1 | - | -0.100, n 1 |" in printed


def test_pairing_narrows_the_interval(tool) -> None:
    rng = np.random.default_rng(0)
    faces = [f"f{index}" for index in range(40)]
    base = dict(zip(faces, rng.random(40)))
    scores = {"base": base, "more": {face: value + 0.01 for face, value in base.items()}}
    alone = tool.estimate(scores, set(faces), "all", "more")
    paired = tool.estimate(scores, set(faces), "all", "more", "base")
    assert paired.low == pytest.approx(0.01) and paired.high == pytest.approx(0.01)
    assert alone.high - alone.low > 0.1


def test_printed_tables(tool, files, tmp_path, capsys) -> None:
    assert tool.main([*files, "--columns", "plain", "--output_dir", str(tmp_path / "new")]) == 0
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "new" / "report.md").read_text(encoding="utf-8")
    assert "| row | all (6) | easy (3) | medium (1) | hard (2) |" in printed
    assert "| better | 0.200, n 2 | 0.300, n 1 | - | 0.100, n 1 |" in printed
    assert "Left out: 1 faces" in printed and "Differences" not in printed
    kinds = printed.partition("| kind | plain |")[2].splitlines()[2:]
    names = [line.split("|")[1].strip() for line in kinds]
    commonest_first = ["cloth (2)", "fan* (2)", "hand (2)", "veil (1)"]
    assert names == ["common kinds only (4)", "a held-out kind (2)", *commonest_first]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pair", "better", "worst"], "no row 'worst'"),
        (["--columns", "worst"], "no row 'worst'"),
        (
            ["--scores", "nowhere.csv"],
            "nowhere.csv cannot be read (No such file or directory); give the per_image.csv",
        ),
        (
            ["--meta", "nowhere.jsonl"],
            "nowhere.jsonl cannot be read (No such file or directory); give the meta.jsonl",
        ),
    ],
)
def test_refuses(tool, files, tmp_path, caplog, options, message) -> None:
    assert tool.main([*files, *options]) == 2
    assert message in caplog.text
    assert not (tmp_path / "report.md").exists()


def test_refuses_foreign_faces_and_double_rows(tool, files, tmp_path, caplog) -> None:
    meta, scores = tmp_path / "meta.jsonl", tmp_path / "per_image.csv"
    lines = meta.read_text(encoding="utf-8").splitlines(keepends=True)
    meta.write_text("".join(lines[1:]), encoding="utf-8")
    assert tool.main(files) == 2
    assert "does not contain set/bench_0_000000" in caplog.text
    text = scores.read_text(encoding="utf-8")
    scores.write_text(text + text.splitlines()[1] + "\n", encoding="utf-8")
    assert tool.main(files) == 2
    assert "twice in row 'plain'" in caplog.text
    scores.write_text("row,face\nplain,a\n", encoding="utf-8")
    assert tool.main(files) == 2
    assert "is not the per_image.csv" in caplog.text

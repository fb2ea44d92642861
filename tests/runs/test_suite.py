"""Tables: every method against what it should be, through the script."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

import evaluate
from s3pot.data.image import read_rgb
from s3pot.runs.suite import METHODS, read_suite
from s3pot.types import S3potError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def data(processed_folder):
    return processed_folder(3)


@pytest.fixture
def run(tmp_path, data, mini_options):
    def call(rows, *overrides, **more):
        path = tmp_path / "suite.yaml"
        path.write_text(yaml.safe_dump({"datapath": str(data), "rows": rows, **more}))
        out = ["--suite", str(path), "--output_dir", str(tmp_path / "out")]
        return evaluate.main([*out, *mini_options, *overrides])

    return call


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_method(tmp_path, data, run, capsys):
    rows = [{"name": f"m_{method}", "method": method} for method in METHODS]
    rows += [
        {"name": "sharp", "method": "pixel", "threshold": 1.0},
        {"name": "oracle", "method": "pixel", "reference": "oracle", "threshold": 0.02},
        {"name": "bundled", "adapter": "bundled"},
        {"name": "two", "adapter": "bundled", "faces": 2},
        {"name": "without FE", "adapter": "bundled", "overrides": {"prompt.features": "encoder"}},
        {"name": "own", "adapter": "per_image", "faces": 2},
        {"name": "own from general", "adapter": "per_image", "init": "general", "faces": 2},
    ]
    assert run(rows, "per_image.epochs=2") == 0
    table = read(tmp_path / "out" / "table.csv")
    assert list(table[0])[:4] == [
        "name",
        "occlusion_iou",
        "occlusion_iou_low",
        "occlusion_iou_high",
    ]
    assert [row["name"] for row in table] == [row["name"] for row in rows]
    by_name = {row["name"]: row for row in table}
    assert by_name["m_parser"]["occlusion_iou"] == "0.0"
    assert by_name["m_region"]["recall"] == "1.0"
    share = [region_share(data, index) for index in range(3)]
    assert float(by_name["m_region"]["occlusion_iou"]) == pytest.approx(np.mean(share), abs=1e-4)
    # The reference of these faces is the clean face: any difference is the bar.
    assert by_name["oracle"]["occlusion_iou"] == by_name["m_pixel"]["occlusion_iou"] == "1.0"
    assert by_name["sharp"]["occlusion_iou"] == "0.0"
    assert (by_name["two"]["faces"], by_name["bundled"]["faces"]) == ("2", "3")
    for row in table:
        assert float(row["occlusion_iou_low"]) <= float(row["occlusion_iou"])
        assert float(row["occlusion_iou"]) <= float(row["occlusion_iou_high"])
        assert float(row["seconds_per_face"]) >= 0
    faces = read(tmp_path / "out" / "per_image.csv")
    two = [float(face["iou"]) for face in faces if face["row"] == "two"]
    assert float(by_name["two"]["occlusion_iou"]) == pytest.approx(np.mean(two), abs=1e-4)
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "out" / "table.md").read_text()
    assert printed.count("\n|") == 1 + len(rows) and "| without FE |" in printed


def region_share(data, index):
    region = np.load(data / f"face_{index:02d}_parsing_mask.npy") == 6
    truth = read_rgb(data / f"face_{index:02d}_occlusion.png")[..., 0] > 0
    return (truth & region).sum() / (truth | region).sum()


def test_bundled_row_equals_inference(tmp_path, data, run, mini_options):
    import inference

    results = tmp_path / "results"
    assert (
        inference.main(["--datapath", str(data), "--output_dir", str(results), *mini_options]) == 0
    )
    scores = ["--datapath", str(data), "--results", str(results)]
    assert evaluate.main([*scores, *mini_options]) == 0
    assert run([{"name": "bundled", "adapter": "bundled"}]) == 0
    ours, theirs = read(tmp_path / "out" / "table.csv")[0], read(results / "table.csv")[0]
    assert ours["config"] == theirs["config"] != ""
    assert ours["weights"] == theirs["weights"] and "adapter " in ours["weights"]
    drop = ("name", "seconds_per_face", "commit")  # which commit made the results is not known
    assert {k: v for k, v in ours.items() if k not in drop} == {
        k: v for k, v in theirs.items() if k not in drop
    }


def test_same_numbers_again(tmp_path, run):
    rows = [{"name": "own", "adapter": "per_image"}, {"name": "greedy", "method": "greedy"}]
    tables = []
    for _ in range(2):
        assert run(rows, "per_image.epochs=2", limit=2) == 0
        table = read(tmp_path / "out" / "table.csv")
        tables.append([{k: v for k, v in row.items() if "seconds" not in k} for row in table])
    assert tables[0] == tables[1] and tables[0][0]["faces"] == "2"


def test_bad_face_is_counted_and_named(tmp_path, data, run, caplog):
    (data / "face_01_clean.png").unlink()
    assert run([{"name": "o", "method": "pixel", "reference": "oracle"}]) == 1
    assert "face_01" in caplog.text and "_clean" in caplog.text or "clean.png" in caplog.text
    assert read(tmp_path / "out" / "table.csv")[0]["faces"] == "2"


def test_rows_are_compared_with_the_main_one(tmp_path, run):
    rows = [
        {"name": "none", "method": "parser"},
        {"name": "pixel", "method": "pixel", "threshold": 0.02},
        {"name": "true", "method": "pixel", "threshold": 0.02, "reference": "oracle", "faces": 2},
    ]
    assert run(rows, main="pixel") == 0
    none, pixel, true = read(tmp_path / "out" / "table.csv")
    expected = float(none["occlusion_iou"]) - float(pixel["occlusion_iou"])
    assert float(none["difference"]) == pytest.approx(expected, abs=1e-4)
    assert (none["difference_p"], none["difference_faces"]) == ("0.25", "3")  # 2 of 8 flips
    assert pixel["difference"] == "" and true["difference_faces"] == "2"
    tex = (tmp_path / "out" / "table.tex").read_text()
    assert tex.index("none &") < tex.index("pixel &") < tex.rindex("midrule") < tex.index("true &")
    assert len({row["config"] for row in (none, pixel, true)}) == 1


def test_main_must_be_a_row_and_names_differ(run, caplog):
    assert run([{"name": "x"}], main="y") == 2
    assert "main is 'y', which is no row" in caplog.text
    assert run([{"name": "x"}, {"name": "x"}]) == 2
    assert "two rows have the same name" in caplog.text


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"name": "x", "methd": "pixel"}, "methd"),
        ({"name": "x", "method": "magic"}, "magic"),
        ({"method": "pixel"}, "and name"),
        ({"name": "x", "threshold": "high"}, "threshold"),
        ({"name": "x", "reference": "true"}, "oracle"),
        ({"name": "x", "overrides": "text"}, "suite.yaml"),
        ("text", "text"),
    ],
)
def test_bad_rows_are_one_clear_error(run, caplog, row, words):
    assert run([row]) == 2
    assert words in caplog.text


def test_other_errors(tmp_path, data, run, caplog):
    assert run([{"name": "x", "overrides": {"prompt.feature": 1}}]) == 2
    assert "prompt.features" in caplog.text
    assert run([{"name": "x", "adapter": str(tmp_path / "none.pth")}]) == 2
    for path in data.glob("*_occlusion.png"):
        path.unlink()
    assert run([{"name": "x"}]) == 2
    assert "--truth_dir" in caplog.text
    assert run([]) == 2


def test_demo_table_has_the_required_rows():
    suite = read_suite(ROOT / "configs" / "tables" / "demo.yaml")
    names = [row.name for row in suite.rows]
    required = (
        "parser alone",
        "pixel-difference threshold",
        "token-contrast threshold",
        "single point",
        "greedy points rasterised",
        "no adapter",
        "general adapter",
        "general adapter (same 8 faces)",
        "per image adapter",
        "without FE",
    )
    assert len(set(names)) == len(names)
    for name in required:
        assert name in names and f"{name} (oracle)" in names
    for row in suite.rows:
        assert (row.reference == "oracle") == row.name.endswith(" (oracle)")
        assert ("prompt.features" in row.overrides) == row.name.startswith("without FE")
        assert (row.faces == 8) == ("8 faces" in row.name or row.name.startswith("per image"))


def test_unreadable_suite(tmp_path):
    with pytest.raises(S3potError, match="none.yaml"):
        read_suite(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("rows: [")
    with pytest.raises(S3potError, match="bad.yaml"):
        read_suite(tmp_path / "bad.yaml")

"""Tables: every method against its definition, through the script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import evaluate
from s3pot.data.image import read_rgb, write_png
from s3pot.pipeline import OcclusionSegmenter
from s3pot.runs.suite_file import FOLDER, METHODS
from s3pot.runs.suite_rows import FaceData, MethodRow
from s3pot.sam.frozen import FrozenSam
from s3pot.types import Prompts, SamInputs
from tests.builders import read_csv


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the faces whose prompts are selected, in order."""
    names = []
    select = OcclusionSegmenter.select_prompts

    def counted(self: OcclusionSegmenter, faces: Sequence[SamInputs]) -> list[Prompts]:
        names.extend(face.name for face in faces)
        return select(self, faces)

    monkeypatch.setattr(OcclusionSegmenter, "select_prompts", counted)
    return names


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Names of row and face, in the order in which they are predicted."""
    names = []
    predict = MethodRow.predict

    def counted(self: MethodRow, data: FaceData, prompts: Prompts | None) -> np.ndarray:
        names.append((self.row.name, data.face.name))
        return predict(self, data, prompts)

    monkeypatch.setattr(MethodRow, "predict", counted)
    return names


ROWS = [
    {"name": "none", "method": "parser"},
    {"name": "bundled", "adapter": "bundled"},
    {"name": "two", "adapter": "bundled", "faces": 2},
    {"name": "oracle", "method": "pixel", "reference": "oracle", "threshold": 0.02},
]


@pytest.mark.figures
@pytest.mark.slow
def test_every_method(
    tmp_path: Path, data: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"name": f"m_{method}", "method": method} for method in METHODS if method != FOLDER]
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
    table = read_csv(tmp_path / "out" / "table.csv")
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
        assert float(row["mask_seconds"]) >= 0
    faces = read_csv(tmp_path / "out" / "per_image.csv")
    two = [float(face["iou"]) for face in faces if face["row"] == "two"]
    assert float(by_name["two"]["occlusion_iou"]) == pytest.approx(np.mean(two), abs=1e-4)
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "out" / "table.md").read_text()
    assert printed.count("\n|") == 1 + len(rows) and "| without FE |" in printed


def region_share(data: Path, index: int) -> float:
    region = np.load(data / f"face_{index:02d}_parsing_mask.npy") == 6
    truth = read_rgb(data / f"face_{index:02d}_occlusion.png")[..., 0] > 0
    return (truth & region).sum() / (truth | region).sum()


@pytest.mark.slow
def test_bundled_row_equals_inference(
    tmp_path: Path, data: Path, run: Callable[..., int], mini_options: list[str]
) -> None:
    import inference

    results = tmp_path / "results"
    assert (
        inference.main(["--datapath", str(data), "--output_dir", str(results), *mini_options]) == 0
    )
    scores = ["--datapath", str(data), "--results", str(results)]
    assert evaluate.main([*scores, *mini_options]) == 0
    assert run([{"name": "bundled", "adapter": "bundled"}]) == 0
    ours, theirs = read_csv(tmp_path / "out" / "table.csv")[0], read_csv(results / "table.csv")[0]
    assert ours["config"] == theirs["config"] != ""
    assert ours["weights"] == theirs["weights"] and "adapter " in ours["weights"]
    drop = ("name", "mask_seconds")
    assert {k: v for k, v in ours.items() if k not in drop} == {
        k: v for k, v in theirs.items() if k not in drop
    }


@pytest.mark.slow
def test_same_numbers_again(tmp_path: Path, run: Callable[..., int]) -> None:
    rows = [{"name": "own", "adapter": "per_image"}, {"name": "greedy", "method": "greedy"}]
    tables = []
    for _ in range(2):
        assert run(rows, "per_image.epochs=2", "--overwrite", limit=2) == 0
        table = read_csv(tmp_path / "out" / "table.csv")
        tables.append([{k: v for k, v in row.items() if "seconds" not in k} for row in table])
    assert tables[0] == tables[1] and tables[0][0]["faces"] == "2"


@pytest.mark.slow
def test_same_numbers_on_one_core_and_on_two_each_face_encoded_once(
    tmp_path: Path, run: Callable[..., int], encoded: list[str], two_threads: None
) -> None:
    rows = [{"name": "own", "adapter": "per_image", "faces": 2}, *ROWS]
    tables = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        encoded.clear()
        assert run(rows, "per_image.epochs=2", "cache.mode=off", "--overwrite") == 0
        assert sorted(encoded) == sorted(2 * ["face_00", "face_01", "face_02"])  # one for oracles
        table = read_csv(tmp_path / "out" / "table.csv")
        tables.append([{k: v for k, v in row.items() if "seconds" not in k} for row in table])
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_a_finished_table_is_kept_and_a_longer_one_does_what_is_missing(
    tmp_path: Path, data: Path, run: Callable[..., int], predicted: list[tuple[str, str]]
) -> None:
    assert run(ROWS) == 0
    assert len(predicted) == 3 + 3 + 2 + 3
    before = (tmp_path / "out" / "table.csv").read_text()
    predicted.clear()
    assert run(ROWS) == 0
    assert predicted == []
    assert (tmp_path / "out" / "table.csv").read_text() == before
    more = [*ROWS, {"name": "region", "method": "region"}]
    more[2] = {**ROWS[2], "faces": 3}
    assert run(more) == 0
    assert sorted(predicted) == [
        *[("region", f"face_0{index}") for index in range(3)],
        ("two", "face_02"),
    ]
    predicted.clear()
    write_png(data / "face_01_occlusion.png", np.ones((64, 64), bool))
    assert run(more) == 0
    assert {face for _, face in predicted} == {"face_01"}
    assert len(predicted) == len(more)
    predicted.clear()
    assert run(more, "--overwrite") == 0
    assert len(predicted) == 3 * len(more)


@pytest.mark.slow
def test_an_interrupted_suite_goes_on_and_never_shrinks_its_table(
    tmp_path: Path,
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    predicted: list[tuple[str, str]],
) -> None:
    def names() -> list[str]:
        return [row["name"] for row in read_csv(tmp_path / "out" / "table.csv")]

    plain = MethodRow.predict

    def interrupt_at(count: int) -> None:
        def interrupted(self: MethodRow, data: FaceData, prompts: Prompts | None) -> np.ndarray:
            if len(predicted) == count:
                raise KeyboardInterrupt
            return plain(self, data, prompts)

        monkeypatch.setattr(MethodRow, "predict", interrupted)

    interrupt_at(9)  # while two rows lack the last face
    assert run(ROWS) == 130
    assert names() == ["none", "two"]
    predicted.clear()
    interrupt_at(99)
    assert run(ROWS) == 0
    assert names() == ["none", "bundled", "two", "oracle"]
    assert predicted == [("oracle", "face_02"), ("bundled", "face_02")]
    predicted.clear()
    interrupt_at(1)
    more = [{"name": "region", "method": "region"}, *ROWS]
    assert run(more) == 130
    assert names() == ["none", "bundled", "two", "oracle"]


@pytest.mark.slow
def test_each_face_is_encoded_once_for_all_rows_with_its_prompts(
    run: Callable[..., int], encoded: list[str]
) -> None:
    rows = [*ROWS[:3], {"name": "greedy", "method": "greedy"}]
    rows.append({"name": "center", "adapter": "none", "overrides": {"mask.align_corners": False}})
    assert run(rows, "cache.mode=off") == 0
    assert encoded == ["face_00", "face_01", "face_02"]
    encoded.clear()
    rows.append({"name": "without FE", "overrides": {"prompt.features": "encoder"}})
    assert run(rows, "cache.mode=off") == 0
    assert encoded == ["face_00", "face_01", "face_02"]


@pytest.mark.slow
def test_each_image_is_encoded_once_for_all_kinds_of_prompts(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []
    encode = FrozenSam.encode

    def counted(self: FrozenSam, images: torch.Tensor) -> torch.Tensor:
        shapes.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(FrozenSam, "encode", counted)
    rows = [
        {"name": "with FE", "adapter": "bundled"},
        {"name": "without FE", "adapter": "none", "overrides": {"prompt.features": "encoder"}},
        {"name": "oracle", "adapter": "bundled", "reference": "oracle"},
    ]
    assert run(rows, "cache.mode=off") == 0
    assert shapes == [1] * 6  # image and reference of three faces; the oracle is the reference


@pytest.mark.slow
def test_processes_share_a_table(
    tmp_path: Path,
    run: Callable[..., int],
    predicted: list[tuple[str, str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for part in range(3):
        assert run(ROWS, "--shard", f"{part}/3") == 0
        assert f"part {part} of 3 is done; when all are" in capsys.readouterr().err
        assert not (tmp_path / "out" / "table.csv").exists()
    assert len(predicted) == len(set(predicted)) == 11
    predicted.clear()
    assert run(ROWS) == 0
    assert predicted == []
    assert [row["faces"] for row in read_csv(tmp_path / "out" / "table.csv")] == [
        "3",
        "3",
        "2",
        "3",
    ]


@pytest.mark.slow
def test_a_row_that_always_fails_leaves_the_others(
    tmp_path: Path, data: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    for path in data.glob("*_clean.png"):
        path.unlink()
    assert run(ROWS) == 1
    table = read_csv(tmp_path / "out" / "table.csv")
    assert [(row["name"], row["faces"]) for row in table][1:] == [
        ("bundled", "3"),
        ("two", "2"),
        ("oracle", "0"),
    ]
    assert table[3]["occlusion_iou"] == ""
    assert len(read_csv(tmp_path / "out" / "failures.csv")) == 3
    assert run([ROWS[3]]) == 2


@pytest.mark.slow
def test_bad_face_is_counted_and_named(
    tmp_path: Path, data: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    (data / "face_01_clean.png").unlink()
    assert run([{"name": "o", "method": "pixel", "reference": "oracle"}]) == 1
    assert any("face_01" in message and "_clean" in message for message in caplog.messages)
    assert read_csv(tmp_path / "out" / "table.csv")[0]["faces"] == "2"


@pytest.mark.slow
def test_rows_are_compared_with_the_main_one(tmp_path: Path, run: Callable[..., int]) -> None:
    rows = [
        {"name": "none", "method": "parser"},
        {"name": "pixel", "method": "pixel", "threshold": 0.02},
        {"name": "true", "method": "pixel", "threshold": 0.02, "reference": "oracle", "faces": 2},
    ]
    assert run(rows, main="pixel") == 0
    none, pixel, true = read_csv(tmp_path / "out" / "table.csv")
    expected = float(none["occlusion_iou"]) - float(pixel["occlusion_iou"])
    assert float(none["difference"]) == pytest.approx(expected, abs=1e-4)
    assert (none["difference_p"], none["difference_faces"]) == ("0.25", "3")  # 2 of 8 flips
    assert pixel["difference"] == "" and true["difference_faces"] == "2"
    tex = (tmp_path / "out" / "table.tex").read_text()
    assert tex.index("none &") < tex.index("pixel &") < tex.rindex("midrule") < tex.index("true &")
    assert len({row["config"] for row in (none, pixel, true)}) == 1


def test_other_errors(
    tmp_path: Path, data: Path, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    assert run([{"name": "x", "overrides": {"prompt.feature": 1}}]) == 2
    assert "prompt.features" in caplog.text
    assert run([{"name": "x", "adapter": str(tmp_path / "none.pth")}]) == 2
    for path in data.glob("*_occlusion.png"):
        path.unlink()
    assert run([{"name": "x"}]) == 2
    assert "--truth_dir" in caplog.text
    assert run([]) == 2


@pytest.mark.slow
def test_references_and_points_of_a_row(
    tmp_path: Path, data: Path, run: Callable[..., int]
) -> None:
    names = ("blurred_image", "other_reference", "blurred_reference", "turned_reference")
    rows = [
        {"name": name, "method": "pixel", "threshold": 0.02, "reference": name} for name in names
    ]
    rows += [
        {"name": "random", "points": "random"},
        {"name": "by threshold", "points": "threshold", "threshold_rule": "otsu"},
        {"name": "four points", "point_count": 4},
        {"name": "plain"},
        {"name": "otsu", "method": "pixel", "threshold_rule": "otsu"},
        {"name": "best mask", "method": "automatic"},
    ]
    assert run(rows) == 0
    table = read_csv(tmp_path / "out" / "table.csv")
    iou = {row["name"]: float(row["occlusion_iou"]) for row in table}
    assert max(iou[name] for name in names) < 0.9 < iou["otsu"]
    assert len({iou[name] for name in names}) == 4
    tex = (tmp_path / "out" / "table.tex").read_text()
    assert tex.rindex("midrule") < tex.index("best mask &")  # it sees the truth


@pytest.mark.slow
def test_the_rules_for_truths_are_scored_and_stated_row_by_row(
    tmp_path: Path, data: Path, run: Callable[..., int]
) -> None:
    for path in data.glob("*_occlusion.png"):
        path.unlink()
    for index in range(3):
        parsing = np.load(data / f"face_{index:02d}_parsing_mask.npy")
        rows = np.flatnonzero((parsing == 6).any(axis=1))
        middle = rows[len(rows) // 2]
        parsing[middle - 5 : middle + 5][parsing[middle - 5 : middle + 5] == 6] = 10  # glasses
        np.save(data / f"face_{index:02d}_parsing_mask.npy", parsing)
        write_png(data / f"face_{index:02d}_visible_face.png", parsing == 6)
    rows = [
        {"name": glasses, "method": "region", "overrides": {"truth.glasses": glasses}}
        for glasses in ("keep", "occlusion", "ignore")
    ]
    assert run(rows) == 0
    table = {row["name"]: row for row in read_csv(tmp_path / "out" / "table.csv")}
    for glasses, row in table.items():
        counted = f"without slivers below 0.04 and pieces below 0.005; glasses {glasses}"
        assert row["truth"].endswith(counted)
        assert row["truth"] in (tmp_path / "out" / "table.md").read_text()
    assert table["keep"]["faces"] == table["occlusion"]["faces"] == "3"
    assert float(table["keep"]["occlusion_iou"]) == float(table["occlusion"]["occlusion_iou"]) > 0
    assert (table["ignore"]["faces"], table["ignore"]["clean_faces"]) == ("0", "3")

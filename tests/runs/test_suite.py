"""Tables: every method against its definition, through the script."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import evaluate
from s3pot.config import config_to_dict, load_config
from s3pot.data.image import read_rgb, write_png
from s3pot.pipeline import OcclusionSegmenter
from s3pot.runs.suite_file import FOLDER, METHODS, read_suite
from s3pot.runs.suite_rows import MethodRow
from s3pot.training.checkpoint import new_adapter, save_checkpoint
from s3pot.training.general import GeneralTraining
from s3pot.types import S3potError
from s3pot.weights.load import read_checkpoint

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


@pytest.mark.slow
def test_every_method(tmp_path, data, run, capsys):
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


@pytest.mark.slow
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
    # Which code made the results is not known: the commit of a checkout, elsewhere the version.
    drop = ("name", "seconds_per_face", "commit", "version")
    assert {k: v for k, v in ours.items() if k not in drop} == {
        k: v for k, v in theirs.items() if k not in drop
    }


@pytest.mark.slow
def test_same_numbers_again(tmp_path, run):
    rows = [{"name": "own", "adapter": "per_image"}, {"name": "greedy", "method": "greedy"}]
    tables = []
    for _ in range(2):
        assert run(rows, "per_image.epochs=2", "--overwrite", limit=2) == 0
        table = read(tmp_path / "out" / "table.csv")
        tables.append([{k: v for k, v in row.items() if "seconds" not in k} for row in table])
    assert tables[0] == tables[1] and tables[0][0]["faces"] == "2"


@pytest.mark.slow
def test_same_numbers_on_one_core_and_on_two_each_face_encoded_once(
    tmp_path, run, monkeypatch, two_threads
):
    encoded = []
    select = OcclusionSegmenter.select_prompts

    def counted(self, faces):
        encoded.extend(face.name for face in faces)
        return select(self, faces)

    monkeypatch.setattr(OcclusionSegmenter, "select_prompts", counted)
    rows = [{"name": "own", "adapter": "per_image", "faces": 2}, *ROWS]
    tables = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        encoded.clear()
        assert run(rows, "per_image.epochs=2", "cache.mode=off", "--overwrite") == 0
        assert sorted(encoded) == sorted(2 * ["face_00", "face_01", "face_02"])  # one for oracles
        table = read(tmp_path / "out" / "table.csv")
        tables.append([{k: v for k, v in row.items() if "seconds" not in k} for row in table])
    assert tables[0] == tables[1]


@pytest.fixture
def predicted(monkeypatch):
    """Names of row and face, in the order in which they are predicted."""
    names = []
    predict = MethodRow.predict

    def counted(self, data, prompts):
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


@pytest.mark.slow
def test_a_finished_table_is_kept_and_a_longer_one_does_what_is_missing(
    tmp_path, data, run, predicted
):
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
    tmp_path, run, monkeypatch, predicted
):
    def names():
        return [row["name"] for row in read(tmp_path / "out" / "table.csv")]

    plain = MethodRow.predict

    def interrupt_at(count):
        def interrupted(self, data, prompts):
            if len(predicted) == count:
                raise KeyboardInterrupt
            return plain(self, data, prompts)

        monkeypatch.setattr(MethodRow, "predict", interrupted)

    interrupt_at(9)  # in the oracle row, which comes last
    assert run(ROWS) == 130
    assert names() == ["none", "bundled", "two"]
    predicted.clear()
    interrupt_at(99)
    assert run(ROWS) == 0
    assert names() == ["none", "bundled", "two", "oracle"]
    assert predicted == [("oracle", "face_01"), ("oracle", "face_02")]
    predicted.clear()
    interrupt_at(1)
    more = [{"name": "region", "method": "region"}, *ROWS]
    assert run(more) == 130
    assert names() == ["none", "bundled", "two", "oracle"]


@pytest.mark.slow
def test_each_face_is_encoded_once_for_all_rows_with_its_prompts(run, monkeypatch):
    encoded = []
    select = OcclusionSegmenter.select_prompts

    def counted(self, faces):
        encoded.extend(face.name for face in faces)
        return select(self, faces)

    monkeypatch.setattr(OcclusionSegmenter, "select_prompts", counted)
    rows = [*ROWS[:3], {"name": "greedy", "method": "greedy"}]
    rows.append({"name": "center", "adapter": "none", "overrides": {"mask.align_corners": False}})
    assert run(rows, "cache.mode=off") == 0
    assert encoded == ["face_00", "face_01", "face_02"]
    encoded.clear()
    rows.append({"name": "without FE", "overrides": {"prompt.features": "encoder"}})
    assert run(rows, "cache.mode=off") == 0
    assert encoded == ["face_00", "face_01", "face_02"]


@pytest.mark.slow
def test_processes_share_a_table(tmp_path, run, predicted):
    for part in range(3):
        assert run(ROWS, "--shard", f"{part}/3") == 0
        assert not (tmp_path / "out" / "table.csv").exists()
    assert len(predicted) == len(set(predicted)) == 11
    predicted.clear()
    assert run(ROWS) == 0
    assert predicted == []
    assert [row["faces"] for row in read(tmp_path / "out" / "table.csv")] == ["3", "3", "2", "3"]


@pytest.mark.slow
def test_a_row_that_always_fails_leaves_the_others(tmp_path, data, run, caplog):
    for path in data.glob("*_clean.png"):
        path.unlink()
    assert run(ROWS) == 1
    table = read(tmp_path / "out" / "table.csv")
    assert [(row["name"], row["faces"]) for row in table][1:] == [
        ("bundled", "3"),
        ("two", "2"),
        ("oracle", "0"),
    ]
    assert table[3]["occlusion_iou"] == ""
    assert len(read(tmp_path / "out" / "failures.csv")) == 3
    assert run([ROWS[3]]) == 2


@pytest.mark.slow
def test_bad_face_is_counted_and_named(tmp_path, data, run, caplog):
    (data / "face_01_clean.png").unlink()
    assert run([{"name": "o", "method": "pixel", "reference": "oracle"}]) == 1
    assert any("face_01" in message and "_clean" in message for message in caplog.messages)
    assert read(tmp_path / "out" / "table.csv")[0]["faces"] == "2"


@pytest.mark.slow
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
    assert "main is 'y', which is not the name of a row" in caplog.text
    assert run([{"name": "x"}, {"name": "x"}]) == 2
    assert "two rows have the same name" in caplog.text


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"name": "x", "methd": "pixel"}, "methd"),
        ({"name": "x", "method": "magic"}, "magic"),
        ({"method": "pixel"}, "including name"),
        ({"name": "x", "threshold": "high"}, "threshold"),
        ({"name": "x", "reference": "true"}, "oracle"),
        ({"name": "x", "overrides": "text"}, "suite.yaml"),
        ("text", "text"),
        ({"name": "x", "faces": -2}, "faces is -2; expected a number of faces, 0 for all"),
        ({"name": "x", "faces": 1.5}, "rows.1.faces is 1.5; expected int"),
        ({"name": "x", "faces": True}, "rows.1.faces is True; expected int"),
        ({"name": "x", "point_count": -1}, "point_count is -1"),
        ({"name": "x", "method": "pixel", "threshold": -1}, "threshold is -1; expected 0 to 2"),
        ({"name": " "}, "empty name"),
        ({"name": "x", "method": "parser", "threshold": 0.5}, "'parser' and its other keys"),
        ({"name": "x", "method": "token", "adapter": "bundled"}, "adapter is 'bundled', but"),
        ({"name": "x", "method": "parser", "points": "random"}, "points is 'random', but"),
        ({"name": "x", "adapter": "bundled", "init": "general"}, "init is 'general', but"),
        ({"name": "x", "threshold_rule": "otsu"}, "threshold_rule is 'otsu', but"),
        (
            {"name": "x", "method": "pixel", "threshold": 1, "threshold_rule": "otsu"},
            "threshold is 1.0, but",
        ),
        ({"name": "x", "size": "resize"}, "size is 'resize', but"),
        (
            {"name": "x", "method": "folder", "path": "p", "reference": "oracle"},
            "reference is 'oracle', but",
        ),
    ],
)
def test_bad_rows_are_one_clear_error(run, caplog, row, words):
    assert run([row]) == 2
    assert words in caplog.text


@pytest.mark.parametrize("key", ["limit", "train_limit"])
@pytest.mark.parametrize(
    ("value", "words"), [(-2, "expected a number of faces"), (1.5, "int"), (True, "int")]
)
def test_bad_limits_are_refused(run, caplog, key, value, words):
    assert run([{"name": "x"}], **{key: value}) == 2
    assert f"{key} is {value}" in caplog.text and words in caplog.text


def test_a_suite_and_results_are_refused_together(tmp_path, caplog):
    options = ["--suite", str(tmp_path / "s.yaml"), "--results", str(tmp_path)]
    assert evaluate.main(options) == 2
    assert "give one of them" in caplog.text


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "tables").rglob("*.yaml")), ids=str)
def test_the_bundled_suites_can_be_read(path):
    assert read_suite(path).rows


def test_other_errors(tmp_path, data, run, caplog):
    assert run([{"name": "x", "overrides": {"prompt.feature": 1}}]) == 2
    assert "prompt.features" in caplog.text
    assert run([{"name": "x", "adapter": str(tmp_path / "none.pth")}]) == 2
    for path in data.glob("*_occlusion.png"):
        path.unlink()
    assert run([{"name": "x"}]) == 2
    assert "--truth_dir" in caplog.text
    assert run([]) == 2


def test_an_adapter_is_found_from_the_working_folder_or_the_suites(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("here", "suites"):
        (tmp_path / folder).mkdir()
    (tmp_path / "here" / "best.pth").write_bytes(b"")
    (tmp_path / "suites" / "other.pth").write_bytes(b"")
    rows = [
        {"name": "a", "adapter": "here/best.pth"},
        {"name": "b", "adapter": "other.pth"},
        {"name": "c", "adapter": "bundled"},
    ]
    path = tmp_path / "suites" / "s.yaml"
    path.write_text(yaml.safe_dump({"datapath": "data", "rows": rows}))
    adapters = [Path(row.adapter) for row in read_suite(path).rows]
    assert adapters == [Path("here/best.pth"), path.parent / "other.pth", Path("bundled")]
    path.write_text(
        yaml.safe_dump({"datapath": "data", "rows": [{"name": "a", "adapter": "no.pth"}]})
    )
    with pytest.raises(S3potError, match=r"no\.pth.*neither a checkpoint"):
        read_suite(path)


def test_demo_table_has_the_required_rows():
    suite = read_suite(ROOT / "configs" / "tables" / "demo.yaml")
    names = [row.name for row in suite.rows]
    required = (
        "parser alone",
        "pixel-difference threshold",
        "token-contrast threshold",
        "single point",
        "greedy points rasterized",
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


@pytest.fixture
def trained(monkeypatch):
    """Numbers of training epochs that were run, by the name of the output folder."""
    epochs = []
    run_epoch = GeneralTraining._run_epoch

    def counted(self, *arguments):
        epochs.append(self.output_dir.name)
        return run_epoch(self, *arguments)

    monkeypatch.setattr(GeneralTraining, "_run_epoch", counted)
    return epochs


TRAINED_ROWS = [
    {"name": "all losses", "adapter": "trained"},
    {"name": "the same", "adapter": "trained", "faces": 2},
    {"name": "no hinge", "adapter": "trained", "overrides": {"loss.hinge_weight": 0}},
]


@pytest.mark.slow
def test_adapters_are_trained_into_the_tables_folder_and_kept(
    tmp_path, run, trained, processed_folder
):
    train = processed_folder(3, "train")
    more = {"train": str(train), "train_limit": 2, "overrides": {"train.epochs": 1}}
    assert run(TRAINED_ROWS, **more) == 0
    assert len(trained) == len(set(trained)) == 2  # two of three rows share an adapter
    folder = tmp_path / "out" / "adapters" / trained[0]
    record = json.loads((folder / "training.json").read_text())
    assert (record["faces"], record["epochs"]) == (2, 1)
    table = read(tmp_path / "out" / "table.csv")
    weights = [row["weights"] for row in table]
    assert weights[0] == weights[1] != weights[2]
    trained.clear()
    assert run(TRAINED_ROWS, **more) == 0
    assert trained == []
    (folder / "last.pth").unlink()
    assert run(TRAINED_ROWS, **more) == 0
    assert trained == [folder.name]
    assert read(tmp_path / "out" / "table.csv") == table


@pytest.mark.slow
def test_an_interrupted_training_goes_on(tmp_path, run, trained, monkeypatch, processed_folder):
    train = processed_folder(2, "train")
    more = {"train": str(train), "overrides": {"train.epochs": 2}}
    write = GeneralTraining._write_files

    def interrupted(self):
        write(self)
        if self.epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(GeneralTraining, "_write_files", interrupted)
    assert run(TRAINED_ROWS[:1], **more) == 130
    monkeypatch.setattr(GeneralTraining, "_write_files", write)
    trained.clear()
    assert run(TRAINED_ROWS[:1], **more) == 0
    assert len(trained) == 1


@pytest.mark.slow
def test_a_trained_row_equals_train_general(
    tmp_path, run, mini_options, processed_folder, tiny_sam
):
    import train_general

    train = processed_folder(2, "train")
    assert run(TRAINED_ROWS[:1], train=str(train), overrides={"train.epochs": 1}) == 0
    (checkpoint,) = (tmp_path / "out" / "adapters").glob("*/last.pth")
    config = load_config(None, mini_options)
    fresh, start = new_adapter(config, tiny_sam), tmp_path / "fresh.pth"
    save_checkpoint(start, fresh, epoch=0, config=config_to_dict(config), sam_sha256="")
    general = tmp_path / "general"
    options = ["--datapath", str(train), "--epochs", "1", "--output_dir", str(general)]
    options += ["--init_checkpoint", str(start), "train.val_fraction=0"]
    assert train_general.main([*options, *mini_options]) == 0
    ours = read_checkpoint(checkpoint)["adapter"]
    theirs = read_checkpoint(general / "last.pth")["adapter"]
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not all(torch.equal(ours[name], value) for name, value in fresh.state_dict().items())


@pytest.mark.slow
def test_faces_that_cannot_be_trained_on(tmp_path, run, caplog, processed_folder):
    train = processed_folder(2, "train")
    (train / "face_00_ref.png").unlink()
    more = {"train": str(train), "overrides": {"train.epochs": 1}}
    assert run(TRAINED_ROWS[:1], **more) == 0
    assert "face_00_ref.png" in caplog.text
    (train / "face_01_ref.png").unlink()
    more["overrides"] = {"train.epochs": 2}
    assert run(TRAINED_ROWS[:1], **more) == 2
    assert "none of the faces in" in caplog.text and "(2 tried)" in caplog.text
    assert run(TRAINED_ROWS[:1]) == 2
    assert "train, the folder of training faces, is missing" in caplog.text


@pytest.mark.slow
def test_references_and_points_of_a_row(tmp_path, data, run):
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
    table = read(tmp_path / "out" / "table.csv")
    iou = {row["name"]: float(row["occlusion_iou"]) for row in table}
    assert max(iou[name] for name in names) < 0.9 < iou["otsu"]
    assert len({iou[name] for name in names}) == 4
    tex = (tmp_path / "out" / "table.tex").read_text()
    assert tex.rindex("midrule") < tex.index("best mask &")  # it sees the truth


@pytest.fixture
def theirs(tmp_path, data):
    """True masks of faces 0 and 1 and an empty one of face 2, also as visible faces."""
    folder = tmp_path / "theirs"
    for index in range(3):
        name = f"face_{index:02d}"
        truth = read_rgb(data / f"{name}_occlusion.png")[..., 0] > 0
        region = np.load(data / f"{name}_parsing_mask.npy") == 6
        mask = truth & (index < 2)
        write_png(folder / "occlusion" / f"{name}.png", mask)
        write_png(folder / "face" / f"{name}.png", region & ~mask)
        write_png(folder / "large" / f"{name}.png", mask.repeat(2, axis=0).repeat(2, axis=1))
    return folder


@pytest.mark.slow
def test_masks_of_another_program_are_scored_as_ours(tmp_path, run, theirs):
    rows = [
        {"name": "true", "method": "folder", "path": str(theirs / "occlusion")},
        {
            "name": "face",
            "method": "folder",
            "path": str(theirs / "face"),
            "polarity": "visible_face",
        },
        {"name": "large", "method": "folder", "path": str(theirs / "large"), "size": "resize"},
        {"name": "none", "method": "parser"},
    ]
    assert run(rows, main="true") == 0
    table = read(tmp_path / "out" / "table.csv")
    assert [row["occlusion_iou"] for row in table] == ["0.6667"] * 3 + ["0.0"]
    assert [row["seconds_per_face"] != "" for row in table] == [False] * 3 + [True]
    assert table[0]["weights"] == "" and table[1]["difference"] == "0.0"


def test_both_routes_score_masks_of_another_program_alike(tmp_path, data, run):
    """True masks that reach beyond the parsed region, and wrong pixels outside it."""
    masks = tmp_path / "masks"
    for index in range(3):
        name = f"face_{index:02d}"
        region = np.load(data / f"{name}_parsing_mask.npy") == 6
        truth = read_rgb(data / f"{name}_occlusion.png")[..., 0] > 0
        outside = np.flatnonzero(~region & ~truth)
        truth.flat[outside[:40]] = True
        write_png(data / f"{name}_occlusion.png", truth)
        mask = truth.copy()
        mask.flat[outside[40 : 40 + 30 * index]] = True
        write_png(masks / f"{name}_occlusion.png", mask)
    assert evaluate.main(["--datapath", str(data), "--results", str(masks)]) == 0
    assert run([{"name": "all", "method": "folder", "path": str(masks)}]) == 0
    by_results = read(masks / "per_image.csv")
    by_suite = read(tmp_path / "out" / "per_image.csv")
    assert by_results == by_suite
    for index, face in enumerate(by_suite):
        region = np.load(data / f"face_{index:02d}_parsing_mask.npy") == 6
        truth = read_rgb(data / f"face_{index:02d}_occlusion.png")[..., 0] > 0
        assert float(face["iou"]) == pytest.approx((truth & region).sum() / truth.sum(), abs=1e-4)
        assert float(face["iou"]) < 1
    keys = ("occlusion_iou", "f1", "precision", "recall")
    tables = [read(folder / "table.csv")[0] for folder in (masks, tmp_path / "out")]
    assert [tables[0][key] for key in keys] == [tables[1][key] for key in keys]


@pytest.mark.slow
def test_a_folder_needs_no_weights_and_its_faults_are_named(tmp_path, run, theirs, caplog):
    row = {"name": "theirs", "method": "folder", "path": str(theirs / "occlusion")}
    assert run([row], f"model.weights_dir={tmp_path / 'nowhere'}") == 0
    (theirs / "occlusion" / "face_01.png").unlink()
    assert run([row]) == 1
    assert "holds no mask of face_01" in caplog.text
    assert run([{**row, "path": str(theirs / "large")}]) == 2
    assert "size: resize" in caplog.text
    assert run([{**row, "path": ""}]) == 2
    assert "has a path" in caplog.text


@pytest.mark.slow
def test_changed_masks_are_scored_again(tmp_path, run, theirs):
    row = {"name": "theirs", "method": "folder", "path": str(theirs / "occlusion")}
    assert run([row]) == 0
    write_png(theirs / "occlusion" / "face_01.png", np.zeros((64, 64), bool))
    assert run([row]) == 0
    assert read(tmp_path / "out" / "table.csv")[0]["occlusion_iou"] == "0.3333"


def test_a_missing_suite_is_called_missing(tmp_path):
    with pytest.raises(S3potError, match=r"The suite .*none.yaml does not exist; configs/tables/"):
        read_suite(tmp_path / "none.yaml")


@pytest.mark.slow
def test_the_rules_for_truths_are_scored_and_stated_row_by_row(tmp_path, data, run):
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
    table = {row["name"]: row for row in read(tmp_path / "out" / "table.csv")}
    for glasses, row in table.items():
        counted = f"without slivers below 0.04 and pieces below 0.005; glasses {glasses}"
        assert row["truth"].endswith(counted)
        assert row["truth"] in (tmp_path / "out" / "table.md").read_text()
    assert table["keep"]["faces"] == table["occlusion"]["faces"] == "3"
    assert float(table["keep"]["occlusion_iou"]) == float(table["occlusion"]["occlusion_iou"]) > 0
    assert (table["ignore"]["faces"], table["ignore"]["clean_faces"]) == ("0", "3")

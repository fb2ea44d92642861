"""No command writes into a folder that holds something of another one; reported by a newcomer."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
import yaml

import evaluate
import generate_reference
import inference
import s3pot_synthetic.__main__ as draw
import train_general
import train_per_image
from benchmarks.tiny import write_face
from s3pot.commands import compare, data_convert, data_split, data_validate, figure, segment
from s3pot.data.folder_kinds import Kind, kinds_in
from s3pot.data.image import write_png
from s3pot.data.output_guard import MAY_WRITE_INTO, refuse_other_kinds
from s3pot.io import write_json, write_npy
from s3pot.report.gallery import TITLE
from s3pot.types import S3potError
from tests.builders import write_photo

Main = Callable[[list[str]], int]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def result(folder: Path, command: str, name: str = "x") -> None:
    """Write what marks a result, and the config of its run."""
    settings = {} if command == "an earlier version" else {"command": command}
    record = {"row": {"name": Path(name).name}, "provenance": {"settings": settings}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("{}")
    write_npy(folder / f"{name}_parsing.npy", np.zeros((2, 2), np.uint8))
    write_json(folder / f"{name}_result.json", record)


def table(folder: Path) -> None:
    touch(folder, "table.csv", "per_image.csv", "table.pdf")
    write_photo(folder / "table.png")


def suite(folder: Path) -> None:
    table(folder)
    touch(folder, "config.yaml", "rows/general-0123abcd/x.json")


IMAGES = "photos, masks or other images"
MAKERS: dict[str, Callable[[Path], object]] = {
    "prepared faces": lambda folder: write_face(folder, "x", seed=0),
    "the faces of s3pot segment": lambda folder: write_face(folder / "faces", "x", seed=0),
    "results of inference": lambda folder: result(folder, "inference"),
    "results of train_per_image": lambda folder: result(folder, "train_per_image"),
    "results of segment": lambda folder: result(folder, "segment"),
    "results of s3pot": lambda folder: result(folder, "an earlier version"),
    "a training run": lambda folder: touch(folder, "config.yaml", "history.jsonl", "last.pth"),
    "the table of a suite": suite,
    "a table of evaluate": table,
    "a comparison of two result folders": lambda folder: touch(folder, "compare.csv"),
    "a data set": lambda folder: touch(folder, "dataset.json", "raw_images/a.png"),
    "ground truths or photos of a data set": lambda folder: write_png(
        folder / "x_visible_face.png", np.ones((8, 8), bool)
    ),
    IMAGES: lambda folder: write_photo(folder / "holiday.png"),
}
TABLES = {
    "the table of a suite",
    "a table of evaluate",
    "a comparison of two result folders",
}
DATA = {
    "a data set",
    "ground truths or photos of a data set",
    IMAGES,
}
# Command → what its output folder may hold.
ALLOWED = {
    "generate_reference": {"prepared faces", "a data set", IMAGES},
    "train_general": {"a training run", IMAGES},
    "inference": {"results of inference", "results of s3pot", IMAGES},
    "train_per_image": {"results of train_per_image", "results of s3pot", IMAGES},
    "segment": {"results of segment", "results of s3pot", IMAGES},
    "evaluate": TABLES - {"the table of a suite"},
    "evaluate --suite": TABLES,
    "compare": TABLES,
    "figure": TABLES,
    "data convert": DATA,
    "data split": DATA,
    "data draw": DATA,
    "data validate": TABLES,
}
REFUSED = [
    (command, kind)
    for command, allowed in ALLOWED.items()
    for kind in MAKERS
    if kind not in allowed and kind != "the faces of s3pot segment"
]


@pytest.fixture
def call(
    tmp_path: Path, processed_folder: Callable[..., Path], mini_options: list[str]
) -> Callable[[str, Path], int]:
    """Run a command by its name, with inputs that are beside its output folder."""
    data = processed_folder(1)
    photos = tmp_path / "in"
    write_photo(photos / "a.png")
    write_photo(photos / "b.png", 1)
    runs = [tmp_path / "run_a", tmp_path / "run_b"]
    for run in runs:
        result(run, "inference", "face_00")
        row = {"name": "face_00", "occluded": "yes", "occluded_share": 0.2, "occlusion_iou": 0.5}
        write_json(run / "summary.json", [row])
        write_png(run / "face_00_occlusion.png", np.ones((64, 64), bool))
    suite_file = tmp_path / "suite.yaml"
    rows = [{"name": "parser", "method": "parser"}]
    suite_file.write_text(yaml.safe_dump({"datapath": str(data), "rows": rows}))
    faces = ["--datapath", str(data), *mini_options]
    both = [str(run) for run in runs]
    convert = ["--from", "folders", "--images", "in", "--masks", "in", "--polarity", "occlusion"]
    commands: dict[str, tuple[Main, list[str]]] = {
        "generate_reference": (generate_reference.main, ["--input_dir", str(photos)]),
        "train_general": (train_general.main, ["--overwrite", *faces]),
        "inference": (inference.main, ["--overwrite", *faces]),
        "train_per_image": (train_per_image.main, ["--overwrite", *faces]),
        "segment": (segment.main, [str(photos), "--overwrite", *mini_options]),
        "evaluate": (evaluate.main, ["--results", str(runs[0]), *faces]),
        "evaluate --suite": (evaluate.main, ["--suite", str(suite_file), *mini_options]),
        "compare": (compare.main, both),
        "figure": (figure.main, both),
        "data convert": (data_convert.main, [*convert, "--input_dir", str(tmp_path / "in")]),
        "data split": (data_split.main, ["--input_dir", str(photos)]),
        "data draw": (draw.main, ["--count", "1", "--size", "64"]),
        "data validate": (data_validate.main, [str(data)]),
    }

    def run_command(command: str, output_dir: Path) -> int:
        main, arguments = commands[command]
        return main([*arguments, "--output_dir", str(output_dir)])

    return run_command


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def is_refused(
    tmp_path: Path, call: Callable[[str, Path], int], caplog: pytest.LogCaptureFixture
) -> Callable[[str, Path, str], None]:
    """Check that a command is refused with a message, and that it writes nothing."""

    def check(command: str, output_dir: Path, message: str) -> None:
        before = contents(tmp_path)
        caplog.clear()
        assert call(command, output_dir) == 2
        (error,) = [text for text in caplog.messages if text.startswith("error: ")]
        assert re.search(message, error), error
        assert "choose another" in error
        assert contents(tmp_path) == before

    return check


@pytest.mark.parametrize(("command", "kind"), REFUSED)
def test_a_folder_of_another_command_is_refused(
    tmp_path: Path, is_refused: Callable[[str, Path, str], None], command: str, kind: str
) -> None:
    out = tmp_path / "out"
    MAKERS[kind](out)
    touch(out, "notes.txt", ".DS_Store")
    is_refused(command, out, f"--output_dir {re.escape(str(out))} holds {kind} \\(.+\\), which the")


@pytest.mark.parametrize(
    ("command", "kind"),
    [(command, kind) for command, allowed in ALLOWED.items() for kind in sorted(allowed)],
)
def test_a_folder_of_the_same_command_is_not_refused(
    tmp_path: Path, command: str, kind: str
) -> None:
    MAKERS[kind](tmp_path)
    touch(tmp_path, "notes.txt", ".DS_Store")
    refuse_other_kinds(tmp_path, command if command in MAY_WRITE_INTO else "data")


@pytest.mark.parametrize("command", ["evaluate", "figure"])
@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind.startswith("results")])
def test_tables_and_figures_may_stand_beside_their_own_results(
    tmp_path: Path, command: str, kind: str
) -> None:
    MAKERS[kind](tmp_path)
    table(tmp_path)
    refuse_other_kinds(tmp_path, command, [tmp_path])
    touch(tmp_path, "last.pth")  # a copy of the checkpoint that was used
    refuse_other_kinds(tmp_path, command, [tmp_path])
    touch(tmp_path, "history.jsonl")
    with pytest.raises(S3potError, match="holds a training run .history.jsonl.,"):
        refuse_other_kinds(tmp_path, command, [tmp_path])


@pytest.mark.parametrize("command", ["generate_reference", "inference", "train_per_image"])
def test_results_with_names_of_subfolders_count(
    tmp_path: Path, is_refused: Callable[[str, Path, str], None], command: str
) -> None:
    out = tmp_path / "out"
    result(out / "trip", "segment", "a")
    touch(out, "config.yaml")
    (out / "trip" / "config.yaml").unlink()
    refuse_other_kinds(out, command)  # a folder of another run, which only lies inside
    record = {"row": {"name": "trip/a"}, "provenance": {"settings": {"command": "segment"}}}
    write_json(out / "trip" / "a_result.json", record)
    is_refused(command, out, r"holds results of segment \(trip/a_result.json\)")
    (out / "sub").symlink_to(out / "trip", target_is_directory=True)
    is_refused(command, out / "sub", r"holds results of segment \(a_result.json\)")


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("command", ["train_general", "inference", "evaluate", "figure"])
def test_a_folder_whose_parts_are_prepared_is_a_data_folder(
    tmp_path: Path, is_refused: Callable[[str, Path, str], None], command: str, part: str
) -> None:
    write_face(tmp_path / "out" / part, "x", seed=0)
    is_refused(command, tmp_path / "out", f"holds prepared faces \\({part}/x_parsing_mask.npy\\)")


def test_the_authors_layout_is_a_data_folder(
    tmp_path: Path, is_refused: Callable[[str, Path, str], None]
) -> None:
    touch(tmp_path / "out", "0/face.jpg", "0/Reference_1.png", "0/face_parsing_mask.npy")
    is_refused("inference", tmp_path / "out", "holds prepared faces .0/Reference_1.png.")


def test_the_faces_of_segment_go_into_no_data_folder(
    tmp_path: Path, is_refused: Callable[[str, Path, str], None]
) -> None:
    out = tmp_path / "out"
    write_face(out / "faces", "x", seed=0)
    is_refused("segment", out, "out/faces holds prepared faces")
    touch(out, "config.yaml")  # now they are those of an interrupted segment run
    refuse_other_kinds(out / "faces", "segment/faces")
    is_refused("generate_reference", out / "faces", "holds the faces of s3pot segment")
    write_face(tmp_path / "train", "x", seed=0)
    is_refused("segment", tmp_path / "train" / "new", "new/faces lies in .*train, which holds prep")


def test_faces_are_converted_only_into_folders_of_converted_faces(
    tmp_path: Path, processed_folder: Callable[..., Path]
) -> None:
    data = str(processed_folder(1))
    out = tmp_path / "out"
    arguments = ["--from", "faces", "--to", "faces", "--input_dir", data, "--output_dir", str(out)]
    write_face(out, "face_00", seed=0)  # by a run that was killed before its first record
    assert data_convert.main(arguments) == 0
    assert data_convert.main(arguments) == 0
    (out / "dataset.json").unlink()
    touch(out, "config.yaml")  # of generate_reference
    assert data_convert.main(arguments) == 2


def test_a_truth_folder_gets_no_table(
    tmp_path: Path, mini_options: list[str], processed_folder: Callable[..., Path]
) -> None:
    data = str(processed_folder(1))
    truths = tmp_path / "set" / "truth"
    write_png(truths / "face_00_occlusion.png", np.ones((64, 64), bool))
    arguments = ["--datapath", data, "--results", str(truths), *mini_options]
    assert evaluate.main(arguments) == 0  # masks of another program, as far as can be told
    (truths / "table.csv").unlink()
    touch(tmp_path / "set", "raw_images/face_00.png")
    assert evaluate.main(arguments) == 2
    assert not (truths / "table.csv").exists()
    assert evaluate.main([*arguments, "--output_dir", str(tmp_path / "table")]) == 0


def test_a_summary_of_another_command_is_named(
    tmp_path: Path, call: Callable[[str, Path], int], caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run_a"
    write_json(run / "summary.json", [{"name": "face_00", "photo": "a.jpg", "detector_score": 0.9}])
    (run / "index.html").write_text(f"<title>{TITLE}</title>", encoding="utf-8")
    for command in ("evaluate", "compare", "figure"):
        caplog.clear()
        assert call(command, tmp_path / command) == 2
        (error,) = [text for text in caplog.messages if text.startswith("error: ")]
        message = f"{run / 'summary.json'} does not say how much of the face 'face_00' is occluded"
        assert message in error and error.endswith("wrote.")


def test_foreign_files_with_similar_names_mark_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "notes_result.json", "words_align.json", "rows/1.csv", "best.pth")
    write_json(tmp_path / "mine_result.json", {"accuracy": 0.5})
    write_json(tmp_path / "mine_align.json", ["a", "b"])
    write_photo(tmp_path / "plot.png")
    assert kinds_in(tmp_path) == {Kind.IMAGES: "plot.png"}
    touch(tmp_path, "plot.pdf")  # it is a figure, not a photo
    assert kinds_in(tmp_path) == {}
    touch(tmp_path, "config.yaml")  # a checkpoint with its config is a training run
    assert kinds_in(tmp_path) == {Kind.TRAINING: "best.pth"}
    assert kinds_in(tmp_path / "missing") == {}


def test_odd_entries_mark_nothing_and_end_nothing(tmp_path: Path) -> None:
    for name in ("x_result.json", "x_align.json", "summary.json", "a", "rows"):
        (tmp_path / name).mkdir()
    touch(tmp_path, "config.yaml", "a/a_align.json", "a/b_result.json")
    (tmp_path / "a" / "c_result.json").symlink_to(tmp_path / "nowhere")
    write_json(tmp_path / "a" / "d_result.json", {"row": 1, "provenance": {"settings": None}})
    write_json(tmp_path / "a" / "e_result.json", {"provenance": {}})
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "locked").mkdir(mode=0)
    assert kinds_in(tmp_path) == {}


@pytest.mark.slow
def test_every_command_goes_on_in_its_own_folder_whenever_it_was_interrupted(
    tmp_path: Path, mini_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layout is like that of demo.sh; a run may go on in every state that it went through."""
    monkeypatch.chdir(tmp_path)
    mini_options = [*mini_options, "train.epochs=1", "per_image.epochs=1"]
    for number, name in enumerate(("train/a", "val/b")):
        write_photo(Path(f"raw/{name}.png"), number)
        truth = np.zeros((48, 48), bool)
        truth[10:30, 10:30] = True
        write_png(Path(f"truth/{name}_occlusion.png"), truth)
    rows = [{"name": "parser", "method": "parser"}]
    Path("suite.yaml").write_text(yaml.safe_dump({"datapath": "data/val", "rows": rows}))
    face = ["--target_img", "data/val/b.png", "--ref_img", "data/val/b_ref.png"]
    face += ["--parsing_mask", "data/val/b_parsing_mask.npy"]
    references = ["--input_dir", "raw", "--truth_dir", "truth"]
    runs: list[tuple[str, Main, list[str], str]] = [
        ("generate_reference", generate_reference.main, references, "data"),
        ("train_general", train_general.main, ["--datapath", "data", "--resume"], "training"),
        ("train_per_image", train_per_image.main, face, "results/per_image"),
        ("inference", inference.main, ["--datapath", "data/val", "--save_vis"], "results"),
        ("evaluate", evaluate.main, ["--datapath", "data/val", "--results", "results"], "results"),
        ("evaluate --suite", evaluate.main, ["--suite", "suite.yaml"], "results/demo"),
        ("segment", segment.main, ["raw", "--save_vis"], "segmented"),
        ("inference", inference.main, ["--datapath", "segmented/faces"], "again"),
        ("compare", compare.main, ["segmented", "again"], "results/compare"),
    ]
    for position, (command, main, arguments, out) in enumerate(runs):
        options = [] if command == "compare" else mini_options
        assert main([*arguments, "--output_dir", out, *options]) == 0, command
        check_states(command, Path(out), Path(f"states/{position}/{out}"))
    for command, main, arguments, out in (runs[0], runs[3], runs[6]):  # finished ones go on as well
        assert main([*arguments, "--output_dir", out, *mini_options]) == 0, command


def check_states(command: str, output_dir: Path, state: Path) -> None:
    """Copy the files of a run one by one, in the order in which they were written."""
    files = [path for path in output_dir.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path.stat().st_mtime_ns):
        target = state / path.relative_to(output_dir)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        refuse_other_kinds(state, command, [state])
        if command == "segment":
            refuse_other_kinds(state / "faces", "segment/faces")

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
import s3pot
import s3pot_synthetic.__main__ as draw
import train_general
import train_per_image
from benchmarks.tiny import write_face
from s3pot.commands import compare, data_convert, data_split, data_validate, figure, segment
from s3pot.config import Config, save_config
from s3pot.data.folder_kinds import kind_of, refuse_folder_of_a_run, refuse_shared_folder
from s3pot.data.image import write_png
from s3pot.data.output_guard import refuse_other_kinds
from s3pot.io import write_json
from s3pot.report.gallery import TITLE
from s3pot.types import S3potError
from tests.builders import write_photo

PACKAGE = Path(s3pot.__file__).parent
Main = Callable[[list[str]], int]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def written_by(folder: Path, command: str) -> None:
    """Write what a command writes first."""
    save_config(Config(), folder, command)


def result(folder: Path, command: str | None, name: str = "x") -> None:
    """Write the record of a result as an earlier version did, with a config that names nobody."""
    settings = {} if command is None else {"command": command}
    record = {"row": {"name": name}, "provenance": {"settings": settings}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("{}")
    write_json(folder / f"{name}_result.json", record)


MAKERS: dict[str, list[Callable[[Path], object]]] = {
    "prepared faces": [
        lambda folder: written_by(folder, "generate_reference"),
        lambda folder: write_face(folder, "x", seed=0),
        lambda folder: write_face(folder / "val", "x", seed=0),
        lambda folder: touch(folder, "0/face.jpg", "0/Reference_1.png"),
    ],
    "a training run": [
        lambda folder: written_by(folder, "train_general"),
        lambda folder: touch(folder, "config.yaml", "history.jsonl", "last.pth"),
    ],
    "results of inference": [
        lambda folder: written_by(folder, "inference"),
        lambda folder: result(folder, "inference"),
    ],
    "results of train_per_image": [
        lambda folder: written_by(folder, "train_per_image"),
        lambda folder: result(folder, "train_per_image"),
    ],
    "results of segment": [
        lambda folder: written_by(folder, "segment"),
        lambda folder: result(folder, "segment"),
    ],
    "results of s3pot": [lambda folder: result(folder, None)],
    "the table of a suite": [lambda folder: written_by(folder, "evaluate --suite")],
}
# Command → what its output folder may hold.
ALLOWED = {
    "generate_reference": {"prepared faces"},
    "train_general": {"a training run"},
    "inference": {"results of inference", "results of s3pot"},
    "train_per_image": {"results of train_per_image", "results of s3pot"},
    "segment": {"results of segment", "results of s3pot"},
    "evaluate": set(),
    "evaluate --suite": {"the table of a suite"},
    "compare": {"the table of a suite"},
    "figure": {"the table of a suite"},
    "data validate": {"the table of a suite"},
}
OF_DATA = ("data convert", "data split", "data draw")  # refuse the folders of all runs
REFUSED = [
    (command, kind, number)
    for command, allowed in ALLOWED.items()
    for kind, makers in MAKERS.items()
    for number in range(len(makers))
    if kind not in allowed
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


@pytest.mark.parametrize(("command", "kind", "number"), REFUSED)
def test_a_folder_of_another_command_is_refused(
    tmp_path: Path,
    is_refused: Callable[[str, Path, str], None],
    command: str,
    kind: str,
    number: int,
) -> None:
    out = tmp_path / "out"
    MAKERS[kind][number](out)
    touch(out, "notes.txt", ".DS_Store")
    is_refused(command, out, f"--output_dir {re.escape(str(out))} holds {kind} \\(.+\\), which the")


@pytest.mark.parametrize("command", [*ALLOWED, *OF_DATA])
def test_folders_of_the_whole_machine_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_refused: Callable[[str, Path, str], None],
    command: str,
) -> None:
    home = tmp_path / "me"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    is_refused(command, home / ".." / "me", "is the home folder, where no results belong")
    is_refused(command, Path("/"), "--output_dir / is the root of a disk,")
    is_refused(command, PACKAGE / "results", "lies in the program itself, ")


def test_folders_below_the_home_folder_are_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    refuse_shared_folder(tmp_path / "results")
    refuse_shared_folder(PACKAGE.parent / "results")
    monkeypatch.setenv("HOME", "")
    refuse_shared_folder(tmp_path)


@pytest.mark.parametrize("command", OF_DATA)
@pytest.mark.parametrize("kind", MAKERS)
def test_data_do_not_go_into_the_folder_of_a_run(
    tmp_path: Path, is_refused: Callable[[str, Path, str], None], command: str, kind: str
) -> None:
    MAKERS[kind][0](tmp_path / "out")
    is_refused(command, tmp_path / "out", f"holds {kind} .(config.yaml|x_result.json).,")


@pytest.mark.parametrize(
    ("command", "kind"),
    [(command, kind) for command, allowed in ALLOWED.items() for kind in sorted(allowed)],
)
def test_a_folder_of_the_same_command_is_not_refused(
    tmp_path: Path, command: str, kind: str
) -> None:
    for number, make in enumerate(MAKERS[kind]):
        folder = tmp_path / str(number)
        make(folder)
        touch(folder, "notes.txt", "history.jsonl", "best.pth", "general_adapter.pth")
        write_photo(folder / "teaser.png")
        refuse_other_kinds(folder, command)


@pytest.mark.parametrize("command", ALLOWED)
def test_a_folder_of_somebody_else_is_not_refused(tmp_path: Path, command: str) -> None:
    touch(tmp_path, "history.jsonl", "exp_adapter.pth", "raw_images/a.png", "table.csv")
    touch(tmp_path, "notes_result.json", "rows/1.csv", "faces.pdf", "faces.png")
    write_json(tmp_path / "mine_result.json", {"accuracy": 0.5})
    refuse_other_kinds(tmp_path, command)
    (tmp_path / "config.yaml").write_text("mine: 1")
    (tmp_path / "history.jsonl").unlink()
    refuse_other_kinds(tmp_path, command)
    refuse_folder_of_a_run(tmp_path)


@pytest.mark.parametrize("command", ["evaluate", "figure"])
@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind.startswith("results")])
def test_tables_and_figures_may_stand_beside_their_own_results(
    tmp_path: Path, command: str, kind: str
) -> None:
    for number, make in enumerate(MAKERS[kind]):
        folder = tmp_path / str(number)
        make(folder)
        refuse_other_kinds(folder, command, [folder])
        with pytest.raises(S3potError, match=f"holds {kind}"):
            refuse_other_kinds(folder, command, [tmp_path])


@pytest.mark.parametrize("command", ["generate_reference", "inference"])
def test_the_faces_of_segment_go_with_its_results(
    tmp_path: Path, is_refused: Callable[[str, Path, str], None], command: str
) -> None:
    out = tmp_path / "out"
    written_by(out, "segment")
    write_face(out / "faces", "x", seed=0)
    is_refused(command, out / "faces", r"holds results of segment \(../config.yaml\)")
    written_by(tmp_path / "own" / "faces", "generate_reference")
    is_refused("segment", tmp_path / "own", "own/faces holds prepared faces")
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
    written_by(out, "generate_reference")
    assert data_convert.main(arguments) == 2


@pytest.mark.parametrize("name", ["raw_images/a", "faces/a", "truth/a", "train/a"])
@pytest.mark.slow
def test_names_in_any_subfolder_are_continued(
    tmp_path: Path, mini_options: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_photo(Path(f"raw/{name}.png"))
    for _ in range(2):
        assert segment.main(["raw", "--output_dir", "out", *mini_options]) == 0
        references = ["--input_dir", "raw", "--output_dir", "data"]
        assert generate_reference.main([*references, *mini_options]) == 0
        results = ["--datapath", "data", "--output_dir", "results"]
        assert inference.main([*results, *mini_options]) == 0


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


def test_odd_entries_mark_nothing_and_end_nothing(tmp_path: Path) -> None:
    for name in ("x_result.json", "x_align.json", "summary.json", "a", "rows"):
        (tmp_path / name).mkdir()
    touch(tmp_path, "config.yaml", "a/a_align.json", "a/b_result.json")
    (tmp_path / "a" / "c_result.json").symlink_to(tmp_path / "nowhere")
    write_json(tmp_path / "a" / "d_result.json", {"row": 1, "provenance": {"settings": None}})
    write_json(tmp_path / "a" / "e_result.json", {"provenance": {}})
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "locked").mkdir(mode=0)
    assert kind_of(tmp_path) is None


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
            refuse_folder_of_a_run(state / "faces")

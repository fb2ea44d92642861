"""No command replaces a ground truth or a photo; reported from a first trial."""

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
import train_per_image
from s3pot.commands import compare, segment
from s3pot.data.image import write_png
from s3pot.io import write_json

Make = Callable[..., Path]
TRUTH = np.zeros((48, 48), bool)
TRUTH[10:31, 20:41] = True


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of every file, also of hidden ones."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def photo(path: Path, seed: int = 0) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    write_png(path, pixels)


@pytest.fixture
def is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., None]:
    """Check that a command is refused with a message, and that it writes nothing."""

    def check(main: Callable[[list[str]], int], arguments: list[str], message: str) -> None:
        before = contents(tmp_path)
        caplog.clear()
        assert main(arguments) == 2
        (error,) = [text for text in caplog.messages if text.startswith("error: ")]
        assert re.search(message, error), error
        assert contents(tmp_path) == before

    return check


def same_folder(data: Path, spelling: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the path of a data folder in another spelling."""
    if spelling == "relative":
        monkeypatch.chdir(data)
        return "."
    if spelling == "link":
        link = data.parent / "link"
        link.symlink_to(data, target_is_directory=True)
        return str(link)
    if spelling == "dots":
        return f"{data}/../{data.name}"
    return str(data)


@pytest.mark.parametrize("spelling", ["same", "relative", "link", "dots"])
@pytest.mark.parametrize("command", [inference.main, train_per_image.main])
def test_results_do_not_go_into_the_data_folder(
    processed_folder: Make,
    mini_options: list[str],
    is_refused: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[..., int],
    spelling: str,
) -> None:
    data = processed_folder(2)
    out = same_folder(data, spelling, monkeypatch)
    arguments = ["--datapath", str(data), "--output_dir", out, *mini_options]
    is_refused(command, arguments, "is the data folder.*would replace them; choose another")


def test_results_do_not_go_into_a_part_of_the_data_folder(
    processed_folder: Make, mini_options: list[str], is_refused: Callable[..., None]
) -> None:
    part = processed_folder(2, "data/val")
    arguments = ["--datapath", str(part.parent), "--output_dir", str(part), *mini_options]
    is_refused(inference.main, arguments, "is the data folder .*val")


def test_results_do_not_go_beside_the_face_given_by_its_files(
    processed_folder: Make, mini_options: list[str], is_refused: Callable[..., None]
) -> None:
    data = processed_folder(1)
    options = ("--target_img", "--ref_img", "--parsing_mask")
    endings = (".png", "_ref.png", "_parsing_mask.npy")
    files = [
        word for pair in zip(options, endings) for word in (pair[0], f"{data}/face_00{pair[1]}")
    ]
    arguments = [*files, "--output_dir", str(data), *mini_options]
    is_refused(train_per_image.main, arguments, "is the data folder")


def test_results_replace_no_truth_of_another_folder(
    tmp_path: Path,
    processed_folder: Make,
    mini_options: list[str],
    is_refused: Callable[..., None],
) -> None:
    data = processed_folder(2)
    truths = tmp_path / "truth"
    truths.mkdir()
    shutil.copy(data / "face_01_occlusion.png", truths)
    arguments = ["--datapath", str(data), "--output_dir", str(truths), *mini_options]
    is_refused(inference.main, arguments, "face_01_occlusion.png would be replaced, but is not a")
    is_refused(train_per_image.main, arguments, r"no \*_parsing.npy with it.*move the file")


@pytest.mark.slow
def test_results_of_an_interrupted_run_are_replaced(
    tmp_path: Path, processed_folder: Make, mini_options: list[str]
) -> None:
    data = processed_folder(2)
    out = tmp_path / "out"
    arguments = ["--datapath", str(data), "--output_dir", str(out), *mini_options]
    assert inference.main(arguments) == 0
    finished = contents(out)
    (out / "face_00_result.json").unlink()  # written last
    assert inference.main(arguments) == 0
    (out / "face_00_parsing.npy").unlink()
    assert inference.main([*arguments, "--overwrite"]) == 0
    assert contents(out).keys() == finished.keys()


def test_references_do_not_go_into_the_folder_of_truths(
    tmp_path: Path, mini_options: list[str], is_refused: Callable[..., None]
) -> None:
    photo(tmp_path / "in" / "a.png")
    truths = tmp_path / "truth"
    write_png(truths / "a_occlusion.png", TRUTH)
    arguments = ["--input_dir", str(tmp_path / "in"), "--truth_dir", str(truths), *mini_options]
    message = "whose ground truths would be replaced"
    is_refused(generate_reference.main, [*arguments, "--output_dir", str(truths)], message)
    link = tmp_path / "link"
    link.symlink_to(truths, target_is_directory=True)
    is_refused(generate_reference.main, [*arguments, "--output_dir", str(link)], message)
    other = tmp_path / "other"
    write_png(other / "a_visible_face.png", TRUTH)
    message = "a_visible_face.png would be replaced, but is not a result"
    is_refused(generate_reference.main, [*arguments, "--output_dir", str(other)], message)


@pytest.mark.slow
def test_references_go_on_in_their_own_folder(tmp_path: Path, mini_options: list[str]) -> None:
    photo(tmp_path / "in" / "a.png")
    truths = tmp_path / "truth"
    write_png(truths / "a_occlusion.png", TRUTH)
    out = tmp_path / "out"
    folders = ["--input_dir", str(tmp_path / "in"), "--output_dir", str(out), *mini_options]
    assert generate_reference.main(folders) == 0
    assert generate_reference.main([*folders, "--truth_dir", str(truths)]) == 0
    finished = contents(out)
    (out / "a_align.json").unlink()  # written last
    assert generate_reference.main([*folders, "--truth_dir", str(truths)]) == 0
    assert generate_reference.main([*folders, "--truth_dir", str(truths), "--overwrite"]) == 0
    assert contents(out).keys() == finished.keys()


def test_references_do_not_replace_photos(
    tmp_path: Path, mini_options: list[str], is_refused: Callable[..., None]
) -> None:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "sub" / "a.png", 1)
    out = ["--output_dir", str(tmp_path / "in"), *mini_options]
    arguments = ["--input_dir", str(tmp_path / "in" / "a.png"), *out]
    is_refused(generate_reference.main, arguments, "is the input folder")
    arguments = ["--input_dir", str(tmp_path / "in" / "sub"), *out]
    is_refused(generate_reference.main, arguments, "a.png would be replaced.*Is it a photo")


def test_segment_replaces_neither_truths_nor_photos(
    tmp_path: Path, mini_options: list[str], is_refused: Callable[..., None]
) -> None:
    photos = tmp_path / "photos"
    photo(photos / "a.png")
    truths = photos / "truth"
    write_png(truths / "a_occlusion.png", TRUTH)
    arguments = [str(photos), "--output_dir", str(truths), *mini_options]
    is_refused(segment.main, arguments, "a_occlusion.png would be replaced, but is not a result")
    photo(tmp_path / "out" / "faces" / "b.png")
    for given in (tmp_path / "out" / "faces", tmp_path / "out" / "faces" / "b.png"):
        arguments = [str(given), "--output_dir", str(tmp_path / "out"), *mini_options]
        is_refused(segment.main, arguments, "or its faces go there; choose another folder")


def test_a_truth_is_not_scored_against_itself(
    tmp_path: Path,
    processed_folder: Make,
    mini_options: list[str],
    is_refused: Callable[..., None],
) -> None:
    data = processed_folder(2)
    link = tmp_path / "link"
    link.symlink_to(data, target_is_directory=True)
    for results in (data, link):
        arguments = ["--datapath", str(data), "--results", str(results), *mini_options]
        is_refused(evaluate.main, arguments, "is the data folder itself.*give the folder of the")
    path = tmp_path / "suite.yaml"
    row = {"name": "theirs", "method": "folder", "path": str(data)}
    path.write_text(yaml.safe_dump({"datapath": str(data), "rows": [row]}))
    suite = ["--suite", str(path), "--output_dir", str(tmp_path / "table"), *mini_options]
    for more in ([], ["--dry_run"]):
        is_refused(evaluate.main, [*suite, *more], "row .*: .* is the data folder itself")


def test_a_comparison_does_not_replace_the_gallery_of_a_run(
    tmp_path: Path, is_refused: Callable[..., None]
) -> None:
    row = {"name": "a", "occluded": "yes", "occluded_share": 0.2, "occlusion_iou": 0.5}
    runs = [tmp_path / name for name in ("a", "b", "c")]
    for run in runs:
        write_json(run / "summary.json", [row])
        (run / "index.html").write_text("its gallery")
    (tmp_path / "link").symlink_to(runs[1], target_is_directory=True)
    given = [str(run) for run in runs[:2]]
    for out in (*runs, tmp_path / "link"):
        message = "is a result folder .*whose gallery index.html the comparison would replace"
        is_refused(compare.main, [*given, "--output_dir", str(out)], message)
    for _ in range(2):
        assert compare.main([*given, "--output_dir", str(tmp_path / "out")]) == 0

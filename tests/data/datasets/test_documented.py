"""The commands of docs/USAGE.md work as documented, on small data sets of all formats."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

import evaluate
import generate_reference
from s3pot.__main__ import main
from s3pot.data.datasets.formats import READERS
from tests.builders import read_csv
from tests.data.datasets.layouts import LAYOUTS, make

ROOT = Path(__file__).resolve().parents[3]


SCRIPTS = {"generate_reference.py": generate_reference.main, "evaluate.py": evaluate.main}


def section() -> str:
    """The section on other data sets."""
    text = (ROOT / "docs" / "USAGE.md").read_text(encoding="utf-8")
    match = re.search(r"^## Other people's data\n(.*?)^## ", text, re.M | re.S)
    assert match is not None
    return match[1]


def commands(program: str) -> list[list[str]]:
    """The lines of the section that start a program."""
    return [shlex.split(line) for line in re.findall(rf"^{program} .*$", section(), re.M)]


def ways_to_tables() -> dict[str, list[list[str]]]:
    """The commands that lead from a public data set to the paper's table, by format."""
    match = re.search(r"^From a public data set .*?^```\n(.*?)^```", section(), re.M | re.S)
    assert match is not None
    ways = [
        [shlex.split(line) for line in way.splitlines()] for way in match[1].strip().split("\n\n")
    ]
    return {way[0][way[0].index("--from") + 1]: way for way in ways}


CONVERSIONS = {
    command[command.index("--from") + 1]: command for command in commands("s3pot data convert")
}


def test_each_format_has_an_example() -> None:
    assert set(CONVERSIONS) == {*LAYOUTS, "faces"} == set(READERS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_example_of_a_format_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = CONVERSIONS[name]
    monkeypatch.chdir(tmp_path)
    layout = make(name, tmp_path / command[command.index("--input_dir") + 1])
    if name == "coco":
        annotations = layout.root / "annotations"
        (annotations / "instances.json").rename(annotations / "faces.json")
    assert main(command[1:]) == 0
    output = tmp_path / command[command.index("--output_dir") + 1]
    assert json.loads((output / "dataset.json").read_text())["images"] == len(layout.truth)


def test_the_examples_of_validate_and_split_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make("realocc", tmp_path / "RealOcc")
    make("folders", tmp_path / "mine")
    make("authors", tmp_path / "authors")
    faces = ["--from", "authors", "--to", "faces", "--input_dir", "authors"]
    assert main(["data", "convert", *faces, "--output_dir", "dataset/faces"]) == 0
    Path("identity.txt").write_text("1 ann\n12 bob\n")
    assert main(CONVERSIONS["faces"][1:]) == 0
    assert Path("to_correct/images/12.json").is_file()
    examples = [command for command in commands("s3pot data validate") if Path(command[3]).is_dir()]
    assert len(examples) == 3
    for command in examples:
        assert main(command[1:]) == 0
    for command in commands("s3pot data split"):
        target = tmp_path / "parts" / command[command.index("--group_by") + 1]
        assert main([*command[1:], "--output_dir", str(target)]) == 0
        assert (target / "train.txt").read_text().split()


def test_each_public_data_set_has_its_way_to_a_table() -> None:
    suites = {way[-1][way[-1].index("--suite") + 1] for way in ways_to_tables().values()}
    names = {Path(suite).stem for suite in suites}
    there = {path.stem for path in (ROOT / "configs" / "tables" / "paper").glob("*.yaml")}
    assert names == there - {"authors", "sam"}  # read as it is; the data of realocc


@pytest.mark.slow
@pytest.mark.parametrize("name", ways_to_tables())
def test_the_way_to_a_table(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mini_options: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    convert, validate, reference, dry_run, table = ways_to_tables()[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    layout = make(name, tmp_path / convert[convert.index("--input_dir") + 1])
    assert main(convert[1:]) == 0
    assert main(validate[1:]) == 0
    assert SCRIPTS[reference[1]]([*reference[2:], *mini_options]) == 0
    capsys.readouterr()
    assert SCRIPTS[dry_run[1]]([*dry_run[2:], "model.weights_dir=nowhere"]) == 1
    printed = capsys.readouterr().out
    assert "missing (1):" in printed and "sam_vit_h" in printed  # everything else exists
    assert SCRIPTS[dry_run[1]]([*dry_run[2:], *mini_options]) == 0
    assert table == dry_run[:-1]
    short = ["train.epochs=1", "per_image.epochs=1"]
    assert SCRIPTS[table[1]]([*table[2:], *mini_options, *short]) == 0
    output = tmp_path / table[table.index("--output_dir") + 1]
    rows = read_csv(output / "table.csv")
    assert len(rows) == 12
    faces = {row["face"] for row in read_csv(output / "per_image.csv")}
    assert faces == set(layout.truth)
    assert all(row["truth"].startswith("parsed region minus true visible face") for row in rows)

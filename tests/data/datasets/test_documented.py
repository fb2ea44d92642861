"""The commands of docs/USAGE.md do what it says, on data sets in the layouts of their formats."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from s3pot.__main__ import main
from s3pot.data.datasets.formats import READERS
from tests.data.datasets.layouts import LAYOUTS, make

ROOT = Path(__file__).resolve().parents[3]


def commands(program: str) -> list[list[str]]:
    """The lines of the section on other people's data that start a program."""
    text = (ROOT / "docs" / "USAGE.md").read_text(encoding="utf-8")
    section = re.search(r"^## Other people's data\n(.*?)^## ", text, re.M | re.S)
    assert section is not None
    lines = re.findall(rf"^{program} .*$", section[1], re.M)
    return [shlex.split(line) for line in lines]


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
    for command in commands("s3pot data validate"):
        assert main(command[1:]) == 0
    for command in commands("s3pot data split"):
        target = tmp_path / "parts" / command[command.index("--group_by") + 1]
        assert main([*command[1:], "--output_dir", str(target)]) == 0
        assert (target / "train.txt").read_text().split()

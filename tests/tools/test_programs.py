"""The tools as programs: their names in the help, and what they say when they are interrupted."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import NoReturn

import pytest

import s3pot_mini.__main__ as recipes
import tools

FOLDER = Path(tools.__file__).parent
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py") if "def main(" in path.read_text())
OTHER_NAMES = {"mutants": "bash test.sh --mutants"}
MEASUREMENTS = {
    "drawn_crops": [],
    "photo_scenes": ["--photos", "a", "--out", "b"],
    "real_photos": ["--photos", "a", "--out", "b"],
    "rotated_photos": [],
    "square_images": [],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_tool_calls_itself_as_it_is_called(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(f"tools.{name}").main(["--help"])
    assert stop.value.code == 0
    program = OTHER_NAMES.get(name, f"python -m tools.{name}")
    assert capsys.readouterr().out.startswith(f"usage: {program} [-h]")


def test_the_recipes_call_themselves_as_they_are_called(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        recipes.main(["--help"])
    assert capsys.readouterr().out.startswith("usage: python -m s3pot_mini [-h]")


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_an_interrupted_measurement_does_not_say_that_it_resumes(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: object) -> NoReturn:
        raise KeyboardInterrupt

    tool = importlib.import_module(f"tools.{name}")
    monkeypatch.setattr(tool, "measure", interrupt)
    assert tool.main(MEASUREMENTS[name]) == 130
    assert capsys.readouterr().err == "interrupted; the same command starts over\n"

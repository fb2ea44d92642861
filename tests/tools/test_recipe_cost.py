"""The cost of a training step: which steps are counted, and the whole tool on a tiny recipe."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s3pot_mini import parser, pool
from tools import recipe_cost
from tools.recipe_cost import Clock

SHARD, SIZE = 8, 64


def test_the_first_and_the_last_step_do_not_count() -> None:
    clock = Clock()
    clock.marks = [(0.0, 0.0), (50.0, 90.0), (52.0, 93.0), (56.0, 98.0)]  # when steps begin
    assert clock.seconds() == (3.0, 4.0)


@pytest.mark.slow
def test_the_whole_tool(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"SHARD": SHARD, "SIZE": SIZE}
    for name, value in small.items():
        monkeypatch.setattr(pool, name, value)
    monkeypatch.setattr(parser, "INPUT", SIZE)
    monkeypatch.setattr(parser, "WIDTH", 4)
    monkeypatch.setattr(parser, "SCHEDULE", replace(parser.SCHEDULE, steps=3600))
    monkeypatch.setattr(recipe_cost, "FACE_COUNT", 3 * SHARD)
    monkeypatch.setattr(recipe_cost, "TIMED_PICTURES", 1)
    trained = parser.fit
    assert recipe_cost.main(["--stages", "parser", "--batch", "2", "--steps", "3"]) == 0
    assert parser.fit is trained
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["drawing", "faces"], ["drawing", "scenes"]]
    name, processor, wall, steps, hours = lines[3].split()
    assert (name, steps) == ("parser", "3600")
    assert float(wall) > 0
    assert float(hours) == pytest.approx(float(processor), abs=0.011)  # an hour is 3600 seconds
    with pytest.raises(SystemExit):
        recipe_cost.main(["--steps", "2"])
    assert "at least 3" in capsys.readouterr().err

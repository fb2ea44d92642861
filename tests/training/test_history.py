from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from s3pot.training.curve import draw_curve, write_curve
from s3pot.training.history import EpochRecord, FitRecord, MeanLosses, write_history
from tests.builders import read_csv


def losses(total: float) -> MeanLosses:
    return MeanLosses(face=total - 1, occlusion=0.75, hinge=0.5, total=total)


GENERAL = [
    EpochRecord(1, 0.1, losses(0.5), losses(0.4)),
    EpochRecord(2, 0.05, losses(0.2), losses(0.1)),
    EpochRecord(3, 0.01, losses(0.1), losses(0.3)),
]


def test_columns_of_general_training(tmp_path: Path) -> None:
    write_history(GENERAL, f"{tmp_path}/")
    rows = read_csv(tmp_path / "history.csv")
    terms = ("face", "occlusion", "hinge", "total")
    columns = [f"{part}_{term}" for part in ("train", "val") for term in terms]
    assert list(rows[0]) == ["epoch", "lr", *columns]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[1]["val_total"]) == 0.1
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [record.as_row() for record in GENERAL]


def test_columns_of_one_image(tmp_path: Path) -> None:
    write_history([FitRecord(1, 0.1, losses(0.5))], f"{tmp_path}/a_")
    text = (tmp_path / "a_history.csv").read_text()
    assert text == "epoch,lr,face,occlusion,hinge,total\n1,0.1,-0.5,0.75,0.5,0.5\n"


@pytest.mark.parametrize("record", [GENERAL[0], EpochRecord(4, 0.1, losses(0.25))])
def test_a_record_comes_back_from_its_row(record: EpochRecord) -> None:
    assert EpochRecord.from_row(json.loads(json.dumps(record.as_row()))) == record


def test_validation_decides_if_there_is_any() -> None:
    assert GENERAL[0].selection_loss == 0.4
    assert EpochRecord(4, 0.1, losses(0.25)).selection_loss == 0.25


@pytest.mark.figures
@pytest.mark.slow
def test_the_curve_holds_every_term_and_marks_the_best_epoch(tmp_path: Path) -> None:
    figure = draw_curve([record.as_row() for record in GENERAL])
    panels = {axes.get_label(): axes for axes in figure.axes}
    assert set(panels) == {"total", "face", "occlusion", "hinge"}
    lines = {line.get_label(): line for line in panels["total"].lines}
    assert list(lines["validation"].get_ydata()) == [0.4, 0.1, 0.3]
    best = lines["best: 0.1000 in epoch 2"]
    assert (list(best.get_xdata()), list(best.get_ydata())) == ([2], [0.1])
    assert list(panels["face"].lines[0].get_ydata()) == [-0.5, -0.8, -0.9]
    write_curve(GENERAL, f"{tmp_path}/")
    with Image.open(tmp_path / "loss_curve.png") as image:
        assert image.size == (1050, 825)


def test_no_curve_without_an_epoch(tmp_path: Path) -> None:
    write_curve([], f"{tmp_path}/")
    assert not list(tmp_path.iterdir())

"""The detector: the cells responsible for a face, its losses, training and resuming."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from s3pot.rg.mini_detector import load_mini_detector
from s3pot.rg.nets.face_detector import STRIDES, CellFaces, FaceDetectorSize, cell_centers
from s3pot.weights.mini_set import read_mini
from s3pot_mini import detector, loop
from s3pot_mini.detector import SceneBatch, assign, box_overlaps, collate, step_losses
from s3pot_synthetic.crowd import CrowdScene
from s3pot_synthetic.crowd_bank import draw_bank

CPU = torch.device("cpu")
SIDE = 128
FACES = np.array([[10, 12, 14, 18], [20, 60, 50, 60], [64, 0, 90, 120]], np.float32)


def scene(boxes: np.ndarray, ignored: np.ndarray | None = None) -> CrowdScene:
    middle = boxes[:, None, :2] + boxes[:, None, 2:] / 2
    landmarks = middle + np.array([[-1, -1], [1, -1], [0, 0], [-1, 1], [1, 1]]) * (
        boxes[:, None, 2:] / 5
    )
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    none = np.zeros((0, 4), np.float32)
    return CrowdScene(
        image, boxes, landmarks.astype(np.float32), none if ignored is None else ignored
    )


def batch() -> SceneBatch:
    hidden = np.array([[100, 90, 20, 20]], np.float32)
    return collate([scene(FACES), scene(FACES[:1], hidden), scene(FACES[:0])], CPU)


def answers(batch: SceneBatch, certain: float = 12.0) -> CellFaces:
    """The output of a perfect network."""
    owner, _ = assign(batch)
    row = torch.arange(len(owner))[:, None]
    number = owner.clamp_min(0)
    logits = torch.where(owner >= 0, certain, -certain)
    return CellFaces(logits, batch.boxes[row, number], batch.landmarks[row, number])


def test_padding() -> None:
    made = batch()
    assert made.images.shape == (3, 3, SIDE, SIDE) and made.boxes.shape == (3, 3, 4)
    assert made.is_face.tolist() == [[True] * 3, [True, False, False], [False] * 3]


def test_cells_that_answer_by_an_obvious_loop() -> None:
    made = batch()
    owner, judged = assign(made)
    cells = []
    for stride in STRIDES:
        side = SIDE // stride
        cells += [((x + 0.5) * stride - 0.5, (y + 0.5) * stride - 0.5, stride)
                  for y in range(side) for x in range(side)]  # fmt: skip
    for row in range(3):
        for number, (x, y, stride) in enumerate(cells):
            low, high = detector.RANGES[STRIDES.index(stride)]
            best, nearest = -1, float("inf")
            for face in range(3):
                if not made.is_face[row, face]:
                    continue
                left, top, width, height = made.boxes[row, face].tolist()
                longest = max(width, height)
                away = max(abs(x - left - width / 2), abs(y - top - height / 2))
                reach = max(detector.NEAR * longest, 0.75 * stride)
                if low <= longest < high and away <= reach and away < nearest:
                    best, nearest = face, away
            assert int(owner[row, number]) == best
            if best >= 0:
                assert judged[row, number] == 1
    assert set(owner[0].tolist()) == {-1, 0, 1, 2}
    # The ignored face of the second scene does not count; the same place in the third one does.
    inside = [95 < x < 125 and 85 < y < 115 for x, y, _ in cells]
    core = [100 < x < 120 and 90 < y < 110 for x, y, _ in cells]
    assert not judged[1][torch.tensor(core)].any()
    assert judged[2][torch.tensor(inside)].all()


def test_cell_centers_are_between_the_pixels_of_a_cell() -> None:
    assert cell_centers(2, 3, 8)[:4].tolist() == [[3.5, 3.5], [11.5, 3.5], [19.5, 3.5], [3.5, 11.5]]


def test_overlaps_by_hand() -> None:
    first = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 4, 4]])
    second = torch.tensor([[1.0, 0, 2, 2], [3, 3, 1, 1], [0, 0, 4, 4]])
    overlap, generous = box_overlaps(first, second)
    torch.testing.assert_close(overlap, torch.tensor([1 / 3, 0.0, 1.0]))
    torch.testing.assert_close(generous, torch.tensor([1 / 3, -14 / 16, 1.0]))


def test_losses_fall_to_nothing_for_the_truth_and_rise_for_each_error() -> None:
    made = batch()
    right = answers(made)
    losses = step_losses(right, made)
    assert all(float(value) < 1e-3 for value in losses.values())
    shifted = CellFaces(right.logits, right.boxes + torch.tensor([3.0, 0, 0, 0]), right.landmarks)
    assert float(step_losses(shifted, made)["box"]) > 0.05
    moved = CellFaces(right.logits, right.boxes, right.landmarks + 2)
    assert float(step_losses(moved, made)["landmark"]) > 1e-3
    blind = CellFaces(torch.full_like(right.logits, -12.0), right.boxes, right.landmarks)
    assert float(step_losses(blind, made)["focal"]) > 1
    credulous = CellFaces(torch.full_like(right.logits, 12.0), right.boxes, right.landmarks)
    assert float(step_losses(credulous, made)["focal"]) > 1


def test_scenes_without_faces_teach_only_that() -> None:
    made = collate([scene(FACES[:0])], CPU)
    cells = sum((SIDE // stride) ** 2 for stride in STRIDES)
    faces = CellFaces(torch.zeros(1, cells), torch.ones(1, cells, 4), torch.ones(1, cells, 5, 2))
    losses = step_losses(faces, made)
    assert float(losses["focal"]) > 0 and float(losses["box"]) == float(losses["landmark"]) == 0


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe that takes a few seconds."""
    size = FaceDetectorSize(stem=(4, 4), widths=(8, 8, 8), depths=(1, 1, 1), neck=8)
    monkeypatch.setattr(detector, "SIZE", size)
    monkeypatch.setattr(detector, "SIDE", 64)
    monkeypatch.setattr(detector, "HELD_OUT", 2)
    monkeypatch.setattr(loop, "SAVE_EVERY", 2)
    monkeypatch.setattr(loop, "LOG_EVERY", 1)


SCHEDULE = loop.Schedule(steps=4, batch=2, lr=1e-3)


class Stop(Exception):
    """The process is killed during training."""


@pytest.mark.slow
def test_trains_resumes_and_exports(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, weights = tmp_path / "work", tmp_path / "weights"
    detector.train(work, weights, CPU, SCHEDULE, workers=0, people=4)
    whole = read_mini("detector", weights)["state_dict"]
    rows = [json.loads(line) for line in (work / "detector.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4] and "found" in rows[-1]

    (work / "detector_last.pt").unlink()
    losses = detector.step_losses
    calls = []

    def stopping(faces: CellFaces, batch: SceneBatch) -> loop.Losses:
        calls.append(1)
        if len(calls) == 4:
            raise Stop
        return losses(faces, batch)

    monkeypatch.setattr(detector, "step_losses", stopping)
    with pytest.raises(Stop):
        detector.train(work, weights, CPU, SCHEDULE, workers=0, people=4)
    monkeypatch.setattr(detector, "step_losses", losses)
    detector.train(work, weights, CPU, SCHEDULE, workers=0, people=4)
    resumed = read_mini("detector", weights)["state_dict"]
    assert all(torch.equal(resumed[key], value) for key, value in whole.items())
    assert load_mini_detector(weights).detect(np.zeros((40, 30, 3), np.uint8)) == []


@pytest.mark.slow
def test_other_processes_put_the_same_scenes_together(tmp_path: Path) -> None:
    draw_bank(tmp_path, people=2, places=8, workers=0)
    here, there = (detector.SceneStream(tmp_path, SCHEDULE, workers) for workers in (0, 1))
    for step in range(2):
        for mine, theirs in zip(here.batch(step), there.batch(step)):
            np.testing.assert_array_equal(mine.image, theirs.image)
            np.testing.assert_array_equal(mine.landmarks, theirs.landmarks)

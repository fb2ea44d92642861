from __future__ import annotations

import math

import pytest
import torch

from s3pot.losses import point_losses


def case(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(20, 20, generator=random, requires_grad=True)
    points = torch.randint(0, 20, (count, 2), generator=random).float()
    return logits, points, torch.randint(0, 2, (count,), generator=random)


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_plain_loop(seed: int) -> None:
    logits, points, labels = case(seed, 31)
    face, hidden, hinge = [], [], []
    for (x, y), label in zip(points.tolist(), labels.tolist()):
        p = 1 / (1 + math.exp(-10 * float(logits.detach()[int(y), int(x)])))
        (face if label else hidden).append(p)
        if label:
            hinge.append(max(0.5 - p, 0.0))
    want = (-sum(face) / len(face), sum(hidden) / len(hidden), sum(hinge) / len(hinge))
    got = point_losses(logits, points, labels)
    terms = [float(t.detach()) for t in (got.face, got.occlusion, got.hinge)]
    assert terms == pytest.approx(want, abs=1e-6)
    assert float(got.total) == pytest.approx(want[0] + want[1] + 0.5 * want[2], abs=1e-6)


def test_settings_count() -> None:
    logits, points, labels = case(0, 31)
    base = point_losses(logits, points, labels)
    assert float(point_losses(logits, points, labels, sharpness=1).face) != float(base.face)
    assert float(point_losses(logits, points, labels, hinge_margin=0.9).hinge) > float(base.hinge)
    none = point_losses(logits, points, labels, hinge_weight=0)
    assert float(none.total) == pytest.approx(float(base.face + base.occlusion), abs=1e-6)


@pytest.mark.parametrize("label", [0, 1])
def test_a_term_without_points_is_zero(label: int) -> None:
    logits, points, _ = case(0, 7)
    got = point_losses(logits, points, torch.full((7,), label))
    if label:
        assert float(got.occlusion) == 0
        assert float(got.face) < 0
    else:
        assert (float(got.face), float(got.hinge)) == (0, 0)
        assert float(got.occlusion) > 0
    got.total.backward()
    assert torch.isfinite(logits.grad).all()


def test_no_points_at_all() -> None:
    logits = torch.randn(4, 4, requires_grad=True)
    got = point_losses(logits, torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
    got.total.backward()
    assert float(got.total) == 0
    assert not logits.grad.any()


def test_gradient_pulls_face_up_and_occlusion_down() -> None:
    logits = torch.zeros(2, 2, requires_grad=True)
    points = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    point_losses(logits, points, torch.tensor([1, 0])).total.backward()
    assert float(logits.grad[0, 0]) < 0 < float(logits.grad[1, 1])
    assert float(logits.grad[0, 1]) == float(logits.grad[1, 0]) == 0


def test_points_are_x_y() -> None:
    logits = torch.full((3, 5), -9.0)
    logits[1, 4] = 9.0
    assert float(point_losses(logits, torch.tensor([[4.0, 1.0]]), torch.tensor([1])).face) < -0.99

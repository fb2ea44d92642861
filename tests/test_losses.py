from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from s3pot.losses import PADDING_LABEL, neighbors_of, point_losses


def case(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, generator=random, requires_grad=True)
    return logits, torch.randint(0, 2, (count,), generator=random)


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_plain_loop(seed: int) -> None:
    logits, labels = case(seed, 31)
    face, hidden, hinge = [], [], []
    for logit, label in zip(logits.tolist(), labels.tolist()):
        p = 1 / (1 + math.exp(-10 * logit))
        (face if label else hidden).append(p)
        if label:
            hinge.append(max(0.5 - p, 0.0))
    want = (-sum(face) / len(face), sum(hidden) / len(hidden), sum(hinge) / len(hinge))
    got = point_losses(logits, labels)
    terms = [float(t.detach()) for t in (got.face, got.occlusion, got.hinge)]
    assert terms == pytest.approx(want, abs=1e-6)
    assert float(got.total) == pytest.approx(want[0] + want[1] + 0.5 * want[2], abs=1e-6)


def test_settings_count() -> None:
    logits, labels = case(0, 31)
    base = point_losses(logits, labels)
    assert float(point_losses(logits, labels, sharpness=1).face) != float(base.face)
    assert float(point_losses(logits, labels, hinge_margin=0.9).hinge) > float(base.hinge)
    none = point_losses(logits, labels, hinge_weight=0)
    assert float(none.total) == pytest.approx(float(base.face + base.occlusion), abs=1e-6)


def test_each_term_has_its_weight_in_the_total() -> None:
    logits, labels = case(1, 31)
    got = point_losses(logits, labels, face_weight=2, occlusion_weight=3, hinge_weight=5)
    want = 2 * got.face + 3 * got.occlusion + 5 * got.hinge
    assert float(got.total) == pytest.approx(float(want), abs=1e-6)
    plain = point_losses(logits, labels)
    for term in ("face", "occlusion", "hinge"):  # the terms themselves carry no weight
        assert float(getattr(got, term)) == float(getattr(plain, term))


@pytest.mark.parametrize("label", [0, 1])
def test_a_term_without_points_is_zero(label: int) -> None:
    logits, _ = case(0, 7)
    got = point_losses(logits, torch.full((7,), label))
    if label:
        assert float(got.occlusion) == 0
        assert float(got.face) < 0
    else:
        assert (float(got.face), float(got.hinge)) == (0, 0)
        assert float(got.occlusion) > 0
    got.total.backward()
    assert torch.isfinite(logits.grad).all()


def test_no_points_at_all() -> None:
    logits = torch.randn(4, 0, requires_grad=True)
    got = point_losses(logits, torch.zeros(4, 0, dtype=torch.int64))
    got.total.sum().backward()
    assert got.total.tolist() == [0] * 4


def test_gradient_pulls_face_up_and_occlusion_down() -> None:
    logits = torch.zeros(3, requires_grad=True)
    point_losses(logits, torch.tensor([1, 0, PADDING_LABEL])).total.backward()
    assert float(logits.grad[0]) < 0 < float(logits.grad[1])
    assert float(logits.grad[2]) == 0


def test_a_padded_batch_equals_its_images() -> None:
    images = [case(seed, count) for seed, count in enumerate((31, 7, 1, 0))]
    logits = torch.full((4, 40), 3.0)
    labels = torch.full((4, 40), PADDING_LABEL)
    for row, (image_logits, image_labels) in enumerate(images):
        logits[row, : len(image_logits)] = image_logits.detach()
        labels[row, : len(image_labels)] = image_labels
    batch = point_losses(logits, labels)
    for row, image in enumerate(images):
        single = point_losses(*image)
        for term in vars(single):
            torch.testing.assert_close(getattr(batch, term)[row], getattr(single, term).detach())


def interpolated(
    logits: torch.Tensor, points: torch.Tensor, size: int, align_corners: bool
) -> torch.Tensor:
    """Interpolate logits (B, h, h) at points (B, N, 2)."""
    neighbors = neighbors_of(points, size, logits.shape[-1], align_corners)
    around = logits.flatten(1).gather(1, neighbors.places.flatten(1))
    return neighbors.interpolate(around.unflatten(1, (-1, 4)))


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("low", "size"), [(8, 32), (256, 1024), (9, 31)])
def test_interpolation_equals_enlarging_the_whole_mask(
    low: int, size: int, align_corners: bool
) -> None:
    random = torch.Generator().manual_seed(size)
    logits = torch.randn(3, low, low, generator=random, requires_grad=True)
    points = torch.randint(0, size, (3, 60, 2), generator=random).float()
    points[:, :4] = torch.tensor([[0, 0], [size - 1, size - 1], [0, size - 1], [size - 1, 0]])
    weights = torch.randn(3, 60, generator=random)

    whole = F.interpolate(
        logits[:, None], (size, size), mode="bilinear", align_corners=align_corners
    )
    x, y = points.long().unbind(dim=-1)
    want = whole[:, 0][torch.arange(3)[:, None], y, x]
    (want_gradient,) = torch.autograd.grad((want * weights).sum(), logits)

    got = interpolated(logits, points, size, align_corners)
    (gradient,) = torch.autograd.grad((got * weights).sum(), logits)
    # Places are float32: a pixel's share of its neighbor is off by 1e-7 of the width.
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6 * low)
    torch.testing.assert_close(gradient, want_gradient, rtol=1e-5, atol=1e-6 * low)


def test_points_are_x_y() -> None:
    square = torch.full((1, 5, 5), -9.0)
    square[0, 1, 4] = 9.0
    at = interpolated(square, torch.tensor([[[4.0, 1.0], [1.0, 4.0]]]), 5, True)
    assert at.tolist() == [[9.0, -9.0]]

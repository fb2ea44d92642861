"""Several images in one decode against one image at a time."""

from __future__ import annotations

import pytest
import torch

from s3pot.adapter import PromptAdapter
from s3pot.losses import PADDING_LABEL, point_losses
from s3pot.pipeline import (
    PipelineSettings,
    batch_prompts,
    decode_batch,
    logits_at_points,
    segment,
)
from s3pot.sam.frozen import FrozenSam
from s3pot.types import Prompts


def prompts_of(seed: int, count: int) -> Prompts:
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count,), generator=random).sort(descending=True).values
    return Prompts(
        name=f"face_{seed}",
        image_tokens=torch.randn(32, 8, 8, generator=random),
        points_sam=torch.randint(0, 64, (count, 2), generator=random).float(),
        labels=labels,
        similarity=torch.zeros(8, 8),
        first_point_sam=torch.zeros(2),
        region_sam=torch.ones(64, 64, dtype=torch.bool),
    )


@pytest.fixture
def faces() -> list[Prompts]:
    return [prompts_of(seed, count) for seed, count in enumerate((9, 30, 1, 17))]


@pytest.fixture
def adapter() -> PromptAdapter:
    torch.manual_seed(1)
    return PromptAdapter(32)


def test_prompts_are_filled_up_to_the_longest(faces: list[Prompts]) -> None:
    batch = batch_prompts(faces)
    assert batch.points_sam.shape == (4, 30, 2)
    assert batch.prompt_mask is not None
    assert batch.prompt_mask.sum(dim=1).tolist() == [10, 31, 2, 18]
    assert ((batch.labels == PADDING_LABEL).sum(dim=1) == torch.tensor([21, 0, 29, 13])).all()
    assert batch_prompts([faces[0], faces[0]]).prompt_mask is None


@pytest.mark.parametrize("with_adapter", [True, False])
def test_a_batch_equals_one_by_one(
    tiny_sam: FrozenSam, adapter: PromptAdapter, faces: list[Prompts], with_adapter: bool
) -> None:
    used = adapter if with_adapter else None
    with torch.no_grad():
        together = decode_batch(tiny_sam, used, batch_prompts(faces), need_weights=True)
        for row, face in enumerate(faces):
            alone = decode_batch(tiny_sam, used, batch_prompts([face]), need_weights=True)
            torch.testing.assert_close(
                together.low_logits[row], alone.low_logits[0], rtol=1e-4, atol=1e-5
            )
            if with_adapter:
                assert together.attention is not None and alone.attention is not None
                count = len(face.labels)
                places = [*range(count), together.attention.shape[1] - 1]  # the last is SAM's pad
                weights = together.attention[row][places][:, places]
                torch.testing.assert_close(weights, alone.attention[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("align_corners", [True, False])
def test_losses_and_gradients_equal_those_of_whole_masks_one_by_one(
    tiny_sam: FrozenSam, adapter: PromptAdapter, faces: list[Prompts], align_corners: bool
) -> None:
    settings = PipelineSettings(align_corners=align_corners)
    totals = []
    for face in faces:
        logits = segment(tiny_sam, adapter, face, settings).logits_sam
        x, y = face.points_sam.long().unbind(dim=1)
        totals.append(point_losses(logits[y, x], face.labels).total)
    want = torch.stack(totals)
    want_gradients = torch.autograd.grad(want.sum(), list(adapter.parameters()))

    batch = batch_prompts(faces)
    prediction = decode_batch(tiny_sam, adapter, batch)
    got = point_losses(logits_at_points(tiny_sam, prediction, batch, settings), batch.labels).total
    gradients = torch.autograd.grad(got.sum(), list(adapter.parameters()))
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    for gradient, want_gradient in zip(gradients, want_gradients):
        torch.testing.assert_close(gradient, want_gradient, rtol=1e-3, atol=1e-5)


def test_weights_are_none_unless_asked_for(
    tiny_sam: FrozenSam, adapter: PromptAdapter, faces: list[Prompts]
) -> None:
    assert decode_batch(tiny_sam, adapter, batch_prompts(faces)).attention is None
    assert segment(tiny_sam, None, faces[0], PipelineSettings()).attention is None


def test_an_image_without_points_is_refused(faces: list[Prompts]) -> None:
    with pytest.raises(ValueError, match="face_9: no prompt point"):
        batch_prompts([*faces, prompts_of(9, 0)])

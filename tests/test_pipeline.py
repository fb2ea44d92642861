"""The stages of the method against their expected results, and batches against single faces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders import prompts_of
from torch import Tensor, nn
from torch.nn import functional as F

from s3pot.adapter import PromptAdapter
from s3pot.labels import OCCLUSION_CLASS, REGION_CLASSES
from s3pot.losses import PADDING_LABEL, point_losses
from s3pot.occlusion_decision import OcclusionDecision
from s3pot.pipeline import (
    S3POT,
    OcclusionSegmenter,
    PipelineSettings,
    ReferenceGenerator,
    batch_prompts,
    split_region,
)
from s3pot.sam.frozen import FrozenSam
from s3pot.types import AlignedFace, Prediction, Prompts


def face_of(seed: int, parsing_class: int = 6, size: tuple[int, int] = (50, 40)) -> AlignedFace:
    random = np.random.default_rng(seed)
    image, reference = random.integers(0, 256, (2, *size, 3), dtype=np.uint8)
    parsing = np.full(size, parsing_class, np.uint8)
    return AlignedFace(f"face_{seed}", image, parsing, reference)


@pytest.fixture
def segmenter(tiny_sam: FrozenSam) -> OcclusionSegmenter:
    return OcclusionSegmenter(tiny_sam)


@pytest.fixture
def prompts() -> list[Prompts]:
    return [prompts_of(seed, count) for seed, count in enumerate((9, 30, 1, 17))]


@pytest.fixture
def adapter() -> PromptAdapter:
    torch.manual_seed(1)
    return PromptAdapter(32)


# RG


class HalfParser(nn.Module):
    """Labels at half size: 6 where red is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def parse(self, image: Tensor) -> Tensor:
        return ((image[:, 0, ::2, ::2] > 0.5) * 6).byte()


class GrayInverter:
    """The mean color of the image, at another size."""

    def invert(self, image: Tensor, labels: Tensor) -> Tensor:
        assert labels.shape == (1, 4, 6)
        return image.mean(dim=(2, 3), keepdim=True).expand(1, 3, 16, 16)


class NoisyInverter:
    """Random noise."""

    def invert(self, image: Tensor, labels: Tensor) -> Tensor:
        return torch.rand(1, 3, 16, 16)


def test_image_parsing_and_reference_take_the_working_size() -> None:
    image = np.zeros((8, 12, 3), np.uint8)
    image[:4] = 255
    face = ReferenceGenerator(HalfParser(), GrayInverter()).generate(image, "a")  # type: ignore
    assert face.name == "a"
    assert face.image is image
    assert (face.parsing[:4] == 6).all()
    assert not face.parsing[4:].any()
    assert (face.reference == 128).all()
    assert face.reference.shape == (8, 12, 3)
    assert face.parsing.dtype == np.uint8


def test_a_reference_depends_on_its_image_and_the_seed_alone() -> None:
    image = np.zeros((8, 12, 3), np.uint8)

    def references(seed: int) -> list[np.ndarray]:
        generator = ReferenceGenerator(HalfParser(), NoisyInverter(), seed)  # type: ignore
        return [generator.generate(image).reference for _ in range(2)]

    torch.manual_seed(5)
    expected = torch.rand(3, generator=torch.Generator().manual_seed(5))
    first, second = references(0)
    other = references(1)[0]
    assert (first == second).all()
    assert (first != other).any()
    by_default = ReferenceGenerator(HalfParser(), NoisyInverter())  # type: ignore
    assert (by_default.generate(image).reference == first).all()
    assert torch.equal(torch.rand(3), expected)  # the caller's own random state is untouched


class StripedInverter:
    """Every fourth column is white, at eight times the working size."""

    def invert(self, image: Tensor, labels: Tensor) -> Tensor:
        columns = (torch.arange(96) % 4 == 0).float()
        return columns.expand(1, 3, 64, 96)


def test_a_larger_reference_is_averaged_as_it_is_reduced() -> None:
    image = np.zeros((8, 12, 3), np.uint8)
    generator = ReferenceGenerator(HalfParser(), StripedInverter())  # type: ignore
    inner = generator.generate(image).reference[:, 1:-1]
    assert np.abs(inner.astype(int) - 64).max() <= 2


# FE and PS


@pytest.mark.parametrize("images_at_once", [2, 3, 8])
def test_images_at_once_changes_nothing_but_rounding(
    tiny_sam: FrozenSam, images_at_once: int
) -> None:
    inputs = [OcclusionSegmenter(tiny_sam).prepare(face_of(seed)) for seed in range(3)]
    one_by_one = OcclusionSegmenter(tiny_sam, images_at_once=1).select_prompts(inputs)
    together = OcclusionSegmenter(tiny_sam, images_at_once=images_at_once).select_prompts(inputs)
    for alone, batched in zip(one_by_one, together):
        assert alone.name == batched.name
        torch.testing.assert_close(
            alone.image_embedding, batched.image_embedding, rtol=1e-3, atol=1e-3
        )


def test_prompts_are_frozen_and_in_half_precision(segmenter: OcclusionSegmenter) -> None:
    (prompts,) = segmenter.select_prompts([segmenter.prepare(face_of(0))])
    assert prompts.has_points
    assert prompts.image_embedding.dtype == prompts.similarity.dtype == torch.float16
    assert not any(
        tensor.requires_grad
        for tensor in (prompts.image_embedding, prompts.points_sam, prompts.similarity)
    )


def test_no_region_gives_no_points(segmenter: OcclusionSegmenter) -> None:
    (prompts,) = segmenter.select_prompts([segmenter.prepare(face_of(0, parsing_class=0))])
    assert not prompts.has_points
    assert prompts.points_sam.shape == (0, 2)
    assert prompts.first_point_sam.tolist() == [0, 0]
    with pytest.raises(ValueError, match="face_0: there is no prompt point"):
        segmenter.predict_visible_face(None, prompts)


# Adapter and mask


def test_prompts_are_filled_up_to_the_longest(prompts: list[Prompts]) -> None:
    batch = batch_prompts(prompts)
    assert batch.points_sam.shape == (4, 30, 2)
    assert batch.prompt_mask is not None
    assert batch.prompt_mask.sum(dim=1).tolist() == [10, 31, 2, 18]
    filling = (batch.point_labels == PADDING_LABEL).sum(dim=1)
    assert filling.tolist() == [21, 0, 29, 13]
    assert batch_prompts([prompts[0], prompts[0]]).prompt_mask is None
    assert batch_prompts(prompts[:2]).prompt_mask is not None


@pytest.mark.parametrize("with_adapter", [True, False])
def test_a_batch_equals_one_by_one(
    segmenter: OcclusionSegmenter,
    adapter: PromptAdapter,
    prompts: list[Prompts],
    with_adapter: bool,
) -> None:
    used = adapter if with_adapter else None
    with torch.no_grad():
        batch = batch_prompts(prompts)
        tokens, attention = segmenter.refine_prompts(used, batch, need_attention=True)
        low_res_logits = segmenter.decode(batch, tokens)
        for row, face in enumerate(prompts):
            single = batch_prompts([face])
            alone = segmenter.decode(single, segmenter.refine_prompts(used, single)[0])[0]
            torch.testing.assert_close(low_res_logits[row], alone, rtol=1e-4, atol=1e-5)
            if with_adapter:
                weights = segmenter.refine_prompts(used, single, need_attention=True)[1]
                assert attention is not None
                assert weights is not None
                count = len(face.point_labels)
                places = [*range(count), attention.shape[1] - 1]  # the last is SAM's pad
                of_face = attention[row][places][:, places]
                torch.testing.assert_close(of_face, weights[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("align_corners", [True, False])
def test_losses_and_gradients_equal_those_of_whole_masks_one_by_one(
    tiny_sam: FrozenSam, adapter: PromptAdapter, prompts: list[Prompts], align_corners: bool
) -> None:
    segmenter = OcclusionSegmenter(tiny_sam, PipelineSettings(align_corners=align_corners))
    totals = []
    for face in prompts:
        logits = segmenter.predict_visible_face(adapter, face).logits_sam
        x, y = face.points_sam.long().unbind(dim=1)
        totals.append(point_losses(logits[y, x], face.point_labels).total)
    want = torch.stack(totals)
    want_gradients = torch.autograd.grad(want.sum(), list(adapter.parameters()))

    batch = batch_prompts(prompts)
    point_logits = segmenter.predict_point_logits(adapter, batch)
    got = point_losses(point_logits, batch.point_labels).total
    gradients = torch.autograd.grad(got.sum(), list(adapter.parameters()))
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    for gradient, want_gradient in zip(gradients, want_gradients):
        torch.testing.assert_close(gradient, want_gradient, rtol=1e-3, atol=1e-5)


def test_attention_is_none_unless_asked_for(
    segmenter: OcclusionSegmenter, adapter: PromptAdapter, prompts: list[Prompts]
) -> None:
    assert segmenter.refine_prompts(adapter, batch_prompts(prompts))[1] is None
    assert segmenter.predict_visible_face(None, prompts[0]).attention is None
    attention = segmenter.predict_visible_face(adapter, prompts[0]).attention
    assert attention is not None
    assert attention.shape == (10, 10)


def test_a_face_without_points_is_refused(prompts: list[Prompts]) -> None:
    with pytest.raises(ValueError, match="face_9: there is no prompt point"):
        batch_prompts([*prompts, prompts_of(9, 0)])


# Occlusion


def prediction_of(size: int = 32) -> Prediction:
    logits = torch.randn(size, size, generator=torch.Generator().manual_seed(1))
    return Prediction(logits, None)


@pytest.mark.parametrize("size", [(64, 64), (40, 90), (7, 5)])
def test_masks_split_the_region(size: tuple[int, int]) -> None:
    labels = np.random.default_rng(0).integers(0, 12, (48, 50)).astype(np.uint8)
    prediction = prediction_of()
    masks = split_region(prediction, labels, size)
    logits = prediction.logits_sam[None, None]
    big = F.interpolate(logits, size, mode="bilinear", align_corners=False)[0, 0]
    for y in range(size[0]):
        for x in range(size[1]):
            label = labels[(2 * y + 1) * 48 // (2 * size[0]), (2 * x + 1) * 50 // (2 * size[1])]
            inside, visible = label in REGION_CLASSES, bool(big[y, x] > 0)
            assert masks.face[y, x] == (inside and visible)
            assert masks.occlusion[y, x] == (inside and not visible)
            assert masks.parsing[y, x] == (OCCLUSION_CLASS if inside and not visible else label)
    assert masks.parsing.dtype == np.uint8


def test_a_pixel_that_is_as_likely_as_not_is_no_visible_face() -> None:
    labels = np.full((32, 32), 6, np.uint8)
    masks = split_region(Prediction(torch.zeros(32, 32), None), labels, (32, 32))
    assert masks.occlusion.all() and not masks.face.any()


def test_what_does_not_count_is_visible_face() -> None:
    logits = torch.full((32, 32), 5.0)
    logits[10:20, 10:20] = -5.0
    logits[2:4, 2:4] = -5.0
    labels = np.full((32, 32), 6, np.uint8)
    masks = split_region(
        Prediction(logits, None), labels, (32, 32), OcclusionDecision(min_piece=0.01)
    )
    assert masks.occlusion[10:20, 10:20].all() and masks.occlusion.sum() == 100
    assert masks.face[2:4, 2:4].all() and (masks.parsing[2:4, 2:4] == 6).all()
    assert (masks.face ^ masks.occlusion).all()


def test_without_prompts_nothing_is_occluded() -> None:
    masks = split_region(None, np.full((4, 4), 6, np.uint8), (8, 8))
    assert masks.face.all()
    assert not masks.occlusion.any()
    assert (masks.parsing == 6).all()


# All of it


def test_the_whole_method_is_its_stages(
    segmenter: OcclusionSegmenter, adapter: PromptAdapter
) -> None:
    image = np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    generator = ReferenceGenerator(HalfParser(), NoisyInverter())  # type: ignore
    result = S3POT(generator, segmenter, adapter).segment(image, "a")
    face = generator.generate(image, "a")
    assert (result.face.reference == face.reference).all()
    (prompts,) = segmenter.select_prompts([segmenter.prepare(face)])
    assert torch.equal(result.prompts.points_sam, prompts.points_sam)
    with torch.no_grad():
        prediction = segmenter.predict_visible_face(adapter, prompts)
    assert result.prediction is not None
    assert torch.equal(result.prediction.logits_sam, prediction.logits_sam)
    masks = split_region(prediction, face.parsing, (48, 64))
    assert (result.masks.occlusion == masks.occlusion).all()
    assert (result.masks.parsing == masks.parsing).all()


def test_a_face_is_segmented_by_the_settings_and_without_points_not_at_all(
    segmenter: OcclusionSegmenter, adapter: PromptAdapter, prompts: list[Prompts]
) -> None:
    face = face_of(seed=1)
    result = segmenter.segment(face, prompts[1], adapter)
    assert result.face is face and result.prompts is prompts[1]
    assert result.prediction is not None and not result.prediction.logits_sam.requires_grad
    expected = split_region(result.prediction, face.parsing, face.size)
    assert (result.masks.occlusion == expected.occlusion).all()
    share = float(expected.occlusion.mean())
    assert 0 < share < 1
    decision = OcclusionDecision(min_share=(share + 1) / 2)
    deciding = segmenter.with_settings(PipelineSettings(decision=decision))
    assert deciding.segment(face, prompts[1], adapter).masks.face.all()
    assert deciding.masks_of(face, result.prediction).face.all()
    unmarked = segmenter.segment(face, prompts_of(0, 0), adapter)
    assert unmarked.prediction is None
    assert unmarked.masks.face.all()
